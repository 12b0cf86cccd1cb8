#![allow(clippy::unwrap_used)]

use std::time::Duration;

use gaung_engine::ReceiverEvent;
use gaung_net::driver::{Driver, DriverHandle, DriverSockets};
use gaung_proto::{GroupTag, LogId, Seq, net::Lane};
use tokio::time::timeout;

use super::*;
use crate::test_doubles::{LOG, config, group, run};

const PATIENCE: Duration = Duration::from_secs(20);

async fn member() -> (DriverHandle<EngineCommand>, EventInlet, EnginePort) {
    let driver = Driver::spawn("test", DriverSockets::new(), GroupEngines::default()).unwrap();
    let (out, inlet, port) = connect(3, driver.sender());
    assert!(
        port.command(EngineCommand::Add { slot: 3, engine: NewEngine::Proto(config()), main: MainSocket::Keep, out })
            .await
    );
    (driver, inlet, port)
}

async fn next_seq(inlet: &mut EventInlet) -> Seq {
    let heard = timeout(PATIENCE, inlet.next()).await.unwrap();
    let Some(EngineEvent::Receiver(ReceiverEvent::Message { message, .. })) = heard else { panic!("{heard:?}") };
    message.seq
}

#[tokio::test]
async fn runs_wait_for_a_reader_and_then_all_come_in_order() {
    let (_driver, mut inlet, port) = member().await;
    let feeder = tokio::spawn(async move {
        for first in 0..200u64 {
            port.run(run(LOG, 1 + first * 50, 50, 1000), Lane::Tcp).await;
        }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!feeder.is_finished(), "10 MB must not have found room");
    for seq in 1..=10_000 {
        assert_eq!(next_seq(&mut inlet).await, Seq(seq));
    }
    timeout(PATIENCE, feeder).await.unwrap().unwrap();
}

#[tokio::test]
async fn another_log_is_reported_before_its_messages() {
    let (_driver, mut inlet, port) = member().await;
    port.run(run(LOG, 1, 2, 1), Lane::Tcp).await;
    assert_eq!(next_seq(&mut inlet).await, Seq(1));
    assert_eq!(next_seq(&mut inlet).await, Seq(2));
    let log = LogId(8);
    let changed = GroupTag::of(group().id, group().generation, log);
    port.input(EngineInput::Change { log, tag: changed, relay: None, next: Seq::FIRST, main: MainSocket::Keep }).await;
    port.run(run(LOG, 3, 2, 1), Lane::Tcp).await;
    port.run(run(log, 1, 2, 1), Lane::Tcp).await;
    let reported = timeout(PATIENCE, inlet.next()).await.unwrap();
    assert!(matches!(reported, Some(EngineEvent::Changed { old_log: LOG })), "{reported:?}");
    assert_eq!(next_seq(&mut inlet).await, Seq(1));
}

#[tokio::test]
async fn a_stopped_driver_ends_both_ways() {
    let (driver, mut inlet, port) = member().await;
    driver.stop().unwrap();
    assert!(timeout(PATIENCE, inlet.next()).await.unwrap().is_none());
    assert!(!timeout(PATIENCE, port.run(run(LOG, 1, 1, 1), Lane::Tcp)).await.unwrap());
}
