//! Datagrams in the relay's name, with its address.

use std::{thread::sleep, time::Duration};

use gaung_proto::{Pkt, Seq};
use gaung_tests::hostile::{Attacker, GROUP, GroupDatagrams};

use crate::{suffer, suffer_forgery};

/// Between two forged datagrams.
const PAUSE: Duration = Duration::from_millis(5);

fn join(attacker: &Attacker) -> GroupDatagrams {
    let mut group = None;
    attacker.run(async || group = Some(attacker.group(GROUP).await));
    GroupDatagrams::join(attacker.server(), &group.expect("it was asked for"))
}

#[test]
fn forged_messages_take_nobodys_place() {
    suffer_forgery("forged_messages_take_nobodys_place", |attacker| {
        let group = join(&attacker);
        while attacker.goes_on() {
            let (header, heartbeat) = group.heartbeat();
            for ahead in [1, 2, 40, 300] {
                let pkt = Pkt(heartbeat.last_pkt.0 + ahead as u32);
                group.forge_data(pkt, header.seq.plus(ahead), 10);
                sleep(PAUSE);
            }
        }
    });
}

#[test]
fn made_up_heads_delay_nobody() {
    suffer("made_up_heads_delay_nobody", |attacker| {
        let group = join(&attacker);
        let (_, true_one) = group.heartbeat();
        while attacker.goes_on() {
            for head in [u64::MAX / 2, 1_000_000, 1] {
                group.forge_heartbeat(Seq(head), true_one, |heartbeat| {
                    heartbeat.oldest_repairable = Seq(head + 1);
                    heartbeat.last_pkt = Pkt(heartbeat.last_pkt.0 + 60_000);
                });
                sleep(PAUSE);
            }
        }
    });
}
