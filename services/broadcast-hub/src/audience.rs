//! Who hears a group here and how far each got: what the relay makes receipts of.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use gaung_proto::{ClientId, DeviceId, Seq, body::Cookie, limits::MAX_SESSION_REPORTS, pb::relay::SessionReport};

/// The hearers of one group. What changes it says whether the relay's link has to be told that there is something to
/// report; it need not be while something waits already.
#[derive(Debug, Default)]
pub(crate) struct Audience(Mutex<AudienceState>);

/// A client as far as it is known to be one: its id is public, so others may come under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct ClientKey {
    pub(crate) id: ClientId,
    /// Of its stream key, or of its address if it has none.
    pub(crate) owner: u64,
}

#[derive(Debug, Default)]
struct AudienceState {
    hearers: HashMap<ClientKey, Hearer>,
    /// To be reported: hearers as they are, others as gone.
    changed: HashSet<ClientKey>,
}

#[derive(Debug)]
struct Hearer {
    device: DeviceId,
    /// Of a text session.
    name: String,
    /// `None` for a text session, which cannot tell.
    delivered: Option<Seq>,
    /// What shows the relay which member by multicast it was.
    cookie: Cookie,
    /// Open sessions of this client in the group.
    sessions: usize,
    /// The relay knows of it.
    reported: bool,
}

impl Audience {
    /// A session begins to hear.
    pub(crate) fn enter(&self, client: ClientKey, device: DeviceId, name: &str, delivered: Option<Seq>) -> bool {
        let mut state = self.state();
        let hearer = Hearer {
            device,
            name: name.to_owned(),
            delivered,
            cookie: Cookie::default(),
            sessions: 0,
            reported: false,
        };
        let hearer = state.hearers.entry(client).or_insert(hearer);
        hearer.sessions += 1;
        hearer.delivered = delivered;
        state.change(client)
    }

    /// A session's place is another one: further, or anew in another log.
    pub(crate) fn move_to(&self, client: ClientKey, delivered: Seq) -> bool {
        self.update(client, |hearer| {
            let known = hearer.delivered.is_none_or(|known| known == delivered);
            hearer.delivered = hearer.delivered.and(Some(delivered));
            !known
        })
    }

    /// A session delivered up to a seq, perhaps not further than before.
    pub(crate) fn deliver(&self, client: ClientKey, delivered: Seq) -> bool {
        self.update(client, |hearer| {
            let further = hearer.delivered.is_some_and(|known| known < delivered);
            hearer.delivered = hearer.delivered.max(hearer.delivered.and(Some(delivered)));
            further
        })
    }

    /// A session showed the cookie that its client got for multicast.
    pub(crate) fn show_cookie(&self, client: ClientKey, cookie: Cookie) -> bool {
        self.update(client, |hearer| std::mem::replace(&mut hearer.cookie, cookie) != cookie)
    }

    pub(crate) fn rename(&self, client: ClientKey, name: &str) -> bool {
        self.update(client, |hearer| {
            name.clone_into(&mut hearer.name);
            true
        })
    }

    /// A session hears no more.
    pub(crate) fn leave(&self, client: ClientKey) -> bool {
        let mut state = self.state();
        let Some(hearer) = state.hearers.get_mut(&client) else { return false };
        hearer.sessions -= 1;
        if hearer.sessions > 0 {
            return false;
        }
        let was_reported = hearer.reported;
        state.hearers.remove(&client);
        if was_reported {
            return state.change(client);
        }
        state.changed.remove(&client);
        false
    }

    /// A new stream: its relay knows of nobody here.
    pub(crate) fn forget_reported(&self) {
        let mut state = self.state();
        state.hearers.values_mut().for_each(|hearer| hearer.reported = false);
        state.changed = state.hearers.keys().copied().collect();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.state().hearers.is_empty()
    }

    /// What is to be reported now, and whether there is more.
    pub(crate) fn take_reports(&self) -> (Vec<SessionReport>, bool) {
        let mut state = self.state();
        let taken: Vec<ClientKey> = state.changed.iter().copied().take(MAX_SESSION_REPORTS).collect();
        let reports = taken.into_iter().map(|client| state.report(client)).collect();
        let more = !state.changed.is_empty();
        if !more {
            state.changed.shrink_to(MAX_SESSION_REPORTS);
        }
        (reports, more)
    }

    fn update(&self, client: ClientKey, change: impl FnOnce(&mut Hearer) -> bool) -> bool {
        let mut state = self.state();
        let changed = state.hearers.get_mut(&client).is_some_and(change);
        changed && state.change(client)
    }

    fn state(&self) -> MutexGuard<'_, AudienceState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AudienceState {
    /// True if nothing else was waiting.
    fn change(&mut self, client: ClientKey) -> bool {
        let first = self.changed.is_empty();
        self.changed.insert(client);
        first
    }

    fn report(&mut self, client: ClientKey) -> SessionReport {
        self.changed.remove(&client);
        let (client_id, owner) = (client.id.into(), client.owner);
        let Some(hearer) = self.hearers.get_mut(&client) else {
            return SessionReport { client_id, owner, gone: true, ..SessionReport::default() };
        };
        hearer.reported = true;
        SessionReport {
            client_id,
            device_id: hearer.device.into(),
            delivered_seq: hearer.delivered.unwrap_or_default().0,
            silent: hearer.delivered.is_none(),
            gone: false,
            name: hearer.name.clone(),
            cookie: hearer.cookie.0,
            owner,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: DeviceId = DeviceId([9; 16]);

    fn client(number: u8) -> ClientKey {
        ClientKey { id: ClientId([number; 16]), owner: 1 }
    }

    fn reported(audience: &Audience) -> Vec<(u8, u64, bool, bool)> {
        let mut reports: Vec<_> = audience.take_reports().0.iter().map(summary).collect();
        reports.sort_unstable();
        reports
    }

    fn summary(report: &SessionReport) -> (u8, u64, bool, bool) {
        (report.client_id[0], report.delivered_seq, report.silent, report.gone)
    }

    #[test]
    fn only_what_changed_is_reported_and_the_link_is_told_once() {
        let audience = Audience::default();
        assert!(audience.enter(client(1), DEVICE, "", Some(Seq(4))));
        assert!(!audience.enter(client(2), DeviceId::NONE, "client-2", None), "something waits already");
        assert_eq!(reported(&audience), [(1, 4, false, false), (2, 0, true, false)]);
        assert_eq!(reported(&audience), []);
        assert!(audience.deliver(client(1), Seq(6)));
        assert!(!audience.deliver(client(1), Seq(5)), "an older place");
        assert!(!audience.deliver(client(2), Seq(5)), "a text session cannot tell");
        assert!(!audience.deliver(client(3), Seq(5)), "who is not here says nothing");
        assert_eq!(reported(&audience), [(1, 6, false, false)]);
        assert!(audience.move_to(client(1), Seq(0)), "another log");
        assert_eq!(reported(&audience), [(1, 0, false, false)]);
        assert!(audience.show_cookie(client(1), Cookie(8)));
        assert_eq!(audience.take_reports().0.iter().map(|report| report.cookie).collect::<Vec<_>>(), [8]);
        assert!(!audience.show_cookie(client(1), Cookie(8)), "it is known");
    }

    #[test]
    fn a_client_is_gone_with_its_last_session_and_only_if_it_was_reported() {
        let audience = Audience::default();
        audience.enter(client(1), DEVICE, "", Some(Seq(1)));
        audience.enter(client(1), DEVICE, "", Some(Seq(1)));
        audience.enter(client(2), DEVICE, "", Some(Seq(1)));
        audience.leave(client(2));
        assert_eq!(reported(&audience), [(1, 1, false, false)]);
        assert!(!audience.leave(client(1)));
        assert!(audience.leave(client(1)));
        assert!(audience.is_empty());
        assert_eq!(reported(&audience), [(1, 0, false, true)]);
    }

    #[test]
    fn whoever_comes_under_the_same_id_is_reported_apart() {
        let audience = Audience::default();
        let other = ClientKey { owner: 2, ..client(1) };
        audience.enter(client(1), DEVICE, "", Some(Seq(1)));
        audience.enter(other, DEVICE, "", Some(Seq(1)));
        audience.deliver(other, Seq(9));
        let by_owner = |audience: &Audience| {
            let reports = audience.take_reports().0;
            let mut told: Vec<_> = reports.iter().map(|r| (r.owner, r.delivered_seq, r.gone)).collect();
            told.sort_unstable();
            told
        };
        assert_eq!(by_owner(&audience), [(1, 1, false), (2, 9, false)]);
        audience.leave(other);
        assert_eq!(by_owner(&audience), [(2, 0, true)]);
    }

    #[test]
    fn a_new_stream_is_told_everything_but_who_went_before() {
        let audience = Audience::default();
        audience.enter(client(1), DEVICE, "", Some(Seq(1)));
        audience.enter(client(2), DEVICE, "", Some(Seq(1)));
        let _ = reported(&audience);
        audience.leave(client(2));
        audience.forget_reported();
        assert_eq!(reported(&audience), [(1, 1, false, false)]);
    }

    #[test]
    fn a_report_is_bounded() {
        let audience = Audience::default();
        for number in 0..1500_u32 {
            let mut id = [1; 16];
            id[..4].copy_from_slice(&number.to_be_bytes());
            audience.enter(ClientKey { id: ClientId(id), owner: 1 }, DEVICE, "", Some(Seq(1)));
        }
        let (first, more) = audience.take_reports();
        assert_eq!((first.len(), more), (1024, true));
        let (rest, more) = audience.take_reports();
        assert_eq!((rest.len(), more), (476, false));
    }
}
