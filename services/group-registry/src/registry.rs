//! The shell around the pure core: it reads no clock and no socket itself, applies one command at a time, and answers
//! only after the command's transaction.
//!
//! [`Registry`] changes in this file, answers calls that change something in `calls.rs`, and calls that only read in
//! `reads.rs`.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
    time::{Duration, Instant},
};

use ed25519_dalek::SigningKey;
use gaung_proto::{GroupId, LogId, Scope};
use tokio::sync::watch;
use tracing::info;

use crate::{
    address_picker::{AddressPicker, Endpoint, Exhausted, Pools},
    challenge::Challenges,
    clock::{CommandTime, Now},
    command::Command,
    create::{CreateError, CreateGroup, CreateSpec, LapseAddresses, RegainAddress, RegainError, precheck},
    group::Group,
    lease::{ADDRESS_LEASE, Leases},
    limits::Limits,
    presence::Presences,
    records::Record,
    reports::LostLogs,
    services::{FORGOTTEN, ForgetService, Services},
    store::{KeyChange, RecordStore, StoreError},
    tables::{Change, Decide, ForgetOutdated, Tables},
};

mod calls;
mod reads;

/// Most ports that are tried with an operator's address.
const PORTS: usize = 4;

/// The registry without gRPC and sockets: its calls block, clocks are handed in, and it alone holds its store.
///
/// A call that changes the tables holds `writer`: it decides on the tables as they are, commits, and only then changes
/// them, so that nobody reads what a crash could take back. Readers never wait for the disk.
pub struct Registry {
    writer: Mutex<Writer>,
    tables: RwLock<Tables>,
    revisions: watch::Sender<u64>,
    picker: AddressPicker,
    pub(crate) services: Services,
    leases: Leases,
    presences: Presences,
    challenges: Challenges,
    lost: LostLogs,
    limits: Limits,
    signing: SigningKey,
    began: Instant,
}

struct Writer {
    store: Arc<dyn RecordStore>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("groups", &self.group_count()).finish_non_exhaustive()
    }
}

impl Registry {
    /// Opens the registry from its store; quarantines and leases begin in full.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read or written, or is damaged.
    pub fn open(store: Arc<dyn RecordStore>, pools: Pools, now: Now) -> Result<Self, StoreError> {
        let stamp = CommandTime { mono: Duration::ZERO, unix_ms: now.unix_ms };
        let (tables, mut repairs) = Tables::load(store.load()?, stamp)?;
        if !repairs.is_empty() {
            info!(records = repairs.len(), "removed records that an older version left incomplete");
        }
        let seed = tables.signing_seed.unwrap_or_else(|| {
            let seed = rand::random();
            repairs.push(Record::SigningKey(seed).to_change());
            seed
        });
        if !repairs.is_empty() {
            store.commit(&repairs)?;
        }
        let catalogue = &tables.catalogue;
        let services = catalogue.services().map(|(id, service)| (id, service.clone()));
        let leased = catalogue.services().map(|(id, _)| id).chain(catalogue.groups().map(|group| group.relay));
        let registry = Self {
            services: Services::new(services, now),
            leases: Leases::new(leased, now.mono),
            revisions: watch::Sender::new(catalogue.revision()),
            tables: RwLock::new(tables),
            writer: Mutex::new(Writer { store }),
            picker: AddressPicker::new(pools),
            presences: Presences::default(),
            challenges: Challenges::new(now.mono),
            lost: LostLogs::default(),
            limits: Limits::default(),
            signing: SigningKey::from_bytes(&seed),
            began: now.mono,
        };
        info!(groups = registry.group_count(), "registry opened");
        Ok(registry)
    }

    /// Sets other limits than the defaults.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Chooses an endpoint for [`Self::create`] or [`Self::regain`] at random and reserves it: it is not chosen again until
    /// [`Self::release`].
    ///
    /// # Errors
    /// [`Exhausted`] if none is free.
    pub fn pick(&self, scope: Scope, now: Now) -> Result<Endpoint, Exhausted> {
        self.picker.pick(&self.tables(), scope, now.mono, self.stamp(now))
    }

    /// Chooses a free port for an operator's address, and reserves both.
    ///
    /// # Errors
    /// [`Exhausted::Ports`].
    pub fn pick_port(&self, ip: std::net::Ipv4Addr) -> Result<Endpoint, Exhausted> {
        self.picker.pick_port(&self.tables(), ip)
    }

    /// Ends the reservation of an endpoint, whether a group got it or not.
    pub fn release(&self, endpoint: Endpoint) {
        self.picker.release(endpoint);
    }

    /// Ends the reservation of an endpoint on which foreign traffic was heard, and does not choose its address for a while.
    pub fn note_noisy(&self, endpoint: Endpoint, now: Instant) {
        self.picker.note_noisy(endpoint, now);
    }

    /// Checks a request before an address is chosen. Returns the group if the request made it before; `None` if one may be
    /// made.
    ///
    /// # Errors
    /// [`CreateError`]: reserved or taken name, refused address, reused request, no relay.
    pub fn precheck(&self, now: Now, spec: &CreateSpec) -> Result<Option<Group>, CreateError> {
        let tables = self.tables();
        if let Some(group) = precheck(&tables, spec, self.limits.groups)? {
            return Ok(Some(Group::clone(&group)));
        }
        let relay = self.services.least_loaded_relay(now, &tables.catalogue.load());
        relay.map(|_| None).ok_or(CreateError::NoRelay)
    }

    /// Makes the group at `endpoint`, or returns the one that the same request made before.
    ///
    /// After [`CreateError::EndpointTaken`] the caller tries another endpoint.
    ///
    /// # Errors
    /// [`CreateError`], each case.
    pub fn create(&self, now: Now, spec: &CreateSpec, endpoint: Endpoint) -> Result<Group, CreateError> {
        if let Some(group) = self.precheck(now, spec)? {
            return Ok(group);
        }
        let mut writer = self.writer();
        // Chosen while nobody else writes, so that of many groups made at once each counts in the load that the next one sees.
        let relay = self.services.least_loaded_relay(now, &self.tables().catalogue.load());
        let create = CreateGroup {
            spec: spec.clone(),
            group: GroupId(uuid::Uuid::now_v7().into_bytes()),
            log: LogId(rand::random()),
            relay: relay.ok_or(CreateError::NoRelay)?,
            endpoint,
            limits: self.limits.groups,
        };
        self.commit(&mut writer, now, create).map(|group| Group::clone(&group))
    }

    /// Returns the lapsed groups whose relay has registered again.
    #[must_use]
    pub fn lapsed_and_back(&self, now: Now) -> Vec<Arc<Group>> {
        let tables = self.tables();
        let lapsed = tables.catalogue.groups().filter(|group| group.lapsed);
        lapsed.filter(|group| self.leases.is_heard(group.relay, now.mono)).cloned().collect()
    }

    /// Gives a lapsed group the address that its operator asked for; `None` if there is none or it is not free.
    ///
    /// # Errors
    /// [`RegainError`]: no free port, no such group, or the store.
    pub fn regain_own(&self, now: Now, id: GroupId) -> Result<Option<Group>, RegainError> {
        let group = Arc::clone(self.tables().live(id)?);
        let Some(ip) = group.own_address else { return Ok(None) };
        for _ in 0..PORTS {
            let endpoint = self.pick_port(ip)?;
            let regained = self.regain(now, id, endpoint);
            self.release(endpoint);
            match regained {
                Ok(group) => return Ok(Some(group)),
                Err(RegainError::EndpointTaken) if group.port_claimed => {}
                Err(RegainError::EndpointTaken) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Gives a lapsed group the address of `endpoint`, and its port unless the operator asked for one. A group that has an
    /// address is returned as it is.
    ///
    /// # Errors
    /// [`RegainError::EndpointTaken`]: the caller tries another endpoint. No such group, or the store.
    pub fn regain(&self, now: Now, id: GroupId, endpoint: Endpoint) -> Result<Group, RegainError> {
        let group = self.commit(&mut self.writer(), now, RegainAddress { group: id, endpoint })?;
        info!(group = %id, address = %group.addr, generation = group.generation.0, "the group has an address again");
        Ok(Group::clone(&group))
    }

    /// Ends the address leases of silent relays, and removes expired presences, services that were silent for a day and
    /// outdated records.
    ///
    /// # Errors
    /// [`StoreError`]; what is left is done by the next call.
    pub fn expire(&self, now: Now) -> Result<(), StoreError> {
        self.presences.expire(now.mono);
        let mut writer = self.writer();
        for relay in self.leases.silent(ADDRESS_LEASE, now.mono) {
            for group in self.commit(&mut writer, now, LapseAddresses { relay })? {
                info!(group = %group.id, %relay, address = %group.addr, "the relay was silent for a day: the group's address lapsed");
            }
        }
        let load = self.tables().catalogue.load();
        for id in self.leases.silent(FORGOTTEN, now.mono).into_iter().filter(|id| !load.contains_key(id)) {
            self.commit(&mut writer, now, ForgetService { id })?;
            self.services.forget(id);
            self.leases.forget(id);
        }
        self.commit(&mut writer, now, ForgetOutdated)
    }

    /// Decides a command, commits its changes in one transaction, then applies them to the tables and wakes watchers.
    fn commit<C>(&self, writer: &mut Writer, now: Now, command: C) -> Result<C::Outcome, C::Refusal>
    where
        C: Decide + Into<Command>,
        C::Refusal: From<StoreError>,
    {
        self.commit_if(writer, now, command, |_| Ok(()))
    }

    /// Does as [`Self::commit`] unless `admit` refuses the outcome; then nothing changes.
    fn commit_if<C>(
        &self,
        writer: &mut Writer,
        now: Now,
        command: C,
        admit: impl FnOnce(&C::Outcome) -> Result<(), C::Refusal>,
    ) -> Result<C::Outcome, C::Refusal>
    where
        C: Decide + Into<Command>,
        C::Refusal: From<StoreError>,
    {
        let stamp = self.stamp(now);
        let mut changes = Vec::new();
        let outcome = command.decide(&self.tables(), stamp, &mut changes)?;
        admit(&outcome)?;
        if changes.is_empty() {
            return Ok(outcome);
        }
        let records: Vec<KeyChange> = changes.iter().map(Change::to_key_change).collect();
        writer.store.commit_command(command.into().encode(stamp), &records)?;
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        tables.absorb_all(changes, stamp.mono);
        let revision = tables.catalogue.revision();
        drop(tables);
        self.revisions.send_if_modified(|known| std::mem::replace(known, revision) != revision);
        Ok(outcome)
    }

    fn stamp(&self, now: Now) -> CommandTime {
        CommandTime { mono: now.mono.saturating_duration_since(self.began), unix_ms: now.unix_ms }
    }

    fn tables(&self) -> RwLockReadGuard<'_, Tables> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
