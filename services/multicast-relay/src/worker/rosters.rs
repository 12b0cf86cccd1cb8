//! Copies of one group's members for calls that show them. All such calls share a copy, and copies are rate-limited.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use gaung_engine::{Members, Roster, SenderStats};
use tokio::sync::oneshot;

use crate::feed::GroupFeed;

/// Least time between two copies of one group's members, which bounds what they cost; people notice no delay.
const INTERVAL: Duration = Duration::from_millis(100);

/// Where to send the members and the counters of what was sent to them.
pub(crate) type RosterReply = oneshot::Sender<(Arc<Roster>, SenderStats)>;

/// Copies the members for pending requests and for subscribers of the feed.
#[derive(Debug, Default)]
pub(super) struct Rosters {
    pending: Vec<RosterReply>,
    /// When the last copy was made.
    made: Option<Instant>,
    /// [`Members::changes`] at the copy in the feed, while there is one.
    shown: Option<u64>,
    due: Option<Instant>,
}

impl Rosters {
    /// Queues a request, to be answered by the next copy.
    pub(super) fn request(&mut self, reply: RosterReply) {
        self.pending.push(reply);
    }

    /// Returns when to call [`Self::update`] even if nothing happens.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Makes a copy if somebody needs one and the last is old enough.
    pub(super) fn update(&mut self, now: Instant, members: &Members, sent: SenderStats, feed: &GroupFeed) {
        self.due = None;
        let is_watched = feed.has_roster_readers();
        if !is_watched && self.shown.take().is_some() {
            feed.forget_roster();
        }
        let is_current = self.shown == Some(members.changes());
        if self.pending.is_empty() && (is_current || !is_watched) {
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
        for reply in self.pending.drain(..) {
            // Whoever requested it may be gone.
            let _ = reply.send((Arc::clone(roster), sent));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use gaung_engine::{ReportingHub, RingBudget, SessionReport};
    use gaung_proto::{DeviceId, SenderId, Seq, body::Cookie};

    use super::*;

    /// A group whose members and clock are set by hand.
    struct Scene {
        rosters: Rosters,
        members: Members,
        feed: GroupFeed,
        now: Instant,
    }

    impl Scene {
        fn new() -> Self {
            let feed = GroupFeed::new(Seq::ZERO, &Arc::new(RingBudget::new(1 << 20)), 1 << 20);
            Self { rosters: Rosters::default(), members: Members::default(), feed, now: Instant::now() }
        }

        fn join(&mut self, member: u8) {
            let (member, device, name) = (SenderId([member; 16]), DeviceId::NONE, String::new());
            let cookie = Cookie::default();
            let report =
                SessionReport { member, owner: 0, device, name, delivered: Some(Seq::ZERO), cookie, gone: false };
            self.members.handle_session(self.now, Seq::ZERO, ReportingHub { hub: 1, stream: 1 }, &report);
        }

        fn update(&mut self) {
            self.rosters.update(self.now, &self.members, SenderStats::default(), &self.feed);
        }

        fn request(&mut self) -> oneshot::Receiver<(Arc<Roster>, SenderStats)> {
            let (reply, answer) = oneshot::channel();
            self.rosters.request(reply);
            self.update();
            answer
        }
    }

    #[test]
    fn all_who_watch_share_one_copy_of_each_change() {
        let mut scene = Scene::new();
        scene.join(1);
        let mut watchers = [scene.feed.rosters(), scene.feed.rosters()];
        let first = scene.request().try_recv().unwrap().0;
        assert!(watchers.iter_mut().all(|watcher| Arc::ptr_eq(&watcher.borrow_and_update(), &first)));
        let again = scene.request().try_recv().unwrap().0;
        assert!(Arc::ptr_eq(&again, &first), "nothing has changed");
        scene.join(2);
        scene.update();
        assert!(!watchers[0].has_changed().unwrap(), "the last copy was made just now");
        assert_eq!(scene.rosters.due(), Some(scene.now + INTERVAL));
        let mut asked = scene.request();
        asked.try_recv().unwrap_err();
        scene.now += INTERVAL;
        scene.update();
        let (second, _) = asked.try_recv().unwrap();
        assert_eq!((second.present().count(), scene.rosters.due()), (2, None));
        assert!(watchers.iter_mut().all(|watcher| Arc::ptr_eq(&watcher.borrow_and_update(), &second)));
    }

    #[test]
    fn no_copy_is_made_or_kept_for_nobody() {
        let mut scene = Scene::new();
        scene.join(1);
        scene.update();
        assert_eq!((scene.rosters.made, scene.rosters.due()), (None, None));
        let watcher = scene.feed.rosters();
        scene.update();
        let shown = Arc::downgrade(&watcher.borrow());
        drop(watcher);
        scene.update();
        assert!(shown.upgrade().is_none(), "it is freed when nobody watches any more");
        let mut asked = scene.request();
        asked.try_recv().unwrap_err();
        scene.now = scene.rosters.due().unwrap();
        scene.update();
        assert_eq!(asked.try_recv().unwrap().0.present().count(), 1);
    }
}
