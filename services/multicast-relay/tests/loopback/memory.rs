//! The memory of many groups: one budget, and whoever is behind it reads the log.

use gaung_proto::{Seq, pb::relay::follow_response::Event};

use crate::support::{Following, GroupKind, RegistryDouble, TestRelay, config, entry, publish, request};

const GROUPS: u64 = 40;
const MESSAGES: u64 = 20;
const RINGS_BYTES: usize = 256 * 1024;

#[tokio::test]
async fn many_groups_keep_to_one_budget_and_followers_get_everything() {
    let registry = RegistryDouble::start().await;
    let config = multicast_relay::Config { rings_bytes: RINGS_BYTES, ..config(&registry) };
    let relay = TestRelay::start(config).await;
    let mut client = relay.client().await;
    let mut groups = Vec::new();
    for n in 0..GROUPS {
        groups.push(registry.create(&format!("g{n}"), GroupKind::Proto).await.0);
    }
    for n in 1..=MESSAGES {
        for &group in &groups {
            publish(&mut client, request(group, 1, vec![entry(n, &"x".repeat(1000))])).await;
        }
        let held = gauge(&relay, "gaung_relay_ring_bytes").await;
        assert!(held <= RINGS_BYTES, "{held}");
    }
    let (held, limit) = (gauge(&relay, "gaung_relay_ring_bytes"), gauge(&relay, "gaung_relay_ring_limit_bytes"));
    let (held, limit) = (held.await, limit.await);
    assert!(limit == RINGS_BYTES && held > limit * 9 / 10, "{held} of {limit}, of which groups would have more");

    let mut following = Following::open(&mut client).await;
    following.add(groups[0], 0, 1).await;
    let Event::Started(_) = following.next().await else { panic!("it starts") };
    let mut expected = Seq(1);
    while expected <= Seq(MESSAGES) {
        let run = following.next_run().await;
        assert_eq!(run.first_seq(), expected);
        expected = run.last_seq().next();
    }
    relay.stop().await;
}

async fn gauge(relay: &TestRelay, name: &str) -> usize {
    let page = relay.metrics_page().await;
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("{name}: {page}")).parse().unwrap()
}
