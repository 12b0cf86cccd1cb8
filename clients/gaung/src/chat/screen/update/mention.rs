//! Is somebody named?

/// True if `name` stands in `text` as a word of its own, in upper or lower case, with `@` before it or without.
pub(crate) fn names(text: &str, name: &str) -> bool {
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
            assert!(names(text, "Budi"), "{text}");
        }
        for text in ["budiman", "sebudi", "budi_2", ""] {
            assert!(!names(text, "Budi"), "{text}");
        }
        assert!(names("untuk Pak Budi.", "Pak Budi"));
        assert!(!names("a b c", "b"), "too short to be meant");
        assert!(names("@b ya", "b"));
    }
}
