//! Tables that all share, filled by one.

use gaung_proto::ports;
use gaung_tests::hostile::publish;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::suffer;

#[test]
fn made_up_clients_keep_nobody_from_speaking() {
    suffer("made_up_clients_keep_nobody_from_speaking", |attacker| {
        attacker.run(async || {
            let group = attacker.group(gaung_tests::hostile::GROUP).await;
            // Refused or taken, they must not be heard here: `everyone` has clients of its own.
            let everyone = attacker.group("everyone").await;
            assert_ne!(group.id, everyone.id);
            let mut relay = attacker.relay(65_535);
            for _ in 0..9000 {
                let _ = relay.publish(publish(&everyone, rand::random(), &[1, 1024])).await;
                if !attacker.goes_on() {
                    return;
                }
            }
            attacker.hold().await;
        });
    });
}

#[test]
fn silent_text_sessions_keep_nobody_out() {
    suffer("silent_text_sessions_keep_nobody_out", |attacker| {
        attacker.run(async || {
            let mut held = Vec::new();
            while attacker.goes_on() && held.len() < 3000 {
                let Ok(mut session) = TcpStream::connect(attacker.at(ports::TEXT)).await else { break };
                if held.len() % 2 == 0 {
                    let _ = session.write_all(b"/name eve\n").await;
                }
                held.push(session);
            }
            attacker.hold().await;
        });
    });
}
