//! Copies of one group's members for calls that show them, shared by all of these and made rarely.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use gaung_engine::{Members, Roster, SenderStats};
use tokio::sync::oneshot;

use crate::feed::Feed;

/// Between two copies of one group's members: what they cost is bounded, and people see no difference.
const INTERVAL: Duration = Duration::from_millis(100);

/// Whoever asked who listens, and what was sent to them.
pub(crate) type RosterReply = oneshot::Sender<(Arc<Roster>, SenderStats)>;

/// Copies the members for those who asked, and for those who wait for changes.
#[derive(Debug, Default)]
pub(super) struct Rosters {
    asked: Vec<RosterReply>,
    /// When the last copy was made.
    made: Option<Instant>,
    /// [`Members::changes`] at the copy in the feed, while there is one.
    shown: Option<u64>,
    due: Option<Instant>,
}

impl Rosters {
    /// Answers with the members as they are now, or in a moment.
    pub(super) fn ask(&mut self, reply: RosterReply) {
        self.asked.push(reply);
    }

    /// When to call [`Self::settle`] even if nothing happens.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Makes a copy if somebody needs one and the last was not made just now.
    pub(super) fn settle(&mut self, now: Instant, members: &Members, sent: SenderStats, feed: &Feed) {
        self.due = None;
        let is_watched = feed.has_roster_readers();
        if !is_watched && self.shown.take().is_some() {
            feed.forget_roster();
        }
        let is_current = self.shown == Some(members.changes());
        if self.asked.is_empty() && (is_current || !is_watched) {
            return;
        }
        if is_current {
            return self.answer(&feed.roster(), sent);
        }
        let soonest = self.made.map_or(now, |made| made + INTERVAL);
        if now < soonest {
            self.due = Some(soonest);
            return;
        }
        self.made = Some(now);
        let roster = Arc::new(members.roster());
        if is_watched {
            self.shown = Some(members.changes());
            feed.set_roster(Arc::clone(&roster));
        }
        self.answer(&roster, sent);
    }

    fn answer(&mut self, roster: &Arc<Roster>, sent: SenderStats) {
        for reply in self.asked.drain(..) {
            // Whoever asked may be gone.
            let _ = reply.send((Arc::clone(roster), sent));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use gaung_engine::{Reporter, RingBudget, SessionReport};
    use gaung_proto::{DeviceId, SenderId, Seq, body::Cookie};

    use super::*;

    /// A group whose members and clock are set by hand.
    struct Scene {
        rosters: Rosters,
        members: Members,
        feed: Feed,
        now: Instant,
    }

    impl Scene {
        fn new() -> Self {
            let feed = Feed::new(Seq::ZERO, &Arc::new(RingBudget::new(1 << 20)), 1 << 20);
            Self { rosters: Rosters::default(), members: Members::default(), feed, now: Instant::now() }
        }

        fn join(&mut self, member: u8) {
            let (member, device, name) = (SenderId([member; 16]), DeviceId::NONE, String::new());
            let cookie = Cookie::default();
            let report =
                SessionReport { member, owner: 0, device, name, delivered: Some(Seq::ZERO), cookie, gone: false };
            self.members.handle_session(self.now, Seq::ZERO, Reporter { hub: 1, stream: 1 }, &report);
        }

        fn settle(&mut self) {
            self.rosters.settle(self.now, &self.members, SenderStats::default(), &self.feed);
        }

        fn ask(&mut self) -> oneshot::Receiver<(Arc<Roster>, SenderStats)> {
            let (reply, answer) = oneshot::channel();
            self.rosters.ask(reply);
            self.settle();
            answer
        }
    }

    #[test]
    fn all_who_watch_share_one_copy_of_each_change() {
        let mut scene = Scene::new();
        scene.join(1);
        let mut watchers = [scene.feed.rosters(), scene.feed.rosters()];
        let first = scene.ask().try_recv().unwrap().0;
        assert!(watchers.iter_mut().all(|watcher| Arc::ptr_eq(&watcher.borrow_and_update(), &first)));
        let again = scene.ask().try_recv().unwrap().0;
        assert!(Arc::ptr_eq(&again, &first), "nothing has changed");
        scene.join(2);
        scene.settle();
        assert!(!watchers[0].has_changed().unwrap(), "the last copy was made just now");
        assert_eq!(scene.rosters.due(), Some(scene.now + INTERVAL));
        let mut asked = scene.ask();
        asked.try_recv().unwrap_err();
        scene.now += INTERVAL;
        scene.settle();
        let (second, _) = asked.try_recv().unwrap();
        assert_eq!((second.present().count(), scene.rosters.due()), (2, None));
        assert!(watchers.iter_mut().all(|watcher| Arc::ptr_eq(&watcher.borrow_and_update(), &second)));
    }

    #[test]
    fn no_copy_is_made_or_kept_for_nobody() {
        let mut scene = Scene::new();
        scene.join(1);
        scene.settle();
        assert_eq!((scene.rosters.made, scene.rosters.due()), (None, None));
        let watcher = scene.feed.rosters();
        scene.settle();
        let shown = Arc::downgrade(&watcher.borrow());
        drop(watcher);
        scene.settle();
        assert!(shown.upgrade().is_none(), "it is freed when nobody watches any more");
        let mut asked = scene.ask();
        asked.try_recv().unwrap_err();
        scene.now = scene.rosters.due().unwrap();
        scene.settle();
        assert_eq!(asked.try_recv().unwrap().0.present().count(), 1);
    }
}
