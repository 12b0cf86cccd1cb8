//! The decoded requests of a session's peer, which are the same in every dialect.

use bytes::Bytes;
use gaung_proto::{
    ClientId, DeviceId, GroupId, LogId, Seq,
    body::Cookie,
    limits::{MAX_PAYLOAD, MAX_PUBLISH_BYTES, MAX_PUBLISH_MESSAGES},
    pb::relay::Entry,
};
use tonic::Code;

use crate::{directory::GroupInfo, failure::Failure};

use super::EndReason;

use std::sync::Arc;

/// One request of a session's peer.
#[derive(Debug, Clone)]
pub enum Request {
    /// Says who the peer is; comes first and once.
    Hello(Hello),
    /// Subscribes to a group, or moves the subscription to another position.
    Subscribe(SubscribeRequest),
    /// Unsubscribes from a group.
    Unsubscribe(GroupId),
    /// Publishes to a group.
    Publish(GroupKey, PublishRequest),
    /// Acknowledges a group's messages.
    Ack {
        /// The group.
        group: GroupId,
        /// The log that `delivered` counts in.
        log: LogId,
        /// The last message that was delivered.
        delivered: Seq,
        /// Tells the relay which multicast member the peer was; 0 for none.
        cookie: Cookie,
    },
    /// Shows a newer ticket for a private group that the session is in.
    Renew(GroupId, Bytes),
    /// Requests an answer with this nonce.
    Ping(u64),
    /// Proves the peer's device.
    Prove(HelloProof),
    /// Joins the group of this name from its next message on, as `/join` of a text session does.
    Join(String),
    /// Gives the peer another name.
    Rename(String),
    /// A request of a later version of the protocol.
    Unknown,
    /// A request that is understood and has an error in it.
    Invalid {
        /// Of a publish request; else 0.
        tag: u64,
        /// What is wrong.
        failure: Failure,
    },
    /// Bytes after which the session cannot go on.
    Fatal(EndReason),
}

/// Who a session's peer is.
#[derive(Debug, Clone)]
pub struct Hello {
    /// The process, by its own random id.
    pub client: ClientId,
    /// The device as the peer names it; [`DeviceId::NONE`] if it names none.
    pub device: DeviceId,
    /// What proves that the id is the peer's own; without it the peer's address does.
    pub stream_key: Option<[u8; 16]>,
    /// Shown to others; empty for those whose device the registry knows.
    pub name: String,
}

/// A device's answer to the challenge in the session's welcome, not verified yet.
#[derive(Debug, Clone)]
pub struct HelloProof {
    /// The device's Ed25519 public key.
    pub public_key: Bytes,
    /// See [`verify_hello`](gaung_proto::signing::verify_hello).
    pub signature: Bytes,
}

/// How a request names a group.
#[derive(Debug, Clone)]
pub enum GroupKey {
    /// By its name.
    Name(String),
    /// By its id.
    Id(GroupId),
    /// The dialect knows it already.
    Known(Arc<GroupInfo>),
}

/// Where in a group the session's messages shall begin.
#[derive(Debug, Clone)]
pub struct SubscribeRequest {
    /// The group.
    pub group: GroupKey,
    /// The first message; 0 for the next that is logged.
    pub from: Seq,
    /// The log that `from` counts in; `None` for the current one.
    pub log: Option<LogId>,
    /// The right to read a private group; may be empty for a public one.
    pub ticket: Bytes,
}

/// Messages to publish to one group.
#[derive(Debug, Clone)]
pub struct PublishRequest {
    /// Chosen by the peer; its answer has the same.
    pub tag: u64,
    /// The author.
    pub client: ClientId,
    /// Proves to the relay that the client id is the author's own; may be empty.
    pub stream_key: Bytes,
    /// The messages.
    pub entries: Vec<Entry>,
    /// Memory that the request holds: payloads lie within the frame that they came in.
    pub bytes: usize,
    /// The right to write to a private group.
    pub ticket: Bytes,
    /// The log that the author means; 0 for the current one.
    pub log_id: u64,
}

impl PublishRequest {
    /// Checks the limits that the relay would refuse the request for.
    ///
    /// # Errors
    /// The relay's own answer.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let invalid = |message: &str| Err(Failure::new(Code::InvalidArgument, message));
        if self.entries.is_empty() || self.entries.len() > MAX_PUBLISH_MESSAGES {
            return invalid("a publish request has 1 to 1024 messages");
        }
        let payload_bytes: usize = self.entries.iter().map(|entry| entry.payload.len()).sum();
        if payload_bytes > MAX_PUBLISH_BYTES {
            return invalid("a publish request has at most 1 MiB of payload");
        }
        if self.entries.iter().any(|entry| entry.payload.len() > MAX_PAYLOAD) {
            return invalid("a message has at most 256 KiB");
        }
        let mut last = 0;
        for entry in &self.entries {
            if entry.client_seq <= last {
                return invalid("client_seq counts from 1 and rises within a request");
            }
            last = entry.client_seq;
        }
        Ok(())
    }
}
