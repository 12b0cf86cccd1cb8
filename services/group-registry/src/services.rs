//! The relays and hubs that registered, and which of them answer probes.
//!
//! A registration is not trusted by itself. It belongs to the address it came from: while a service renews, no other
//! address overwrites it. Groups are bound to relays, and joins get hubs, that answered a health check.

use std::{
    cmp::Reverse,
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use gaung_proto::{RelayId, pb::registry as pb};
use service_kit::share::{Origin, RateLimit, TooSoon};
use tokio::sync::{Notify, watch};

use crate::{
    clock::{CommandTime, Now},
    records::{Record, ServiceRecord},
    reports::ReportError,
    store::StoreError,
    tables::{Change, Decide, Tables},
};

/// How long a service counts as alive after its last registration.
pub const SERVICE_LEASE: Duration = Duration::from_secs(15);
/// How often a service renews its registration.
pub const SERVICE_RENEW: Duration = Duration::from_secs(5);
/// Most services, far more than a LAN has. Each takes about 500 bytes, and some 300 in an answer that lists it.
const MAX_SERVICES: usize = 1024;
/// Most services of one address. A machine that runs a lab of relays has dozens.
const MAX_SERVICES_OF_ONE: usize = 64;
/// Most hubs in the answer to a join: a client tries them in order, and more would only make the answer long.
const MAX_HUBS_TOLD: usize = 16;
/// A service that was silent for this long is forgotten, unless groups are bound to it.
pub(crate) const FORGOTTEN: Duration = Duration::from_secs(24 * 3600);
/// Rate of one address's registrations: one each 5 s for each of its services, with room for restarts.
const CALLS: (f64, f64) = (40.0, 400.0);
/// Rate of one address's registrations that change a record, and so cost a write and a line in the log.
const CHANGES: (f64, f64) = (0.5, 96.0);
/// Time between two probes of a service that answers.
const PROBE_EVERY: Duration = Duration::from_secs(20);
/// Time between two probes of a service that does not answer, at first and at most.
const PROBE_AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// How long an answered probe counts.
const PROVEN_FOR: Duration = Duration::from_secs(60);
/// A service that has renewed within this time is not given up, however slowly it answers.
const SILENCE: Duration = Duration::from_secs(6);
/// Unanswered probes before a contested service is given up.
const SILENT_PROBES: u32 = 2;

/// Why a service was not registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// The caller's address has as many services as one may have.
    #[error(
        "{MAX_SERVICES_OF_ONE} services of your address are registered; stop some, or wait until they are forgotten"
    )]
    OwnShare,
    /// The table is full, and no address has more services than the caller's.
    #[error("{MAX_SERVICES} services are registered already; forgotten ones leave after a day of silence")]
    Full,
    /// A service with this id is alive at another address.
    #[error(
        "a service with this id is alive at another address; stop that one (or its copy of the data folder), or try again when it is silent"
    )]
    Elsewhere,
    /// See [`TooSoon`].
    #[error(transparent)]
    TooSoon(#[from] TooSoon),
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The result of a probe; better is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ProbeResult {
    /// The service has not answered.
    None,
    /// A gRPC server at its address says that it serves.
    Answers,
    /// The server says so under the service's own id, or the registration came from this machine.
    Itself,
}

/// A service to be probed.
#[derive(Debug)]
pub(crate) struct ProbeTarget {
    pub(crate) id: RelayId,
    pub(crate) kind: pb::ServiceKind,
    /// `HOST:PORT` of each address to try, the advertised one first.
    pub(crate) targets: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Services {
    known: Mutex<HashMap<RelayId, KnownService>>,
    changed: watch::Sender<()>,
    /// Wakes the prober: a probe is due at once.
    pub(crate) to_probe: Notify,
    calls: RateLimit<Origin>,
    changes: RateLimit<Origin>,
}

#[derive(Debug, Clone)]
struct KnownService {
    /// What it registered; `alive` is not kept up to date in here.
    info: pb::ServiceInfo,
    /// The address that it registered from; `None` for this process, or if it is not known.
    from: Option<IpAddr>,
    /// Whether it registered from this process or machine.
    is_local: bool,
    renewed: Instant,
    /// Whether it did not answer while it was contested.
    given_up: bool,
    /// Whether another address tries to register its id.
    contested: bool,
    proof: ProbeResult,
    proven: Option<Instant>,
    next_probe: Instant,
    probed: Option<Instant>,
    unanswered: u32,
}

impl KnownService {
    fn new(info: pb::ServiceInfo, from: Option<IpAddr>, now: Now) -> Self {
        let is_local = from.is_none_or(|ip| ip.is_loopback());
        Self {
            info,
            from,
            is_local,
            renewed: now.mono,
            given_up: false,
            contested: false,
            proof: ProbeResult::None,
            proven: None,
            next_probe: now.mono,
            probed: None,
            unanswered: 0,
        }
    }

    fn is_alive(&self, now: Now) -> bool {
        !self.given_up && now.mono.saturating_duration_since(self.renewed) < SERVICE_LEASE
    }

    fn is_relay(&self) -> bool {
        self.info.kind() == pb::ServiceKind::Relay
    }

    fn proof(&self, now: Now) -> ProbeResult {
        if self.is_local {
            return ProbeResult::Itself;
        }
        let is_fresh = self.proven.is_some_and(|at| now.mono.saturating_duration_since(at) < PROVEN_FOR);
        if is_fresh { self.proof } else { ProbeResult::None }
    }

    fn probe(&self, id: RelayId) -> ProbeTarget {
        let hosts = [Some(self.info.advertise.clone()), self.from.map(|ip| ip.to_string())];
        let hosts = hosts.into_iter().flatten().filter(|host| !host.is_empty());
        let at = |host: String| {
            if host.contains(':') {
                format!("[{host}]:{}", self.info.grpc_port)
            } else {
                format!("{host}:{}", self.info.grpc_port)
            }
        };
        ProbeTarget { id, kind: self.info.kind(), targets: hosts.map(at).collect() }
    }
}

/// Returns whether two calls came from different machines, as far as is known.
fn is_elsewhere(known: Option<IpAddr>, from: Option<IpAddr>) -> bool {
    let (Some(known), Some(from)) = (known, from) else { return false };
    known != from && !(known.is_loopback() && from.is_loopback())
}

impl Services {
    /// Makes the table of the stored services, each with a full lease at the address it last registered from.
    pub(crate) fn new(stored: impl Iterator<Item = (RelayId, ServiceRecord)>, now: Now) -> Self {
        let known = stored.map(|(id, service)| (id, KnownService::new(service.info, service.from, now))).collect();
        Self {
            known: Mutex::new(known),
            changed: watch::Sender::new(()),
            to_probe: Notify::new(),
            calls: RateLimit::new(CALLS.0, CALLS.1),
            changes: RateLimit::new(CHANGES.0, CHANGES.1),
        }
    }

    /// Counts one registration of `from` against its rate.
    pub(crate) fn charge_call(&self, from: Option<IpAddr>, now: Now) -> Result<(), TooSoon> {
        from.map_or(Ok(()), |from| self.calls.take(from.into(), now.mono))
    }

    /// Counts one registration of `from` that changes a record against its rate.
    pub(crate) fn charge_change(&self, from: Option<IpAddr>, now: Now) -> Result<(), TooSoon> {
        from.map_or(Ok(()), |from| self.changes.take(from.into(), now.mono))
    }

    pub(crate) fn knows(&self, id: RelayId) -> bool {
        self.known().contains_key(&id)
    }

    /// Returns whether the service is known with this record and address.
    pub(crate) fn is_known_as(&self, id: RelayId, record: &ServiceRecord) -> bool {
        self.known().get(&id).is_some_and(|known| known.info == record.info && known.from == record.from)
    }

    /// Takes a registration whose record is stored already.
    pub(crate) fn register(&self, id: RelayId, record: ServiceRecord, now: Now) {
        let mut known = self.known();
        let before = known.get(&id).filter(|before| before.info == record.info && before.from == record.from);
        let is_same = before.is_some();
        let service = match before {
            Some(before) => KnownService { renewed: now.mono, given_up: false, contested: false, ..before.clone() },
            None => KnownService::new(record.info, record.from, now),
        };
        known.insert(id, service);
        drop(known);
        if !is_same {
            self.to_probe.notify_one();
        }
        self.changed.send_replace(());
    }

    pub(crate) fn forget(&self, id: RelayId) {
        self.known().remove(&id);
    }

    /// Lists all known services in order of kind and id, with `alive` set.
    pub(crate) fn list(&self, now: Now) -> Vec<pb::ServiceInfo> {
        let known = self.known();
        let mut list: Vec<_> =
            known.values().map(|s| pb::ServiceInfo { alive: s.is_alive(now), ..s.info.clone() }).collect();
        list.sort_by(|a, b| (a.kind, &a.service_id).cmp(&(b.kind, &b.service_id)));
        list
    }

    /// Returns a group's relay, if it ever registered.
    pub(crate) fn relay(&self, id: RelayId, now: Now) -> Option<pb::ServiceInfo> {
        let known = self.known();
        let relay = known.get(&id).filter(|service| service.is_relay())?;
        Some(pb::ServiceInfo { alive: relay.is_alive(now), ..relay.info.clone() })
    }

    /// Returns living hubs for a client to try, those with the best probe first, then in order of id.
    pub(crate) fn hubs(&self, now: Now) -> Vec<pb::ServiceInfo> {
        let known = self.known();
        let hubs = known.iter().filter(|(_, s)| !s.is_relay() && s.is_alive(now));
        let mut hubs: Vec<_> = hubs.map(|(id, s)| (Reverse(s.proof(now)), *id, s)).collect();
        hubs.sort_by_key(|(proof, id, _)| (*proof, *id));
        // If some hubs answer, those that do not are not worth a client's time.
        let shown = hubs.iter().take_while(|(Reverse(proof), ..)| *proof > ProbeResult::None).count();
        let told = if shown > 0 { shown } else { hubs.len() };
        let told = hubs.into_iter().take(told.min(MAX_HUBS_TOLD));
        told.map(|(_, _, s)| pb::ServiceInfo { alive: true, ..s.info.clone() }).collect()
    }

    /// Returns the living relay with the fewest groups of those with the best probe; none that has not answered.
    pub(crate) fn least_loaded_relay(&self, now: Now, load: &HashMap<RelayId, usize>) -> Option<RelayId> {
        let known = self.known();
        let relays = known.iter().filter(|(_, s)| s.is_relay() && s.is_alive(now) && s.proof(now) > ProbeResult::None);
        let rank =
            |(id, s): &(&RelayId, &KnownService)| (Reverse(s.proof(now)), load.get(id).copied().unwrap_or(0), **id);
        relays.min_by_key(rank).map(|(id, _)| *id)
    }

    /// Returns whether a living relay has not answered a probe yet, so that waiting a moment may help.
    pub(crate) fn has_unproven_relay(&self, now: Now) -> bool {
        self.known().values().any(|s| s.is_relay() && s.is_alive(now) && s.proof(now) == ProbeResult::None)
    }

    /// Returns whether the relay's log is durable, if the report came from the relay's address.
    pub(crate) fn reporting_relay(&self, id: RelayId, from: Option<IpAddr>) -> Result<bool, ReportError> {
        let known = self.known();
        let relay = known.get(&id).filter(|s| s.is_relay()).ok_or(ReportError::NotRegistered(id))?;
        if is_elsewhere(relay.from, from) { Err(ReportError::Elsewhere(id)) } else { Ok(relay.info.durable) }
    }

    /// Notifies of every registration and of every service that begins to answer.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Returns the services to probe now; each is not due again until [`Self::probed`] or for a while.
    pub(crate) fn due_probes(&self, now: Now) -> Vec<ProbeTarget> {
        let mut known = self.known();
        let due = known
            .iter_mut()
            .filter(|(_, s)| s.next_probe <= now.mono && s.is_alive(now) && (!s.is_local || s.contested));
        let mut probes: Vec<_> = due
            .map(|(id, s)| {
                (s.next_probe, s.probed) = (now.mono + PROBE_EVERY, Some(now.mono));
                (s.unanswered, s.probe(*id))
            })
            .collect();
        // Those that never answered come last, so that forged registrations do not delay the others.
        probes.sort_by_key(|(unanswered, _)| *unanswered);
        probes.into_iter().map(|(_, probe)| probe).collect()
    }

    /// Takes the result of a probe.
    pub(crate) fn probed(&self, id: RelayId, proof: ProbeResult, now: Now) {
        let mut known = self.known();
        let Some(service) = known.get_mut(&id) else { return };
        if proof > ProbeResult::None {
            let begins = service.proof(now) < proof;
            (service.proof, service.proven) = (proof, Some(now.mono));
            (service.unanswered, service.contested) = (0, false);
            drop(known);
            if begins {
                self.changed.send_replace(());
            }
            return;
        }
        service.unanswered += 1;
        let longer = PROBE_AGAIN.0 * 2_u32.saturating_pow(service.unanswered.min(8));
        service.next_probe = now.mono + longer.min(PROBE_AGAIN.1);
        if service.contested {
            service.next_probe = now.mono + PROBE_AGAIN.0;
            let silence = now.mono.saturating_duration_since(service.renewed);
            service.given_up = service.unanswered >= SILENT_PROBES && silence > SILENCE;
        }
    }

    /// Decides whether a registration from `from` may replace the known one.
    pub(crate) fn admit(&self, now: Now, id: RelayId, from: Option<IpAddr>) -> Result<(), RegisterError> {
        let mut known = self.known();
        let Some(service) = known.get_mut(&id) else { return Ok(()) };
        if !is_elsewhere(service.from, from) || !service.is_alive(now) {
            return Ok(());
        }
        let was_asked = service.probed.is_some_and(|at| now.mono.saturating_duration_since(at) < PROBE_AGAIN.0);
        if !service.contested && !was_asked {
            (service.contested, service.unanswered) = (true, 0);
            service.next_probe = service.next_probe.min(now.mono);
            self.to_probe.notify_one();
        }
        Err(RegisterError::Elsewhere)
    }

    /// Chooses the service that is evicted for one more of `from`: none while there is room, otherwise one of the address
    /// that has most, a silent one before one without groups.
    pub(crate) fn choose_eviction(
        &self,
        now: Now,
        from: Option<IpAddr>,
        busy: &HashMap<RelayId, usize>,
    ) -> Result<Option<RelayId>, RegisterError> {
        let known = self.known();
        let mut of_each: HashMap<Option<Origin>, usize> = HashMap::new();
        for service in known.values() {
            *of_each.entry(service.from.map(Origin::from)).or_insert(0) += 1;
        }
        let from = from.map(Origin::from);
        let own = of_each.get(&from).copied().unwrap_or(0);
        let goes = |whose: Option<Origin>, may_live: bool| {
            let of_whom = known.iter().filter(|(id, s)| s.from.map(Origin::from) == whose && !busy.contains_key(id));
            let free = of_whom.filter(|(_, s)| may_live || !s.is_alive(now));
            free.min_by_key(|(_, s)| s.renewed).map(|(id, _)| *id)
        };
        if own >= MAX_SERVICES_OF_ONE && from.is_some() {
            return goes(from, false).map(Some).ok_or(RegisterError::OwnShare);
        }
        if known.len() < MAX_SERVICES {
            return Ok(None);
        }
        let largest = of_each.iter().filter(|(_, count)| **count > own).max_by_key(|(_, count)| **count);
        let Some((whose, _)) = largest else { return Err(RegisterError::Full) };
        goes(*whose, false).or_else(|| goes(*whose, true)).map(Some).ok_or(RegisterError::Full)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<RelayId, KnownService>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Command: stores a service's registration.
#[derive(Debug, Clone, PartialEq)]
pub struct RegisterService {
    pub(crate) id: RelayId,
    pub(crate) record: ServiceRecord,
    /// A service that is removed to make room.
    pub(crate) evicts: Option<RelayId>,
}

impl Decide for RegisterService {
    type Outcome = ();
    type Refusal = RegisterError;

    fn decide(&self, tables: &Tables, now: CommandTime, changes: &mut Vec<Change>) -> Result<(), RegisterError> {
        if let Some(id) = self.evicts {
            ForgetService { id }.decide(tables, now, changes)?;
        }
        changes.push(Change(Record::Service(self.id, Some(self.record.clone()))));
        Ok(())
    }
}

/// Command: removes a service and its secret.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ForgetService {
    pub(crate) id: RelayId,
}

impl Decide for ForgetService {
    type Outcome = ();
    type Refusal = StoreError;

    fn decide(&self, _tables: &Tables, _now: CommandTime, changes: &mut Vec<Change>) -> Result<(), StoreError> {
        changes.push(Change(Record::Service(self.id, None)));
        changes.push(Change(Record::Secret(self.id, None)));
        Ok(())
    }
}

/// Command: stores the first secret that comes for a service. A later one changes nothing, for anybody can send one.
#[derive(Debug, Clone, PartialEq)]
pub struct RememberSecret {
    pub(crate) service: RelayId,
    /// SHA-256 of the secret.
    pub(crate) hash: Bytes,
}

impl Decide for RememberSecret {
    type Outcome = ();
    type Refusal = StoreError;

    fn decide(&self, tables: &Tables, _now: CommandTime, changes: &mut Vec<Change>) -> Result<(), StoreError> {
        if tables.catalogue.secret(self.service).is_none() {
            changes.push(Change(Record::Secret(self.service, Some(self.hash.clone()))));
        }
        Ok(())
    }
}
