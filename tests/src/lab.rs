//! A LAN in network namespaces: one holds a bridge, each other one a host with a cable to it. Needs root and `ip`.

use std::{
    fs::{self, File},
    net::Ipv4Addr,
    path::PathBuf,
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use nix::sched::{CloneFlags, setns};

use crate::process::Process;

/// The interface of each host.
pub const INTERFACE: &str = "eth0";

/// Hosts on one bridge, 10.77.0.1 and up in 10.77.0.0/24, nothing else. Gone when dropped.
///
/// Declare it before the processes that run in it: those then end first.
#[derive(Debug)]
pub struct Lab {
    hosts: Vec<Host>,
    switch: Namespace,
}

/// One machine of a lab.
#[derive(Debug)]
pub struct Host {
    ip: Ipv4Addr,
    namespace: Namespace,
}

impl Lab {
    /// A lab of `count` hosts, at most 200.
    ///
    /// The bridge floods multicast to all ports, as a plain switch does, until [`Self::start_querier`].
    /// # Panics
    /// If `ip` fails.
    #[must_use]
    pub fn new(count: u8) -> Self {
        assert!(count <= 200, "a lab has at most 200 hosts");
        sweep();
        let switch = Namespace::new();
        switch.ip("link add br0 type bridge");
        switch.ip("link set br0 up");
        let mut lab = Self { hosts: Vec::new(), switch };
        for number in 1..=count {
            lab.add_host(number);
        }
        lab
    }

    /// The host with this index, from 0.
    #[must_use]
    pub fn host(&self, index: usize) -> &Host {
        &self.hosts[index]
    }

    /// How many hosts it has.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a lab without hosts is of no use")]
    pub const fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Makes the bridge prune: from its first query on, multicast reaches only ports that joined.
    ///
    /// # Panics
    /// If `ip` fails.
    pub fn start_querier(&self) {
        // In one command pruning would start late.
        self.switch
            .ip("link set br0 type bridge mcast_snooping 1 mcast_igmp_version 3 mcast_query_response_interval 100 \
             mcast_startup_query_interval 100");
        self.switch.ip("link set br0 type bridge mcast_querier 1");
    }

    /// Changes the bridge's machine: the arguments of one `ip` command. The bridge is `br0`, its ports `p1` and up.
    ///
    /// # Panics
    /// If `ip` fails.
    pub fn switch_command(&self, args: &str) {
        self.switch.ip(args);
    }

    fn add_host(&mut self, number: u8) {
        let host = Host { ip: Ipv4Addr::new(10, 77, 0, number), namespace: Namespace::new() };
        self.plug(number, &host);
        host.namespace.ip("link set lo up");
        host.namespace.ip(&format!("addr add {}/24 broadcast + dev {INTERFACE}", host.ip));
        host.namespace.ip(&format!("link set {INTERFACE} up"));
        self.hosts.push(host);
    }

    fn plug(&self, number: u8, host: &Host) {
        let name = &host.namespace.name;
        self.switch.ip(&format!("link add p{number} type veth peer name {INTERFACE} netns {name}"));
        self.switch.ip(&format!("link set p{number} master br0 up"));
    }

    /// Connects two hosts by a cable of their own, with these names at its ends; both are up and have no address.
    ///
    /// # Panics
    /// If `ip` fails.
    pub fn cable(&self, (one, its_name): (usize, &str), (other, other_name): (usize, &str)) {
        let far = &self.host(other).namespace.name;
        let one = self.host(one);
        one.ip_command(&format!("link add {its_name} type veth peer name {other_name} netns {far}"));
        one.ip_command(&format!("link set {its_name} up"));
        self.host(other).ip_command(&format!("link set {other_name} up"));
    }

    /// Pulls a host's card and plugs in another one: it is up, has another number, and no address.
    ///
    /// # Panics
    /// If `ip` fails.
    pub fn replug(&self, index: usize) {
        let number = u8::try_from(index + 1).expect("a lab has few hosts");
        self.switch.ip(&format!("link del p{number}"));
        self.plug(number, self.host(index));
        self.host(index).ip_command(&format!("link set {INTERFACE} up"));
    }
}

impl Host {
    /// Its address.
    #[must_use]
    pub const fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    /// Sends what is for no known network out of its one interface.
    ///
    /// # Panics
    /// If `ip` fails.
    pub fn add_default_route(&self) {
        self.namespace.ip(&format!("route add default dev {INTERFACE}"));
    }

    /// Changes its network: the arguments of one `ip` command.
    ///
    /// # Panics
    /// If `ip` fails.
    pub fn ip_command(&self, args: &str) {
        self.namespace.ip(args);
    }

    /// A command that runs `program` on this host.
    ///
    /// The machine's own name leads to the host itself.
    #[must_use]
    pub fn command(&self, program: impl Into<PathBuf>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace.name]).arg(program.into());
        command
    }

    /// Starts `program` on this host.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(&self, program: impl Into<PathBuf>, args: &[&str]) -> Process {
        let mut command = self.command(program);
        command.args(args);
        Process::spawn(command)
    }

    /// Does `work` on a thread of this host: sockets it makes, and threads it starts, are the host's.
    ///
    /// # Panics
    /// If the namespace is gone; with `work`'s panic.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let enter_and_work = || {
            self.enter();
            work()
        };
        match thread::scope(|scope| scope.spawn(enter_and_work).join()) {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Puts the calling thread on this host for good.
    ///
    /// # Panics
    /// If the namespace is gone.
    pub fn enter(&self) {
        self.entrance().pass();
    }

    /// The way in, to be given to a thread that outlives the borrow of the lab.
    ///
    /// # Panics
    /// If the namespace is gone.
    #[must_use]
    pub fn entrance(&self) -> Entrance {
        let path = format!("/run/netns/{}", self.namespace.name);
        Entrance(File::open(&path).unwrap_or_else(|error| panic!("{path}: {error}")))
    }
}

/// The way into a host.
#[derive(Debug)]
pub struct Entrance(File);

impl Entrance {
    /// Puts the calling thread on the host for good.
    ///
    /// # Panics
    /// Without root.
    pub fn pass(self) {
        setns(self.0, CloneFlags::CLONE_NEWNET).expect("root may enter a network namespace");
    }
}

const PREFIX: &str = "gaungtest";

/// A named network namespace with its own `/etc/hosts`, deleted when dropped.
#[derive(Debug)]
struct Namespace {
    name: String,
}

impl Namespace {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{PREFIX}-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let namespace = Self { name };
        ip(&["netns", "add", &namespace.name]);
        let host_name = nix::unistd::gethostname().expect("a machine has a name");
        let hosts = format!("127.0.0.1 localhost\n127.0.1.1 {}\n", host_name.to_string_lossy());
        let folder = namespace.etc();
        fs::create_dir_all(&folder).expect("root may write below /etc");
        fs::write(folder.join("hosts"), hosts).expect("root may write below /etc");
        namespace
    }

    fn etc(&self) -> PathBuf {
        PathBuf::from("/etc/netns").join(&self.name)
    }

    fn ip(&self, args: &str) {
        let args: Vec<_> = ["-n", &self.name].into_iter().chain(args.split_whitespace()).collect();
        ip(&args);
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
        let _ = fs::remove_dir_all(self.etc());
    }
}

fn ip(args: &[&str]) {
    let output = Command::new("ip").args(args).output().expect("`ip` of iproute2 is installed");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {}: {}", args.join(" "), error.trim());
}

/// Deletes the namespaces of test processes that were killed before they could.
fn sweep() {
    let Ok(entries) = fs::read_dir("/run/netns") else { return };
    for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').nth(1));
        if owner.is_some_and(|pid| !PathBuf::from("/proc").join(pid).exists()) {
            drop(Namespace { name });
        }
    }
}
