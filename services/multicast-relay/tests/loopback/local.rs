//! Publishing from the relay's own process.

use gaung_engine::{AckRange, PublishBatch, PublishEntry, RefuseReason};
use gaung_proto::{ClientId, ClientSeq, ContentType, DeviceId, GroupId, Seq, datagram::PacketType};
use multicast_relay::{LocalGroup, LocalPublisher, bind};

use crate::datagrams::be_heard;
use crate::support::{GroupKind, LONG, RegistryDouble, TestRelay, config, eventually, join, read, receive_type, text};

fn batch(client: u8, first: u64, words: &[&str]) -> PublishBatch {
    let entry = |(client_seq, words): (u64, &&str)| PublishEntry {
        client_seq: ClientSeq(client_seq),
        content_type: ContentType::Text,
        payload: text(words),
    };
    let entries = (first..).zip(words).map(entry).collect();
    PublishBatch::new(DeviceId::NONE, ClientId([client; 16]), entries).unwrap()
}

async fn served(publisher: &LocalPublisher, group: GroupId) -> LocalGroup {
    eventually("the group is served", async || publisher.group(group).is_some()).await;
    publisher.group(group).unwrap()
}

#[tokio::test]
async fn what_is_published_within_the_process_is_logged_sent_and_acknowledged_like_any_message() {
    let registry = RegistryDouble::start().await;
    let bound = bind(config(&registry)).await.unwrap();
    let publisher = bound.local_publisher();
    let relay = TestRelay::run(bound).await;
    let (id, addr) = registry.create("class", GroupKind::Proto).await;
    let (text_group, _) = registry.create("bare", GroupKind::Text).await;
    let member = join(addr);
    let group = served(&publisher, id).await;
    be_heard(&member, &relay).await;
    assert_eq!(group.log().0, registry.log_id(id));

    let outcome = async |batch| group.publish(batch).unwrap().outcome().await;
    let acked = |first, seq, count| vec![AckRange { first_client_seq: ClientSeq(first), first_seq: Seq(seq), count }];
    assert_eq!(outcome(batch(1, 1, &["a", "b"])).await, Ok(acked(1, 1, 2)));
    let (header, ..) = receive_type(&member, PacketType::Data).await;
    assert_eq!(header.seq, Seq(1));
    assert_eq!(outcome(batch(1, 2, &["b", "c"])).await, Ok(acked(2, 2, 2)), "a duplicate keeps its seq");
    let waited = group.publish(batch(2, 1, &["d"])).unwrap();
    let waited = tokio::task::spawn_blocking(move || waited.wait());
    assert_eq!(tokio::time::timeout(LONG, waited).await.unwrap().unwrap(), Ok(acked(1, 4, 1)));
    let runs = read(&mut relay.client().await, id, 1, 0).await.unwrap();
    assert_eq!(runs.iter().flat_map(crate::support::words).collect::<Vec<_>>(), ["a", "b", "c", "d"]);

    eventually("the text group is served", async || read(&mut relay.client().await, text_group, 0, 0).await.is_ok())
        .await;
    assert!(publisher.group(text_group).is_none(), "its limits are checked at gRPC alone");
    registry.delete(id);
    eventually("the group is gone", async || publisher.group(id).is_none()).await;
    assert_eq!(outcome(batch(1, 4, &["e"])).await, Err(RefuseReason::Unavailable));
    relay.stop().await;
    let mut late = None;
    eventually("the worker has ended", async || {
        match group.publish(batch(1, 4, &["e"])) {
            Ok(ack) => late = Some(ack),
            Err(error) => return matches!(error, multicast_relay::LocalPublishError::Stopped),
        }
        false
    })
    .await;
    if let Some(mut late) = late {
        assert_eq!(late.try_outcome(), Some(Err(RefuseReason::Unavailable)), "dropped with the worker");
    }
}
