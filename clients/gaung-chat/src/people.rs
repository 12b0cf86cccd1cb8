//! Names of people: how members are named and sorted, and whether a text mentions somebody.

use gaung_client::Member;
use gaung_terminal::sanitise::one_line;

/// Returns the name of a member without control characters, or the beginning of the device's id if it has none.
pub(crate) fn member_name(member: &Member) -> String {
    match member.name.as_str() {
        "" => member.device.to_string()[..8].to_owned(),
        name => one_line(name).into_owned(),
    }
}

/// Sorts members: those who are present first, then by name.
pub(crate) fn sorted_members(members: &[Member]) -> Vec<&Member> {
    let mut members: Vec<&Member> = members.iter().collect();
    members.sort_by_cached_key(|member| (!member.present, member.name.to_lowercase()));
    members
}

/// Returns what the colour of a name is computed from: the device, or the name if there is no device.
pub(crate) fn colour_key<'a>(device: &'a [u8; 16], name: &'a str) -> &'a [u8] {
    if device.iter().all(|byte| *byte == 0) { name.as_bytes() } else { device }
}

/// Returns whether `name` is a word of `text`, in upper or lower case, with or without `@` before it.
pub(crate) fn mentions(text: &str, name: &str) -> bool {
    if name.chars().count() < 2 {
        return text.contains(&format!("@{name}"));
    }
    let (text, name) = (text.to_lowercase(), name.to_lowercase());
    let beside = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != '_');
    text.match_indices(&name).any(|(index, found)| {
        beside(text[..index].chars().next_back()) && beside(text[index + found.len()..].chars().next())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_word_of_its_own() {
        for text in ["halo Budi", "@budi lihat", "budi: ya", "(BUDI)", "apa kata Budi?"] {
            assert!(mentions(text, "Budi"), "{text}");
        }
        for text in ["budiman", "sebudi", "budi_2", ""] {
            assert!(!mentions(text, "Budi"), "{text}");
        }
        assert!(mentions("untuk Pak Budi.", "Pak Budi"));
        assert!(!mentions("a b c", "b"), "too short to be meant");
        assert!(mentions("@b ya", "b"));
    }
}
