//! `gaung lab experiment` measures what the four ways of sending to many are known for. Only quantities that do not depend on how busy
//! the machine is are judged.
#![allow(missing_docs)]

use std::{collections::BTreeMap, fs, process::Command};

use gaung_tests::{needs, process::Process, programs::program};
use nix::sys::signal::Signal;
use tempfile::TempDir;

/// Values by experiment, series, x and metric.
struct Table(BTreeMap<(String, String, u32, String), Vec<f64>>);

impl Table {
    fn read(csv: &str) -> Self {
        let mut table: BTreeMap<_, Vec<f64>> = BTreeMap::new();
        for line in csv.lines().skip(1) {
            let columns: Vec<&str> = line.split(',').collect();
            let [experiment, series, x, _, metric, value] = columns[..] else { panic!("{line}") };
            let key = (experiment.to_owned(), series.to_owned(), x.parse().expect("a number"), metric.to_owned());
            table.entry(key).or_default().push(value.parse().expect("a number"));
        }
        Self(table)
    }

    fn median(&self, experiment: &str, series: &str, x: u32, metric: &str) -> f64 {
        let key = (experiment.to_owned(), series.to_owned(), x, metric.to_owned());
        let mut values = self.0.get(&key).unwrap_or_else(|| panic!("{key:?} was not measured")).clone();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    }
}

fn experiment(data: &TempDir, args: &[&str]) -> Process {
    let mut command = Command::new(program("gaung"));
    command.args(["lab", "experiment"]).args(args).arg("--csv").arg(data.path().join("samples.csv"));
    Process::spawn({
        command.env("XDG_RUNTIME_DIR", data.path());
        command
    })
}

fn table(data: &TempDir) -> Table {
    Table::read(&fs::read_to_string(data.path().join("samples.csv")).expect("a table was written"))
}

#[test]
fn each_way_costs_and_tells_what_it_is_known_for() {
    needs!(Namespaces, Nft);
    let data = TempDir::new().expect("a temporary folder");
    let _ = experiment(&data, &["all", "--quick"]).end_within(std::time::Duration::from_secs(300)).expect_code(0);
    let table = table(&data);
    let bytes = |series, receivers| table.median("one-to-many", series, receivers, "sender_bytes");
    for flat in ["multicast", "broadcast"] {
        let ratio = bytes(flat, 4) / bytes(flat, 1);
        assert!((0.7..1.4).contains(&ratio), "{flat}: 4 receivers cost {ratio} times the bytes of one");
    }
    for linear in ["unicast", "tcp"] {
        let ratio = bytes(linear, 4) / bytes(linear, 1);
        assert!((3.0..5.0).contains(&ratio), "{linear}: 4 receivers cost {ratio} times the bytes of one");
    }
    let witness = |series, querier| table.median("who-hears", series, querier, "witness_frames_per_message");
    for (series, querier, hears) in
        [("broadcast", 0, true), ("broadcast", 1, true), ("multicast", 0, true), ("multicast", 1, false)]
    {
        let frames = witness(series, querier);
        assert_eq!(frames > 0.5, hears, "{series} with querier {querier}: {frames} frames for each message");
    }
    for (series, heard, present) in
        [("multicast", 4.0, 4.0), ("tcp", 4.0, 4.0), ("broadcast", 0.0, 0.0), ("one-asleep", 3.0, 4.0)]
    {
        let known = |metric| table.median("receipts", series, 4, metric);
        assert_eq!((known("known_heard"), known("known_present")), (heard, present), "{series}");
    }
    let heard = |experiment, series, x| table.median(experiment, series, x, "heard_percent");
    assert_eq!(heard("loss", "multicast", 20), 100.0);
    assert!((70.0..90.0).contains(&heard("loss", "unrepaired", 20)), "{}", heard("loss", "unrepaired", 20));
    assert_eq!((heard("late-joiner", "multicast", 1), heard("late-joiner", "tcp", 1)), (100.0, 100.0));
    assert_eq!((heard("late-joiner", "broadcast", 1), heard("late-joiner", "unrepaired", 1)), (0.0, 0.0));
    assert!(table.median("threads", "tcp", 2, "delivered_per_second") > 0.0);
    assert!(!data.path().join("gaung-lab").exists(), "nothing is left of the network");
}

#[test]
fn who_stops_it_keeps_what_was_measured() {
    needs!(Namespaces);
    let data = TempDir::new().expect("a temporary folder");
    let running = experiment(&data, &["late-joiner"]);
    // Its first agents are there: it measures.
    let children = format!("/proc/{0}/task/{0}/children", running.pid());
    let inner = loop {
        let first = fs::read_to_string(&children).unwrap_or_default();
        if let Some(first) = first.split_whitespace().next() {
            break first.to_owned();
        }
        std::thread::yield_now();
    };
    while !children_of(&inner).iter().any(|child| command_line(child).contains("agent")) {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    running.signal(Signal::SIGTERM);
    let ended = running.end().expect_code(0);
    assert!(ended.stderr.iter().any(|line| line.contains("stopped before all was measured")), "{:?}", ended.stderr);
    let table = table(&data);
    assert_eq!(table.median("late-joiner", "multicast", 1, "heard_percent"), 100.0);
    assert!(!table.0.keys().any(|key| key.1 == "unrepaired"), "the last series was not begun");
}

fn children_of(process: &str) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let children = tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
    children.flat_map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}

fn command_line(process: &str) -> String {
    fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap_or_default()
}
