//! Holds the documents to the tree: every path they name exists, every relative link and its anchor resolves, and a
//! definition named beside a file stands in it. Also that tests which need more than Rust can be left out.
#![allow(missing_docs)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The root's own entries; a code span that begins with one of them is a path.
const FOLDERS: [&str; 8] = ["proto/", "services/", "clients/", "tests/", "benches/", "deploy/", "docs/", ".ci/"];

#[test]
fn every_path_and_link_in_the_documents_resolves() {
    let documents = documents();
    assert!(documents.len() > 8, "the documents were not found: {documents:?}");
    let faults: Vec<_> = documents.iter().flat_map(|document| faults(document, &read(document))).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn the_readme_fits_a_hundred_lines_and_names_start_and_test() {
    let readme = read(&root().join("README.md"));
    assert!(readme.lines().count() <= 100, "{} lines", readme.lines().count());
    for command in ["cargo run --release -- up ", "cargo test --workspace "] {
        assert!(readme.lines().any(|line| line.starts_with(command)), "`{command}` is missing");
    }
}

#[test]
fn a_wrong_path_link_anchor_or_definition_is_found() {
    let readme = root().join("README.md");
    for wrong in [
        "see [there](docs/nowhere.md)",
        "see [there](docs/operations.md#nowhere)",
        "see `tests/nowhere.rs`",
        "start at `tests/tests/documents.rs` `fault`",
        "start at `tests/tests/documents.rs` `Path::nowhere`",
        "a link after a fence:\n```sh\n`\n```\n[there](docs/nowhere.md)",
    ] {
        assert_eq!(faults(&readme, wrong).len(), 1, "{wrong}");
    }
    for right in [
        "see [there](docs/operations.md#disk-budget)",
        "see [elsewhere](https://example.org/nowhere)",
        "start at `tests/tests/documents.rs` `faults`",
        "```text\n[there](docs/nowhere.md)\n```",
    ] {
        assert_eq!(faults(&readme, right), Vec::<String>::new(), "{right}");
    }
}

#[test]
fn the_unprivileged_profile_leaves_out_every_test_that_needs_something() {
    let profile = read(&root().join(".config/nextest.toml"));
    let listed: BTreeSet<_> = profile
        .split("binary(")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(name, _)| name.to_owned())
        .collect();
    // In two pieces, or this file would hold it.
    const NEEDS: [&str; 2] = [concat!("Need", "::"), concat!("needs", "!(")];
    let entries = fs::read_dir(root().join("tests/tests")).expect("the tests lie here");
    let paths = entries.map(|entry| entry.expect("the folder can be read").path());
    let asking =
        paths.filter(|path| sources(path).iter().any(|source| NEEDS.iter().any(|need| read(source).contains(need))));
    let asking: BTreeSet<_> = asking.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
    assert_eq!(listed, asking, "listed in .config/nextest.toml, and naming a need");
}

/// The Rust files at and below a path.
fn sources(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else { return vec![path.to_owned()] };
    entries.flat_map(|entry| sources(&entry.expect("the folder can be read").path())).collect()
}

/// What is wrong in one document, a line each.
fn faults(document: &Path, text: &str) -> Vec<String> {
    let text = without_fences(text);
    let at = |fault: String| format!("{}: {fault}", document.display());
    let links = links(&text).filter_map(|target| link_fault(document, target));
    links.chain(span_faults(&text)).map(at).collect()
}

/// Targets of inline links.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

fn link_fault(document: &Path, target: &str) -> Option<String> {
    if target.contains("://") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let folder = document.parent().unwrap_or(document);
    let file = if path.is_empty() { document.to_owned() } else { folder.join(path) };
    if !file.exists() {
        return Some(format!("the link to {target} leads nowhere"));
    }
    if anchor.is_empty() || read(&file).lines().any(|line| heading_anchor(line).as_deref() == Some(anchor)) {
        return None;
    }
    Some(format!("{path} has no heading {anchor}"))
}

/// The anchor that GitHub makes of a heading.
fn heading_anchor(line: &str) -> Option<String> {
    let title = line.strip_prefix('#')?.trim_start_matches('#').strip_prefix(' ')?;
    let kept = title
        .to_lowercase()
        .chars()
        .filter(|&c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .collect::<String>();
    Some(kept.replace(' ', "-"))
}

/// Faults of code spans: paths that do not exist, and names that the file before them does not hold.
fn span_faults(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut file: Option<PathBuf> = None;
    // Odd pieces lie between backquotes.
    for (index, piece) in text.split('`').enumerate() {
        if index % 2 == 0 {
            file = file.filter(|_| piece == " ");
        } else if let Some(path) = file.take() {
            if !defines(&read(&path), piece) {
                faults.push(format!("{} does not define {piece}", path.display()));
            }
        } else if is_path(piece) {
            let path = root().join(piece);
            if !path.exists() {
                faults.push(format!("{piece} does not exist"));
            }
            file = Some(path).filter(|path| path.is_file());
        }
    }
    faults
}

/// Whether a Rust source defines the item that a path such as `Type::function` ends in.
fn defines(source: &str, item: &str) -> bool {
    let name = item.rsplit("::").next().unwrap_or(item).trim_end_matches("()");
    let words: Vec<_> = source.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let keywords = ["fn", "struct", "enum", "trait", "const", "static", "type", "mod"];
    words.windows(2).any(|pair| keywords.contains(&pair[0]) && pair[1] == name)
}

fn is_path(span: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    span.chars().all(plain) && FOLDERS.iter().any(|folder| span.starts_with(folder))
}

fn without_fences(text: &str) -> String {
    text.split("```").step_by(2).collect::<Vec<_>>().join("\n")
}

/// The Markdown files of the root, of `docs`, and those beside what they describe.
fn documents() -> Vec<PathBuf> {
    let beside = ["proto/gaung/WIRE.md", "benches/README.md", "tests/fuzz/README.md"];
    let mut found: Vec<_> = beside.map(|path| root().join(path)).into_iter().filter(|path| path.exists()).collect();
    for folder in ["", "docs", "docs/decisions"] {
        let Ok(entries) = fs::read_dir(root().join(folder)) else { continue };
        let paths = entries.map(|entry| entry.expect("the folder can be read").path());
        found.extend(paths.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
