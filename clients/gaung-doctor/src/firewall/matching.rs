//! Compares the values in a rule with a packet's fields.

use std::net::Ipv4Addr;

use serde_json::Value;

use super::{
    Chain, Ruleset,
    packet::{Field, Packet},
};

/// The left side of a match or map.
#[derive(Debug, Clone)]
enum Left<'a> {
    One(Field<'a>),
    /// A concatenation: each part is compared with its part of an element.
    Several(Vec<Field<'a>>),
}

impl<'a> Left<'a> {
    fn of(packet: &Packet<'a>, left: &Value) -> Self {
        match left["concat"].as_array() {
            Some(parts) => Self::Several(parts.iter().map(|part| packet.field(part)).collect()),
            None => Self::One(packet.field(left)),
        }
    }

    fn is_absent(&self) -> bool {
        match self {
            Self::One(field) => *field == Field::Absent,
            Self::Several(fields) => fields.contains(&Field::Absent),
        }
    }

    fn number(&self) -> Option<u64> {
        match self {
            Self::One(field) => number(*field),
            Self::Several(_) => None,
        }
    }
}

/// Evaluates `{"match": {op, left, right}}`; `None` if the result is not known beforehand.
pub(super) fn holds(ruleset: &Ruleset, chain: &Chain, packet: &Packet<'_>, statement: &Value) -> Option<bool> {
    let left = Left::of(packet, &statement["left"]);
    if left.is_absent() {
        return Some(false);
    }
    let among = || is_among(ruleset, chain, &left, &statement["right"]);
    match statement["op"].as_str()? {
        "==" | "in" => among(),
        "!=" => among().map(|is| !is),
        "<" => Some(left.number()? < statement["right"].as_u64()?),
        ">" => Some(left.number()? > statement["right"].as_u64()?),
        "<=" => Some(left.number()? <= statement["right"].as_u64()?),
        ">=" => Some(left.number()? >= statement["right"].as_u64()?),
        _ => None,
    }
}

/// Returns the pairs of a `vmap`, inline or of a named map; `None` if there is no such map.
pub(super) fn pairs<'v>(ruleset: &'v Ruleset, chain: &Chain, vmap: &'v Value) -> Option<&'v [Value]> {
    match vmap["data"].as_str().and_then(|text| text.strip_prefix('@')) {
        Some(name) => ruleset.set(chain, name),
        None => vmap["data"]["set"].as_array().map(Vec::as_slice),
    }
}

/// Returns the verdict that the `pairs` of a `vmap` give the packet: `Some(None)` if none, `None` if it is not known.
pub(super) fn mapped<'v>(
    ruleset: &Ruleset,
    chain: &Chain,
    packet: &Packet<'_>,
    key: &Value,
    pairs: &'v [Value],
) -> Option<Option<&'v Value>> {
    let left = Left::of(packet, key);
    if left.is_absent() {
        return Some(None);
    }
    for pair in pairs {
        if is_among(ruleset, chain, &left, pair.get(0)?)? {
            return Some(Some(pair.get(1)?));
        }
    }
    Some(None)
}

fn is_among(ruleset: &Ruleset, chain: &Chain, left: &Left<'_>, right: &Value) -> Option<bool> {
    let any = |values: &[Value]| -> Option<bool> {
        let mut known = Some(false);
        for value in values {
            match is_among(ruleset, chain, left, value) {
                Some(true) => return Some(true),
                Some(false) => {}
                None => known = None,
            }
        }
        known
    };
    if let Value::Array(values) = right {
        return any(values);
    }
    if let Some(name) = right.as_str().and_then(|text| text.strip_prefix('@')) {
        return any(ruleset.set(chain, name)?);
    }
    if let Some(values) = right.get("set") {
        return values.as_array().map_or_else(|| is_among(ruleset, chain, left, values), |values| any(values));
    }
    if let Some(element) = right.get("elem") {
        return is_among(ruleset, chain, left, &element["val"]);
    }
    match left {
        Left::One(field) => is_one(*field, right),
        Left::Several(fields) => are_all(fields, right["concat"].as_array()?),
    }
}

/// Compares all parts; false as soon as one part differs, even if others are not known.
fn are_all(fields: &[Field<'_>], parts: &[Value]) -> Option<bool> {
    if fields.len() != parts.len() {
        return None;
    }
    let mut known = Some(true);
    for (field, part) in fields.iter().zip(parts) {
        match is_one(*field, part) {
            Some(true) => {}
            Some(false) => return Some(false),
            None => known = None,
        }
    }
    known
}

fn is_one(field: Field<'_>, right: &Value) -> Option<bool> {
    if field == Field::Unknown {
        return None;
    }
    if let Some(prefix) = right.get("prefix") {
        return within_prefix(field, prefix);
    }
    if let Some(range) = right.get("range") {
        return within_range(field, range.get(0)?, range.get(1)?);
    }
    equals(field, right)
}

fn within_prefix(field: Field<'_>, prefix: &Value) -> Option<bool> {
    let Field::Address(ip) = field else { return None };
    let Ok(network) = prefix["addr"].as_str()?.parse::<Ipv4Addr>() else { return Some(false) };
    let host_bits = 32_u32.checked_sub(u32::try_from(prefix["len"].as_u64()?).ok()?)?;
    let mask = u32::MAX.checked_shl(host_bits).unwrap_or(0);
    Some((ip.to_bits() ^ network.to_bits()) & mask == 0)
}

fn within_range(field: Field<'_>, first: &Value, last: &Value) -> Option<bool> {
    match field {
        Field::Address(ip) => {
            let bound = |value: &Value| value.as_str()?.parse::<Ipv4Addr>().ok();
            Some((bound(first)?..=bound(last)?).contains(&ip))
        }
        Field::Number(_) | Field::Protocol(_) => Some((first.as_u64()?..=last.as_u64()?).contains(&number(field)?)),
        Field::Name(_) | Field::Absent | Field::Unknown => None,
    }
}

fn equals(field: Field<'_>, right: &Value) -> Option<bool> {
    match field {
        Field::Number(number) => Some(right.as_u64()? == number),
        Field::Address(ip) => Some(right.as_str()?.parse::<Ipv4Addr>().is_ok_and(|other| other == ip)),
        Field::Protocol(protocol) => match right.as_str() {
            // Without /etc/protocols nft writes numbers.
            None => Some(right.as_u64()? == u64::from(protocol)),
            Some(name) => Some(protocol_named(name) == Some(protocol)),
        },
        Field::Name(name) => {
            let pattern = right.as_str()?;
            Some(pattern.strip_suffix('*').map_or(name == pattern, |start| name.starts_with(start)))
        }
        Field::Absent | Field::Unknown => None,
    }
}

/// Returns the number of a protocol that matters here; any other name is another protocol.
fn protocol_named(name: &str) -> Option<u8> {
    match name {
        "igmp" => Some(2),
        "tcp" => Some(6),
        "udp" => Some(17),
        _ => name.parse().ok(),
    }
}

const fn number(field: Field<'_>) -> Option<u64> {
    match field {
        Field::Number(number) => Some(number),
        Field::Protocol(number) => Some(number as u64),
        Field::Address(_) | Field::Name(_) | Field::Absent | Field::Unknown => None,
    }
}
