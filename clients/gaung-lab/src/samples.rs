//! The samples of a run: a table with one value a row.

mod csv;
mod kinds;

pub use self::kinds::{Experiment, Metric, Series};

/// One measured value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// The experiment.
    pub experiment: Experiment,
    /// The series.
    pub series: Series,
    /// The x: receivers, workers, loss in percent, or 1 and 0 for a querier that is on or off.
    pub x: u32,
    /// The repetition, from 1.
    pub repetition: u32,
    /// The metric.
    pub metric: Metric,
    /// The value, in the metric's unit.
    pub value: f64,
}

/// All samples of a run, in the order of measuring.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Samples(Vec<Sample>);

/// The median and quartiles of some values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The first quartile.
    pub lower: f64,
    /// The third quartile.
    pub upper: f64,
    /// How many values there are.
    pub count: usize,
}

impl Samples {
    /// Adds a sample.
    pub fn push(&mut self, sample: Sample) {
        self.0.push(sample);
    }

    /// Returns all samples.
    pub fn iter(&self) -> impl Iterator<Item = &Sample> {
        self.0.iter()
    }

    /// Changes the values of some samples.
    #[cfg(test)]
    pub(crate) fn alter(&mut self, which: impl Fn(&Sample) -> bool, change: impl Fn(f64) -> f64) {
        for sample in self.0.iter_mut().filter(|sample| which(sample)) {
            sample.value = change(sample.value);
        }
    }

    /// Returns the xs at which a series was measured, ascending.
    #[must_use]
    pub fn xs(&self, experiment: Experiment, series: Series, metric: Metric) -> Vec<u32> {
        let here = |sample: &&Sample| (sample.experiment, sample.series, sample.metric) == (experiment, series, metric);
        let mut xs: Vec<u32> = self.0.iter().filter(here).map(|sample| sample.x).collect();
        xs.sort_unstable();
        xs.dedup();
        xs
    }

    /// Returns the spread of a metric at one x; `None` if it was not measured there.
    #[must_use]
    pub fn spread(&self, experiment: Experiment, series: Series, metric: Metric, x: u32) -> Option<Spread> {
        let of = |sample: &Sample| (sample.experiment, sample.series, sample.metric, sample.x);
        let here = self.0.iter().filter(|sample| of(sample) == (experiment, series, metric, x));
        let mut values: Vec<f64> = here.map(|sample| sample.value).collect();
        values.sort_unstable_by(f64::total_cmp);
        let at = |part: f64| quantile(&values, part);
        Some(Spread { median: at(0.5)?, lower: at(0.25)?, upper: at(0.75)?, count: values.len() })
    }

    /// Returns the median at one x.
    #[must_use]
    pub fn median(&self, experiment: Experiment, series: Series, metric: Metric, x: u32) -> Option<f64> {
        Some(self.spread(experiment, series, metric, x)?.median)
    }
}

/// Computes a quantile of ascending values, linear between neighbours (Hyndman and Fan, The American Statistician 50
/// (1996), type 7).
fn quantile(values: &[f64], part: f64) -> Option<f64> {
    let at = part * values.len().checked_sub(1)? as f64;
    let (below, above) = (values[at.floor() as usize], values[at.ceil() as usize]);
    Some((above - below).mul_add(at.fract(), below))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn quantiles_lie_between_neighbours() {
        let of = |values: &[f64], part| quantile(values, part);
        assert_eq!(of(&[], 0.5), None);
        assert_eq!(of(&[3.0], 0.25), Some(3.0));
        assert_eq!(of(&[1.0, 2.0], 0.5), Some(1.5));
        assert_eq!(of(&[1.0, 2.0, 3.0, 4.0, 5.0], 0.25), Some(2.0));
        assert_eq!(of(&[1.0, 2.0, 3.0, 4.0, 5.0], 0.75), Some(4.0));
    }

    #[test]
    fn a_spread_is_of_one_place() {
        let mut samples = Samples::default();
        for (repetition, value) in [(1, 10.0), (2, 30.0), (3, 20.0)] {
            let place = (Experiment::OneToMany, Series::Multicast);
            for x in [1, 16] {
                samples.push(Sample {
                    experiment: place.0,
                    series: place.1,
                    x,
                    repetition,
                    metric: Metric::SenderBytes,
                    value: value * f64::from(x),
                });
            }
        }
        let at = |x| samples.spread(Experiment::OneToMany, Series::Multicast, Metric::SenderBytes, x);
        assert_eq!(at(1).unwrap(), Spread { median: 20.0, lower: 15.0, upper: 25.0, count: 3 });
        assert_eq!(at(16).unwrap().median, 320.0);
        assert_eq!(at(2), None);
        assert_eq!(samples.xs(Experiment::OneToMany, Series::Multicast, Metric::SenderBytes), [1, 16]);
    }
}
