//! The switch as a querier: with one, multicast goes where it was asked for; without, everywhere.

use std::{
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use super::{BRIDGE, Network};

/// Nobody joins it, and port 9 throws away.
const UNWANTED: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 255, 77, 77), 9);
const TRIES: u64 = 10;
const BETWEEN_TRIALS: Duration = Duration::from_millis(100);
/// A querier is believed one response interval after its first query.
const PATIENCE: Duration = Duration::from_secs(20);

impl Network {
    /// Turns the switch's querier on or off, and waits until the switch prunes, or floods.
    ///
    /// # Errors
    /// What `ip` says; if the switch does otherwise for 20 s.
    pub fn set_querier(&self, on: bool) -> anyhow::Result<()> {
        let line = match on {
            // A bridge that is told both at once prunes late. Intervals are in hundredths of a second.
            true => format!(
                "link set {BRIDGE} type bridge mcast_snooping 1 mcast_igmp_version 3 mcast_query_response_interval 100 \
                 mcast_startup_query_interval 100\n\
                 link set {BRIDGE} type bridge mcast_querier 1"
            ),
            false => format!("link set {BRIDGE} type bridge mcast_querier 0"),
        };
        self.switch.ip(&line)?;
        let began = Instant::now();
        while self.floods()? == on {
            if began.elapsed() > PATIENCE {
                bail!("the bridge does not {} with its querier {}", if on { "prune" } else { "flood" }, on_off(on));
            }
            thread::sleep(BETWEEN_TRIALS);
        }
        Ok(())
    }

    /// Returns whether datagrams to a group that nobody joined reach the witness.
    fn floods(&self) -> anyhow::Result<bool> {
        let ip = self.server.ip;
        let before = self.witness.machine.counters()?.received_frames;
        self.server.machine.within(move || -> anyhow::Result<()> {
            let socket = UdpSocket::bind((ip, 0)).context("a socket on the server")?;
            (0..TRIES).try_for_each(|_| socket.send_to(&[0], UNWANTED).map(drop)).context("a trial datagram")
        })?;
        // A frame crosses cable and switch before the call that sends it returns.
        Ok(self.witness.machine.counters()?.received_frames - before >= TRIES / 2)
    }
}

const fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}
