//! The same burst to 1, 2, 4, 8, 16 receivers: by unicast UDP, by the hub's TCP, by broadcast, by multicast.

use std::net::SocketAddrV4;

use gaung_proto::name::EVERYONE;

use super::{
    Bench, RunSize, WORKERS_ARE_CORES,
    bench::{SampleKey, heard_percent, tally_of, until_last_ms},
    server::Server,
};
use crate::{
    agent::{Agent, AgentRequest, Burst, request_all},
    samples::{Experiment, Metric, Series},
    task::{AgentRole, AgentSource},
};

const SERIES: [Series; 4] = [Series::Unicast, Series::Tcp, Series::Broadcast, Series::Multicast];
/// The port of plain UDP datagrams.
const PORT: u16 = 9000;
const WAIT_MS: u64 = 5000;

pub(super) fn steps(size: &RunSize) -> u32 {
    (SERIES.len() * size.receivers.len()) as u32 * size.repetitions
}

pub(super) fn run(bench: &mut Bench) -> anyhow::Result<()> {
    bench.network.set_querier(true)?;
    let mut server = Server::start(bench, WORKERS_ARE_CORES)?;
    for &receivers in bench.size.receivers {
        for series in SERIES {
            let mut party = Participants::of(bench, series, receivers)?;
            // Addresses are resolved and buffers made before anything is counted.
            let _ = party.burst(bench, &server)?;
            for repetition in 1..=bench.size.repetitions {
                let place = SampleKey { experiment: Experiment::OneToMany, series, x: receivers, repetition };
                for (metric, value) in party.burst(bench, &server)? {
                    bench.note(place, metric, value);
                }
                bench.step(&format!("{} to {receivers}", series.name()))?;
            }
            server.check()?;
        }
    }
    Ok(())
}

/// A sender and its receivers.
pub(super) struct Participants {
    series: Series,
    speaker: Agent,
    listeners: Vec<Agent>,
    /// A group, or addresses.
    group: String,
    addresses: Vec<SocketAddrV4>,
}

impl Participants {
    /// Starts sender and receivers, and waits until all are ready and known to the relay.
    pub(super) fn of(bench: &mut Bench, series: Series, receivers: u32) -> anyhow::Result<Self> {
        let role = if series == Series::Unicast { AgentRole::Datagrams } else { AgentRole::Publisher };
        let mut speaker = bench.speaker(role)?;
        let group = match series {
            Series::Unicast | Series::Broadcast => EVERYONE.to_owned(),
            Series::Tcp | Series::Multicast | Series::Unrepaired | Series::OneAsleep => {
                let group = bench.new_group();
                let text = series == Series::Unrepaired;
                let _ = speaker.request(&AgentRequest::Make { group: group.clone(), text })?;
                group
            }
        };
        let source = source(series, &group);
        let listeners = bench.listeners(receivers, &source)?;
        if matches!(series, Series::Tcp | Series::Multicast | Series::OneAsleep) {
            let _ = speaker.request(&AgentRequest::UntilPresent { group: group.clone(), count: listeners.len() })?;
        }
        let hosts = bench.network.members[..receivers as usize].iter();
        let addresses = hosts.map(|host| SocketAddrV4::new(host.ip, PORT)).collect();
        Ok(Self { series, speaker, listeners, group, addresses })
    }

    /// Makes the request by which the sender sends a burst.
    pub(super) fn ask(&self, burst: Burst) -> AgentRequest {
        match self.series {
            Series::Unicast => AgentRequest::SendToEach { to: self.addresses.clone(), burst },
            Series::Tcp | Series::Broadcast | Series::Multicast | Series::Unrepaired | Series::OneAsleep => {
                AgentRequest::Publish { group: self.group.clone(), burst }
            }
        }
    }

    pub(super) const fn speaker(&mut self) -> &mut Agent {
        &mut self.speaker
    }

    pub(super) fn listeners(&mut self) -> &mut [Agent] {
        &mut self.listeners
    }

    pub(super) fn group(&self) -> &str {
        &self.group
    }

    /// Sends one burst and returns its measurements.
    fn burst(&mut self, bench: &mut Bench, server: &Server) -> anyhow::Result<Vec<(Metric, f64)>> {
        let burst = bench.new_burst(bench.size.burst);
        let machine = &bench.network.server.machine;
        let (before, cpu_before) = (machine.counters()?, server.cpu_ms());
        let sent = self.speaker.request(&self.ask(burst))?.sent()?;
        let tallies = request_all(&mut self.listeners, &tally_of(burst, WAIT_MS))?;
        let (passed, cpu_after) = (machine.counters()? - before, server.cpu_ms());
        let cpu = match self.series {
            Series::Unicast => Some(sent.cpu_us as f64 / 1e3),
            Series::Tcp | Series::Broadcast | Series::Multicast | Series::Unrepaired | Series::OneAsleep => {
                cpu_after.zip(cpu_before).map(|(after, before)| after - before)
            }
        };
        let measured = [
            (Metric::SenderBytes, Some(passed.sent_bytes as f64)),
            (Metric::SenderFrames, Some(passed.sent_frames as f64)),
            (Metric::LastReceiver, until_last_ms(sent, &tallies)),
            (Metric::SenderCpu, cpu),
            (Metric::Heard, Some(heard_percent(burst.count, &tallies))),
        ];
        Ok(measured.into_iter().filter_map(|(metric, value)| Some((metric, value?))).collect())
    }
}

/// Where a receiver of this series hears.
fn source(series: Series, group: &str) -> AgentSource {
    let (group, from_start) = (group.to_owned(), false);
    match series {
        Series::Unicast => AgentSource::Datagrams { port: PORT },
        Series::Broadcast => AgentSource::Broadcast,
        Series::Tcp => AgentSource::Tcp { group, from_start },
        Series::Multicast | Series::Unrepaired | Series::OneAsleep => AgentSource::Multicast { group, from_start },
    }
}
