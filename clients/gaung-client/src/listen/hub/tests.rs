#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use gaung_engine::ReceiverEvent;
use gaung_net::driver::{Driver, DriverSockets};
use gaung_site::SiteAuthority;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};

use super::*;
use crate::{
    group_sockets::MainSocket,
    listen::drive::{self, EngineCommand, EngineEvent, EventInlet, GroupEngines, NewEngine},
    site_trust::tests::{TlsDouble, trust},
    test_doubles::{LOG, access, config, context, context_with, group, run as messages},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// The hub's side of one session, after its greeting.
struct Double {
    reader: FrameReader<Box<dyn AsyncRead + Send + Unpin>>,
    stream: Box<dyn AsyncWrite + Send + Unpin>,
    subscribe: pb::Subscribe,
}

impl Double {
    async fn accept(listener: &TcpListener) -> Self {
        Self::over(timeout(PATIENCE, listener.accept()).await.unwrap().unwrap().0).await
    }

    async fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        let (reader, stream) = split(stream);
        let (reader, stream): (Box<dyn AsyncRead + Send + Unpin>, _) = (Box::new(reader), Box::new(stream));
        let mut reader = FrameReader::new(reader, AcceptedItems::Control);
        let mut frames = Vec::new();
        while frames.len() < 2 {
            let FrameItem::Control(bytes) = timeout(PATIENCE, reader.next()).await.unwrap().unwrap().unwrap() else {
                panic!()
            };
            frames.push(pb::ClientFrame::decode(bytes).unwrap().frame.unwrap());
        }
        let pb::client_frame::Frame::Subscribe(subscribe) = frames.pop().unwrap() else { panic!("{frames:?}") };
        assert!(matches!(frames[0], pb::client_frame::Frame::Hello(pb::Hello { version: 1, .. })));
        let mut double = Self { reader, stream, subscribe };
        double.tell(pb::server_frame::Frame::Welcome(pb::Welcome::default())).await;
        double
    }

    async fn subscribed(&mut self, log: LogId, next_seq: u64, head_seq: u64) {
        self.tell(pb::server_frame::Frame::Subscribed(pb::Subscribed {
            group_id: group().id.into(),
            name: "lab".to_owned(),
            log_id: log.0,
            next_seq,
            head_seq,
            history_lost: false,
        }))
        .await;
    }

    /// What is acknowledged next.
    async fn acked(&mut self) -> u64 {
        loop {
            let item = timeout(PATIENCE, self.reader.next()).await.unwrap().unwrap().unwrap();
            let FrameItem::Control(bytes) = item else { panic!("{item:?}") };
            match pb::ClientFrame::decode(bytes).unwrap().frame.unwrap() {
                pb::client_frame::Frame::Ack(ack) => {
                    assert_eq!((&ack.group_id[..], ack.log_id), (&group().id.as_bytes()[..], LOG.0));
                    assert_eq!(ack.cookie, 5, "it shows which member it was by multicast");
                    return ack.delivered_seq;
                }
                pb::client_frame::Frame::Ping(_) => {}
                other @ (pb::client_frame::Frame::Hello(_)
                | pb::client_frame::Frame::Subscribe(_)
                | pb::client_frame::Frame::Unsubscribe(_)
                | pb::client_frame::Frame::Publish(_)
                | pb::client_frame::Frame::Renew(_)
                | pb::client_frame::Frame::Prove(_)) => panic!("{other:?}"),
            }
        }
    }

    async fn tell(&mut self, frame: pb::server_frame::Frame) {
        self.write(encode_control(&pb::ServerFrame { frame: Some(frame) })).await;
    }

    async fn write(&mut self, bytes: Bytes) {
        timeout(PATIENCE, self.stream.write_all(&bytes)).await.unwrap().unwrap();
        timeout(PATIENCE, self.stream.flush()).await.unwrap().unwrap();
    }
}

async fn next(inlet: &mut EventInlet) -> (u64, Lane) {
    let heard = timeout(PATIENCE, inlet.next()).await.unwrap();
    let Some(EngineEvent::Receiver(ReceiverEvent::Message { message, lane })) = heard else { panic!("{heard:?}") };
    (message.seq.0, lane)
}

#[tokio::test]
async fn a_lost_session_goes_on_where_the_listener_stands() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let driver = Driver::spawn("test", DriverSockets::new(), GroupEngines::default()).unwrap();
    let (out, mut inlet, port) = drive::connect(0, driver.sender());
    port.command(EngineCommand::Add { slot: 0, engine: NewEngine::Proto(config()), main: MainSocket::Keep, out }).await;
    let (notes, mut noted) = mpsc::channel(16);
    let (_place, places) = watch::channel(access(listener.local_addr().unwrap().port()));
    let cursor = Arc::new(DeliveryCursor::new(Seq(1)));
    let task = tokio::spawn(run(None, context(), places, Arc::clone(&cursor), port, notes, Cookie(5)));

    let mut hub = Double::accept(&listener).await;
    assert_eq!((hub.subscribe.from_seq, hub.subscribe.log_id), (1, LOG.0));
    hub.subscribed(LOG, 1, 2).await;
    hub.write(messages(LOG, 1, 2, 10).as_bytes().clone()).await;
    hub.write(messages(LOG, 3, 1, 10).as_bytes().clone()).await;
    assert_eq!(next(&mut inlet).await, (1, Lane::History));
    assert_eq!(next(&mut inlet).await, (2, Lane::History));
    assert_eq!(next(&mut inlet).await, (3, Lane::Tcp));
    assert!(matches!(noted.recv().await, Some(TaskNote::Hub(HubNote::Up { log: LOG }))));
    assert_eq!(hub.acked().await, 0);
    let began = Instant::now();
    for next in 1..=300 {
        cursor.set(Seq(next % 100));
        tokio::task::yield_now().await;
    }
    cursor.set(Seq(3));
    let mut acks = 1;
    while hub.acked().await != 2 {
        acks += 1;
    }
    let allowed = 2 + began.elapsed().as_millis() / ACK_INTERVAL.as_millis();
    assert!(acks <= allowed, "{acks} acknowledgements, {allowed} allowed");
    drop(hub);
    assert!(matches!(noted.recv().await, Some(TaskNote::Hub(HubNote::Down { .. }))));

    let mut hub = Double::accept(&listener).await;
    assert_eq!(hub.subscribe.from_seq, 3, "what the listener was not given is asked for again");
    hub.subscribed(LOG, 3, 5).await;
    hub.write(messages(LOG, 3, 3, 10).as_bytes().clone()).await;
    assert_eq!(next(&mut inlet).await, (4, Lane::History));
    assert_eq!(next(&mut inlet).await, (5, Lane::History));

    let gap = pb::Gap { group_id: group().id.into(), first_seq: 6, last_seq: 9 };
    hub.tell(pb::server_frame::Frame::Gap(gap)).await;
    hub.write(messages(LOG, 10, 1, 10).as_bytes().clone()).await;
    let lost = timeout(PATIENCE, inlet.next()).await.unwrap();
    let Some(EngineEvent::Receiver(ReceiverEvent::Lost(range))) = lost else { panic!("{lost:?}") };
    assert_eq!((range.first, range.last), (Seq(6), Seq(9)));
    assert_eq!(next(&mut inlet).await, (10, Lane::Tcp));
    task.abort();
}

#[tokio::test]
async fn a_session_of_a_site_goes_by_tls() {
    let (site, data) = (SiteAuthority::create().unwrap(), tempfile::tempdir().unwrap());
    let registry = TlsDouble::start(&site, Role::Registry).await;
    let trust = trust(data.path());
    registry.meet(&trust, Role::Registry).await.0.unwrap();
    let hub = TlsDouble::start(&site, Role::Hub(access(0).services[0].id)).await;
    let place = access(hub.address().port);
    let context = context_with(trust);
    let serving = async {
        let mut hub = Double::over(hub.accept_stream().await.unwrap()).await;
        hub.subscribed(LOG, 1, 2).await;
        hub.write(messages(LOG, 1, 50, 1000).as_bytes().clone()).await;
        hub
    };
    let (session, mut hub) = tokio::join!(open(&context, &place, Seq::FIRST), serving);
    let mut session = session.unwrap();
    let FrameItem::Run(run) = timeout(PATIENCE, session.reader.next()).await.unwrap().unwrap().unwrap() else {
        panic!()
    };
    assert_eq!(run.last_seq(), Seq(50));
    let ack = pb::Ack { group_id: group().id.into(), log_id: LOG.0, delivered_seq: 50, cookie: 5 };
    session.write(pb::client_frame::Frame::Ack(ack)).await.unwrap();
    assert_eq!(hub.acked().await, 50);
}

#[tokio::test]
async fn a_hub_that_refuses_is_passed_over_for_the_next() {
    let [rogue, honest] =
        [TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap()];
    let mut place = access(rogue.local_addr().unwrap().port());
    let second = access(honest.local_addr().unwrap().port()).services[0].clone();
    place.services.push(ServiceInfo { id: RelayId([4; 16]), ..second });
    let context = context();
    let refusing = async {
        let mut hub = Double::accept(&rogue).await;
        let error = pb::Error { tag: 0, code: 5, message: "no such group".to_owned(), group_id: group().id.into() };
        hub.tell(pb::server_frame::Frame::Error(error)).await;
    };
    let (opened, (), _hub) = tokio::join!(open(&context, &place, Seq::FIRST), refusing, serving(&honest));
    assert_eq!(opened.unwrap().hub, RelayId([4; 16]));
    let (again, _hub) = tokio::join!(open(&context, &place, Seq::FIRST), serving(&honest));
    assert_eq!(again.unwrap().hub, RelayId([4; 16]), "the one that served is asked first");
}

async fn serving(honest: &TcpListener) -> Double {
    let mut hub = Double::accept(honest).await;
    hub.subscribed(LOG, 1, 0).await;
    hub
}

#[tokio::test]
async fn a_hubs_refusal_keeps_its_case() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = access(listener.local_addr().unwrap().port());
    let context = context();
    let refusing = async {
        let mut hub = Double::accept(&listener).await;
        let error = pb::Error { tag: 0, code: 7, message: "no ticket".to_owned(), group_id: group().id.into() };
        hub.tell(pb::server_frame::Frame::Error(error)).await;
    };
    let (opened, ()) = tokio::join!(open(&context, &place, Seq::FIRST), refusing);
    assert!(matches!(opened, Err(ClientError::NotAllowed(ref why)) if why == "no ticket"), "{opened:?}");
    drop(listener);
    let opened = open(&context, &place, Seq::FIRST).await;
    assert!(matches!(opened, Err(ClientError::Unreachable(_))), "{opened:?}");
}
