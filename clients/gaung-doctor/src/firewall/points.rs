//! Finds the ports and addresses that a ruleset tells apart: it treats all between two neighbouring numbers in it alike.

use std::{collections::BTreeSet, net::Ipv4Addr, ops::RangeInclusive};

use serde_json::Value;

/// Most points; a blocklist of thousands is not walked for each of its entries.
const MOST: usize = 64;

pub(super) fn ports<'a>(values: impl Iterator<Item = &'a Value>, range: RangeInclusive<u16>) -> BTreeSet<u16> {
    let mut points: BTreeSet<u16> = [*range.start(), *range.end()].into();
    for value in values {
        each(value, &mut |leaf| {
            let Some(port) = leaf.as_u64().and_then(|number| u16::try_from(number).ok()) else { return };
            let near = [port.saturating_sub(1), port, port.saturating_add(1)];
            add(&mut points, near.into_iter().filter(|port| range.contains(port)));
        });
    }
    points
}

pub(super) fn addresses<'a>(
    values: impl Iterator<Item = &'a Value>,
    range: RangeInclusive<Ipv4Addr>,
) -> BTreeSet<Ipv4Addr> {
    let mut points: BTreeSet<Ipv4Addr> = [*range.start(), *range.end()].into();
    for value in values {
        each(value, &mut |leaf| {
            let address = leaf.as_str().and_then(|text| text.parse::<Ipv4Addr>().ok());
            let ends = address.map(|address| (address.to_bits(), address.to_bits())).or_else(|| prefix(leaf));
            let Some((first, last)) = ends else { return };
            let near = [first.saturating_sub(1), first, last, last.saturating_add(1)].map(Ipv4Addr::from_bits);
            add(&mut points, near.into_iter().filter(|address| range.contains(address)));
        });
    }
    points
}

fn add<T: Ord>(points: &mut BTreeSet<T>, more: impl Iterator<Item = T>) {
    if points.len() < MOST {
        points.extend(more);
    }
}

fn prefix(value: &Value) -> Option<(u32, u32)> {
    let network = value["addr"].as_str()?.parse::<Ipv4Addr>().ok()?.to_bits();
    let host_bits = 32_u32.checked_sub(u32::try_from(value["len"].as_u64()?).ok()?)?;
    let hosts = u32::MAX.checked_shr(32 - host_bits).unwrap_or(0);
    Some((network & !hosts, network | hosts))
}

/// Visits every part of a value, and itself.
fn each(value: &Value, with: &mut impl FnMut(&Value)) {
    with(value);
    match value {
        Value::Array(parts) => parts.iter().for_each(|part| each(part, with)),
        Value::Object(parts) => parts.values().for_each(|part| each(part, with)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
