//! Which key does what: readline's for the line, WeeChat's and Slack's for the rest.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::{
    effect::Effect,
    model::{Model, editor::Motion, overlay::Overlay, room::Scroll},
    words::Word,
};

impl Model {
    /// A key was pressed.
    #[expect(clippy::wildcard_enum_match_arm, reason = "a keyboard has more keys than mean anything")]
    pub(super) fn key(&mut self, key: KeyEvent) {
        if key.kind == KeyEventKind::Release {
            return;
        }
        self.touch();
        let (plain, control, alt) = (
            key.modifiers.difference(KeyModifiers::SHIFT).is_empty(),
            key.modifiers.contains(KeyModifiers::CONTROL),
            key.modifiers.contains(KeyModifiers::ALT),
        );
        if !(control && key.code == KeyCode::Char('c')) {
            self.leaving_asked = false;
        }
        if !matches!(key.code, KeyCode::Tab | KeyCode::BackTab) {
            self.completion = None;
        }
        if self.overlay.is_some() && self.overlay_key(key) {
            return;
        }
        if self.move_key(key, control, alt) {
            return;
        }
        if plain && self.selection_key(key.code) {
            return;
        }
        match key.code {
            KeyCode::Char('?') if plain && self.line_is_empty() => self.overlay = Some(Overlay::Help { top: 0 }),
            KeyCode::F(1) => self.overlay = Some(Overlay::Help { top: 0 }),
            KeyCode::Char('c') if control => self.interrupted(),
            KeyCode::Char('d') if control && self.line_is_empty() => self.interrupted(),
            KeyCode::Char('l') if control => self.effect(Effect::Redraw),
            KeyCode::Char('h') if alt => self.who_heard(None),
            KeyCode::Char('j') if control => self.type_text("\n"),
            KeyCode::Enter if alt || key.modifiers.contains(KeyModifiers::SHIFT) => self.type_text("\n"),
            KeyCode::Enter => self.enter(),
            KeyCode::Tab => self.complete(false),
            KeyCode::BackTab => self.complete(true),
            KeyCode::Esc => self.escape(),
            KeyCode::Char(c) if plain => self.type_text(c.encode_utf8(&mut [0; 4])),
            _ => self.edit_key(key.code, control, alt),
        }
    }

    /// Pasted text is typed as it is, with its lines.
    pub(super) fn paste(&mut self, text: &str) {
        self.completion = None;
        self.overlay = None;
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        self.type_text(&text);
        self.touch();
    }

    pub(super) fn type_text(&mut self, text: &str) {
        self.unflash();
        if text == "/" && self.line_is_empty() {
            // For Tab: groups that others made meanwhile.
            self.effect(Effect::Groups);
        }
        let Some(room) = self.room_mut() else { return };
        room.selected = None;
        if !room.composer.editor.insert(text) {
            self.warn(Word::TooLong, &[]);
        }
    }

    fn line_is_empty(&self) -> bool {
        self.room().is_none_or(|room| room.composer.editor.is_empty())
    }

    /// Ctrl-C: clears the line; on an empty one asks, and then ends.
    fn interrupted(&mut self) {
        let cleared = self.room_mut().is_some_and(|room| {
            let selected = room.selected.take().is_some();
            room.composer.clear() || selected
        });
        if cleared {
            return;
        }
        if std::mem::replace(&mut self.leaving_asked, true) {
            self.quit = true;
        } else {
            self.tell(Word::OnceMoreToQuit, &[]);
        }
    }

    /// Esc: gives up what is going on, then goes to the newest message.
    fn escape(&mut self) {
        self.unflash();
        let Some(room) = self.room_mut() else { return };
        if room.selected.take().is_some() {
            return;
        }
        if room.composer.cancel_intent() {
            return;
        }
        if room.scroll != Scroll::Latest || !room.timeline.is_live() {
            self.go_to_latest();
        }
    }

    fn edit_key(&mut self, code: KeyCode, control: bool, alt: bool) {
        let Some(room) = self.room_mut() else { return };
        let editor = &mut room.composer.editor;
        match (code, control, alt) {
            (KeyCode::Left, false, false) | (KeyCode::Char('b'), true, _) => editor.go(Motion::Left),
            (KeyCode::Right, false, false) | (KeyCode::Char('f'), true, _) => editor.go(Motion::Right),
            (KeyCode::Left, ..) | (KeyCode::Char('b'), _, true) => editor.go(Motion::WordLeft),
            (KeyCode::Right, ..) | (KeyCode::Char('f'), _, true) => editor.go(Motion::WordRight),
            (KeyCode::Home, false, _) | (KeyCode::Char('a'), true, _) => editor.go(Motion::LineStart),
            (KeyCode::End, false, _) | (KeyCode::Char('e'), true, _) => editor.go(Motion::LineEnd),
            (KeyCode::Backspace, true, _) | (KeyCode::Backspace, _, true) => editor.cut(Motion::WordLeft),
            (KeyCode::Backspace, ..) | (KeyCode::Char('h'), true, _) => editor.delete(Motion::Left),
            (KeyCode::Delete, ..) | (KeyCode::Char('d'), true, _) => editor.delete(Motion::Right),
            (KeyCode::Char('d'), _, true) => editor.cut(Motion::WordRight),
            (KeyCode::Char('k'), true, _) => editor.cut(Motion::LineEnd),
            (KeyCode::Char('u'), true, _) => editor.cut(Motion::LineStart),
            (KeyCode::Char('w'), true, _) => editor.cut(Motion::BlankLeft),
            (KeyCode::Char('y'), true, _) => editor.yank(),
            (KeyCode::Char('t'), true, _) => editor.transpose(),
            (KeyCode::Up, ..) => editor.up(),
            (KeyCode::Down, ..) => editor.down(),
            _ => {}
        }
    }

    /// Keys that act on the selected message; true if it was one.
    #[expect(clippy::wildcard_enum_match_arm, reason = "a keyboard has more keys than mean anything")]
    fn selection_key(&mut self, code: KeyCode) -> bool {
        let Some(seq) = self.room().and_then(|room| room.selected) else { return false };
        if !self.line_is_empty() {
            return false;
        }
        match code {
            KeyCode::Char('r') => self.reply_to(Some(seq), ""),
            KeyCode::Char('e') => self.edit(Some(seq), ""),
            KeyCode::Char('d') => self.delete(Some(seq)),
            KeyCode::Char('+') => self.begin_line(&format!("/react #{seq} ")),
            KeyCode::Char('i') | KeyCode::Enter => self.who_heard(Some(seq)),
            KeyCode::Up => self.select(true),
            KeyCode::Down => self.select(false),
            _ => return false,
        }
        true
    }

    /// Puts the beginning of a line there.
    fn begin_line(&mut self, text: &str) {
        if let Some(room) = self.room_mut() {
            room.selected = None;
            room.composer.editor.set(text);
        }
    }
}
