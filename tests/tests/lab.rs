//! `gaung lab`: a network that is there when it is up, and of which nothing is left when it is down, also when it was killed.
#![allow(missing_docs)]

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use gaung_tests::{
    needs,
    process::{Ended, PATIENCE, Process},
    programs::program,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;

/// Somebody who makes labs, in a runtime folder of their own.
struct Maker {
    runtime: TempDir,
    /// Runs before `gaung`.
    prefix: Vec<String>,
    gaung: PathBuf,
}

impl Maker {
    fn root() -> Self {
        Self { runtime: TempDir::new().expect("a temporary folder"), prefix: Vec::new(), gaung: program("gaung") }
    }

    /// A user who may not do more than others, with a copy of the program to which they have access.
    fn nobody() -> Self {
        const NOBODY: u32 = 65534;
        let runtime = TempDir::new().expect("a temporary folder");
        fs::set_permissions(runtime.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        let gaung = runtime.path().join("gaung");
        fs::copy(program("gaung"), &gaung).expect("a copy of the program");
        chown(runtime.path(), Some(NOBODY), Some(NOBODY)).expect("root may give a folder away");
        let prefix = format!("setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups");
        Self { runtime, prefix: prefix.split(' ').map(str::to_owned).collect(), gaung }
    }

    fn start(&self, args: &[&str]) -> Process {
        let mut words =
            self.prefix.iter().map(String::as_str).chain([self.gaung.to_str().expect("a path in UTF-8"), "lab"]);
        let mut command = Command::new(words.next().expect("at least the program"));
        command.args(words).args(args).env("XDG_RUNTIME_DIR", self.runtime.path());
        command.env_remove("GAUNG_SERVER").env("HOME", self.runtime.path());
        Process::spawn(command)
    }

    fn run(&self, args: &[&str]) -> Ended {
        self.start(args).end()
    }

    fn status(&self) -> Vec<Value> {
        let lines = self.run(&["status", "--json"]).expect_code(0).stdout;
        lines.iter().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
    }

    /// The lab of this name, which is up.
    fn lab(&self, name: &str) -> Value {
        let all = self.status();
        all.iter().find(|lab| lab["name"] == name).unwrap_or_else(|| panic!("no {name} in {all:?}")).clone()
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.runtime.path().join("gaung-lab")).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    }
}

/// The namespaces of a lab, by the kernel's names.
fn namespaces(lab: &Value) -> BTreeSet<String> {
    let tasks =
        lab["hosts"].as_array().expect("a list").iter().map(|host| host["task"].as_str().expect("a task").to_owned());
    let pid = lab["pid"].to_string();
    let networks = tasks.map(|task| format!("/proc/{task}/ns/net"));
    let links = networks.chain([format!("/proc/{pid}/ns/pid_for_children"), format!("/proc/{pid}/ns/mnt")]);
    let names: BTreeSet<_> =
        links.map(|link| link_name(Path::new(&link)).unwrap_or_else(|| panic!("no {link}"))).collect();
    assert!(names.len() > lab["hosts"].as_array().expect("a list").len(), "each host has a network of its own");
    names
}

fn link_name(link: &Path) -> Option<String> {
    Some(fs::read_link(link).ok()?.to_string_lossy().into_owned())
}

/// Those of `namespaces` that some process is in.
fn inhabited(namespaces: &BTreeSet<String>) -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("procfs").flatten().map(|entry| entry.path());
    let tasks = processes.flat_map(|process| fs::read_dir(process.join("task")).into_iter().flatten().flatten());
    let links =
        tasks.flat_map(|task| ["net", "pid", "pid_for_children", "mnt"].map(|kind| task.path().join("ns").join(kind)));
    links.filter_map(|link| link_name(&link).filter(|name| namespaces.contains(name))).collect()
}

/// Once the first process is gone its namespaces are; the kernel ends the others before it lets go of the first.
fn until_gone(namespaces: &BTreeSet<String>) {
    let began = Instant::now();
    loop {
        let left = inhabited(namespaces);
        if left.is_empty() {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "left behind: {left:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// What the machine itself has of what a lab makes: links, and a filter table. Others may make theirs meanwhile.
fn of_the_machine() -> BTreeSet<String> {
    const OURS: [&str; 6] = ["br0", "server", "m1", "m2", "witness", "inet lab"];
    let output = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output().expect("it is installed").stdout;
        String::from_utf8_lossy(&output).into_owned()
    };
    let (links, tables) = (output("ip", &["-o", "link"]), output("nft", &["list", "tables"]));
    let links = links.lines().filter_map(|line| line.split([':', '@']).nth(1).map(str::trim));
    let tables = tables.lines().filter_map(|line| line.strip_prefix("table "));
    links.chain(tables).filter(|name| OURS.contains(name)).map(str::to_owned).collect()
}

#[test]
fn members_hear_and_the_witness_does_not() {
    needs!(Namespaces, Nft);
    let maker = Maker::root();
    let up = maker.run(&["up", "--members", "2"]).expect_code(0);
    assert_eq!(up.stdout.len(), 1 + 4, "{:?}", up.stdout);
    let frames = |lab: &Value| {
        let witness = lab["hosts"][3]["task"].as_str().expect("a task").to_owned();
        let table = fs::read_to_string(format!("/proc/{witness}/net/dev")).expect("the witness is there");
        let row = table.lines().find_map(|line| line.trim().strip_prefix("eth0:")).expect("it has eth0").to_owned();
        row.split_whitespace().nth(1).and_then(|count| count.parse::<u64>().ok()).expect("a count")
    };
    let lab = maker.lab("lab");
    let before = frames(&lab);
    let receipt = maker
        .run(&["shell", "m1", "gaung", "send", "lobby", "Halo", "--receipts", "--json", "--wait", "30s"])
        .expect_code(0);
    let receipt: Value = serde_json::from_str(&receipt.stdout[0]).expect("a JSON line");
    assert_eq!((&receipt["heard"], &receipt["present"]), (&2.into(), &2.into()), "{receipt}");
    let many = maker.run(&["shell", "server", "sh", "-c", "seq 300 | gaung send lobby -"]).expect_code(0);
    assert_eq!(many.stdout.len(), 300);
    assert!(frames(&lab) - before < 20, "the switch prunes: {} frames came to the witness", frames(&lab) - before);
    assert_eq!(maker.run(&["shell", "m1", "sh", "-c", "exit 7"]).code(), 7);
    assert_eq!(maker.run(&["shell", "m9"]).code(), 3);
    assert_eq!(maker.run(&["up"]).code(), 2, "the name is taken");
    let ours = namespaces(&lab);
    let guest = maker.start(&["shell", "m2", "sleep", "600"]);
    assert_eq!(maker.run(&["down"]).code(), 0);
    assert_ne!(guest.end().code(), 0, "who is inside ends with it");
    until_gone(&ours);
    assert_eq!(maker.run(&["down"]).code(), 3);
}

#[test]
fn two_labs_of_one_user_do_not_disturb_each_other() {
    needs!(Namespaces);
    let maker = Maker::root();
    for name in ["first", "second"] {
        let _ = maker.run(&["up", "--lab", name, "--members", "1", "--querier", "off"]).expect_code(0);
    }
    let labs = maker.status();
    assert_eq!(labs.iter().map(|lab| &lab["name"]).collect::<Vec<_>>(), ["first", "second"]);
    assert!(namespaces(&labs[0]).is_disjoint(&namespaces(&labs[1])));
    let _ = maker.run(&["down", "--lab", "first"]).expect_code(0);
    let folder = labs[1]["folder"].as_str().expect("a folder");
    let files = maker.run(&["shell", "--lab", "second", "m1", "ls", folder]).expect_code(0);
    assert!(files.stdout.contains(&"m1.log".to_owned()), "its files are still there: {:?}", files.stdout);
    let _ = maker.run(&["shell", "--lab", "second", "m1", "gaung", "send", "lobby", "Halo"]).expect_code(0);
    let _ = maker.run(&["down", "--lab", "second"]).expect_code(0);
    assert!(!maker.runtime.path().join("gaung-lab").exists(), "the last one takes the folders away");
}

#[test]
fn a_loss_can_be_had_and_what_cannot_is_said() {
    needs!(Namespaces, Nft);
    let maker = Maker::root();
    let _ = maker.run(&["up", "--members", "1", "--loss", "100%", "--querier", "off"]).expect_code(0);
    // Discovery's question goes out, and its answer is lost.
    let ask = "env -u GAUNG_SERVER gaung group list; nft list ruleset";
    let asked = maker.run(&["shell", "m1", "sh", "-c", ask]).expect_code(0);
    let dropped = asked.stdout.iter().find(|line| line.contains("counter packets")).expect("a rule that counts");
    assert!(!dropped.contains("counter packets 0 "), "{dropped}");
    let _ = maker.run(&["down"]).expect_code(0);
    let late = maker.run(&["up", "--lab", "late", "--members", "1", "--delay", "20ms", "--querier", "off"]);
    match late.code() {
        0 => {
            let shaped = maker.run(&["shell", "--lab", "late", "m1", "tc", "qdisc"]).expect_code(0);
            assert!(
                shaped.stdout.iter().any(|line| line.contains("netem") && line.contains("20ms")),
                "{:?}",
                shaped.stdout
            );
            let _ = maker.run(&["down", "--lab", "late"]).expect_code(0);
        }
        1 => assert!(
            late.stderr.iter().any(|line| line.contains("netem") && line.contains("modprobe")),
            "{:?}",
            late.stderr
        ),
        code => panic!("{code}: {:?}", late.stderr),
    }
    assert_eq!(maker.files(), Vec::<PathBuf>::new(), "nothing is left of a lab that could not be built");
}

#[test]
fn who_is_not_root_has_a_lab_too() {
    needs!(Namespaces, Nft, UserNamespaces);
    let maker = Maker::nobody();
    let up = maker.run(&["up", "--members", "2", "--loss", "1%"]).expect_code(0);
    assert!(up.stderr.iter().any(|line| line.contains("without root")), "what cannot be had is said: {:?}", up.stderr);
    let lab = maker.lab("lab");
    assert_eq!(lab["rights"], "user_namespace");
    let ours = namespaces(&lab);
    let receipt =
        maker.run(&["shell", "m1", "gaung", "send", "lobby", "Halo", "--receipts", "--wait", "30s"]).expect_code(0);
    assert_eq!(receipt.stdout.last().map(String::as_str), Some("heard by 2 of 2"));
    assert_eq!(maker.run(&["down"]).code(), 0);
    until_gone(&ours);
}

/// Four makers, each with labs of the same names, five times: whatever ends a lab, nothing of it is left.
#[test]
fn twenty_labs_of_which_eight_are_killed_leave_nothing() {
    needs!(Namespaces, Nft);
    let machine = of_the_machine();
    thread::scope(|scope| {
        let makers: Vec<_> = (0..4).map(|_| scope.spawn(five_labs)).collect();
        makers.into_iter().for_each(|maker| maker.join().expect("its five labs left nothing"));
    });
    assert_eq!(of_the_machine(), machine);
}

fn five_labs() {
    let maker = Maker::root();
    for _ in 0..3 {
        built_and_ended(&maker, |maker, _| drop(maker.run(&["down"]).expect_code(0)));
    }
    built_and_ended(&maker, |_, pid| kill(pid, Signal::SIGKILL).expect("the first process is there"));
    killed_while_it_was_built(&maker);
    assert_eq!(maker.status(), Vec::<Value>::new());
    let _ = maker.run(&["up", "--members", "1", "--querier", "off"]).expect_code(0);
    let _ = maker.run(&["down"]).expect_code(0);
    assert_eq!(maker.files(), Vec::<PathBuf>::new());
}

fn built_and_ended(maker: &Maker, end: impl Fn(&Maker, Pid)) {
    let _ = maker.run(&["up", "--members", "2", "--loss", "5%", "--querier", "off"]).expect_code(0);
    let lab = maker.lab("lab");
    let ours = namespaces(&lab);
    assert!(!inhabited(&ours).is_empty());
    end(maker, Pid::from_raw(lab["pid"].as_i64().and_then(|pid| pid.try_into().ok()).expect("a process id")));
    until_gone(&ours);
}

/// The command that builds a lab is killed: what it began ends with it.
fn killed_while_it_was_built(maker: &Maker) {
    let mut up = maker.start(&["up", "--members", "20"]);
    let began = Instant::now();
    let first = loop {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", up.pid())).unwrap_or_default();
        if let Some(child) = children.split_whitespace().next() {
            break child.to_owned();
        }
        assert!(began.elapsed() < PATIENCE, "no first process: {:?}", up.stderr_so_far());
        thread::yield_now();
    };
    let ours = ["pid", "net"]
        .iter()
        .filter_map(|kind| link_name(&PathBuf::from(format!("/proc/{first}/ns/{kind}"))))
        .collect();
    up.kill();
    until_gone(&ours);
}
