//! The width of text in a terminal, and where its lines break.

use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr as _;

/// Returns the columns that a text takes.
pub fn columns(text: &str) -> usize {
    text.graphemes(true).map(width_of).sum()
}

/// Returns the columns of one visible character. A control character is shown as a picture of itself.
fn width_of(grapheme: &str) -> usize {
    if grapheme.chars().all(char::is_control) { 1 } else { grapheme.width().min(2) }
}

/// Cuts a text to so many columns, with `…` at the end if something was cut.
pub fn shortened(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut short = String::new();
    let mut used = 0;
    for grapheme in text.graphemes(true) {
        let needed = width_of(grapheme);
        if used + needed + 1 > width {
            break;
        }
        used += needed;
        short.push_str(grapheme);
    }
    if width > 0 {
        short.push('…');
    }
    short
}

/// Cuts a text or fills it with spaces, to exactly so many columns.
pub fn fitted(text: &str, width: usize) -> String {
    let mut text = shortened(text, width);
    let missing = width.saturating_sub(columns(&text));
    text.extend(std::iter::repeat_n(' ', missing));
    text
}

/// Returns the byte ranges of a text's rows: `first` columns for the first one, `rest` for the others, at least one each. Rows break
/// after a space where there is one, within a word where there is none, and at newlines, which are in no row.
pub fn rows(text: &str, first: usize, rest: usize) -> Vec<std::ops::Range<usize>> {
    let mut rows = Vec::new();
    let mut begin = 0;
    for line in text.split('\n') {
        let end = begin + line.len();
        let mut at = begin;
        loop {
            let width = if rows.is_empty() { first } else { rest }.max(1);
            let fit = at + fitting(&text[at..end], width);
            rows.push(at..fit);
            at = fit;
            if at >= end {
                break;
            }
        }
        begin = end + 1;
    }
    rows
}

/// Returns how many bytes of a line go into one row: all of it, or at least one character.
fn fitting(line: &str, width: usize) -> usize {
    let (mut used, mut after_space) = (0, None);
    for (index, grapheme) in line.grapheme_indices(true) {
        let needed = width_of(grapheme);
        // A space at the edge needs no column, since it is not seen.
        if used + needed > width && grapheme != " " {
            return after_space.unwrap_or(if index == 0 { grapheme.len() } else { index });
        }
        used += needed;
        if grapheme == " " {
            after_space = Some(index + 1);
        }
    }
    line.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str, first: usize, rest: usize) -> Vec<&str> {
        rows(text, first, rest).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn rows_break_at_spaces_and_within_long_words() {
        assert_eq!(split("satu dua tiga", 6, 9), ["satu ", "dua tiga"]);
        assert_eq!(split("abcdefgh", 3, 4), ["abc", "defg", "h"]);
        assert_eq!(split("a\n\nb ", 5, 5), ["a", "", "b "]);
        assert_eq!(split("", 5, 5), [""]);
        assert_eq!(split("x", 0, 0), ["x"]);
    }

    #[test]
    fn wide_characters_take_two_columns() {
        assert_eq!(split("日本語です", 4, 5), ["日本", "語で", "す"]);
        assert_eq!(columns("👩\u{200d}🚀é日"), 5);
        assert_eq!(shortened("日本語", 5), "日本…");
        assert_eq!(fitted("日本語", 4), "日… ");
        assert_eq!(fitted("é", 3), "é  ");
        assert_eq!(shortened("abc", 0), "");
        assert_eq!(columns("a\tb\x1b"), 4);
    }

    #[test]
    fn rows_contain_the_whole_text_and_fit() {
        let text = "kata panjang sekali 日本語の文章 dan seterusnya 👩\u{200d}🚀 ok";
        for width in 2..40 {
            let rows = split(text, width, width);
            assert_eq!(rows.concat(), text);
            assert!(rows.iter().all(|row| columns(row.trim_end()) <= width), "{width}: {rows:?}");
        }
    }
}
