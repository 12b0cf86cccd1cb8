#![allow(clippy::unwrap_used)]

use super::*;
use crate::samples::{Metric, Sample, Series};

/// A whole run on a machine with 2 cores, as `gaung lab experiment all --csv` wrote it.
fn recorded() -> Samples {
    Samples::from_csv(include_str!("recorded.csv")).unwrap()
}

const CONDITIONS: Conditions = Conditions { cores: 2 };

fn verdict(samples: &Samples, id: ClaimId) -> Verdict {
    judge(samples, CONDITIONS).into_iter().find(|claim| claim.id == id).unwrap().verdict
}

#[test]
fn a_real_run_supports_what_it_supports() {
    for claim in judge(&recorded(), CONDITIONS) {
        // All hosts shared the two cores, so that a second thread had no core of its own.
        let expected = match claim.id == ClaimId::TwoWorkersFaster {
            true => Verdict::NotSupported,
            false => Verdict::Supported,
        };
        assert_eq!(claim.verdict, expected, "{}", claim.sentence(Language::En));
    }
}

#[test]
fn nothing_is_claimed_of_nothing() {
    for claim in judge(&Samples::default(), CONDITIONS) {
        assert_eq!(claim.verdict, Verdict::NotMeasured, "{:?}", claim.id);
        assert!(claim.sentence(Language::En).starts_with("Not measured"));
        assert!(claim.sentence(Language::Id).starts_with("Tidak terukur"));
    }
}

/// Each claim falls once what it is about is falsified, and says so in each language.
#[test]
fn a_falsified_expectation_is_not_supported() {
    use ClaimId as C;
    type Which = (Experiment, Series, Metric, u32);
    type Change = fn(f64) -> f64;
    let many = Experiment::OneToMany;
    let (bytes, late) = (Metric::SenderBytes, Experiment::LateJoiner);
    let falsified: [(C, Which, Change); 20] = [
        (C::MulticastFlat, (many, Series::Multicast, bytes, 16), |b| b * 16.0),
        (C::BroadcastFlat, (many, Series::Broadcast, bytes, 16), |b| b * 16.0),
        (C::UnicastLinear, (many, Series::Unicast, bytes, 16), |b| b / 16.0),
        (C::TcpLinear, (many, Series::Tcp, bytes, 16), |b| b / 2.0),
        (C::MulticastCheaper, (many, Series::Unicast, bytes, 16), |b| b / 16.0),
        (C::MulticastSooner, (many, Series::Multicast, Metric::LastReceiver, 16), |ms| ms * 10.0),
        (C::MulticastCpuFlat, (many, Series::Multicast, Metric::SenderCpu, 16), |ms| ms * 16.0),
        (C::WitnessHearsBroadcast, (Experiment::WhoHears, Series::Broadcast, Metric::WitnessFrames, 1), |_| 0.0),
        (C::QuerierPrunes, (Experiment::WhoHears, Series::Multicast, Metric::WitnessFrames, 1), |_| 1.0),
        (C::FloodsWithoutQuerier, (Experiment::WhoHears, Series::Multicast, Metric::WitnessFrames, 0), |_| 0.0),
        (C::CoresLimitWorkers, (Experiment::Threads, Series::Tcp, Metric::Throughput, 4), |rate| rate * 2.0),
        (C::RepairComplete, (Experiment::Loss, Series::Multicast, Metric::Heard, 5), |_| 99.9),
        (C::UnrepairedLoses, (Experiment::Loss, Series::Unrepaired, Metric::Heard, 20), |_| 100.0),
        (C::RepairCosts, (Experiment::Loss, Series::Multicast, bytes, 20), |b| b / 2.0),
        (C::MulticastReceipts, (Experiment::Receipts, Series::Multicast, Metric::KnownHeard, 4), |_| 0.0),
        (C::TcpReceipts, (Experiment::Receipts, Series::Tcp, Metric::KnownHeard, 4), |_| 3.0),
        (C::BroadcastSilent, (Experiment::Receipts, Series::Broadcast, Metric::KnownHeard, 4), |_| 4.0),
        (C::SleeperMissed, (Experiment::Receipts, Series::OneAsleep, Metric::KnownHeard, 4), |_| 4.0),
        (C::LogServesLate, (late, Series::Tcp, Metric::Heard, 1), |_| 50.0),
        (C::NoLogNothing, (late, Series::Broadcast, Metric::Heard, 1), |_| 100.0),
    ];
    for (id, which, change) in falsified {
        let mut samples = recorded();
        let of = |sample: &Sample| (sample.experiment, sample.series, sample.metric, sample.x);
        samples.alter(|sample| of(sample) == which, change);
        let claims = judge(&samples, CONDITIONS);
        let claim = claims.iter().find(|claim| claim.id == id).unwrap();
        assert_eq!(claim.verdict, Verdict::NotSupported, "{id:?}");
        assert!(claim.sentence(Language::En).starts_with("Not supported"), "{}", claim.sentence(Language::En));
        assert!(claim.sentence(Language::Id).starts_with("Tidak didukung"), "{}", claim.sentence(Language::Id));
    }
    let mut samples = recorded();
    samples.alter(|sample| sample.metric == Metric::Throughput && sample.x == 2, |rate| rate * 2.0);
    assert_eq!(verdict(&samples, C::TwoWorkersFaster), Verdict::Supported);
}

#[test]
fn sentences_are_whole() {
    for language in Language::ALL {
        for claim in judge(&recorded(), CONDITIONS) {
            let sentence = claim.sentence(language);
            assert!(!sentence.contains(['{', '}']), "{sentence}");
            assert!(!sentence.contains("NaN") && !sentence.contains("inf"), "{sentence}");
        }
    }
}
