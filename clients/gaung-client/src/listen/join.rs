//! Joining one group of a listener by a lane that both the caller and the group allow.

use std::{net::SocketAddrV4, sync::Arc};

use gaung_engine::{LanePolicy, ReceiverConfig};
use gaung_net::{SocketError, driver::CommandSender, interface::LinkWatch, multicast::GroupSocket};
use gaung_proto::{GroupName, Seq, net::Lane};
use rand::Rng as _;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;

use super::{
    cursor::DeliveryCursor,
    drive::{self, EngineCommand, EngineInput, NewEngine},
    hub,
    member::{Member, MemberState},
    options::{LaneChoice, StartAt},
    sink::EventSink,
};
use crate::{
    calls::{GroupAccess, GroupKey},
    context::Context,
    error::ClientError,
    group::Format,
    group_sockets::MainSocket,
    interfaces,
};

/// What one group needs to join a listener.
pub(super) struct JoinGroup<'a> {
    pub(super) context: &'a Arc<Context>,
    pub(super) sink: &'a EventSink,
    pub(super) stop: &'a CancellationToken,
    /// Counts the tasks of the groups that have joined.
    pub(super) members: &'a TaskTracker,
    pub(super) engines: CommandSender<EngineCommand>,
    pub(super) watch: &'a LinkWatch,
    pub(super) slot: u32,
}

impl JoinGroup<'_> {
    /// Registers as present, and starts the task of the group on the lane to begin with.
    pub(super) async fn join(&self, name: &GroupName, lane: LaneChoice, start: StartAt) -> Result<(), ClientError> {
        let access = self.context.join(&GroupKey::Name(name.clone()), Some(&Lane::Tcp.to_string())).await?;
        let without_address = access.group.lapsed && !access.group.private;
        match (lane, access.group.private, access.group.format) {
            (LaneChoice::Multicast, false, _) if without_address => Err(ClientError::NoMulticastAddress(name.clone())),
            (LaneChoice::Multicast, true, _) => Err(ClientError::PrivateByTcpOnly(name.clone())),
            // The group may get an address while it is listened to.
            (LaneChoice::Auto, false, Format::Proto) if without_address => self.by_hub(access, start, true).await,
            (LaneChoice::Multicast, false, Format::Text) => self.by_text(access).await,
            (LaneChoice::Auto | LaneChoice::Tcp, _, Format::Text)
            | (LaneChoice::Auto | LaneChoice::Tcp, true, Format::Proto)
            | (LaneChoice::Tcp, false, Format::Proto) => self.by_hub(access, start, false).await,
            (LaneChoice::Auto | LaneChoice::Multicast, false, Format::Proto) => {
                self.by_multicast(access, lane, start).await
            }
        }
    }

    async fn by_multicast(&self, mut access: GroupAccess, lane: LaneChoice, start: StartAt) -> Result<(), ClientError> {
        let auto = lane == LaneChoice::Auto;
        match self.try_joining(&access) {
            Ok(()) => {}
            Err(ClientError::Failed(why)) if auto => {
                debug!(why, "no multicast here for now");
                return self.by_hub(access, start, true).await;
            }
            Err(error) => return Err(error),
        }
        let status = match access.log_status(&self.context.trust).await {
            Ok(status) => status,
            Err(ClientError::Unreachable(_)) if auto => return self.by_hub(access, start, true).await,
            Err(error) => return Err(error),
        };
        access.group.log = status.log;
        let next = match start {
            StartAt::Oldest => status.oldest.max(Seq::FIRST),
            StartAt::Next => status.head.next(),
            StartAt::Seq(seq) => seq.max(Seq::FIRST),
        };
        let policy = if auto { LanePolicy::Auto } else { LanePolicy::MulticastOnly };
        let relay = access.relay_datagram_addr().await;
        let engine = NewEngine::Proto(Box::new(self.config(&access, next, relay, policy)));
        let state = MemberState::new(Lane::Multicast, self.watch.clone(), true);
        let member = self.member(access, lane, relay, next, state, engine).await?;
        if next < status.oldest {
            member.port.input(EngineInput::Trimmed { oldest: status.oldest }).await;
        }
        if next <= status.head {
            member.port.input(EngineInput::Head { head: status.head }).await;
        }
        self.members.spawn(member.run(None));
        Ok(())
    }

    /// `hears_multicast`: whether to receive multicast meanwhile, to change to it once it comes. False for groups that
    /// have none.
    async fn by_hub(&self, mut access: GroupAccess, start: StartAt, hears_multicast: bool) -> Result<(), ClientError> {
        let wanted = match start {
            StartAt::Oldest => Seq::FIRST,
            StartAt::Next => Seq::ZERO,
            StartAt::Seq(seq) => seq.max(Seq::FIRST),
        };
        let session = hub::open(self.context, &access, wanted).await?;
        access.group.log = session.log;
        let next = session.next.max(wanted);
        let (choice, policy) = match hears_multicast {
            true => (LaneChoice::Auto, LanePolicy::Auto),
            false => (LaneChoice::Tcp, LanePolicy::TcpOnly),
        };
        let relay = if hears_multicast { access.relay_datagram_addr().await } else { None };
        let engine = NewEngine::Proto(Box::new(self.config(&access, next, relay, policy)));
        let state = MemberState::new(Lane::Tcp, self.watch.clone(), hears_multicast);
        let member = self.member(access, choice, relay, next, state, engine).await?;
        self.members.spawn(member.run(Some(session)));
        Ok(())
    }

    /// A text group by multicast has no seq and no repair: a listener gets what arrives.
    async fn by_text(&self, access: GroupAccess) -> Result<(), ClientError> {
        self.try_joining(&access)?;
        let state = MemberState::new(Lane::Multicast, self.watch.clone(), true);
        let member = self.member(access, LaneChoice::Multicast, None, Seq::ZERO, state, NewEngine::Text).await?;
        self.members.spawn(member.run_ready());
        Ok(())
    }

    /// Opens and closes the group's socket, so that the caller learns at once if this machine cannot join it.
    fn try_joining(&self, access: &GroupAccess) -> Result<(), ClientError> {
        let name = &access.group.name;
        match GroupSocket::open(access.group.addr.socket_addr(), &self.watch.now().links) {
            Ok(_) => Ok(()),
            Err(SocketError::NoInterface) => {
                Err(ClientError::Failed(format!("cannot hear {name}: {}", interfaces::why_none(self.watch))))
            }
            Err(error) => Err(ClientError::Failed(format!("cannot hear {name}: {error}"))),
        }
    }

    async fn member(
        &self,
        access: GroupAccess,
        choice: LaneChoice,
        relay: Option<SocketAddrV4>,
        next: Seq,
        state: MemberState,
        engine: NewEngine,
    ) -> Result<Member, ClientError> {
        let main = match access.group.heard_at().filter(|_| state.hears_multicast()) {
            Some(addr) => MainSocket::Open(addr.socket_addr(), state.links()),
            None => MainSocket::Keep,
        };
        let (out, inlet, port) = drive::connect(self.slot, self.engines.clone());
        if !port.command(EngineCommand::Add { slot: port.slot(), engine, main, out }).await {
            return Err(ClientError::Failed("the receiving thread has ended".to_owned()));
        }
        let group = Arc::new(access.group.clone());
        Ok(Member {
            context: Arc::clone(self.context),
            sink: self.sink.clone(),
            stop: self.stop.clone(),
            choice,
            access: watch::Sender::new(access),
            group,
            relay,
            inlet,
            port,
            cursor: Arc::new(DeliveryCursor::new(next)),
            state,
        })
    }

    fn config(
        &self,
        access: &GroupAccess,
        next: Seq,
        relay: Option<SocketAddrV4>,
        policy: LanePolicy,
    ) -> ReceiverConfig {
        ReceiverConfig {
            group: access.group.id,
            log: access.group.log,
            tag: access.group.tag(),
            next,
            sender: self.context.client_id.into(),
            device: self.context.device.id(),
            relay,
            policy,
            history: true,
            rng_seed: rand::rng().random(),
        }
    }
}
