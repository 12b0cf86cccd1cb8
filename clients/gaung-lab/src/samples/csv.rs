//! Reads and writes the samples as CSV.

use std::{fmt::Write as _, str::FromStr};

use anyhow::{Context as _, anyhow};

use super::{Sample, Samples};

const HEAD: &str = "experiment,series,x,repetition,metric,value";

impl Samples {
    /// Writes one line a sample, below a line with the columns' names. No value holds a comma.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let mut text = format!("{HEAD}\n");
        for Sample { experiment, series, x, repetition, metric, value } in &self.0 {
            let (experiment, series, metric) = (experiment.name(), series.name(), metric.name());
            let _ = writeln!(text, "{experiment},{series},{x},{repetition},{metric},{value}");
        }
        text
    }

    /// Reads what [`Self::to_csv`] wrote.
    ///
    /// # Errors
    /// The line that cannot be parsed.
    pub fn from_csv(text: &str) -> anyhow::Result<Self> {
        let mut lines = text.lines();
        if lines.next() != Some(HEAD) {
            return Err(anyhow!("the first line is not `{HEAD}`"));
        }
        let read = |(number, line): (usize, &str)| sample(line).with_context(|| format!("line {}", number + 2));
        Ok(Self(lines.enumerate().map(read).collect::<Result<_, _>>()?))
    }
}

fn sample(line: &str) -> anyhow::Result<Sample> {
    let mut columns = line.split(',');
    let mut next = |name: &'static str| columns.next().with_context(|| format!("has no {name}"));
    let sample = Sample {
        experiment: read(next("experiment")?)?,
        series: read(next("series")?)?,
        x: read(next("x")?)?,
        repetition: read(next("repetition")?)?,
        metric: read(next("metric")?)?,
        value: read(next("value")?)?,
    };
    match columns.next() {
        None => Ok(sample),
        Some(_) => Err(anyhow!("has too many columns")),
    }
}

fn read<T: FromStr>(text: &str) -> anyhow::Result<T>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error| anyhow!("{text:?}: {error}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::samples::{Experiment, Metric, Samples, Series};

    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let mut samples = Samples::default();
        for (x, value) in [(1, 0.1), (16, 1e9), (0, 17.0)] {
            let (experiment, series, metric) = (Experiment::WhoHears, Series::Broadcast, Metric::WitnessFrames);
            samples.push(Sample { experiment, series, x, repetition: 3, metric, value });
        }
        assert_eq!(Samples::from_csv(&samples.to_csv()).unwrap(), samples);
    }

    #[test]
    fn nonsense_is_named() {
        for (line, what) in [
            ("loss,tcp,1,1,sender_bytes", "value"),
            ("loss,tcp,1,1,sender_bytes,x", "line 2"),
            ("loss,post,1,1,sender_bytes,1", "unicast"),
            ("loss,tcp,1,1,sender_bytes,1,2", "too many"),
        ] {
            let error = format!("{:#}", Samples::from_csv(&format!("{HEAD}\n{line}\n")).unwrap_err());
            assert!(error.contains(what), "{line}: {error}");
        }
        assert!(Samples::from_csv("x\n").is_err());
    }
}
