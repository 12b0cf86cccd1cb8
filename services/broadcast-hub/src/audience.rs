//! The clients that receive a group through this hub, and how far each has delivered. The relay makes receipts of it.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use gaung_proto::{ClientId, DeviceId, Seq, body::Cookie, limits::MAX_SESSION_REPORTS, pb::relay::SessionReport};

/// The clients in one group. Methods that change it return true if the group's link has to be woken to report the change;
/// it need not be while a change waits already.
#[derive(Debug, Default)]
pub(crate) struct Audience(Mutex<AudienceState>);

/// Identifies a client. Its id alone does not, because ids are public and others may use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct ClientKey {
    pub(crate) id: ClientId,
    /// A hash of its stream key, or of its address if it has none.
    pub(crate) owner: u64,
}

#[derive(Debug, Default)]
struct AudienceState {
    clients: HashMap<ClientKey, AudienceClient>,
    /// Clients to report: as they are, or as gone if they are not in `clients`.
    changed: HashSet<ClientKey>,
}

#[derive(Debug)]
struct AudienceClient {
    device: DeviceId,
    /// The name of a text session; empty for others, whose names the registry has.
    name: String,
    /// `None` for a text session, which cannot acknowledge.
    delivered: Option<Seq>,
    /// The cookie that the relay gave the client for multicast, by which the relay recognises it.
    cookie: Cookie,
    /// Number of open sessions of this client in the group.
    sessions: usize,
    /// True if the relay was told of it on the current stream.
    is_reported: bool,
}

impl Audience {
    /// Counts a session in.
    pub(crate) fn enter(&self, client: ClientKey, device: DeviceId, name: &str, delivered: Option<Seq>) -> bool {
        let mut state = self.state();
        let entered = AudienceClient {
            device,
            name: name.to_owned(),
            delivered,
            cookie: Cookie::default(),
            sessions: 0,
            is_reported: false,
        };
        let known = state.clients.entry(client).or_insert(entered);
        known.sessions += 1;
        known.delivered = delivered;
        state.change(client)
    }

    /// Sets how far a session has delivered, which may be less than before after the log was replaced.
    pub(crate) fn move_to(&self, client: ClientKey, delivered: Seq) -> bool {
        self.update(client, |client| {
            let is_same = client.delivered.is_none_or(|known| known == delivered);
            client.delivered = client.delivered.and(Some(delivered));
            !is_same
        })
    }

    /// Raises how far a session has delivered; a lower seq changes nothing.
    pub(crate) fn deliver(&self, client: ClientKey, delivered: Seq) -> bool {
        self.update(client, |client| {
            let is_further = client.delivered.is_some_and(|known| known < delivered);
            client.delivered = client.delivered.max(client.delivered.and(Some(delivered)));
            is_further
        })
    }

    /// Sets the cookie that a client got for multicast.
    pub(crate) fn show_cookie(&self, client: ClientKey, cookie: Cookie) -> bool {
        self.update(client, |client| std::mem::replace(&mut client.cookie, cookie) != cookie)
    }

    /// Sets the device that a client has proven.
    pub(crate) fn set_device(&self, client: ClientKey, device: DeviceId) -> bool {
        self.update(client, |client| std::mem::replace(&mut client.device, device) != device)
    }

    pub(crate) fn rename(&self, client: ClientKey, name: &str) -> bool {
        self.update(client, |client| {
            name.clone_into(&mut client.name);
            true
        })
    }

    /// Counts a session out.
    pub(crate) fn leave(&self, client: ClientKey) -> bool {
        let mut state = self.state();
        let Some(known) = state.clients.get_mut(&client) else { return false };
        known.sessions -= 1;
        if known.sessions > 0 {
            return false;
        }
        let was_reported = known.is_reported;
        state.clients.remove(&client);
        if was_reported {
            return state.change(client);
        }
        state.changed.remove(&client);
        false
    }

    /// Marks all clients as unreported, because a new stream to the relay begins without any.
    pub(crate) fn forget_reported(&self) {
        let mut state = self.state();
        state.clients.values_mut().for_each(|client| client.is_reported = false);
        state.changed = state.clients.keys().copied().collect();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.state().clients.is_empty()
    }

    /// Takes one report's worth of changes; true if more are left.
    pub(crate) fn take_reports(&self) -> (Vec<SessionReport>, bool) {
        let mut state = self.state();
        let taken: Vec<ClientKey> = state.changed.iter().copied().take(MAX_SESSION_REPORTS).collect();
        let reports = taken.into_iter().map(|client| state.report(client)).collect();
        let has_more = !state.changed.is_empty();
        if !has_more {
            state.changed.shrink_to(MAX_SESSION_REPORTS);
        }
        (reports, has_more)
    }

    fn update(&self, client: ClientKey, change: impl FnOnce(&mut AudienceClient) -> bool) -> bool {
        let mut state = self.state();
        let changed = state.clients.get_mut(&client).is_some_and(change);
        changed && state.change(client)
    }

    fn state(&self) -> MutexGuard<'_, AudienceState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AudienceState {
    /// Notes a changed client; returns true if no other change was waiting.
    fn change(&mut self, client: ClientKey) -> bool {
        let first = self.changed.is_empty();
        self.changed.insert(client);
        first
    }

    fn report(&mut self, client: ClientKey) -> SessionReport {
        self.changed.remove(&client);
        let (client_id, owner) = (client.id.into(), client.owner);
        let Some(known) = self.clients.get_mut(&client) else {
            return SessionReport { client_id, owner, gone: true, ..SessionReport::default() };
        };
        known.is_reported = true;
        SessionReport {
            client_id,
            device_id: known.device.into(),
            delivered_seq: known.delivered.unwrap_or_default().0,
            silent: known.delivered.is_none(),
            gone: false,
            name: known.name.clone(),
            cookie: known.cookie.0,
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
    fn only_changes_are_reported_and_the_link_is_woken_once() {
        let audience = Audience::default();
        assert!(audience.enter(client(1), DEVICE, "", Some(Seq(4))));
        assert!(!audience.enter(client(2), DeviceId::NONE, "client-2", None), "a change waits already");
        assert_eq!(reported(&audience), [(1, 4, false, false), (2, 0, true, false)]);
        assert_eq!(reported(&audience), []);
        assert!(audience.deliver(client(1), Seq(6)));
        assert!(!audience.deliver(client(1), Seq(5)), "a lower seq");
        assert!(!audience.deliver(client(2), Seq(5)), "a text session cannot acknowledge");
        assert!(!audience.deliver(client(3), Seq(5)), "an unknown client changes nothing");
        assert_eq!(reported(&audience), [(1, 6, false, false)]);
        assert!(audience.move_to(client(1), Seq(0)), "another log");
        assert_eq!(reported(&audience), [(1, 0, false, false)]);
        assert!(audience.show_cookie(client(1), Cookie(8)));
        assert_eq!(audience.take_reports().0.iter().map(|report| report.cookie).collect::<Vec<_>>(), [8]);
        assert!(!audience.show_cookie(client(1), Cookie(8)), "the cookie is the same");
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
    fn clients_of_different_owners_with_one_id_are_reported_apart() {
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
    fn a_new_stream_is_reported_all_clients_but_those_that_left_before() {
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
