//! Queries over the samples that several predicates share.

use crate::samples::{Experiment, Metric, Samples, Series};

/// Conditions that claims depend on besides samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conditions {
    /// Processor cores of the machine.
    pub cores: u32,
}

/// The samples of one experiment.
pub(super) struct ExperimentSamples<'a> {
    pub(super) samples: &'a Samples,
    pub(super) experiment: Experiment,
}

impl ExperimentSamples<'_> {
    /// Returns the median at one x.
    pub(super) fn at(&self, series: Series, metric: Metric, x: u32) -> Option<f64> {
        self.samples.median(self.experiment, series, metric, x)
    }

    /// Returns the xs at which a series was measured.
    pub(super) fn xs(&self, series: Series, metric: Metric) -> Vec<u32> {
        self.samples.xs(self.experiment, series, metric)
    }

    /// Returns the least and the greatest x with their medians; `None` if fewer than two were measured.
    pub(super) fn ends(&self, series: Series, metric: Metric) -> Option<SeriesEnds> {
        let xs = self.xs(series, metric);
        let (least, most) = (*xs.first()?, *xs.last()?);
        let (first, last) = (self.at(series, metric, least)?, self.at(series, metric, most)?);
        (least < most && first > 0.0).then_some(SeriesEnds { least, most, first, last })
    }
}

/// The two ends of a series: its least and its greatest x.
pub(super) struct SeriesEnds {
    pub(super) least: u32,
    pub(super) most: u32,
    pub(super) first: f64,
    pub(super) last: f64,
}

impl SeriesEnds {
    /// Returns the last value divided by the first.
    pub(super) fn growth(&self) -> f64 {
        self.last / self.first
    }

    /// Returns how much the value grows with each x.
    pub(super) fn slope(&self) -> f64 {
        (self.last - self.first) / f64::from(self.most - self.least)
    }

    /// Returns the greatest x divided by the least.
    pub(super) fn span(&self) -> f64 {
        f64::from(self.most) / f64::from(self.least.max(1))
    }
}
