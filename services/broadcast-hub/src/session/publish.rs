//! Publishing for a session: to the relay's queue, and the answer back.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use gaung_proto::{
    ClientId, DeviceId,
    limits::{MAX_PAYLOAD, MAX_PUBLISH_BYTES, MAX_PUBLISH_MESSAGES},
    pb::relay::{Entry, PublishRequest},
};
use tonic::Code;

use crate::{
    directory::GroupInfo,
    inbox::{Failure, Published},
    publish_queue::Route,
};

use super::{Dialect, Session};

/// A checked wish to publish.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    /// Of the session.
    pub(super) tag: u64,
    pub(super) client: ClientId,
    pub(super) device: DeviceId,
    /// The client's secret, or empty.
    pub(super) stream_key: Bytes,
    pub(super) entries: Vec<Entry>,
    /// Of memory that it holds: payloads lie within the frame that they came in.
    pub(super) bytes: usize,
    pub(super) ticket: Bytes,
    pub(super) log_id: u64,
}

impl Wish {
    /// What is wrong with it, if anything; as the relay would say it.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let wrong = |message: &str| Err(Failure::new(Code::InvalidArgument, message));
        if self.entries.is_empty() || self.entries.len() > MAX_PUBLISH_MESSAGES {
            return wrong("a publish request has 1 to 1024 messages");
        }
        if self.payload_bytes() > MAX_PUBLISH_BYTES {
            return wrong("a publish request has at most 1 MiB of payload");
        }
        if self.entries.iter().any(|entry| entry.payload.len() > MAX_PAYLOAD) {
            return wrong("a message has at most 256 KiB");
        }
        let mut last = 0;
        for entry in &self.entries {
            if entry.client_seq <= last {
                return wrong("client_seq counts from 1 and rises within a request");
            }
            last = entry.client_seq;
        }
        Ok(())
    }

    fn payload_bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.payload.len()).sum()
    }
}

impl Session {
    /// Hands a checked wish to the group's relay. Every way it can end comes to [`Session::published`].
    pub(super) fn pass_on(&self, info: &GroupInfo, wish: Wish, patience: Duration) {
        let bytes = wish.bytes;
        let route = Route {
            shard: self.shard.index,
            session: self.id,
            tag: wish.tag,
            group: info.id,
            bytes,
            messages: wish.entries.len(),
        };
        let request = PublishRequest {
            group_id: info.id.into(),
            client_id: wish.client.into(),
            device_id: wish.device.into(),
            entries: wish.entries,
            ticket: wish.ticket,
            log_id: wish.log_id,
            stream_key: wish.stream_key,
            origin: octets(self.address),
        };
        self.in_flight_bytes.set(self.in_flight_bytes.get() + bytes);
        self.in_flight_requests.set(self.in_flight_requests.get() + 1);
        let link = self.hub().relays.link(self.hub(), info.relay);
        match link.publish.submit(request, route, self.address.into(), Instant::now() + patience) {
            Ok(()) => self.shard.submitted(link),
            Err(full) => {
                self.hub().figures.publish_full.inc();
                let failure = Failure::new(Code::Unavailable, full.to_string());
                self.published(Published::failed(wish.tag, info.id, bytes, failure));
            }
        }
    }

    /// A request of this session has ended.
    pub(super) fn published(&self, published: Published) {
        self.in_flight_bytes.set(self.in_flight_bytes.get().saturating_sub(published.bytes));
        self.in_flight_requests.set(self.in_flight_requests.get().saturating_sub(1));
        match &self.dialect {
            Dialect::Framed(_) => self.control(super::framed::published(published)),
            Dialect::Text(text) => self.text_published(text, published),
        }
    }
}

/// As a relay is told where a session is.
fn octets(address: IpAddr) -> Bytes {
    match address.to_canonical() {
        IpAddr::V4(v4) => Bytes::copy_from_slice(&v4.octets()),
        IpAddr::V6(v6) => Bytes::copy_from_slice(&v6.octets()),
    }
}
