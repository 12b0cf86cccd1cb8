//! What the doctor says on a host of a lab.

use std::process::Command;

use gaung_tests::{
    lab::{Host, Lab},
    process::{Ended, Process},
    programs::program,
};
use serde_json::Value;

/// What the doctor said.
pub(crate) struct Told {
    pub(crate) code: i32,
    pub(crate) report: Value,
}

impl Told {
    pub(crate) fn of(ended: &Ended) -> Self {
        let line = ended.stdout.first().unwrap_or_else(|| panic!("nothing said: {}", ended.stderr.join("\n")));
        Self { code: ended.code(), report: serde_json::from_str(line).expect("a JSON line") }
    }

    pub(crate) fn findings(&self) -> &[Value] {
        self.report["findings"].as_array().expect("a list of findings")
    }

    pub(crate) fn codes(&self) -> Vec<&str> {
        self.findings().iter().map(|finding| finding["code"].as_str().expect("a code")).collect()
    }

    pub(crate) fn finding(&self, code: &str) -> &Value {
        let found = self.findings().iter().find(|finding| finding["code"] == code);
        found.unwrap_or_else(|| panic!("no {code} in {:#}", self.report))
    }

    pub(crate) fn interface(&self, name: &str) -> &Value {
        let all = self.report["interfaces"].as_array().expect("a list of interfaces");
        all.iter().find(|interface| interface["name"] == name).unwrap_or_else(|| panic!("no {name}"))
    }
}

/// A lab with a querier, and its first host, which has a default route.
pub(crate) fn lab() -> Lab {
    let lab = Lab::new(2);
    lab.start_querier();
    lab.host(0).add_default_route();
    lab
}

pub(crate) fn doctor(host: &Host) -> Told {
    Told::of(&started(host.command(program("gaung")), &[]).end())
}

/// Without the right to read filter rules: what is wrong then shows by trying it out.
pub(crate) fn doctor_without_rules(host: &Host) -> Told {
    let mut command = host.command("setpriv");
    command.args(["--bounding-set", "-net_admin"]).arg(program("gaung"));
    Told::of(&started(command, &[]).end())
}

pub(crate) fn started(mut command: Command, more: &[&str]) -> Process {
    command.args(["doctor", "--json", "--data", "/nonexistent"]);
    if more.is_empty() {
        command.arg("--quick");
    }
    command.args(more);
    Process::spawn(command)
}

/// What the doctors of the first and of the second host say, the second waiting for the first.
pub(crate) fn with_peer(lab: &Lab) -> [Told; 2] {
    let waiting = started(lab.host(1).command(program("gaung")), &["--quick", "--peer"]);
    waiting.stderr_line("waiting", |line| line.starts_with("waiting for a peer"));
    let here = started(lab.host(0).command(program("gaung")), &["--quick", "--peer", "10.77.0.2"]).end();
    [Told::of(&here), Told::of(&waiting.end())]
}

pub(crate) fn passages<'a>(told: &'a Told, way: &str) -> &'a [Value] {
    told.report["peer"][way].as_array().expect("a test with a peer")
}
