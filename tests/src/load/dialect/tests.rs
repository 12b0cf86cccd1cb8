#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use gaung_proto::{
    ClientId, ClientSeq, ContentType, DeviceId, Epoch, GroupId, LogId, Seq,
    block::{Author, BlockBuilder, MessageRef, SentAt},
    frame::{AcceptedItems, FrameItem, decode, encode_control},
    pb::hub::{Bye, ClientFrame, Resume, ServerFrame, Subscribed, client_frame, server_frame::Frame},
    run::{Run, RunHeader},
};

use prost::Message as _;

use super::{
    scan_check::{scan_whole_and_split, stamped_message, stamped_payload},
    *,
};

const LISTENER: Role = Role::Listener { group: 0, from_seq: 0 };

#[test]
fn gaung() {
    let group = GroupId([3; 16]);
    let dialect = Gaung::new(vec![group]);
    let mut block = BlockBuilder::new();
    let payloads = [stamped_payload(20), stamped_payload(21)];
    for (author, payload) in [1, 2].into_iter().zip(&payloads) {
        block.push(&MessageRef {
            author: Author { device: DeviceId::NONE, client: ClientId([author; 16]) },
            client_seq: ClientSeq(1),
            content_type: ContentType::Text,
            sent_at: SentAt(7),
            payload,
        });
    }
    let run = Run::encode(RunHeader { group, log: LogId(3), epoch: Epoch(1), base_seq: Seq(4) }, &block);
    let frame = |frame| encode_control(&ServerFrame { frame: Some(frame) });
    let subscribed =
        |group: GroupId| frame(Frame::Subscribed(Subscribed { group_id: group.into(), ..Default::default() }));
    let resume = |group: GroupId, from_seq| Resume { group_id: group.into(), log_id: 3, from_seq };
    let other = GroupId([4; 16]);
    let bye = Bye { reason: "slow".into(), resume: vec![resume(other, 9), resume(group, 6)], r#final: false };
    let bytes = [subscribed(other), subscribed(group), run.as_bytes().clone(), frame(Frame::Bye(bye))].concat();
    let bye = Heard::Bye { reason: "slow".to_owned(), resume: Some(6) };
    assert_eq!(
        scan_whole_and_split(&dialect, LISTENER, &bytes),
        [Heard::Ready, stamped_message(20, 4), stamped_message(21, 5), bye]
    );
}

#[test]
fn gaung_takes_requests_within_their_limits() {
    let dialect = Gaung::new(vec![GroupId([3; 16])]);
    for (count, size, frames) in [(1, 64, 1), (1024, 64, 1), (2500, 64, 3), (20, 256 * 1024, 5)] {
        let speaker = Speaker { index: 0, group: 0, said: 7, size };
        let mut bytes = Vec::new();
        dialect.publish(speaker, &mut (0..count).map(|number| Stamp { number, due_ns: 7 }), &mut bytes);
        let mut bytes = bytes::BytesMut::from(&bytes[..]);
        let (mut client_seqs, mut seen) = (Vec::new(), 0);
        while let Some(FrameItem::Control(body)) = decode(&mut bytes, AcceptedItems::Control).unwrap() {
            let Some(client_frame::Frame::Publish(publish)) = ClientFrame::decode(body).unwrap().frame else {
                panic!("no publish")
            };
            client_seqs.extend(publish.entries.iter().map(|entry| entry.client_seq));
            seen += 1;
        }
        assert!(client_seqs.into_iter().eq(8..8 + count), "{count} of {size}");
        assert_eq!((seen, bytes.len()), (frames, 0));
    }
}

#[test]
fn gaung_refuses_a_run_whose_lengths_are_wrong() {
    let dialect = Gaung::new(Vec::new());
    let mut block = BlockBuilder::new();
    block.push(&MessageRef {
        author: Author { device: DeviceId::NONE, client: ClientId([1; 16]) },
        client_seq: ClientSeq(1),
        content_type: ContentType::Text,
        sent_at: SentAt(7),
        payload: &stamped_payload(1),
    });
    let header = RunHeader { group: GroupId([3; 16]), log: LogId(3), epoch: Epoch(1), base_seq: Seq(4) };
    let mut bytes = Run::encode(header, &block).as_bytes().to_vec();
    let last_of_length = bytes.len() - 41;
    bytes[last_of_length] += 1;
    assert!(Run::parse(Bytes::from(bytes.clone())).is_err(), "the length of the message was changed");
    assert!(dialect.scan(LISTENER, &bytes, &mut |_| ()).is_err());
}
