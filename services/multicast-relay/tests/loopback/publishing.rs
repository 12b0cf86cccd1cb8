//! Publishing and reading over gRPC, and what is heard on the wire.

use crate::datagrams::be_heard;
use crate::support::{
    Following, GroupKind, OneGroup, RegistryDouble, TestRelay, ack, entry, eventually, join, page_before, publish,
    read, receive_type, request, words,
};
use gaung_proto::{
    Seq,
    block::Block,
    body::Data,
    datagram::{PacketType, flags},
    pb::relay::{
        PublishStreamRequest, ReadRequest, StreamedPublish, follow_response::Event, streamed_outcome::Outcome,
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

#[tokio::test]
async fn a_message_is_acknowledged_and_heard_once() {
    let OneGroup { registry, relay, group, addr, mut client } = OneGroup::start().await;
    let member = join(addr);
    be_heard(&member, &relay).await;
    for n in 1..=20 {
        let published = publish(&mut client, request(group, 1, vec![entry(n, &format!("m{n}"))])).await;
        assert_eq!(published.acks, [ack(n, n, 1)]);
        let (header, body, from) = receive_type(&member, PacketType::Data).await;
        assert_eq!((header.seq, header.pkt.0, header.has(flags::REPAIR)), (Seq(n), n as u32, false));
        assert_eq!(from, relay.udp.into());
        let data = Data::decode(&body, false).unwrap();
        let message = Block::parse(data.bytes).unwrap().messages().next().unwrap();
        assert_eq!(message.payload, crate::support::text(&format!("m{n}")));
    }
    eventually("the head is reported", async || registry.head(group) == Some(20)).await;
    relay.stop().await;
}

#[tokio::test]
async fn a_stream_answers_in_order_and_a_refused_request_ends_nothing() {
    let OneGroup { registry: _registry, relay, group, mut client, .. } = OneGroup::start().await;
    publish(&mut client, request(group, 9, vec![entry(1, "first")])).await;
    let (sender, queue) = mpsc::channel(300);
    let mut answers = client.publish_stream(ReceiverStream::new(queue)).await.unwrap().into_inner();
    let publish_of = |tag| {
        let entries = if tag == 100 { vec![] } else { vec![entry(tag * 2, "a"), entry(tag * 2 + 1, "b")] };
        StreamedPublish { tag, publish: Some(request(group, 1, entries)) }
    };
    // 1, 2, 3, .. of them together.
    let mut tags = 1..=200;
    for together in 1..=20 {
        let publishes = tags.by_ref().take(together).map(publish_of).collect();
        sender.send(PublishStreamRequest { publishes }).await.unwrap();
    }
    drop(sender);
    let (mut next_seq, mut tag) = (2, 0);
    while let Some(answer) = answers.message().await.unwrap() {
        for outcome in answer.outcomes {
            tag += 1;
            assert_eq!(outcome.tag, tag);
            match outcome.outcome.unwrap() {
                Outcome::Published(published) => {
                    assert_eq!(published.acks, [ack(tag * 2, next_seq, 2)]);
                    next_seq += 2;
                }
                Outcome::Refused(refused) => {
                    assert_eq!((tag, refused.code), (100, i32::from(Code::InvalidArgument)));
                    assert!(refused.message.contains("1 to 1024"), "{}", refused.message);
                }
            }
        }
    }
    assert_eq!(tag, 200);
    relay.stop().await;
}

#[tokio::test]
async fn a_duplicate_gets_its_first_seq_after_reconnect_and_restart() {
    let OneGroup { mut registry, relay, group, .. } = OneGroup::start().await;
    let first = request(group, 1, (1..=50).map(|n| entry(n, &n.to_string())).collect());
    let acks = publish(&mut relay.client().await, first.clone()).await.acks;
    assert_eq!(publish(&mut relay.client().await, first.clone()).await.acks, acks);
    relay.stop().await;

    registry.go_away();
    let relay = TestRelay::disk(&registry).await;
    let mut client = relay.client().await;
    assert_eq!(publish(&mut client, first).await.acks, acks, "from its own store, without the registry");
    let more = publish(&mut client, request(group, 1, vec![entry(50, "50"), entry(51, "51")])).await;
    assert_eq!(more.acks, [ack(50, 50, 2)]);
    let runs = read(&mut client, group, 1, 0).await.unwrap();
    let all: Vec<String> = runs.iter().flat_map(words).collect();
    assert_eq!(all, (1..=51).map(|n| n.to_string()).collect::<Vec<_>>());
    let status = client.publish(request(gaung_proto::GroupId([1; 16]), 1, vec![entry(1, "x")])).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "nobody can be asked about it");
    relay.stop().await;
}

#[tokio::test]
async fn history_is_read_from_a_seq_to_a_limit() {
    let OneGroup { registry, relay, group, mut client, .. } = OneGroup::start().await;
    for n in 1..=30 {
        publish(&mut client, request(group, 1, vec![entry(n, &n.to_string())])).await;
    }
    let seqs = |runs: Vec<gaung_proto::run::Run>| -> Vec<u64> { runs.iter().map(|run| run.first_seq().0).collect() };
    assert_eq!(seqs(read(&mut client, group, 0, 0).await.unwrap()), (1..=30).collect::<Vec<_>>());
    assert_eq!(seqs(read(&mut client, group, 11, 5).await.unwrap()), (11..=15).collect::<Vec<_>>());
    assert_eq!(seqs(read(&mut client, group, 29, 100).await.unwrap()), [29, 30]);
    assert_eq!(seqs(read(&mut client, group, 31, 0).await.unwrap()), Vec::<u64>::new());
    let log = client
        .get_log(gaung_proto::pb::relay::GetLogRequest { group_id: group.into(), ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    assert_eq!((log.head_seq, log.oldest_seq, log.durable, log.log_id), (30, 1, true, registry.log_id(group)));
    relay.stop().await;
}

#[tokio::test]
async fn history_is_read_backwards_page_by_page_while_it_grows() {
    let OneGroup { registry: _registry, relay, group, mut client, .. } = OneGroup::start().await;
    for run in 0..6 {
        let entries = (1..=5).map(|n| entry(run * 5 + n, &(run * 5 + n).to_string())).collect();
        publish(&mut client, request(group, 1, entries)).await;
    }
    assert_eq!(page_before(&mut client, group, u64::MAX, 4).await.unwrap(), ["27", "28", "29", "30"]);
    let (mut before, mut backwards) = (31, Vec::new());
    loop {
        publish(&mut client, request(group, 1, vec![entry(100 + before, "meanwhile")])).await;
        let page = page_before(&mut client, group, before, 7).await.unwrap();
        let Some(first) = page.first() else { break };
        assert!(page.len() == 7 || first == "1", "{page:?}");
        before = first.parse().unwrap();
        backwards.splice(0..0, page);
    }
    assert_eq!(backwards, (1..=30).map(|n| n.to_string()).collect::<Vec<_>>());
    let both = ReadRequest { group_id: group.into(), from_seq: 1, before_seq: 9, ..ReadRequest::default() };
    assert_eq!(client.read(both).await.unwrap_err().code(), Code::InvalidArgument);
    relay.stop().await;
}

#[tokio::test]
async fn what_a_memory_log_dropped_is_out_of_range() {
    let registry = RegistryDouble::start().await;
    let config = multicast_relay::Config {
        log: multicast_relay::LogKind::Memory,
        memory_bytes: 64 * 1024,
        ring_bytes: 64 * 1024,
        ..crate::support::config(&registry)
    };
    let relay = TestRelay::start(config).await;
    let (group, _) = registry.create("class", GroupKind::Proto).await;
    let mut client = relay.client().await;
    for n in 1..=20 {
        publish(&mut client, request(group, 1, vec![entry(n, &"x".repeat(10_000))])).await;
    }
    let status = read(&mut client, group, 1, 0).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange);
    let details = tonic_types::StatusExt::get_error_details(&status);
    let oldest: u64 = details.error_info().unwrap().metadata["oldest_seq"].parse().unwrap();
    assert!((10..=20).contains(&oldest));
    assert_eq!(read(&mut client, group, oldest, 0).await.unwrap()[0].first_seq(), Seq(oldest));
    assert_eq!(page_before(&mut client, group, oldest, 5).await.unwrap(), [""; 0], "nothing older is kept");
    assert_eq!(page_before(&mut client, group, oldest + 1, 5).await.unwrap().len(), 1);
    relay.stop().await;
}

#[tokio::test]
async fn following_is_dense_across_restart_and_reset() {
    let OneGroup { registry, relay, group, mut client, .. } = OneGroup::start().await;
    publish(&mut client, request(group, 1, vec![entry(1, "one"), entry(2, "two")])).await;
    let mut following = Following::open(&mut client).await;
    following.add(group, 0, 2).await;
    let Event::Started(started) = following.next().await else { panic!("it starts") };
    assert_eq!((started.next_seq, started.head_seq, started.oldest_seq), (2, 2, 1));
    assert_eq!(words(&following.next_run().await), ["one", "two"], "the run that holds the seq");
    publish(&mut client, request(group, 1, vec![entry(3, "three")])).await;
    assert_eq!(following.next_run().await.first_seq(), Seq(3));
    relay.stop().await;

    let relay = TestRelay::disk(&registry).await;
    let mut client = relay.client().await;
    let mut following = Following::open(&mut client).await;
    following.add(group, started.log_id, 4).await;
    let Event::Started(again) = following.next().await else { panic!("it starts") };
    assert_eq!((again.next_seq, again.log_id), (4, started.log_id));
    assert!(again.epoch > started.epoch);
    publish(&mut client, request(group, 1, vec![entry(4, "four")])).await;
    assert_eq!(following.next_run().await.first_seq(), Seq(4));

    let log_id = registry.reset(group);
    let Event::Started(reset) = following.next().await else { panic!("it starts anew") };
    assert_eq!((reset.log_id, reset.next_seq, reset.head_seq), (log_id, 1, 0));
    publish(&mut client, request(group, 1, vec![entry(5, "anew")])).await;
    let run = following.next_run().await;
    assert_eq!((run.first_seq(), words(&run)), (Seq(1), vec!["anew".to_owned()]));
    let mut other = request(group, 1, vec![entry(6, "x")]);
    other.log_id = started.log_id;
    assert_eq!(client.publish(other).await.unwrap_err().code(), Code::FailedPrecondition);

    registry.delete(group);
    let Event::Ended(ended) = following.next().await else { panic!("it ends") };
    assert_eq!(ended.code, i32::from(Code::NotFound));
    let status = client.publish(request(group, 1, vec![entry(7, "x")])).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    relay.stop().await;
}

#[tokio::test]
async fn a_half_closed_follow_goes_on_until_its_group_ends_or_its_client_cancels() {
    let OneGroup { registry, relay, group, mut client, .. } = OneGroup::start().await;
    let mut following = Following::open(&mut client).await;
    let mut cancelled = Following::open(&mut client).await;
    for stream in [&mut following, &mut cancelled] {
        stream.add(group, 0, 1).await;
        stream.half_close();
        let Event::Started(_) = stream.next().await else { panic!("it starts") };
    }
    publish(&mut client, request(group, 1, vec![entry(1, "one")])).await;
    assert_eq!(words(&following.next_run().await), ["one"]);
    let followed = async |count| relay.metrics_page().await.contains(&format!("\ngaung_relay_follows {count}\n"));
    assert!(followed(2).await);
    drop(cancelled);
    eventually("the relay notices the cancellation", async || followed(1).await).await;

    registry.delete(group);
    let Event::Ended(ended) = following.next().await else { panic!("it ends") };
    assert_eq!(ended.code, i32::from(Code::NotFound));
    following.ended().await;
    relay.stop().await;
}

#[tokio::test]
async fn a_follower_far_behind_reads_the_log_and_catches_up() {
    let registry = RegistryDouble::start().await;
    let config = multicast_relay::Config { ring_bytes: 64 * 1024, ..crate::support::config(&registry) };
    let relay = TestRelay::start(config).await;
    let (group, _) = registry.create("class", GroupKind::Proto).await;
    let mut client = relay.client().await;
    let mut next = 1;
    for _ in 0..40 {
        let entries = (next..next + 20).map(|n| entry(n, &"y".repeat(1000))).collect();
        publish(&mut client, request(group, 1, entries)).await;
        next += 20;
    }
    let mut following = Following::open(&mut client).await;
    following.add(group, 0, 1).await;
    let Event::Started(_) = following.next().await else { panic!("it starts") };
    let mut expected = Seq(1);
    while expected < Seq(next) {
        let run = following.next_run().await;
        assert_eq!(run.first_seq(), expected);
        expected = run.last_seq().next();
    }
    relay.stop().await;
}

#[tokio::test]
async fn a_memory_log_starts_under_a_new_id_that_the_registry_takes_over() {
    let registry = RegistryDouble::start().await;
    let relay = TestRelay::memory(&registry).await;
    let (group, _) = registry.create("class", GroupKind::Proto).await;
    let first = publish(&mut relay.client().await, request(group, 1, vec![entry(1, "one")])).await;
    relay.stop().await;
    let relay = TestRelay::memory(&registry).await;
    let mut client = relay.client().await;
    let second = publish(&mut client, request(group, 1, vec![entry(1, "one")])).await;
    assert_ne!(first.log_id, second.log_id);
    assert_eq!(second.acks, [ack(1, 1, 1)]);
    eventually("the registry takes it over", async || registry.log_id(group) == second.log_id).await;
    let reset = registry.reset(group);
    eventually("a reset is obeyed", async || {
        let published = client.publish(request(group, 1, vec![entry(2, "two")])).await;
        published.is_ok_and(|published| published.into_inner().log_id == reset)
    })
    .await;
    relay.stop().await;
}
