//! The judge of the run: limits of time, that nobody waits for others, and that nothing is missing at the end.

use super::{
    hub::OpenRead,
    settings::{Habit, Reader},
    world::{CHECK, Event, QUIET, SWEEP, World},
};

impl World<'_> {
    pub(super) fn note_read(&mut self, index: usize, read: &OpenRead) -> Result<(), String> {
        self.counts.reads += 1;
        let Some(session) = self.sessions[index].as_mut().filter(|_| read.is_resync) else { return Ok(()) };
        self.counts.resyncs += 1;
        // Each further subscription begins anew, and in `everyone` sessions are without one.
        let is_everyone = self.hub.groups.first().is_some_and(|everyone| everyone.info.id == read.group);
        let is_judged = session.requester.subscriptions <= u64::from(!is_everyone);
        let before = session.resynced.insert(read.log, self.now).filter(|_| is_judged);
        match before.filter(|before| self.now - *before < self.settings.limits.resync) {
            Some(before) => Err(format!("session {index} was resynchronised at {before:?} and again")),
            None => Ok(()),
        }
    }

    /// Holds the limits of time, and that nobody waits for others.
    pub(super) fn check(&mut self) -> Result<(), String> {
        let limits = &self.settings.limits;
        for (index, session) in self.sessions.iter().enumerate() {
            let Some(session) = session.as_ref().filter(|session| !session.is_over) else { continue };
            let most = limits.stall + limits.linger + 2 * SWEEP;
            if let Some(since) = session.blocked_since.filter(|since| self.now - *since > most) {
                return Err(format!("session {index} reads nothing since {since:?} and is kept"));
            }
            let Some(heads) = self.heads.iter().rev().nth(1) else { continue };
            if session.reader != Reader::Fast || session.core.end_reason().is_some() {
                continue;
            }
            for (group, (log, head)) in self.hub.groups.iter().zip(heads) {
                let read = session.peer.groups.get(&group.info.id);
                if read.is_some_and(|read| read.is_live && read.log == *log && read.next <= *head) {
                    return Err(format!(
                        "session {index} reads all at once, and {head} of {} is late",
                        group.info.name
                    ));
                }
            }
        }
        self.heads.push(self.hub.groups.iter().map(|group| (group.log, group.head())).collect());
        self.put_in(CHECK, Event::Check);
        Ok(())
    }

    /// Nothing is asked for any more: who reads has everything.
    pub(super) fn judge_end(&self) -> Result<(), String> {
        for (index, session) in self.sessions.iter().enumerate() {
            let Some(session) = session.as_ref().filter(|session| !session.is_over) else { continue };
            let is_judged = session.reader == Reader::Fast
                && session.requester.habit == Habit::Client
                && !session.is_text
                && session.core.end_reason().is_none();
            if !is_judged {
                continue;
            }
            for (id, read) in &session.peer.groups {
                let group = self.hub.group(*id).ok_or("a group that is none")?;
                if !group.has_ended && (read.log, read.next) != (group.log, group.head().next()) {
                    return Err(format!("session {index} waits for {} of {}", read.next, group.info.name));
                }
            }
            let is_answered = session.peer.tags.is_empty() || self.settings.relay_delay > QUIET / 2;
            if !is_answered || session.peer.pings.len() > 3 {
                return Err(format!("session {index} has no answer to {:?}", session.peer.tags));
            }
        }
        Ok(())
    }
}
