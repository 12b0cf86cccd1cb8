//! Hosts on one switch: the server, members, and a witness that never joins a group.

mod counters;
mod fault;
mod machine;
mod program;
mod querier;

use std::{fs, net::Ipv4Addr, path::Path};

use anyhow::Context as _;

pub use self::{
    counters::Counters,
    fault::{Delay, Loss},
    machine::Machine,
};

/// The name of each host's interface.
pub const INTERFACE: &str = "eth0";
/// The most members that a network has.
pub const MAX_MEMBERS: usize = 200;

const BRIDGE: &str = "br0";

/// One machine with a cable to the switch.
#[derive(Debug)]
pub struct Host {
    /// Its address on the network.
    pub ip: Ipv4Addr,
    /// Its namespaces.
    pub machine: Machine,
}

/// A switch and hosts in 10.77.0.0/24. It is gone when it is dropped and no process is left in it.
#[derive(Debug)]
pub struct Network {
    switch: Machine,
    /// The host of the services.
    pub server: Host,
    /// The members, named `m1` and up.
    pub members: Vec<Host>,
    /// A host that never joins a group: what reaches it was sent without a request.
    pub witness: Host,
}

impl Network {
    /// Builds a network with so many members, which floods multicast until a [querier](Self::set_querier) is heard.
    ///
    /// `folder`: for `/etc/hosts` of its machines.
    /// # Errors
    /// [`crate::Refusal`] without `ip`; what `ip` says.
    /// # Panics
    /// For more than [`MAX_MEMBERS`].
    pub fn build(members: usize, folder: &Path) -> anyhow::Result<Self> {
        assert!(members <= MAX_MEMBERS, "a network has at most {MAX_MEMBERS} members");
        let hosts_file = folder.join("hosts");
        fs::write(&hosts_file, hosts_text(members)).context("cannot write the lab's host names")?;
        let switch = Machine::start("switch", &hosts_file)?;
        switch.ip(&format!("link add {BRIDGE} type bridge\nlink set {BRIDGE} up"))?;
        let host = |name: &str, ip| -> anyhow::Result<Host> {
            let host = Host { ip, machine: Machine::start(name, &hosts_file)? };
            plug_in(&switch, &host).with_context(|| format!("cannot plug {name} into the switch"))?;
            Ok(host)
        };
        let server = host("server", SERVER)?;
        let members = (1..=members).map(|n| host(&member_name(n), member_ip(n))).collect::<Result<_, _>>()?;
        let witness = host("witness", WITNESS)?;
        Ok(Self { switch, server, members, witness })
    }

    /// Iterates over all hosts, the server first and the witness last.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        std::iter::once(&self.server).chain(&self.members).chain(std::iter::once(&self.witness))
    }
}

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const WITNESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 250);

fn member_name(number: usize) -> String {
    format!("m{number}")
}

fn member_ip(number: usize) -> Ipv4Addr {
    let last = u8::try_from(10 + number).expect("at most MAX_MEMBERS members");
    Ipv4Addr::new(10, 77, 0, last)
}

fn hosts_text(members: usize) -> String {
    let members = (1..=members).map(|n| (member_ip(n), member_name(n)));
    let named = [(SERVER, "server".to_owned())].into_iter().chain(members).chain([(WITNESS, "witness".to_owned())]);
    let lines = named.map(|(ip, name)| format!("{ip} {name}\n"));
    // A machine's own name, which programs look up, leads to the machine itself.
    let own = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    format!("127.0.0.1 localhost {own}\n{}", lines.collect::<String>())
}

/// Connects the host to a port of its name on the switch.
///
/// No offload merges packets: counters and captures show what a wire would carry, and a loss drops one datagram.
fn plug_in(switch: &Machine, host: &Host) -> anyhow::Result<()> {
    let (port, task, ip) = (host.machine.name(), host.machine.task_id(), host.ip);
    switch.ip(&format!(
        "link add {port} type veth peer name {INTERFACE} netns {task}\n\
         link set {port} master {BRIDGE} up"
    ))?;
    host.machine.without_ipv6();
    host.machine.ip(&format!(
        "link set lo up\n\
         addr add {ip}/24 broadcast + dev {INTERFACE}\n\
         link set dev {INTERFACE} gso_max_segs 1\n\
         link set {INTERFACE} up\n\
         route add default dev {INTERFACE}"
    ))
}
