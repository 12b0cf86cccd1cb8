//! Which key does what: readline's for the line, WeeChat's and Slack's for the rest.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{command::TypedLine, completion::complete, message_command::MessageCommand, overlay_keys::OverlayOutcome};
use crate::{
    effect::Effect,
    model::{
        Model,
        composer::ComposeIntent,
        editor::{Editor, Motion},
        overlay::Overlay,
        room::{Room, Scroll},
    },
    rows::{areas, overlay::row_count},
    ui_text::UiText,
};

impl Model {
    /// Handles a key.
    #[expect(clippy::wildcard_enum_match_arm, reason = "a keyboard has more keys than mean anything")]
    pub(super) fn key(&mut self, key: KeyEvent) {
        if key.kind == KeyEventKind::Release {
            return;
        }
        self.context.touch();
        let (plain, control, alt) = (
            key.modifiers.difference(KeyModifiers::SHIFT).is_empty(),
            key.modifiers.contains(KeyModifiers::CONTROL),
            key.modifiers.contains(KeyModifiers::ALT),
        );
        if !(control && key.code == KeyCode::Char('c')) {
            self.leaving_asked = false;
        }
        if let Some(room) = self.rooms.current_mut().filter(|_| !matches!(key.code, KeyCode::Tab | KeyCode::BackTab)) {
            room.composer.completion = None;
        }
        if self.overlay_key(key) || self.move_key(key, control, alt) || (plain && self.selection_key(key.code)) {
            return;
        }
        match key.code {
            KeyCode::Char('?') if plain && self.line_is_empty() => self.overlay = Some(Overlay::Help { top: 0 }),
            KeyCode::F(1) => self.overlay = Some(Overlay::Help { top: 0 }),
            KeyCode::Char('c') if control => self.interrupt(),
            KeyCode::Char('d') if control && self.line_is_empty() => self.interrupt(),
            KeyCode::Char('l') if control => self.context.effect(Effect::Redraw),
            KeyCode::Char('h') if alt => self.show_receipt(None),
            KeyCode::Char('j') if control => self.insert("\n"),
            KeyCode::Enter if alt || key.modifiers.contains(KeyModifiers::SHIFT) => self.insert("\n"),
            KeyCode::Enter => self.enter(),
            KeyCode::Tab => complete(&mut self.rooms, self.context.me.device, false),
            KeyCode::BackTab => complete(&mut self.rooms, self.context.me.device, true),
            KeyCode::Esc => self.escape(),
            KeyCode::Char(c) if plain => self.insert(c.encode_utf8(&mut [0; 4])),
            _ => {
                if let Some(room) = self.rooms.current_mut() {
                    edit_key(&mut room.composer.editor, key.code, control, alt);
                }
            }
        }
    }

    /// Inserts pasted text with its lines.
    pub(super) fn paste(&mut self, text: &str) {
        if let Some(room) = self.rooms.current_mut() {
            room.composer.completion = None;
        }
        self.overlay = None;
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        self.insert(&text);
        self.context.touch();
    }

    /// Gives a key to the overlay; true if that used it up.
    fn overlay_key(&mut self, key: KeyEvent) -> bool {
        let (context, room) = (&self.context, self.rooms.current_mut());
        let Some(overlay) = &mut self.overlay else { return false };
        let areas = areas(context, room.as_deref());
        let rows = row_count(context, room.as_deref(), overlay);
        // Its frame takes two of the rows above the status line.
        let seen = usize::from(areas.status.y).saturating_sub(2);
        let page = usize::from(areas.talk.height).saturating_sub(2).max(1);
        let outcome = overlay.key(key, rows, seen, page);
        if outcome == OverlayOutcome::Stays {
            return true;
        }
        self.overlay = None;
        match (outcome, room) {
            (OverlayOutcome::Jumps(seq), Some(room)) => room.jump(seq, &mut self.context),
            // It closes the help, which it would open again.
            (OverlayOutcome::Passes, _) if key.code == KeyCode::Char('?') => self.insert("?"),
            (OverlayOutcome::Passes, _) => return false,
            (OverlayOutcome::Stays | OverlayOutcome::Closes | OverlayOutcome::Jumps(_), _) => {}
        }
        true
    }

    /// Handles keys that turn to another group or scroll; false if it is none of them.
    fn move_key(&mut self, key: KeyEvent, control: bool, alt: bool) -> bool {
        let Self { context, rooms, .. } = self;
        let (former, last) = (rooms.former_index(), rooms.len().saturating_sub(1));
        let Some(room) = rooms.current_mut() else { return false };
        match (key.code, control, alt) {
            (KeyCode::PageUp, false, false) => room.scroll_pages(-1, context),
            (KeyCode::PageDown, false, false) => room.scroll_pages(1, context),
            (KeyCode::Up, true, false) => room.scroll(-1, context),
            (KeyCode::Down, true, false) => room.scroll(1, context),
            (KeyCode::Up, false, _) if alt || key.modifiers.contains(KeyModifiers::SHIFT) => room.select(true, context),
            (KeyCode::Down, false, _) if alt || key.modifiers.contains(KeyModifiers::SHIFT) => {
                room.select(false, context);
            }
            (KeyCode::Home, true, _) => room.go_to_oldest(context),
            (KeyCode::End, true, _) => room.go_to_latest(context),
            (KeyCode::Char('n'), true, _) | (KeyCode::PageDown, true, _) => rooms.step(1, context),
            (KeyCode::Char('p'), true, _) | (KeyCode::PageUp, true, _) => rooms.step(last, context),
            (KeyCode::Char('a'), false, true) => rooms.go_to_activity(context),
            (KeyCode::Char('/'), false, true) => rooms.go(former, context),
            (KeyCode::Char(digit @ '1'..='9'), false, true) => rooms.go(digit as usize - '1' as usize, context),
            _ => return false,
        }
        true
    }

    /// Handles keys that act on the selected message; false if it is none of them.
    #[expect(clippy::wildcard_enum_match_arm, reason = "a keyboard has more keys than mean anything")]
    fn selection_key(&mut self, code: KeyCode) -> bool {
        let context = &mut self.context;
        let Some(room) = self.rooms.current_mut().filter(|room| room.composer.editor.is_empty()) else { return false };
        let Some(seq) = room.selected else { return false };
        match code {
            KeyCode::Char('r') => MessageCommand::Reply(Some(seq), String::new()).execute(room, context),
            KeyCode::Char('e') => MessageCommand::Edit(Some(seq), String::new()).execute(room, context),
            KeyCode::Char('d') => MessageCommand::Delete(Some(seq)).execute(room, context),
            KeyCode::Char('+') => {
                room.selected = None;
                room.composer.editor.set(&format!("/react #{seq} "));
            }
            KeyCode::Char('i') | KeyCode::Enter => self.show_receipt(Some(seq)),
            KeyCode::Up => room.select(true, context),
            KeyCode::Down => room.select(false, context),
            _ => return false,
        }
        true
    }

    /// Enter: publishes the line, or executes the command that it is.
    fn enter(&mut self) {
        let context = &mut self.context;
        let Some(room) = self.rooms.current_mut() else { return };
        if room.composer.editor.text().trim().is_empty() && room.composer.intent == ComposeIntent::Say {
            return;
        }
        match TypedLine::parse(room.composer.editor.text().trim_end(), context.lang) {
            // The line stays, so that it can be corrected.
            Err(wrong) => context.status(wrong, true),
            Ok(TypedLine::Words(words)) => {
                if room.say(&words, context) {
                    room.composer.editor.enter();
                }
            }
            Ok(TypedLine::Command(command)) => {
                room.composer.editor.enter();
                context.clear_status();
                self.execute(command);
            }
        }
    }

    /// Inserts text at the cursor.
    fn insert(&mut self, text: &str) {
        let context = &mut self.context;
        context.clear_status();
        let Some(room) = self.rooms.current_mut() else { return };
        if text == "/" && room.composer.editor.is_empty() {
            // Tab is to complete groups that others created meanwhile.
            context.effect(Effect::Groups);
        }
        room.selected = None;
        if !room.composer.editor.insert(text) {
            context.warn(UiText::TooLong, &[]);
        }
    }

    fn line_is_empty(&self) -> bool {
        self.room().is_none_or(|room| room.composer.editor.is_empty())
    }

    /// Ctrl-C: clears the line; on an empty one it asks, and the second time ends the chat.
    fn interrupt(&mut self) {
        if self.rooms.current_mut().is_some_and(clear_line) {
            return;
        }
        if std::mem::replace(&mut self.leaving_asked, true) {
            self.quit = true;
        } else {
            self.context.inform(UiText::OnceMoreToQuit, &[]);
        }
    }

    /// Esc: cancels the selection, or the reply or edit; else goes to the newest message.
    fn escape(&mut self) {
        self.context.clear_status();
        let Some(room) = self.rooms.current_mut() else { return };
        if room.selected.take().is_some() || room.composer.cancel_intent() {
            return;
        }
        if room.scroll != Scroll::Latest || !room.timeline.is_live() {
            room.go_to_latest(&mut self.context);
        }
    }
}

/// Clears the selection and the line; false if there was neither.
fn clear_line(room: &mut Room) -> bool {
    let selected = room.selected.take().is_some();
    room.composer.clear() || selected
}

/// Handles keys that move in the line or change it.
fn edit_key(editor: &mut Editor, code: KeyCode, control: bool, alt: bool) {
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
