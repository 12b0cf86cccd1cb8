//! Plots and tables of one experiment.

use super::Author;
use crate::{
    report::{
        document::{Block, Figure, Table},
        figures::{Axes, Row, bars, lines},
    },
    samples::{Experiment, Metric, Series, Spread},
    words::Label,
};

/// The quantities that are plotted, and how.
pub(super) fn figures(author: &Author<'_>, experiment: Experiment) -> anyhow::Result<Vec<Block>> {
    let plots: &[(Metric, Shape)] = match experiment {
        Experiment::OneToMany => &[
            (Metric::SenderBytes, Shape::Lines),
            (Metric::LastReceiver, Shape::Lines),
            (Metric::SenderCpu, Shape::Lines),
        ],
        Experiment::WhoHears => &[(Metric::WitnessFrames, Shape::BarsByPlace)],
        Experiment::Threads => &[(Metric::Throughput, Shape::BarsByPlace)],
        Experiment::Loss => &[(Metric::Heard, Shape::Lines), (Metric::SenderBytes, Shape::Lines)],
        Experiment::Receipts => &[(Metric::KnownHeard, Shape::BarsBySeries)],
        Experiment::LateJoiner => &[(Metric::Heard, Shape::BarsBySeries)],
    };
    let drawn = plots.iter().filter_map(|(metric, shape)| draw(author, experiment, *metric, *shape).transpose());
    drawn.map(|figure| figure.map(Block::Figure)).collect()
}

/// How a quantity is drawn.
#[derive(Clone, Copy)]
enum Shape {
    /// A line for each series over the places.
    Lines,
    /// At each place a bar for each series.
    BarsByPlace,
    /// For each series one bar.
    BarsBySeries,
}

/// `None` where nothing was measured.
fn draw(author: &Author<'_>, experiment: Experiment, metric: Metric, shape: Shape) -> anyhow::Result<Option<Figure>> {
    let measured = measured(author, experiment, metric);
    if measured.is_empty() {
        return Ok(None);
    }
    let (x, y) = (author.label(axis(experiment)), author.label(Label::metric(metric)));
    let axes = Axes { x: &x, y: &y, language: author.language };
    let name = |series| author.label(Label::series(series));
    let svg = match shape {
        Shape::Lines => {
            let row = |(series, points): &(Series, Vec<(u32, Spread)>)| Row {
                name: name(*series),
                points: points.iter().map(|(x, spread)| (f64::from(*x), *spread)).collect(),
            };
            lines(&measured.iter().map(row).collect::<Vec<_>>(), &axes)?
        }
        Shape::BarsByPlace => {
            let mut places: Vec<u32> = measured.iter().flat_map(|(_, points)| points).map(|(x, _)| *x).collect();
            places.sort_unstable();
            places.dedup();
            let at = |x: u32| places.iter().position(|place| *place == x).unwrap_or_default() as f64;
            let row = |(series, points): &(Series, Vec<(u32, Spread)>)| Row {
                name: name(*series),
                points: points.iter().map(|(x, spread)| (at(*x), *spread)).collect(),
            };
            let names: Vec<_> = places.iter().map(|x| place(author, experiment, *x)).collect();
            bars(&measured.iter().map(row).collect::<Vec<_>>(), &names, &axes)?
        }
        Shape::BarsBySeries => {
            let names: Vec<_> = measured.iter().map(|(series, _)| name(*series)).collect();
            let points =
                measured.iter().enumerate().filter_map(|(at, (_, points))| Some((at as f64, points.first()?.1)));
            let row = Row { name: y.clone(), points: points.collect() };
            let head = author.label(Label::SeriesHead);
            bars(&[row], &names, &Axes { x: &head, ..axes })?
        }
    };
    let caption = format!("{}: {y}", author.label(Label::experiment(experiment)));
    let file = metric.name().split("_per_").next().unwrap_or_default();
    Ok(Some(Figure { name: format!("{}-{file}", experiment.name()), svg, caption }))
}

/// Each series with its places, ascending; none that was not measured.
fn measured(author: &Author<'_>, experiment: Experiment, metric: Metric) -> Vec<(Series, Vec<(u32, Spread)>)> {
    let of = |series: Series| {
        let xs = author.samples.xs(experiment, series, metric);
        let spread = |x| Some((x, in_shown_unit(metric, author.samples.spread(experiment, series, metric, x)?)));
        (series, xs.into_iter().filter_map(spread).collect::<Vec<_>>())
    };
    Series::ALL.iter().copied().map(of).filter(|(_, points)| !points.is_empty()).collect()
}

/// Labels say kB.
fn in_shown_unit(metric: Metric, spread: Spread) -> Spread {
    match metric {
        Metric::SenderBytes => {
            let kilo = |bytes: f64| bytes / 1000.0;
            Spread { median: kilo(spread.median), lower: kilo(spread.lower), upper: kilo(spread.upper), ..spread }
        }
        Metric::SenderFrames
        | Metric::LastReceiver
        | Metric::SenderCpu
        | Metric::Heard
        | Metric::WitnessFrames
        | Metric::MemberFrames
        | Metric::Throughput
        | Metric::KnownHeard
        | Metric::KnownPresent
        | Metric::CaughtUp => spread,
    }
}

const fn axis(experiment: Experiment) -> Label {
    match experiment {
        Experiment::OneToMany => Label::ReceiversAxis,
        Experiment::WhoHears => Label::QuerierAxis,
        Experiment::Threads => Label::WorkersAxis,
        Experiment::Loss => Label::LossAxis,
        Experiment::Receipts | Experiment::LateJoiner => Label::MembersAxis,
    }
}

fn place(author: &Author<'_>, experiment: Experiment, x: u32) -> String {
    match experiment {
        Experiment::WhoHears if x == 0 => author.label(Label::QuerierOff),
        Experiment::WhoHears => author.label(Label::QuerierOn),
        Experiment::OneToMany
        | Experiment::Threads
        | Experiment::Loss
        | Experiment::Receipts
        | Experiment::LateJoiner => x.to_string(),
    }
}

/// Everything that was measured in it: a table for each quantity, or one where there is only one place.
pub(super) fn tables(author: &Author<'_>, experiment: Experiment) -> Vec<Block> {
    let all: Vec<_> = Metric::ALL.iter().map(|&metric| (metric, measured(author, experiment, metric))).collect();
    let all: Vec<_> = all.into_iter().filter(|(_, rows)| !rows.is_empty()).collect();
    let one_place = all.iter().flat_map(|(_, rows)| rows).all(|(_, points)| points.len() == 1);
    if one_place {
        return vec![Block::Table(by_series(author, &all))];
    }
    let table = |(metric, rows): &(Metric, Rows)| Block::Table(by_place(author, experiment, *metric, rows));
    all.iter().map(table).collect()
}

type Rows = Vec<(Series, Vec<(u32, Spread)>)>;

/// A row for each place, a column for each series.
fn by_place(author: &Author<'_>, experiment: Experiment, metric: Metric, measured: &Rows) -> Table {
    let mut xs: Vec<u32> = measured.iter().flat_map(|(_, points)| points).map(|(x, _)| *x).collect();
    xs.sort_unstable();
    xs.dedup();
    let series = measured.iter().map(|(series, _)| author.label(Label::series(*series)));
    let row = |x: &u32| {
        let cell = |(_, points): &(Series, Vec<(u32, Spread)>)| {
            let here = points.iter().find(|(at, _)| at == x);
            here.map_or_else(String::new, |(_, spread)| value(author, metric, *spread))
        };
        [place(author, experiment, *x)].into_iter().chain(measured.iter().map(cell)).collect()
    };
    Table {
        caption: author.label(Label::metric(metric)),
        head: [author.label(axis(experiment))].into_iter().chain(series).collect(),
        rows: xs.iter().map(row).collect(),
        numbers_from: 1,
    }
}

/// A row for each series, a column for each quantity.
fn by_series(author: &Author<'_>, all: &[(Metric, Rows)]) -> Table {
    let row = |series: Series| {
        let cell = |(metric, rows): &(Metric, Rows)| {
            let here = rows.iter().find(|(of, _)| *of == series).and_then(|(_, points)| points.first());
            here.map_or_else(|| "–".to_owned(), |(_, spread)| value(author, *metric, *spread))
        };
        [author.label(Label::series(series))].into_iter().chain(all.iter().map(cell)).collect()
    };
    let has = |series: &Series| all.iter().flat_map(|(_, rows)| rows).any(|(of, _)| of == series);
    let metrics = all.iter().map(|(metric, _)| author.label(Label::metric(*metric)));
    Table {
        caption: String::new(),
        head: [author.label(Label::SeriesHead)].into_iter().chain(metrics).collect(),
        rows: Series::ALL.iter().copied().filter(has).map(row).collect(),
        numbers_from: 1,
    }
}

/// The median, and the middle half where it is not a point.
fn value(author: &Author<'_>, metric: Metric, Spread { median, lower, upper, .. }: Spread) -> String {
    let places = match metric {
        Metric::SenderFrames | Metric::Throughput => 0,
        Metric::SenderBytes | Metric::Heard | Metric::KnownHeard | Metric::KnownPresent | Metric::CaughtUp => 1,
        Metric::LastReceiver | Metric::SenderCpu | Metric::WitnessFrames | Metric::MemberFrames => 2,
    };
    let [median, lower, upper] = [median, lower, upper].map(|value| author.number(value, places));
    // Broken before the parenthesis, if anywhere: a line may end behind a dash unless a word joiner follows it.
    if lower == upper { median } else { format!("{median} ({lower}\u{a0}–\u{2060}\u{a0}{upper})") }
}
