//! Decides which characters of text that somebody else wrote may be shown.
//!
//! This is the only table of control, bidirectional and invisible characters. The terminal, the hub's text port and
//! display names call it; the page's `harmless.js` repeats it, and `tests/foreign_text.json` is read by the tests of all
//! four.

/// How a character of foreign text may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CharClass {
    /// Can be shown as it is.
    Visible,
    /// Moves to the next tab stop: U+0009 alone.
    Tab,
    /// Ends a line or a paragraph, on a terminal or in Unicode's line breaking (UAX 14, BK, CR, LF and NL).
    LineBreak,
    /// Any other C0 or C1 control, or DEL: a terminal may execute it.
    Control,
    /// Is not seen where it stands, so that it reorders or disguises the text around it.
    Invisible,
}

/// Classifies each character of `text` by itself and its neighbours.
///
/// Joiners, variation selectors and tags are visible where they change how a neighbour looks: in scripts that join letters
/// and between emoji, on emoji and ideographs, and in a flag. Elsewhere they make texts differ that look the same. What
/// remains after the invisible ones are dropped has no invisible character.
pub fn classify(text: &str) -> impl Iterator<Item = (char, CharClass)> {
    let mut before = '\0';
    let mut rest = text.chars().peekable();
    std::iter::from_fn(move || {
        let c = rest.next()?;
        let after = rest.peek().copied().unwrap_or('\0');
        let class = class_between(before, c, after);
        match class {
            CharClass::Visible => before = c,
            CharClass::Invisible => {}
            CharClass::Tab | CharClass::LineBreak | CharClass::Control => before = '\0',
        }
        Some((c, class))
    })
}

/// Whether all of `text` can be shown as it is.
#[must_use]
pub fn is_all_visible(text: &str) -> bool {
    // Most text is plain ASCII, and the hub asks for every message.
    text.bytes().all(|byte| matches!(byte, b' '..=b'~')) || classify(text).all(|(_, class)| class == CharClass::Visible)
}

/// The text without its invisible characters; controls and line breaks stay.
#[must_use]
pub fn without_invisible(text: &str) -> String {
    classify(text).filter(|&(_, class)| class != CharClass::Invisible).map(|(c, _)| c).collect()
}

/// Whether a character is invisible whatever stands beside it: bidirectional controls, fillers that Unicode counts as
/// letters, and the default-ignorable code points (Unicode 16, DerivedCoreProperties) except joiners, selectors and tags.
#[must_use]
pub const fn is_invisible(c: char) -> bool {
    match c {
        // Arabic letter mark, directional marks, embeddings, overrides, isolates, and the deprecated formats after them.
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}' => true,
        // Soft hyphen, grapheme joiner, zero-width space, word joiner, invisible operators, byte order mark.
        '\u{ad}' | '\u{34f}' | '\u{200b}' | '\u{2060}'..='\u{2065}' | '\u{feff}' => true,
        // Fillers of Hangul, blank Braille, inherent vowels of Khmer, selectors of Mongolian.
        '\u{115f}'
        | '\u{1160}'
        | '\u{3164}'
        | '\u{ffa0}'
        | '\u{2800}'
        | '\u{17b4}'
        | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' => true,
        // Interlinear annotation, formats of shorthand and of music.
        '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' => true,
        // The plane of tags and selectors, except those that make flags and choose glyphs of ideographs.
        '\u{e0000}'..='\u{e001f}' | '\u{e0080}'..='\u{e00ff}' | '\u{e01f0}'..='\u{e0fff}' => true,
        _ => false,
    }
}

const fn class_between(before: char, c: char, after: char) -> CharClass {
    match c {
        '\t' => CharClass::Tab,
        '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => CharClass::LineBreak,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => CharClass::Control,
        '\u{200c}' | '\u{200d}' if !joins(before, after) => CharClass::Invisible,
        '\u{fe00}'..='\u{fe0f}' if !selects(before, after) => CharClass::Invisible,
        '\u{e0020}'..='\u{e007f}' if !matches!(before, '\u{1f3f4}' | '\u{e0020}'..='\u{e007f}') => CharClass::Invisible,
        _ if is_invisible(c) => CharClass::Invisible,
        _ => CharClass::Visible,
    }
}

/// Whether a joiner between the two changes how they look.
const fn joins(before: char, after: char) -> bool {
    // Scripts that join begin with Hebrew; a word of theirs may follow one of another script ("PDF‌ها").
    let highest = if before as u32 > after as u32 { before } else { after };
    before != '\0' && highest as u32 >= 0x590 && matches!(class_between('\0', after, '\0'), CharClass::Visible)
}

/// Whether a variation selector between the two changes how they look.
const fn selects(before: char, after: char) -> bool {
    // Digits, `#` and `*` have a keycap after the selector.
    before as u32 >= 0x2000 || matches!(before, '©' | '®') || after == '\u{20e3}'
}
