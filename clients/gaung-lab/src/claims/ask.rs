//! Questions to the table that several rules have.

use crate::samples::{Experiment, Metric, Samples, Series};

/// What matters for claims besides samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conditions {
    /// Processor cores of the machine.
    pub cores: u32,
}

/// The samples of one experiment.
pub(super) struct Of<'a> {
    pub(super) samples: &'a Samples,
    pub(super) experiment: Experiment,
}

impl Of<'_> {
    /// The median in one place.
    pub(super) fn at(&self, series: Series, metric: Metric, x: u32) -> Option<f64> {
        self.samples.median(self.experiment, series, metric, x)
    }

    /// Where a series was measured.
    pub(super) fn xs(&self, series: Series, metric: Metric) -> Vec<u32> {
        self.samples.xs(self.experiment, series, metric)
    }

    /// The greatest place, and the medians at the least and there; `None` if it was measured in fewer than two.
    pub(super) fn ends(&self, series: Series, metric: Metric) -> Option<Ends> {
        let xs = self.xs(series, metric);
        let (least, most) = (*xs.first()?, *xs.last()?);
        let (first, last) = (self.at(series, metric, least)?, self.at(series, metric, most)?);
        (least < most && first > 0.0).then_some(Ends { least, most, first, last })
    }
}

/// A series from its least place to its greatest.
pub(super) struct Ends {
    pub(super) least: u32,
    pub(super) most: u32,
    pub(super) first: f64,
    pub(super) last: f64,
}

impl Ends {
    /// How many times the first value the last one is.
    pub(super) fn growth(&self) -> f64 {
        self.last / self.first
    }

    /// How much the value grows with each further place.
    pub(super) fn slope(&self) -> f64 {
        (self.last - self.first) / f64::from(self.most - self.least)
    }

    /// How many times the least place the greatest is.
    pub(super) fn span(&self) -> f64 {
        f64::from(self.most) / f64::from(self.least.max(1))
    }
}
