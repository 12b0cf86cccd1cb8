//! Who may open a session: limits on all, by address, and on those that have not said hello.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::config::Limits;

/// Counts of open sessions.
#[derive(Debug)]
pub(crate) struct Admission {
    by_address: Mutex<HashMap<IpAddr, usize>>,
    total: AtomicUsize,
    handshakes: AtomicUsize,
    max_total: usize,
    max_by_address: usize,
    max_handshakes: usize,
}

/// Why a session is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the hub is full; try again later")]
    Full,
    #[error("too many sessions from your address; close one of them first")]
    Address,
    #[error("too many sessions are starting at this moment; try again")]
    Handshakes,
}

/// A session's place; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Admitted {
    admission: Arc<Admission>,
    address: IpAddr,
}

/// A place among those that have not said hello.
#[derive(Debug)]
pub(crate) struct Handshake(Arc<Admission>);

impl Admission {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            by_address: Mutex::default(),
            total: AtomicUsize::new(0),
            handshakes: AtomicUsize::new(0),
            max_total: limits.sessions,
            max_by_address: limits.sessions_per_address,
            max_handshakes: limits.handshakes,
        }
    }

    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Admitted, Refused> {
        let address = address.to_canonical();
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if self.total.load(Ordering::Relaxed) >= self.max_total {
            return Err(Refused::Full);
        }
        let count = by_address.entry(address).or_default();
        if *count >= self.max_by_address {
            return Err(Refused::Address);
        }
        *count += 1;
        self.total.fetch_add(1, Ordering::Relaxed);
        Ok(Admitted { admission: self.clone(), address })
    }

    pub(crate) fn begin_handshake(self: &Arc<Self>) -> Result<Handshake, Refused> {
        let place = Handshake(self.clone());
        if self.handshakes.fetch_add(1, Ordering::Relaxed) >= self.max_handshakes {
            return Err(Refused::Handshakes);
        }
        Ok(place)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut by_address = self.admission.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&self.address);
            }
        }
        self.admission.total.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.0.handshakes.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn places_are_counted_and_given_back() {
        let limits = Limits { sessions: 3, sessions_per_address: 2, handshakes: 1, ..Limits::default() };
        let admission = Arc::new(Admission::new(&limits));
        let (a, b): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "::ffff:10.0.0.1".parse().unwrap());
        let first = admission.admit(a).unwrap();
        let _second = admission.admit(b).unwrap();
        assert_eq!(admission.admit(a).unwrap_err(), Refused::Address, "a mapped address is the same address");
        let _third = admission.admit("10.0.0.2".parse().unwrap()).unwrap();
        assert_eq!(admission.admit("10.0.0.3".parse().unwrap()).unwrap_err(), Refused::Full);
        drop(first);
        admission.admit(a).unwrap();
        let place = admission.begin_handshake().unwrap();
        assert_eq!(admission.begin_handshake().unwrap_err(), Refused::Handshakes);
        drop(place);
        admission.begin_handshake().unwrap();
    }
}
