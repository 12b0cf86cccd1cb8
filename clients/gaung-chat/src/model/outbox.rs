//! What the model asks of the world: effects, and a redrawn screen.

use std::collections::VecDeque;

use crate::effect::Effect;

/// Effects in order, and whether the screen has to be drawn.
#[derive(Debug)]
pub(crate) struct Outbox {
    effects: VecDeque<Effect>,
    changed: bool,
    notified_us: Option<u64>,
}

impl Default for Outbox {
    /// Nothing to do, and a screen that was never drawn.
    fn default() -> Self {
        Self { effects: VecDeque::new(), changed: true, notified_us: None }
    }
}

impl Outbox {
    /// Adds an effect.
    pub(crate) fn push(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    /// Takes the next effect.
    pub(crate) fn pop(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Asks for the screen to be drawn.
    pub(crate) const fn touch(&mut self) {
        self.changed = true;
    }

    /// Returns true once after each change.
    pub(crate) const fn take_changed(&mut self) -> bool {
        std::mem::replace(&mut self.changed, false)
    }

    /// Notifies the person, at most once for each value of the clock, which ticks once a second: ten thousand bells say
    /// no more than one.
    pub(crate) fn notify(&mut self, now_us: u64, title: String, body: String) {
        if self.notified_us.replace(now_us) != Some(now_us) {
            self.push(Effect::Notify { title, body });
        }
    }
}
