//! Random pieces and mutated frames on every port leave the hub serving.

use broadcast_hub::Limits;
use gaung_proto::{
    Seq,
    frame::encode_control,
    pb::hub::{Ack, ClientFrame, Hello, Ping, Publish, PublishEntry, Subscribe, client_frame, subscribe},
};
use rand::{Rng as _, RngCore as _, SeedableRng as _, rngs::SmallRng};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    client::{FramedClient, TextClient},
    world::World,
};

const PIECES: usize = 10_000;
const PIECES_PER_CONNECTION: usize = 50;

#[tokio::test(flavor = "multi_thread")]
async fn random_bytes_on_each_port_leave_the_hub_serving() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut rng = SmallRng::seed_from_u64(seed);
    let world = World::start(Limits { sessions_per_address: 100_000, ..Limits::default() }).await;
    for port in [world.hub.tcp, world.hub.text, world.hub.grpc] {
        for _ in 0..PIECES / PIECES_PER_CONNECTION {
            let mut bytes = Vec::new();
            for _ in 0..PIECES_PER_CONNECTION {
                let mut piece = vec![0; rng.random_range(1..200)];
                rng.fill_bytes(&mut piece);
                bytes.extend(piece);
            }
            send_bytes(port, &bytes).await;
        }
    }
    still_serves(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_with_one_changed_byte_leave_the_hub_serving() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut rng = SmallRng::seed_from_u64(seed);
    let world = World::start(Limits { sessions_per_address: 100_000, ..Limits::default() }).await;
    world.group("g", 2);
    let valid: Vec<Vec<u8>> = frames().into_iter().map(|frame| frame.to_vec()).collect();
    for _ in 0..PIECES / PIECES_PER_CONNECTION {
        let mut bytes = valid[0].clone();
        for i in 0..PIECES_PER_CONNECTION {
            let mut frame = valid[(i + 1) % valid.len()].clone();
            let at = rng.random_range(0..frame.len());
            frame[at] ^= 1 << rng.random_range(0..8);
            bytes.extend(frame);
        }
        send_bytes(world.hub.tcp, &bytes).await;
    }
    still_serves(world).await;
}

async fn send_bytes(port: std::net::SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(port).await.unwrap();
    // The hub may have closed the connection by then.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(std::time::Duration::from_millis(20), reading).await;
}

async fn still_serves(world: World) {
    let (mut ann, _) = TextClient::open(world.hub.text).await;
    let (mut client, _) = FramedClient::open(world.hub.tcp).await;
    let subscribed = client.subscribe("everyone", 0, 0).await;
    // Lines that the random bytes made may still be on their way into the log.
    let mut next = Seq(subscribed.next_seq);
    let from = world.relay.head(world.everyone).next();
    ann.say(b"masih ada?\n").await;
    while world.relay.head(world.everyone) < from {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    client.read_up_to(world.everyone, &mut next, from).await;
    world.stop().await;
}

fn frames() -> Vec<bytes::Bytes> {
    let id: bytes::Bytes = vec![7; 16].into();
    let group: bytes::Bytes = vec![2; 16].into();
    let entry = |client_seq| PublishEntry { client_seq, content_type: 1, payload: b"abc".to_vec().into() };
    let frames = [
        client_frame::Frame::Hello(Hello {
            version: 1,
            client_id: id.clone(),
            device_id: id,
            name: "x".into(),
            ..Hello::default()
        }),
        client_frame::Frame::Subscribe(Subscribe {
            by: Some(subscribe::By::Name("g".into())),
            from_seq: 3,
            log_id: 2,
            ..Subscribe::default()
        }),
        client_frame::Frame::Publish(Publish {
            tag: 4,
            group_id: group.clone(),
            entries: vec![entry(1), entry(2)],
            ..Publish::default()
        }),
        client_frame::Frame::Ack(Ack { group_id: group.clone(), log_id: 2, delivered_seq: 9, cookie: 9 }),
        client_frame::Frame::Ping(Ping { nonce: u64::MAX }),
        client_frame::Frame::Subscribe(Subscribe { by: Some(subscribe::By::GroupId(group)), ..Subscribe::default() }),
    ];
    frames.into_iter().map(|frame| encode_control(&ClientFrame { frame: Some(frame) })).collect()
}
