//! What a measurement finds.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// One kind of number. The order is that of the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    /// Messages that reached a listener, 1/s.
    Deliveries,
    /// Messages that the server acknowledged, 1/s.
    Acknowledged,
    /// Messages that one of several receivers got, the slowest, 1/s.
    Messages,
    /// Datagrams that one of several receivers got, the slowest, 1/s.
    Datagrams,
    /// Of the messages that a receiver got, the share that it read from the log; above 0 receivers were overrun.
    FromLog,
    /// From when a message was due to when the last listener had it, ms.
    LastP50,
    /// The same.
    LastP99,
    /// From when a message was due to its acknowledgement, ms.
    AckP50,
    /// The same.
    AckP99,
    /// Of the server, seconds for a million deliveries.
    CpuPerMillion,
    /// Of the server, cores.
    Cpu,
    /// Of the generator, cores: near 1 it is what limits.
    GeneratorCpu,
    /// The server's memory for each idle session, KiB.
    SessionKib,
    /// The server's memory at the end of the load, MiB.
    MemoryMib,
    /// Slow listeners whose session lasted until they had read everything.
    CaughtUp,
    /// Slow listeners that were told where to resume, or found the connection closed, and came back.
    CameBack,
    /// Of those who came back, told where to resume by a Bye.
    ToldWhere,
}

const ALL: [(Figure, &str, &str); 17] = [
    (Figure::Deliveries, "deliveries_per_s", "deliveries/s"),
    (Figure::Acknowledged, "acknowledged_per_s", "acknowledged/s"),
    (Figure::Messages, "messages_per_s", "messages/s"),
    (Figure::Datagrams, "datagrams_per_s", "datagrams/s"),
    (Figure::FromLog, "share_from_log", "from the log"),
    (Figure::LastP50, "last_p50_ms", "last p50 ms"),
    (Figure::LastP99, "last_p99_ms", "last p99 ms"),
    (Figure::AckP50, "acknowledgement_p50_ms", "ack p50 ms"),
    (Figure::AckP99, "acknowledgement_p99_ms", "ack p99 ms"),
    (Figure::CpuPerMillion, "server_cpu_s_per_million", "CPU s/M"),
    (Figure::Cpu, "server_cpu_cores", "server cores"),
    (Figure::GeneratorCpu, "generator_cpu_cores", "generator cores"),
    (Figure::SessionKib, "idle_session_kib", "KiB/session"),
    (Figure::MemoryMib, "memory_mib", "memory MiB"),
    (Figure::CaughtUp, "slow_caught_up", "caught up"),
    (Figure::CameBack, "slow_came_back", "came back"),
    (Figure::ToldWhere, "slow_told_where", "told where"),
];

impl Figure {
    /// In JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.entry().1
    }

    /// Over a column.
    #[must_use]
    pub fn title(self) -> &'static str {
        self.entry().2
    }

    /// A rate: of several the greatest is the best. Otherwise it is the least.
    #[must_use]
    pub const fn more_is_better(self) -> bool {
        matches!(self, Self::Deliveries | Self::Acknowledged | Self::Messages | Self::Datagrams)
    }

    fn entry(self) -> &'static (Self, &'static str, &'static str) {
        ALL.iter().find(|entry| entry.0 == self).expect("all figures have names")
    }
}

/// What one run found, and what was wrong with it.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Each with its number.
    pub figures: BTreeMap<Figure, f64>,
    /// Lost, repeated or disordered messages, sessions that ended, a standstill.
    pub faults: Vec<String>,
}

impl Outcome {
    /// Keeps a figure, if there is one.
    pub fn set(&mut self, figure: Figure, value: impl Into<Option<f64>>) {
        if let Some(value) = value.into() {
            self.figures.insert(figure, value);
        }
    }

    /// Notes a fault if there were any of its kind.
    pub fn fault(&mut self, count: u64, what: &str) {
        if count > 0 {
            self.faults.push(format!("{count} {what}"));
        }
    }

    /// Both together.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.figures.extend(other.figures);
        self.faults.extend(other.faults);
        self
    }

    /// As one object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut object: serde_json::Map<_, _> =
            self.figures.iter().map(|(figure, value)| (figure.name().to_owned(), json!(value))).collect();
        object.insert("faults".to_owned(), json!(self.faults));
        object.into()
    }

    /// Each figure's median over the runs, and the faults of all.
    #[must_use]
    pub fn median(runs: &[Self]) -> Self {
        let mut median = Self::default();
        for run in runs {
            median.faults.extend(run.faults.iter().cloned());
            for figure in run.figures.keys() {
                let mut values: Vec<_> = runs.iter().filter_map(|run| run.figures.get(figure)).copied().collect();
                values.sort_by(f64::total_cmp);
                let middle = (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0;
                median.figures.insert(*figure, middle);
            }
        }
        median
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = ALL.iter().map(|entry| entry.1).collect();
        assert_eq!(names.len(), ALL.len());
        assert!(ALL.is_sorted_by_key(|entry| entry.0), "columns come in the order of the figures");
    }

    #[test]
    fn medians_are_of_each_figure_alone() {
        let run = |deliveries: f64, cpu: Option<f64>| {
            let mut run = Outcome::default();
            run.set(Figure::Deliveries, deliveries);
            run.set(Figure::Cpu, cpu);
            run.fault(u64::from(cpu.is_none()), "without");
            run
        };
        let median = Outcome::median(&[run(5.0, Some(1.0)), run(1.0, None), run(3.0, Some(2.0))]);
        assert_eq!(median.figures, [(Figure::Deliveries, 3.0), (Figure::Cpu, 1.5)].into());
        assert_eq!(median.faults, ["1 without"]);
    }
}
