#![allow(clippy::unwrap_used)]

use std::time::Duration;

use gaung_proto::{
    ClientId, ClientSeq, ContentType, DeviceId, Epoch, GroupId, LogId, Seq,
    block::{Author, BlockBuilder, MessageRef, SentAt},
    frame::{FRAME_HEADER, FRAME_MAGIC},
    run::{Run, RunHeader},
};
use tokio::{
    io::{AsyncReadExt, duplex},
    net::TcpListener,
    time::timeout,
};

use super::*;

const LONG: Duration = Duration::from_secs(20);

/// A control frame whose body is `body`; what stands in it is not looked at here.
fn control(body: &[u8]) -> Bytes {
    let mut frame = Vec::from(FRAME_MAGIC.to_be_bytes());
    frame.extend([1, 0]);
    frame.extend(u32::try_from(FRAME_HEADER + body.len()).unwrap().to_be_bytes());
    frame.extend(body);
    frame.into()
}

fn body(item: FrameItem) -> Bytes {
    match item {
        FrameItem::Control(body) => body,
        FrameItem::Run(_) => panic!("no run was sent"),
    }
}

#[tokio::test]
async fn frames_cut_at_every_byte_arrive_whole() {
    let stream = [control(b"first"), control(b""), control(&[7; 300])].concat();
    for cut in 0..=stream.len() {
        let (mut near, far) = duplex(1 << 16);
        let mut reader = FrameReader::new(far, AcceptedItems::Control);
        near.write_all(&stream[..cut]).await.unwrap();
        let mut got = Vec::new();
        // Cancelled while waiting for the rest, the reader loses nothing.
        while let Ok(item) = timeout(Duration::ZERO, reader.next()).await {
            got.push(body(item.unwrap().unwrap()));
        }
        near.write_all(&stream[cut..]).await.unwrap();
        drop(near);
        while let Some(item) = timeout(LONG, reader.next()).await.unwrap().unwrap() {
            got.push(body(item));
        }
        assert_eq!(got, [Bytes::from_static(b"first"), Bytes::new(), vec![7; 300].into()], "cut at {cut}");
    }
}

fn run() -> Run {
    let mut block = BlockBuilder::new();
    let author = Author { device: DeviceId([1; 16]), client: ClientId([2; 16]) };
    for n in 1..=5 {
        block.push(&MessageRef {
            author,
            client_seq: ClientSeq(n),
            content_type: ContentType::Text,
            sent_at: SentAt(1_000 + n),
            payload: b"halo",
        });
    }
    let header = RunHeader { group: GroupId([3; 16]), log: LogId(4), epoch: Epoch(5), base_seq: Seq(6) };
    Run::encode(header, &block)
}

#[tokio::test]
async fn runs_pass_between_control_frames_for_those_who_take_them() {
    let run = run();
    let stream = [control(b"a"), run.as_bytes().clone(), control(b"b")].concat();
    for cut in 0..=stream.len() {
        let halves = AsyncReadExt::chain(&stream[..cut], &stream[cut..]);
        let mut reader = FrameReader::new(halves, AcceptedItems::ControlAndRuns);
        assert_eq!(body(reader.next().await.unwrap().unwrap()), "a", "cut at {cut}");
        assert_eq!(reader.next().await.unwrap().unwrap(), FrameItem::Run(run.clone()), "cut at {cut}");
        assert_eq!(body(reader.next().await.unwrap().unwrap()), "b", "cut at {cut}");
        assert!(reader.next().await.unwrap().is_none(), "cut at {cut}");
    }
    let mut reader = FrameReader::new(&run.as_bytes()[..], AcceptedItems::Control);
    assert!(matches!(reader.next().await, Err(ReadFrameError::Decode(_))));
}

#[tokio::test]
async fn a_stream_that_ends_within_a_frame_is_cut() {
    let frame = control(b"hello");
    for cut in 1..frame.len() {
        let mut reader = FrameReader::new(&frame[..cut], AcceptedItems::Control);
        assert!(matches!(reader.next().await, Err(ReadFrameError::Cut)), "cut at {cut}");
    }
    let mut nothing = FrameReader::new(&b""[..], AcceptedItems::Control);
    assert!(nothing.next().await.unwrap().is_none());
}

#[tokio::test]
async fn what_is_no_frame_ends_the_reading() {
    let mut too_long = control(b"").to_vec();
    too_long[4..8].copy_from_slice(&u32::MAX.to_be_bytes());
    for bytes in [b"GET / HTTP/1.1\r\n".to_vec(), too_long] {
        let mut reader = FrameReader::new(&bytes[..], AcceptedItems::Control);
        assert!(matches!(reader.next().await, Err(ReadFrameError::Decode(_))), "{bytes:?}");
    }
}

#[tokio::test]
async fn many_slices_leave_in_order_through_a_small_pipe() {
    let mut queue = SliceQueue::new();
    let mut expected = Vec::new();
    for n in 0..500u16 {
        let bytes = Bytes::from(vec![n as u8; usize::from(n % 37)]);
        expected.extend_from_slice(&bytes);
        queue.push(bytes);
    }
    assert_eq!(queue.len_bytes(), expected.len());
    let (mut near, mut far) = duplex(61);
    let writer = tokio::spawn(async move {
        queue.write_all(&mut near).await.unwrap();
        assert!(queue.is_empty());
    });
    let mut got = Vec::new();
    timeout(LONG, far.read_to_end(&mut got)).await.unwrap().unwrap();
    writer.await.unwrap();
    assert_eq!(got, expected);
}

#[tokio::test]
async fn a_full_socket_takes_what_fits_and_the_rest_later() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (mut far, _) = listener.accept().await.unwrap();
    let block = Bytes::from(vec![5; 1 << 20]);
    let total = 32 * block.len();
    let mut queue = SliceQueue::new();
    (0..32).for_each(|_| queue.push(block.clone()));
    near.writable().await.unwrap();
    let first = queue.try_write(&near, usize::MAX).unwrap();
    assert!(first > 0 && first < total, "{first}");
    let reader = tokio::spawn(async move {
        let mut got = Vec::new();
        far.read_to_end(&mut got).await.unwrap();
        got.len()
    });
    while !queue.is_empty() {
        timeout(LONG, near.writable()).await.unwrap().unwrap();
        queue.try_write(&near, 100_000).unwrap();
    }
    drop(near);
    assert_eq!(timeout(LONG, reader).await.unwrap().unwrap(), total);
}
