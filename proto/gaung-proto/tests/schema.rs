//! Holds the schemas to their style, and to what the last release promised.
//!
//! `released.txt` has one line for each message, field, value and call of the last release. None may change or go; a field
//! or value may go if its number and name are reserved. At a release, renew it:
//! `GAUNG_RELEASE=1 cargo test -p gaung-proto --test schema`, and commit it with the new version.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{collections::BTreeSet, env, fs, path::Path};

use gaung_proto::{ContentType, pb};
use prost::Message as _;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::Label,
};

#[test]
fn nothing_that_was_released_changes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/released.txt");
    let now = facts(&schemas());
    if env::var_os("GAUNG_RELEASE").is_some() {
        fs::write(&path, now.iter().map(|fact| format!("{fact}\n")).collect::<String>()).unwrap();
    }
    let released = fs::read_to_string(&path).unwrap();
    let broken = broken(released.lines(), &now);
    assert!(broken.is_empty(), "older programs rely on:\n{}", broken.join("\n"));
}

#[test]
fn a_change_that_breaks_is_noticed() {
    let now = |facts: &[&str]| facts.iter().map(|&fact| fact.to_owned()).collect::<BTreeSet<_>>();
    let released = ["message a.M", "number a.M 1 = x optional Bytes", "number a.M 2 = y optional Bool"];
    let kept = now(&released);
    assert_eq!(broken(released.into_iter(), &kept), Vec::<String>::new());
    let renamed = now(&["message a.M", "number a.M 1 = z optional Bytes", released[2]]);
    assert_eq!(broken(released.into_iter(), &renamed), [released[1]]);
    let removed = now(&["message a.M", released[1]]);
    assert_eq!(broken(released.into_iter(), &removed), [released[2]]);
    let half = now(&["message a.M", released[1], "reserved a.M 2"]);
    assert_eq!(broken(released.into_iter(), &half), [released[2]], "the name too has to be reserved");
    let reserved = now(&["message a.M", released[1], "reserved a.M 2", "reserved a.M y"]);
    assert_eq!(broken(released.into_iter(), &reserved), Vec::<String>::new());
}

#[test]
fn schemas_follow_their_style() {
    let wrong: Vec<_> = schemas().file.iter().flat_map(style).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The kinds of messages, of which the schema has the list.
#[test]
fn page_and_dissector_know_every_kind_of_message() {
    let schemas = schemas();
    let file = schemas.file.iter().find(|file| file.package() == "gaung.message.v1").unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    let (page, dissector) = (read("clients/web/js/wire/content.js"), read("deploy/wireshark/gaung.lua"));
    let content = file.message_type.iter().find(|message| message.name() == "Content").unwrap();
    let kinds = &file.enum_type.iter().find(|values| values.name() == "ContentType").unwrap().value[1..];
    for kind in kinds {
        let (name, number) = (kind.name().trim_start_matches("CONTENT_TYPE_").to_lowercase(), kind.number());
        let field = content.field.iter().find(|field| field.name() == name);
        assert_eq!(field.map(FieldDescriptorProto::number), Some(number + 1), "the field {name} of Content");
        assert!(page.contains(&format!("  {name}: {{ type: {number}, ")), "content.js, type {number}: {name}");
        assert!(dissector.contains(&format!("[{number}] = \"{name}\",")), "gaung.lua, CONTENTS[{number}]: {name}");
        assert_ne!(ContentType::from_byte(number as u8), ContentType::Unknown(number as u8), "content.rs: {name}");
    }
    assert_eq!(content.field.len(), kinds.len() + 1, "a field for each kind, and the author's name");
}

/// What is said in `released` and is no longer true in `now`, unless it is reserved.
fn broken<'a>(released: impl Iterator<Item = &'a str>, now: &BTreeSet<String>) -> Vec<String> {
    let is_reserved = |fact: &str| {
        let words: Vec<_> = fact.split(' ').collect();
        let ["number", of, number, "=", name, ..] = words[..] else { return false };
        now.contains(&format!("reserved {of} {number}")) && now.contains(&format!("reserved {of} {name}"))
    };
    released.filter(|&fact| !now.contains(fact) && !is_reserved(fact)).map(str::to_owned).collect()
}

/// Everything that programs of another version rely on, one line each.
fn facts(schemas: &FileDescriptorSet) -> BTreeSet<String> {
    let mut facts = BTreeSet::new();
    for file in &schemas.file {
        let package = file.package();
        file.message_type.iter().for_each(|message| message_facts(package, message, &mut facts));
        file.enum_type.iter().for_each(|values| enum_facts(package, values, &mut facts));
        for service in &file.service {
            for call in &service.method {
                let stream = |is: bool| if is { "stream " } else { "" };
                facts.insert(format!(
                    "call {package}.{}.{} {}{} -> {}{}",
                    service.name(),
                    call.name(),
                    stream(call.client_streaming()),
                    call.input_type(),
                    stream(call.server_streaming()),
                    call.output_type()
                ));
            }
        }
    }
    facts
}

fn message_facts(scope: &str, message: &DescriptorProto, facts: &mut BTreeSet<String>) {
    let of = format!("{scope}.{}", message.name());
    facts.insert(format!("message {of}"));
    for field in &message.field {
        facts.insert(format!("number {of} {} = {} {}", field.number(), field.name(), kind(message, field)));
    }
    for range in &message.reserved_range {
        facts.extend((range.start()..range.end()).map(|number| format!("reserved {of} {number}")));
    }
    facts.extend(message.reserved_name.iter().map(|name| format!("reserved {of} {name}")));
    message.nested_type.iter().for_each(|nested| message_facts(&of, nested, facts));
    message.enum_type.iter().for_each(|values| enum_facts(&of, values, facts));
}

/// Label, type and oneof of a field.
fn kind(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let label = match field.label() {
        Label::Optional if field.proto3_optional() => "explicit",
        Label::Optional => "optional",
        Label::Required => "required",
        Label::Repeated => "repeated",
    };
    let of = if field.type_name().is_empty() { String::new() } else { format!(" {}", field.type_name()) };
    let oneof = field.oneof_index.filter(|_| !field.proto3_optional());
    let oneof = oneof.map_or(String::new(), |at| format!(" in {}", message.oneof_decl[at as usize].name()));
    format!("{label} {:?}{of}{oneof}", field.r#type())
}

fn enum_facts(scope: &str, values: &EnumDescriptorProto, facts: &mut BTreeSet<String>) {
    let of = format!("{scope}.{}", values.name());
    facts.insert(format!("enum {of}"));
    facts.extend(values.value.iter().map(|value| format!("number {of} {} = {}", value.number(), value.name())));
    for range in &values.reserved_range {
        facts.extend((range.start()..=range.end()).map(|number| format!("reserved {of} {number}")));
    }
    facts.extend(values.reserved_name.iter().map(|name| format!("reserved {of} {name}")));
}

/// What in a schema is not as the others are.
fn style(file: &FileDescriptorProto) -> Vec<String> {
    let mut wrong = Vec::new();
    let package = file.package();
    let mut need = |holds: bool, what: String| {
        if !holds {
            wrong.push(format!("{package}: {what}"))
        }
    };
    let words: Vec<_> = package.split('.').collect();
    let [_, name, version] = words[..] else { panic!("{package} is not gaung.NAME.vN") };
    need(version.strip_prefix('v').is_some_and(|n| n.parse::<u32>().is_ok()), "the package has no version".into());
    need(file.name() == format!("gaung/{name}/{version}/{name}.proto"), format!("{} lies elsewhere", file.name()));
    need(file.syntax() == "proto3", "not proto3".into());
    for values in &file.enum_type {
        let prefix =
            format!("{}_", values.name().chars().flat_map(screaming).collect::<String>().trim_start_matches('_'));
        need(values.value.iter().all(|value| value.name().starts_with(&prefix)), format!("values begin with {prefix}"));
        let zero = values.value.first().is_some_and(|v| v.number() == 0 && v.name() == format!("{prefix}UNSPECIFIED"));
        need(zero, format!("{} has no {prefix}UNSPECIFIED = 0", values.name()));
    }
    for message in &file.message_type {
        let is_nested = !message.nested_type.is_empty() || !message.enum_type.is_empty();
        need(!is_nested, format!("{} holds other types", message.name()));
        need(is_pascal(message.name()), format!("{} is not PascalCase", message.name()));
        for field in &message.field {
            let is_snake = field.name().chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            need(is_snake, format!("{}.{} is not snake_case", message.name(), field.name()));
        }
    }
    for service in &file.service {
        need(service.name().ends_with("Service"), format!("{} does not end with Service", service.name()));
        for call in &service.method {
            let own = |end: &str, of: &str| of == format!(".{package}.{}{end}", call.name());
            let has_own = own("Request", call.input_type()) && own("Response", call.output_type());
            need(has_own, format!("{} has no request and response of its own", call.name()));
        }
    }
    let commented = comments(file);
    for (path, what) in items(file) {
        need(commented.contains(&path), format!("{what} has no comment"));
    }
    wrong
}

fn screaming(c: char) -> impl Iterator<Item = char> {
    c.is_ascii_uppercase().then_some('_').into_iter().chain([c.to_ascii_uppercase()])
}

fn is_pascal(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(|c| c.is_ascii_alphanumeric())
}

/// Where the file has leading comments, as paths of `google.protobuf.SourceCodeInfo.Location`.
fn comments(file: &FileDescriptorProto) -> BTreeSet<Vec<i32>> {
    let locations = &file.source_code_info.as_ref().expect("the schemas are compiled with their source").location;
    locations.iter().filter(|at| !at.leading_comments().trim().is_empty()).map(|at| at.path.clone()).collect()
}

/// Everything that needs a comment, with its path: numbers of fields of the descriptors, and indexes.
fn items(file: &FileDescriptorProto) -> Vec<(Vec<i32>, String)> {
    let mut items = Vec::new();
    let index = |at: usize| i32::try_from(at).unwrap();
    for (m, message) in file.message_type.iter().enumerate() {
        let path = vec![4, index(m)];
        let within = |of: i32, at: usize| [&path[..], &[of, index(at)]].concat();
        for (f, field) in message.field.iter().enumerate() {
            items.push((within(2, f), format!("{}.{}", message.name(), field.name())));
        }
        let is_written =
            |at: &usize| message.field.iter().any(|f| f.oneof_index == Some(index(*at)) && !f.proto3_optional());
        for o in (0..message.oneof_decl.len()).filter(is_written) {
            items.push((within(8, o), format!("{}.{}", message.name(), message.oneof_decl[o].name())));
        }
        items.push((path, message.name().to_owned()));
    }
    for (e, values) in file.enum_type.iter().enumerate() {
        items.push((vec![5, index(e)], values.name().to_owned()));
        let named = values.value.iter().enumerate();
        items.extend(named.map(|(v, value)| (vec![5, index(e), 2, index(v)], value.name().to_owned())));
    }
    for (s, service) in file.service.iter().enumerate() {
        items.push((vec![6, index(s)], service.name().to_owned()));
        let calls = service.method.iter().enumerate();
        items.extend(calls.map(|(c, call)| (vec![6, index(s), 2, index(c)], call.name().to_owned())));
    }
    items
}

fn schemas() -> FileDescriptorSet {
    let schemas = FileDescriptorSet::decode(pb::DESCRIPTORS).unwrap();
    assert!(schemas.file.len() >= 4);
    schemas
}
