//! The claims of a report, each of which is bound to a predicate over the samples.

mod queries;
mod rules;

use crate::{
    samples::{Experiment, Samples},
    words::{Language, Unit, fill},
};

pub use self::queries::Conditions;

/// The claims, in the order of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "their words are in the catalogue")]
pub enum ClaimId {
    MulticastFlat,
    BroadcastFlat,
    UnicastLinear,
    TcpLinear,
    MulticastCheaper,
    MulticastSooner,
    MulticastCpuFlat,
    WitnessHearsBroadcast,
    QuerierPrunes,
    FloodsWithoutQuerier,
    TwoWorkersFaster,
    CoresLimitWorkers,
    RepairComplete,
    UnrepairedLoses,
    RepairCosts,
    MulticastReceipts,
    TcpReceipts,
    BroadcastSilent,
    SleeperMissed,
    LogServesLate,
    NoLogNothing,
}

/// Whether the samples support a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They do.
    Supported,
    /// They do not.
    NotSupported,
    /// Some sample that the claim needs is missing.
    NotMeasured,
}

/// A claim with its verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// The claim.
    pub id: ClaimId,
    /// The verdict.
    pub verdict: Verdict,
    /// The figures in its sentence; empty if not measured.
    pub figures: Vec<(f64, Unit)>,
}

impl ClaimId {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::MulticastFlat,
        Self::BroadcastFlat,
        Self::UnicastLinear,
        Self::TcpLinear,
        Self::MulticastCheaper,
        Self::MulticastSooner,
        Self::MulticastCpuFlat,
        Self::WitnessHearsBroadcast,
        Self::QuerierPrunes,
        Self::FloodsWithoutQuerier,
        Self::TwoWorkersFaster,
        Self::CoresLimitWorkers,
        Self::RepairComplete,
        Self::UnrepairedLoses,
        Self::RepairCosts,
        Self::MulticastReceipts,
        Self::TcpReceipts,
        Self::BroadcastSilent,
        Self::SleeperMissed,
        Self::LogServesLate,
        Self::NoLogNothing,
    ];

    /// Returns the experiment that the claim is about.
    #[must_use]
    pub const fn experiment(self) -> Experiment {
        match self {
            Self::MulticastFlat
            | Self::BroadcastFlat
            | Self::UnicastLinear
            | Self::TcpLinear
            | Self::MulticastCheaper
            | Self::MulticastSooner
            | Self::MulticastCpuFlat => Experiment::OneToMany,
            Self::WitnessHearsBroadcast | Self::QuerierPrunes | Self::FloodsWithoutQuerier => Experiment::WhoHears,
            Self::TwoWorkersFaster | Self::CoresLimitWorkers => Experiment::Threads,
            Self::RepairComplete | Self::UnrepairedLoses | Self::RepairCosts => Experiment::Loss,
            Self::MulticastReceipts | Self::TcpReceipts | Self::BroadcastSilent | Self::SleeperMissed => {
                Experiment::Receipts
            }
            Self::LogServesLate | Self::NoLogNothing => Experiment::LateJoiner,
        }
    }
}

/// Evaluates every claim.
#[must_use]
pub fn judge(samples: &Samples, conditions: Conditions) -> Vec<Claim> {
    ClaimId::ALL.into_iter().map(|id| Claim::of(id, rules::judge(id, samples, conditions))).collect()
}

impl Claim {
    fn of(id: ClaimId, judged: Option<(bool, Vec<(f64, Unit)>)>) -> Self {
        let (verdict, figures) = match judged {
            Some((true, figures)) => (Verdict::Supported, figures),
            Some((false, figures)) => (Verdict::NotSupported, figures),
            None => (Verdict::NotMeasured, Vec::new()),
        };
        Self { id, verdict, figures }
    }

    /// Returns the sentence for the conclusion: the expectation as a fact only if it is supported.
    #[must_use]
    pub fn sentence(&self, language: Language) -> String {
        let words = self.id.words(language);
        let figures: Vec<String> = self.figures.iter().map(|(value, unit)| unit.show(*value, language)).collect();
        let measured = fill(words.measured, &figures);
        match (self.verdict, language) {
            (Verdict::Supported, _) => format!("{} {measured}", words.expected),
            (Verdict::NotSupported, Language::En) => {
                format!("Not supported by this run was the expectation: “{}” Measured was: {measured}", words.expected)
            }
            (Verdict::NotSupported, Language::Id) => {
                format!("Tidak didukung oleh data percobaan ini: “{}” Yang terukur: {measured}", words.expected)
            }
            (Verdict::NotMeasured, Language::En) => {
                format!("Not measured in this run, so nothing is said about: “{}”", words.expected)
            }
            (Verdict::NotMeasured, Language::Id) => {
                format!(
                    "Tidak terukur dalam percobaan ini, jadi tidak disimpulkan apa pun tentang: “{}”",
                    words.expected
                )
            }
        }
    }
}

#[cfg(test)]
mod tests;
