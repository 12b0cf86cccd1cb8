//! The registry apart from gRPC and sockets: blocking calls, clocks handed in, everything durable in one [`Kv`].

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Instant,
};

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use gaung_log::kv::{Kv, Version};
use gaung_proto::{GroupId, GroupName};
use tracing::info;

use crate::{
    address::Low23,
    book::{AddressBook, Pools},
    challenge::Challenges,
    lease::Leases,
    limits::Limits,
    locks::KeyLocks,
    member_index::MemberIndex,
    now::Now,
    presence::Presences,
    records::{self, ADDRESSES, AddressClaim, Fate, GROUPS, Group, Holder, PORTS},
    services::Services,
    store::{Store, StoreError},
    view::View,
};

/// The registry's state and rules.
///
/// Several may stand on one store: names, addresses and ids stay unique. Leases, presences, nonces and the watchers'
/// view belong to one process.
pub struct Registry {
    pub(crate) store: Store,
    pub(crate) book: AddressBook,
    pub(crate) view: View,
    pub(crate) services: Services,
    pub(crate) leases: Leases,
    pub(crate) presences: Presences,
    pub(crate) member_index: MemberIndex,
    pub(crate) challenges: Challenges,
    pub(crate) locks: KeyLocks,
    pub(crate) limits: Limits,
    /// Group ids with claims and without a record, and when they were first seen so.
    pub(crate) pending: Mutex<HashMap<GroupId, Instant>>,
    /// Groups whose relay says that it lost their log, and when it last said so.
    pub(crate) lost: Mutex<HashMap<GroupId, Instant>>,
    pub(crate) signing: SigningKey,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("groups", &self.view.len()).finish_non_exhaustive()
    }
}

/// A group cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// There is none, or it was deleted.
    #[error("there is no group {0}; `gaung group list` shows those there are")]
    NotFound(String),
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How a group is named in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupBy {
    /// By its name.
    Name(GroupName),
    /// By its id.
    Id(GroupId),
}

impl Registry {
    /// Reads the store, gives up what an earlier process left half done, and starts quarantines and leases in full.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read or written, or is damaged.
    pub fn open(kv: Arc<dyn Kv>, pools: Pools, now: Now) -> Result<Self, StoreError> {
        let store = Store::new(kv);
        let signing = signing_key(&store)?;
        let registry = Self {
            services: Services::load(&store, now)?,
            leases: Leases::load(&store, now)?,
            book: AddressBook::new(pools),
            view: View::new(),
            presences: Presences::default(),
            member_index: MemberIndex::default(),
            challenges: Challenges::new(now.mono),
            locks: KeyLocks::default(),
            limits: Limits::default(),
            pending: Mutex::default(),
            lost: Mutex::default(),
            signing,
            store,
        };
        registry.reconcile(now, true)?;
        registry.load_claims(now)?;
        info!(groups = registry.view.len(), "registry opened");
        Ok(registry)
    }

    /// With other limits than the defaults.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// The group.
    ///
    /// # Errors
    /// [`LookupError`], each case.
    pub fn group(&self, by: &GroupBy) -> Result<Group, LookupError> {
        match by {
            GroupBy::Id(id) => Ok(self.group_row(*id)?.0),
            GroupBy::Name(name) => {
                let not_found = || LookupError::NotFound(name.to_string());
                let key = records::name_key(name);
                let claim = self.store.get(&key)?.ok_or_else(not_found)?;
                match self.fate(records::claimant(&key, &claim.value)?)? {
                    Some((_, Fate::Live(group))) if group.name == *name => Ok(group),
                    Some((_, Fate::Live(_) | Fate::Deleted { .. } | Fate::Aborted)) | None => Err(not_found()),
                }
            }
        }
    }

    /// `everyone`, where it begins, then the others in order of name after `after`, at most `limit`; and whether there may
    /// be more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn groups(&self, after: Option<&str>, limit: usize) -> Result<(Vec<Group>, bool), StoreError> {
        let mut groups = Vec::new();
        if after.is_none() {
            groups.extend(self.view.those(|group| group.reserved).first().map(|group| Group::clone(group)));
        }
        let mut after = after.map(|name| [records::NAMES, name.as_bytes()].concat());
        if groups.len() >= limit {
            return Ok((groups, true));
        }
        loop {
            let wanted = limit - groups.len();
            let items = self.store.page(records::NAMES, after.as_deref(), wanted)?;
            let is_last = items.len() < wanted;
            after = items.last().map(|item| item.key.clone());
            for item in items {
                // Claims of creates that are under way or were given up are no groups.
                if let Some((_, Fate::Live(group))) = self.fate(records::claimant(&item.key, &item.entry.value)?)?
                    && records::name_key(&group.name) == item.key
                    && !group.reserved
                {
                    groups.push(group);
                }
            }
            if is_last || groups.len() >= limit {
                return Ok((groups, !is_last));
            }
        }
    }

    /// What is known of addresses, to choose a pair for [`Self::create`].
    #[must_use]
    pub const fn book(&self) -> &AddressBook {
        &self.book
    }

    /// How many groups there are.
    #[must_use]
    pub fn group_count(&self) -> usize {
        self.view.len()
    }

    pub(crate) fn group_row(&self, id: GroupId) -> Result<(Group, Version), LookupError> {
        match self.fate(id)? {
            Some((version, Fate::Live(group))) => Ok((group, version)),
            Some((_, Fate::Deleted { .. } | Fate::Aborted)) | None => Err(LookupError::NotFound(id.to_string())),
        }
    }

    pub(crate) fn fate(&self, id: GroupId) -> Result<Option<(Version, Fate)>, StoreError> {
        let key = records::group_key(id);
        let entry = self.store.get(&key)?;
        entry.map(|entry| Ok((entry.version, Fate::decode(&key, &entry.value)?))).transpose()
    }

    /// Learns all groups from the store: at the start, and what other registries changed since.
    pub(crate) fn read_groups(&self) -> Result<(), StoreError> {
        self.store.each(GROUPS, |item| {
            let id = records::group_of_key(&item.key)?;
            match Fate::decode(&item.key, &item.entry.value)? {
                Fate::Live(group) => {
                    if !group.lapsed {
                        self.book.note_port(group.addr.port());
                    }
                    self.view.apply(id, item.entry.version, Some(group));
                }
                Fate::Deleted { .. } if self.view.has(id) => self.view.apply(id, item.entry.version, None),
                Fate::Deleted { .. } | Fate::Aborted => {}
            }
            Ok::<_, StoreError>(())
        })
    }

    /// Learns which addresses and ports are taken, for choosing others.
    fn load_claims(&self, now: Now) -> Result<(), StoreError> {
        self.store.each(ADDRESSES, |item| {
            let address = records::address_of_key(&item.key)?;
            self.note_address(address, AddressClaim::decode(&item.key, &item.entry.value)?.holder, now);
            Ok::<_, StoreError>(())
        })?;
        self.store.each(PORTS, |item| {
            self.book.note_port(records::port_of_key(&item.key)?);
            Ok::<_, StoreError>(())
        })
    }

    pub(crate) fn note_address(&self, address: Low23, holder: Holder, now: Now) {
        match holder {
            Holder::Group(_) => self.book.note_held(address),
            Holder::Resting => self.book.note_resting(address, now.mono),
            Holder::Nobody => self.book.note_free(address),
        }
    }
}

/// The registry's own key, made at the first start.
fn signing_key(store: &Store) -> Result<SigningKey, StoreError> {
    let fresh = Bytes::copy_from_slice(&rand::random::<[u8; 32]>());
    let seed = match store.get(records::SIGNING_KEY)? {
        Some(entry) => entry.value,
        None => match store.create(records::SIGNING_KEY, &fresh)? {
            Ok(_) => fresh,
            Err(exists) => exists.0.value,
        },
    };
    let seed: [u8; 32] = seed[..].try_into().map_err(|_| records::damaged(records::SIGNING_KEY))?;
    Ok(SigningKey::from_bytes(&seed))
}

/// Where the page after this group begins: `everyone` comes before all names.
pub(crate) fn page_token(group: &Group) -> String {
    if group.reserved { "\u{1}".to_owned() } else { group.name.to_string() }
}
