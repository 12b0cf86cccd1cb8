//! An editor for the line that is typed, which works like readline and may contain newlines.

use unicode_segmentation::UnicodeSegmentation as _;

/// The longest text, in bytes; a message may have 256 KiB with its framing.
const MAX_BYTES: usize = 200 * 1024;
/// How many entered lines the arrow keys can recall.
const MAX_HISTORY: usize = 500;

/// A text with a cursor, the text that was cut last, and the lines that were entered before.
#[derive(Debug, Clone, Default)]
pub(crate) struct Editor {
    text: String,
    /// The byte index of a grapheme, or the length of the text.
    cursor: usize,
    cut: String,
    entered: Vec<String>,
    /// The index in `entered` of the recalled line, and the text that was being typed before.
    recalled: Option<(usize, String)>,
}

/// A movement of the cursor; also the extent of a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Motion {
    /// One grapheme back.
    Left,
    /// One grapheme forward.
    Right,
    /// To the beginning of the word.
    WordLeft,
    /// To the end of the word.
    WordRight,
    /// To the space before the word, as Ctrl-W cuts.
    BlankLeft,
    /// To the beginning of the line.
    LineStart,
    /// To the end of the line.
    LineEnd,
}

impl Editor {
    /// Makes an editor with a draft.
    pub(crate) fn with(draft: &str) -> Self {
        Self { text: draft.to_owned(), cursor: draft.len(), ..Self::default() }
    }

    /// Returns the text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Returns the byte index of the cursor.
    pub(crate) const fn cursor(&self) -> usize {
        self.cursor
    }

    /// Returns whether there is no text.
    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Inserts text at the cursor; false if it would be too long.
    pub(crate) fn insert(&mut self, text: &str) -> bool {
        if self.text.len() + text.len() > MAX_BYTES {
            return false;
        }
        self.text.insert_str(self.cursor, text);
        self.cursor += text.len();
        true
    }

    /// Replaces the whole text.
    pub(crate) fn set(&mut self, text: &str) {
        text.clone_into(&mut self.text);
        self.cursor = self.text.len();
    }

    /// Replaces the bytes from `start` to the cursor, which both lie between characters.
    pub(crate) fn replace(&mut self, start: usize, text: &str) {
        self.text.replace_range(start..self.cursor, text);
        self.cursor = start + text.len();
    }

    /// Moves the cursor.
    pub(crate) fn go(&mut self, motion: Motion) {
        self.cursor = self.target(motion);
    }

    /// Deletes without changing the text that was cut.
    pub(crate) fn delete(&mut self, motion: Motion) {
        self.remove(motion);
    }

    /// Cuts text, which [`Self::yank`] inserts again.
    pub(crate) fn cut(&mut self, motion: Motion) {
        let cut = self.remove(motion);
        if !cut.is_empty() {
            self.cut = cut;
        }
    }

    /// Cuts the whole text.
    pub(crate) fn cut_all(&mut self) {
        self.cut = std::mem::take(&mut self.text);
        self.cursor = 0;
    }

    /// Inserts the text that was cut last.
    pub(crate) fn yank(&mut self) {
        let cut = self.cut.clone();
        self.insert(&cut);
    }

    /// Swaps the graphemes before and after the cursor.
    pub(crate) fn transpose(&mut self) {
        if self.cursor == self.text.len() {
            self.go(Motion::Left);
        }
        let (left, right) = (self.target(Motion::Left), self.target(Motion::Right));
        if left < self.cursor && self.cursor < right {
            let swapped = format!("{}{}", &self.text[self.cursor..right], &self.text[left..self.cursor]);
            self.text.replace_range(left..right, &swapped);
            self.cursor = right;
        }
    }

    /// Takes the text, and adds it to the lines that can be recalled.
    pub(crate) fn enter(&mut self) -> String {
        let text = std::mem::take(&mut self.text);
        self.cursor = 0;
        self.recalled = None;
        if self.entered.last() != Some(&text) && !text.trim().is_empty() {
            self.entered.push(text.clone());
        }
        if self.entered.len() > MAX_HISTORY {
            self.entered.remove(0);
        }
        text
    }

    /// Moves the cursor up a line; in the first line, recalls the line entered before.
    pub(crate) fn up(&mut self) {
        if let Some(end) = self.text[..self.cursor].rfind('\n') {
            self.cursor = self.same_column(self.line_start(), self.text[..end].rfind('\n').map_or(0, |i| i + 1), end);
            return;
        }
        let before = self.recalled.as_ref().map_or(self.entered.len(), |(index, _)| *index);
        let Some(index) = before.checked_sub(1) else { return };
        let typed = self.recalled.take().map_or_else(|| self.text.clone(), |(_, typed)| typed);
        self.set(&self.entered[index].clone());
        self.recalled = Some((index, typed));
    }

    /// Moves the cursor down a line; in the last line, recalls the line entered after.
    pub(crate) fn down(&mut self) {
        if let Some(end) = self.text[self.cursor..].find('\n').map(|i| i + self.cursor) {
            let next_end = self.text[end + 1..].find('\n').map_or(self.text.len(), |i| i + end + 1);
            self.cursor = self.same_column(self.line_start(), end + 1, next_end);
            return;
        }
        let Some((index, typed)) = self.recalled.take() else { return };
        match self.entered.get(index + 1).cloned() {
            Some(text) => {
                self.set(&text);
                self.recalled = Some((index + 1, typed));
            }
            None => self.set(&typed),
        }
    }

    fn same_column(&self, from: usize, start: usize, end: usize) -> usize {
        let column = self.text[from..self.cursor].graphemes(true).count();
        self.text[start..end].grapheme_indices(true).nth(column).map_or(end, |(index, _)| start + index)
    }

    fn remove(&mut self, motion: Motion) -> String {
        let target = self.target(motion);
        let (start, end) = (self.cursor.min(target), self.cursor.max(target));
        self.cursor = start;
        self.text.drain(start..end).collect()
    }

    fn target(&self, motion: Motion) -> usize {
        let (before, after) = self.text.split_at(self.cursor);
        match motion {
            Motion::Left => before.grapheme_indices(true).next_back().map_or(0, |(index, _)| index),
            Motion::Right => after.graphemes(true).next().map_or(self.cursor, |grapheme| self.cursor + grapheme.len()),
            Motion::WordLeft => before.unicode_word_indices().next_back().map_or(0, |(index, _)| index),
            Motion::WordRight => after
                .unicode_word_indices()
                .next()
                .map_or(self.text.len(), |(index, word)| self.cursor + index + word.len()),
            Motion::BlankLeft => {
                let words = before.trim_end();
                words.char_indices().rev().find(|(_, c)| c.is_whitespace()).map_or(0, |(i, c)| i + c.len_utf8())
            }
            Motion::LineStart => self.line_start(),
            Motion::LineEnd => after.find('\n').map_or(self.text.len(), |index| self.cursor + index),
        }
    }

    fn line_start(&self) -> usize {
        self.text[..self.cursor].rfind('\n').map_or(0, |index| index + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn editor(text: &str) -> Editor {
        Editor::with(text)
    }

    #[test]
    fn motions_keep_graphemes_whole() {
        let mut e = editor("né👩\u{200d}🚀");
        e.go(Motion::Left);
        assert_eq!(e.cursor(), "né".len());
        e.delete(Motion::Left);
        assert_eq!(e.text(), "n👩\u{200d}🚀");
        e.delete(Motion::Right);
        assert_eq!(e.text(), "n");
    }

    #[test]
    fn words_are_cut_and_yanked() {
        let mut e = editor("halo semua, apa kabar");
        e.cut(Motion::BlankLeft);
        assert_eq!(e.text(), "halo semua, apa ");
        e.go(Motion::WordLeft);
        e.go(Motion::WordLeft);
        assert_eq!(e.cursor(), 5);
        e.cut(Motion::LineEnd);
        assert_eq!(e.text(), "halo ");
        e.go(Motion::LineStart);
        e.yank();
        assert_eq!(e.text(), "semua, apa halo ");
        e.go(Motion::LineStart);
        e.go(Motion::WordRight);
        assert_eq!(e.cursor(), 5);
        let mut e = editor("ab");
        e.transpose();
        assert_eq!(e.text(), "ba");
    }

    #[test]
    fn arrows_recall_entered_lines_and_the_draft() {
        let mut e = editor("satu");
        assert_eq!(e.enter(), "satu");
        e.set("dua");
        assert_eq!(e.enter(), "dua");
        e.set("ti");
        e.up();
        e.up();
        e.up();
        assert_eq!(e.text(), "satu");
        e.down();
        assert_eq!(e.text(), "dua");
        e.down();
        e.down();
        assert_eq!(e.text(), "ti");
    }

    #[test]
    fn arrows_move_between_the_lines_of_a_text() {
        let mut e = editor("abc\nde\nfgh");
        e.up();
        assert_eq!(e.cursor(), 6, "the shorter line's end");
        e.up();
        assert_eq!(e.cursor(), 2);
        e.down();
        e.down();
        assert_eq!(e.cursor(), 9);
        e.go(Motion::LineStart);
        assert_eq!(e.cursor(), 7);
    }

    #[test]
    fn a_text_that_is_too_long_is_refused() {
        let mut e = Editor::default();
        assert!(!e.insert(&"x".repeat(MAX_BYTES + 1)));
        assert!(e.is_empty());
    }
}
