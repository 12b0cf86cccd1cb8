//! The sessions that have proven their device, by the secret that each shares with its peer alone.
//!
//! A browser's HTTP requests come on other connections than its WebSocket and prove nothing. One with a ticket shows the challenge of the
//! session's welcome too, which nobody else has seen, and so counts as of the device that this session has proven.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use gaung_proto::DeviceId;

/// The challenge of a session's welcome: 32 random bytes that only its peer has seen.
pub(crate) type SessionSecret = [u8; 32];

/// The proven devices of the sessions that are open.
#[derive(Debug, Default)]
pub(crate) struct PageSessions {
    devices: Mutex<HashMap<SessionSecret, DeviceId>>,
}

/// Keeps a session's secret valid; dropped with the session.
#[derive(Debug)]
pub(crate) struct PageSession {
    secret: SessionSecret,
    sessions: Arc<PageSessions>,
}

impl PageSessions {
    /// Notes that the session with this secret has proven a device.
    pub(crate) fn open(self: &Arc<Self>, secret: SessionSecret, device: DeviceId) -> PageSession {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner).insert(secret, device);
        PageSession { secret, sessions: self.clone() }
    }

    /// Returns the device that the session with this secret has proven; `None` if no such session is open.
    pub(crate) fn device(&self, secret: &[u8]) -> Option<DeviceId> {
        let secret = SessionSecret::try_from(secret).ok()?;
        self.devices.lock().unwrap_or_else(PoisonError::into_inner).get(&secret).copied()
    }
}

impl Drop for PageSession {
    fn drop(&mut self) {
        self.sessions.devices.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.secret);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_good_while_its_session_is_open() {
        let sessions = Arc::new(PageSessions::default());
        let session = sessions.open([1; 32], DeviceId([7; 16]));
        assert_eq!(sessions.device(&[1; 32]), Some(DeviceId([7; 16])));
        assert_eq!(sessions.device(&[2; 32]), None);
        assert_eq!(sessions.device(&[1; 31]), None);
        drop(session);
        assert_eq!(sessions.device(&[1; 32]), None);
    }
}
