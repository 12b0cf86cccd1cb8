//! A group, its runs and a client without a server, for the tests of this crate.
#![allow(clippy::unwrap_used)]

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use bytes::Bytes;
use gaung_engine::{LanePolicy, ReceiverConfig};
use gaung_proto::{
    ClientId, ClientSeq, Content, ContentType, DeviceId, Epoch, Generation, GroupAddr, GroupId, GroupRetention, LogId,
    RelayId, Scope, Seq,
    block::{Author, BlockBuilder, Message, MessageRef, SentAt},
    run::{Run, RunHeader},
};
use tonic::transport::Endpoint;

use crate::{
    calls::GroupAccess,
    context::Context,
    device::Device,
    endpoint::HostPort,
    group::{Format, GroupInfo, ServiceInfo, ServiceKind},
    server::Server,
    settings::Settings,
    site_trust::{SiteRecording, SiteTrust},
};

pub(crate) const LOG: LogId = LogId(7);

pub(crate) fn group() -> Arc<GroupInfo> {
    Arc::new(GroupInfo {
        id: GroupId([1; 16]),
        name: "lab".parse().unwrap(),
        scope: Scope::Site,
        format: Format::Proto,
        private: false,
        addr: GroupAddr::new(Ipv4Addr::new(239, 255, 1, 1), 20000).unwrap(),
        generation: Generation(1),
        lapsed: false,
        log: LOG,
        relay: RelayId([2; 16]),
        owner: None,
        ttl: 1,
        reserved: false,
        created_unix_ms: 0,
        keep: GroupRetention::default(),
        policy_version: 0,
    })
}

pub(crate) fn message(seq: u64, payload: Bytes) -> (Message, Content) {
    let message = Message {
        seq: Seq(seq),
        author: Author { device: DeviceId::NONE, client: ClientId::NONE },
        client_seq: ClientSeq(seq),
        content_type: ContentType::Text,
        sent_at: SentAt(0),
        payload,
    };
    let content = Content::decode(message.content_type, &message.payload);
    (message, content)
}

/// `count` messages of `len` bytes from `first` on.
pub(crate) fn run(log: LogId, first: u64, count: u64, len: usize) -> Run {
    let mut block = BlockBuilder::new();
    for seq in first..first + count {
        block.push(&MessageRef {
            author: Author { device: DeviceId::NONE, client: ClientId::NONE },
            client_seq: ClientSeq(seq),
            content_type: ContentType::Text,
            sent_at: SentAt(0),
            payload: &vec![seq as u8; len],
        });
    }
    Run::encode(RunHeader { group: group().id, log, epoch: Epoch(1), base_seq: Seq(first) }, &block)
}

pub(crate) fn config() -> Box<ReceiverConfig> {
    Box::new(ReceiverConfig {
        group: group().id,
        log: LOG,
        tag: group().tag(),
        next: Seq::FIRST,
        sender: ClientId([9; 16]).into(),
        device: DeviceId::NONE,
        relay: None,
        policy: LanePolicy::TcpOnly,
        history: true,
        rng_seed: 1,
    })
}

/// Access to the group, with one hub at this port of this machine.
pub(crate) fn access(hub_port: u16) -> GroupAccess {
    let hub = ServiceInfo {
        kind: ServiceKind::Hub,
        id: RelayId([3; 16]),
        host: "127.0.0.1".to_owned(),
        grpc_port: 0,
        udp_port: 0,
        tcp_port: hub_port,
        text_port: 0,
        web_port: 0,
        durable: true,
        version: String::new(),
        alive: true,
    };
    GroupAccess { group: (*group()).clone(), ticket: Bytes::new(), services: vec![hub], lease: Duration::from_secs(60) }
}

/// A client whose registry is never called.
pub(crate) fn context() -> Arc<Context> {
    let settings = Settings { insecure: true, ..Settings::new("/nowhere") };
    context_with(SiteTrust::new(&settings, None, &Device::ephemeral(), SiteRecording::Off).unwrap())
}

/// The same, with this trust.
pub(crate) fn context_with(trust: SiteTrust) -> Arc<Context> {
    let channel = Endpoint::from_static("http://127.0.0.1:1").connect_lazy();
    let (settings, device, trust) = (Settings::new("/nowhere"), Device::ephemeral(), Arc::new(trust));
    let server = Server::at(HostPort::new("127.0.0.1", 1), channel, Arc::clone(&trust));
    Arc::new(Context::with(server, trust, device, settings))
}
