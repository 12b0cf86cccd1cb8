//! The predicates. Each gives whether it holds and the figures of its sentence, or `None` where something was not measured.

use super::{
    ClaimId,
    queries::{Conditions, ExperimentSamples},
};
use crate::{
    samples::{Metric, Samples, Series},
    words::Unit,
};

/// Tolerance for bytes that do not depend on the receivers: heartbeats and memberships differ.
const FLAT: std::ops::RangeInclusive<f64> = 0.6..=1.5;
/// Tolerance for values that grow in proportion.
const IN_PROPORTION: f64 = 0.25;
/// Ratio from which a difference is not chance.
const CLEARLY_MORE: f64 = 1.1;
/// Frames a message that count as all and as none.
const ALL: f64 = 0.9;
const NONE: f64 = 0.1;
/// Percent points by which a random loss may differ from its rate.
const LOSS_POINTS: f64 = 3.0;

type Judged = Option<(bool, Vec<(f64, Unit)>)>;

pub(super) fn judge(id: ClaimId, samples: &Samples, conditions: Conditions) -> Judged {
    let of = ExperimentSamples { samples, experiment: id.experiment() };
    match id {
        ClaimId::MulticastFlat => flat(&of, Series::Multicast),
        ClaimId::BroadcastFlat => flat(&of, Series::Broadcast),
        ClaimId::UnicastLinear => linear(&of, Series::Unicast),
        ClaimId::TcpLinear => linear(&of, Series::Tcp),
        ClaimId::MulticastCheaper => cheaper(&of),
        ClaimId::MulticastSooner => sooner(&of),
        ClaimId::MulticastCpuFlat => cpu_flat(&of),
        ClaimId::WitnessHearsBroadcast => witness_hears_broadcast(&of),
        ClaimId::QuerierPrunes => querier_prunes(&of),
        ClaimId::FloodsWithoutQuerier => floods_without_querier(&of),
        ClaimId::TwoWorkersFaster => two_workers_faster(&of),
        ClaimId::CoresLimitWorkers => cores_limit_workers(&of, conditions),
        ClaimId::RepairComplete => repair_complete(&of),
        ClaimId::UnrepairedLoses => unrepaired_loses(&of),
        ClaimId::RepairCosts => repair_costs(&of),
        ClaimId::MulticastReceipts => receipts(&of, Series::Multicast),
        ClaimId::TcpReceipts => receipts(&of, Series::Tcp),
        ClaimId::BroadcastSilent => broadcast_silent(&of),
        ClaimId::SleeperMissed => sleeper_missed(&of),
        ClaimId::LogServesLate => log_serves_late(&of),
        ClaimId::NoLogNothing => no_log_nothing(&of),
    }
}

fn flat(of: &ExperimentSamples<'_>, series: Series) -> Judged {
    let (ends, figures) = growth(of, series)?;
    Some((FLAT.contains(&ends.growth()), figures))
}

fn linear(of: &ExperimentSamples<'_>, series: Series) -> Judged {
    let (ends, figures) = growth(of, series)?;
    let missed = (ends.growth() / ends.span() - 1.0).abs();
    Some((missed <= IN_PROPORTION, figures))
}

fn growth(of: &ExperimentSamples<'_>, series: Series) -> Option<(super::queries::SeriesEnds, Vec<(f64, Unit)>)> {
    let ends = of.ends(series, Metric::SenderBytes)?;
    let figures = vec![
        (ends.span(), Unit::Count),
        (ends.first, Unit::Bytes),
        (ends.last, Unit::Bytes),
        (ends.growth(), Unit::Times),
    ];
    Some((ends, figures))
}

fn cheaper(of: &ExperimentSamples<'_>) -> Judged {
    let (multicast, unicast) =
        (of.ends(Series::Multicast, Metric::SenderBytes)?, of.ends(Series::Unicast, Metric::SenderBytes)?);
    let times = unicast.last / multicast.last;
    let holds = times >= multicast.span() / 2.0;
    Some((holds, vec![(f64::from(multicast.most), Unit::Count), (times, Unit::Times)]))
}

fn sooner(of: &ExperimentSamples<'_>) -> Judged {
    let (multicast, unicast) =
        (of.ends(Series::Multicast, Metric::LastReceiver)?, of.ends(Series::Unicast, Metric::LastReceiver)?);
    let figures =
        vec![(f64::from(multicast.most), Unit::Count), (multicast.last, Unit::Millis), (unicast.last, Unit::Millis)];
    Some((multicast.last < unicast.last, figures))
}

fn cpu_flat(of: &ExperimentSamples<'_>) -> Judged {
    let (multicast, unicast) =
        (of.ends(Series::Multicast, Metric::SenderCpu)?, of.ends(Series::Unicast, Metric::SenderCpu)?);
    let figures = vec![
        (f64::from(multicast.most), Unit::Count),
        (multicast.slope(), Unit::Millis),
        (unicast.slope(), Unit::Millis),
    ];
    Some((multicast.slope() * 2.0 <= unicast.slope(), figures))
}

const OFF: u32 = 0;
const ON: u32 = 1;

fn witness_hears_broadcast(of: &ExperimentSamples<'_>) -> Judged {
    let at = |querier| of.at(Series::Broadcast, Metric::WitnessFrames, querier);
    let (off, on) = (at(OFF)?, at(ON)?);
    Some((off >= ALL && on >= ALL, vec![(off, Unit::Frames), (on, Unit::Frames)]))
}

fn querier_prunes(of: &ExperimentSamples<'_>) -> Judged {
    let at = |metric| of.at(Series::Multicast, metric, ON);
    let (witness, member) = (at(Metric::WitnessFrames)?, at(Metric::MemberFrames)?);
    Some((witness <= NONE && member >= ALL, vec![(witness, Unit::Frames), (member, Unit::Frames)]))
}

fn floods_without_querier(of: &ExperimentSamples<'_>) -> Judged {
    let witness = of.at(Series::Multicast, Metric::WitnessFrames, OFF)?;
    Some((witness >= ALL, vec![(witness, Unit::Frames)]))
}

fn two_workers_faster(of: &ExperimentSamples<'_>) -> Judged {
    let at = |workers| of.at(Series::Tcp, Metric::Throughput, workers);
    let (one, two) = (at(1)?, at(2)?);
    let times = two / one;
    Some((times >= CLEARLY_MORE, vec![(one, Unit::PerSecond), (two, Unit::PerSecond), (times, Unit::Times)]))
}

fn cores_limit_workers(of: &ExperimentSamples<'_>, Conditions { cores }: Conditions) -> Judged {
    let workers = of.xs(Series::Tcp, Metric::Throughput);
    let (enough, many) = (*workers.iter().rfind(|w| **w <= cores)?, *workers.iter().rfind(|w| **w > cores)?);
    let at = |workers| of.at(Series::Tcp, Metric::Throughput, workers);
    let times = at(many)? / at(enough)?;
    let figures = vec![
        (f64::from(cores), Unit::Count),
        (f64::from(many), Unit::Count),
        (times, Unit::Times),
        (f64::from(enough), Unit::Count),
    ];
    Some((times <= CLEARLY_MORE, figures))
}

fn repair_complete(of: &ExperimentSamples<'_>) -> Judged {
    let losses = of.xs(Series::Multicast, Metric::Heard);
    let heard = losses.iter().map(|loss| of.at(Series::Multicast, Metric::Heard, *loss)).collect::<Option<Vec<_>>>()?;
    let most = losses.last().copied().filter(|loss| *loss > 0)?;
    let least_heard = heard.into_iter().fold(100.0, f64::min);
    Some((least_heard >= 100.0, vec![(f64::from(most), Unit::Percent), (least_heard, Unit::Percent)]))
}

fn unrepaired_loses(of: &ExperimentSamples<'_>) -> Judged {
    let losses = of.xs(Series::Unrepaired, Metric::Heard);
    let most = losses.last().copied().filter(|loss| *loss > 0)?;
    let mut holds = true;
    for &loss in &losses {
        let heard = of.at(Series::Unrepaired, Metric::Heard, loss)?;
        holds &= (heard - (100.0 - f64::from(loss))).abs() <= LOSS_POINTS;
    }
    let heard = of.at(Series::Unrepaired, Metric::Heard, most)?;
    Some((holds, vec![(f64::from(most), Unit::Percent), (heard, Unit::Percent)]))
}

fn repair_costs(of: &ExperimentSamples<'_>) -> Judged {
    let ends = of.ends(Series::Multicast, Metric::SenderBytes)?;
    Some((ends.growth() >= CLEARLY_MORE, vec![(f64::from(ends.most), Unit::Percent), (ends.growth(), Unit::Times)]))
}

fn receipts(of: &ExperimentSamples<'_>, series: Series) -> Judged {
    let (members, heard) = known(of, series)?;
    Some((heard == f64::from(members), vec![(heard, Unit::Count), (f64::from(members), Unit::Count)]))
}

/// Returns how many members were present, and how many receipts the sender had.
fn known(of: &ExperimentSamples<'_>, series: Series) -> Option<(u32, f64)> {
    let members = of.xs(series, Metric::KnownHeard).last().copied()?;
    Some((members, of.at(series, Metric::KnownHeard, members)?))
}

fn broadcast_silent(of: &ExperimentSamples<'_>) -> Judged {
    let (members, known_heard) = known(of, Series::Broadcast)?;
    let heard = of.at(Series::Broadcast, Metric::Heard, members)?;
    let holds = known_heard == 0.0 && heard > 0.0;
    Some((holds, vec![(heard, Unit::Percent), (known_heard, Unit::Count)]))
}

fn sleeper_missed(of: &ExperimentSamples<'_>) -> Judged {
    let (members, heard) = known(of, Series::OneAsleep)?;
    Some((heard == f64::from(members) - 1.0, vec![(heard, Unit::Count), (f64::from(members), Unit::Count)]))
}

fn log_serves_late(of: &ExperimentSamples<'_>) -> Judged {
    let heard = |series| of.at(series, Metric::Heard, 1);
    let (multicast, tcp) = (heard(Series::Multicast)?, heard(Series::Tcp)?);
    // Who did not get everything has not caught up.
    let took = |series| of.at(series, Metric::CaughtUp, 1).unwrap_or(f64::INFINITY);
    let figures = vec![
        (multicast, Unit::Percent),
        (tcp, Unit::Percent),
        (took(Series::Multicast), Unit::Millis),
        (took(Series::Tcp), Unit::Millis),
    ];
    Some((multicast >= 100.0 && tcp >= 100.0, figures))
}

fn no_log_nothing(of: &ExperimentSamples<'_>) -> Judged {
    let heard = |series| of.at(series, Metric::Heard, 1);
    let (broadcast, bare) = (heard(Series::Broadcast)?, heard(Series::Unrepaired)?);
    Some((broadcast == 0.0 && bare == 0.0, vec![(broadcast, Unit::Percent), (bare, Unit::Percent)]))
}
