//! Sanitises foreign text for a terminal, so that it cannot move the cursor, change colours, or reorder what is shown.

use std::borrow::Cow;

use gaung_proto::foreign_text::{CharClass, classify, is_all_visible};
use unicode_segmentation::UnicodeSegmentation as _;

/// Returns a text on one line, with every control character replaced by a visible one.
///
/// C0 becomes its picture (U+2400 …), so that a newline is shown as ␊ and an escape as ␛; DEL becomes ␡; a tab becomes a
/// space; C1, line and paragraph separators, bidirectional controls, and invisible format characters that can
/// disguise a name become U+FFFD. Joiners within words are kept where scripts need them.
pub fn one_line(text: &str) -> Cow<'_, str> {
    if is_all_visible(text) { Cow::Borrowed(text) } else { Cow::Owned(classify(text).map(shown).collect()) }
}

/// Does the same as [`one_line`] for bytes; each sequence that is not UTF-8 becomes U+FFFD.
pub fn one_line_bytes(bytes: &[u8]) -> String {
    one_line(&String::from_utf8_lossy(bytes)).into_owned()
}

/// Does the same as [`one_line_bytes`], but keeps newlines, except for trailing ones.
///
/// No visible character keeps more combining marks than a script needs, since they would be drawn over other lines.
pub fn lines_of_bytes(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.replace("\r\n", "\n");
    let lines: Vec<_> = text.trim_end_matches('\n').split('\n').map(|line| few_marks(&one_line(line))).collect();
    lines.join("\n")
}

/// The most code points of one visible character; the longest emoji in use have 11.
const MAX_OF_ONE: usize = 16;

fn few_marks(line: &str) -> String {
    line.graphemes(true).flat_map(|grapheme| grapheme.chars().take(MAX_OF_ONE)).collect()
}

fn shown((c, class): (char, CharClass)) -> char {
    match (class, c) {
        (CharClass::Visible, c) => c,
        (CharClass::Tab, _) => ' ',
        (_, '\0'..='\u{1f}') => char::from_u32(0x2400 + u32::from(c)).unwrap_or(char::REPLACEMENT_CHARACTER),
        (_, '\u{7f}') => '\u{2421}',
        _ => char::REPLACEMENT_CHARACTER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_without_control_characters_is_unchanged() {
        for text in ["Halo semua, apa kabar?", "日本語", "مرحبا", "👩\u{200d}🚀 é", ""] {
            assert!(matches!(one_line(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn control_characters_are_shown_as_symbols() {
        assert_eq!(one_line("a\x1b[2Jb\r\n\x07c\x7f\td"), "a␛[2Jb␍␊␇c␡ d");
        assert_eq!(one_line("user\u{202e}txt.exe\u{9b}31m\u{2029}"), "user\u{fffd}txt.exe\u{fffd}31m\u{fffd}");
        assert_eq!(one_line_bytes(b"\xff\xfe ok\x00"), "\u{fffd}\u{fffd} ok␀");
    }

    #[test]
    fn every_vector_of_foreign_text_is_shown_as_expected() {
        let vectors = include_str!("../../../proto/gaung-proto/tests/foreign_text.json");
        let vectors: Vec<serde_json::Value> = serde_json::from_str(vectors).expect("a list");
        assert!(vectors.len() > 20);
        for vector in &vectors {
            assert_eq!(
                one_line(vector["text"].as_str().expect("text")),
                vector["shown"].as_str().expect("text"),
                "{}",
                vector["what"]
            );
        }
    }

    #[test]
    fn lines_are_kept_and_combining_marks_are_limited() {
        assert_eq!(lines_of_bytes(b"a\r\nb\x1b\n\nc\n\n"), "a\nb␛\n\nc");
        let towering = format!("e{}x", "\u{301}".repeat(500));
        assert_eq!(lines_of_bytes(towering.as_bytes()).chars().count(), MAX_OF_ONE + 1);
        let family = "👩\u{200d}👩\u{200d}👧\u{200d}👦";
        assert_eq!(lines_of_bytes(family.as_bytes()), family);
    }

    #[test]
    fn no_character_that_passes_is_a_control() {
        let all: String = ('\0'..=char::MAX).collect();
        assert!(!one_line(&all).chars().any(char::is_control));
    }
}
