//! An address whose lease lapsed under a running relay and running members: all of them follow to the next one, and every
//! message is there once.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{path::Path, sync::Arc, time::Instant};

use gaung_tests::{
    deployment::Person,
    process::{PATIENCE, Process},
    services::{Service, Services},
};
use group_registry::{
    address::Pool, address_picker::Pools, clock::Now, disk_store::DiskStore, lease::ADDRESS_LEASE, registry::Registry,
};
use serde_json::Value;

#[test]
fn a_group_that_gets_another_address_goes_on_for_relay_and_members() {
    let mut services = Services::start();
    let [ani, budi, citra, dewi, eka] = ["ani", "budi", "citra", "dewi", "eka"].map(|name| services.person(name));
    let _ = ani.out(&["group", "create", "kelas"]);
    let before = shown(&ani);
    let multicast = budi.listen(&["kelas", "--lane", "multicast", "--json"]);
    let auto = citra.listen(&["kelas", "--json"]);
    let at = format!("{}:{}", before["address"].as_str().unwrap(), before["port"]);
    let udp_only = eka.listen(&["--udp-only", &at, "--json"]);
    let tcp = dewi.listen(&["kelas", "--lane", "tcp", "--json"]);
    let mut publisher = Publisher { send: ani.start(&["send", "kelas", "-"]), lines: 0 };
    publisher.publish(20);

    // A day goes by at the registry, in which the relay cannot reach it and goes on.
    services.kill(Service::Registry);
    publisher.publish(20);
    let _ = multicast.stdout_lines(40);
    let _ = auto.stdout_lines(40);
    let _ = udp_only.stdout_lines(40);
    a_day_goes_by(&services.data(Service::Registry));
    services.start_again(Service::Registry);

    let fresh = wait_for(|| Some(shown(&ani)).filter(|group| group["generation"] != before["generation"]));
    assert_eq!(fresh["address_lapsed"], false);
    assert_ne!(fresh["address"], before["address"]);
    assert_eq!((&fresh["id"], &fresh["log_id"]), (&before["id"], &before["log_id"]));
    // Whatever comes by multicast from here on comes to the new address.
    let moved = publisher.lines + 1;
    for listener in [&multicast, &auto, &udp_only] {
        wait_for(|| {
            publisher.publish(1);
            // At the pace of whoever listens: what a member without a log lacks for long cannot be repaired any more.
            let heard = listener.stdout_lines(publisher.lines as usize);
            heard.iter().map(|line| parse(line)).find(|m| m["seq"].as_u64() >= Some(moved) && m["lane"] == "multicast")
        });
    }
    for listener in [multicast, auto, udp_only, tcp] {
        let heard = listener.stdout_lines(publisher.lines as usize);
        let seqs: Vec<u64> = heard.iter().map(|line| parse(line)["seq"].as_u64().unwrap()).collect();
        assert_eq!(seqs, (1..=publisher.lines).collect::<Vec<_>>(), "each once, in order");
    }
}

/// One process that publishes throughout, so that it is the relay alone that it needs.
struct Publisher {
    send: Process,
    lines: u64,
}

impl Publisher {
    fn publish(&mut self, lines: u64) {
        self.lines += lines;
        self.send.write("pesan\n".repeat(lines as usize));
        let _ = self.send.stdout_lines(self.lines as usize);
    }
}

/// What a registry does with leases, its clock handed in; the relay is not there to renew.
fn a_day_goes_by(data: &Path) {
    let store = Arc::new(DiskStore::open(data, "registry.redb").unwrap());
    let pools = Pools { site: Pool::site(), organization: Pool::organization() };
    let now = Now::read();
    let registry = Registry::open(store, pools, now).unwrap();
    registry.expire(Now { mono: now.mono + ADDRESS_LEASE, ..now }).unwrap();
    assert_eq!(registry.lapsed_count(), registry.group_count());
}

fn wait_for<T>(mut what: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = what() {
            return found;
        }
        assert!(Instant::now() < deadline, "in vain");
    }
}

fn shown(person: &Person) -> Value {
    parse(&person.out(&["group", "show", "kelas", "--json"])[0])
}

fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}
