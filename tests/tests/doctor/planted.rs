//! Set-ups of a host's network, faulty ones and healthy ones that look so.

use gaung_tests::lab::Host;

pub(crate) const INPUT: &str = "type filter hook input priority 0;";
pub(crate) const OUTPUT: &str = "type filter hook output priority 0;";

pub(crate) type Plant = fn(&Host);

/// Set-ups that look like faults.
pub(crate) const HEALTHY: [(&str, Plant); 8] = [
    ("a table that is switched off", |host| {
        host.nft("table inet off { flags dormant; chain i { type filter hook input priority 0; policy drop; }; }");
    }),
    ("one machine that is banned", |host| filter(host, INPUT, "ip saddr { 10.77.0.2, 10.77.0.9 } drop")),
    ("a quota that is not used up", |host| filter(host, INPUT, "meta l4proto udp quota over 100000 mbytes drop")),
    ("a network by its raw bytes", |host| {
        let rules = "iif lo accept; @nh,96,24 0x0a4d00 accept; ip protocol igmp accept";
        filter(host, "type filter hook input priority 0; policy drop;", rules);
    }),
    ("connections that are not tracked", |host| {
        let ports = "udp dport { 7402, 7405, 7406, 20000-32767 } notrack";
        host.nft(&format!("table inet raw {{ chain c {{ type filter hook prerouting priority -300; {ports}; }}; }}"));
        let rules = "iif lo accept; ip protocol igmp accept; ct state established,related,untracked accept; \
                     tcp dport { 7400-7404, 7480, 8080 } accept";
        filter(host, "type filter hook input priority 0; policy drop;", rules);
    }),
    ("an address of its own beside that of the network", |host| host.ip_command("address add 10.77.0.100/32 dev eth0")),
    ("an address without a broadcast address", |host| {
        host.ip_command("address flush dev eth0");
        host.ip_command("address add 10.77.0.1/24 dev eth0");
        host.add_default_route();
    }),
    ("a bridge that hands nothing unasked to its only port", |host| {
        bridged(host, "mcast_snooping 0");
        let port = ["link", "set", "dev", "eth0", "mcast_flood", "off", "bcast_flood", "off"];
        assert!(host.command("bridge").args(port).status().expect("`bridge` of iproute2").success());
    }),
];

pub(crate) fn filter(host: &Host, chain: &str, rules: &str) {
    host.nft(&format!("table inet planted {{ chain here {{ {chain} {rules}; }}; }}"));
}

pub(crate) fn sysctl(host: &Host, setting: &str) {
    let output = host.command("sysctl").args(["-w", setting]).output().expect("`sysctl` of procps");
    assert!(output.status.success(), "{setting}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Puts the host's cable into a bridge of its own, which takes over its address.
pub(crate) fn bridged(host: &Host, settings: &str) {
    host.ip_command(&format!("link add br1 type bridge {settings}"));
    host.ip_command("address flush dev eth0");
    host.ip_command("link set eth0 master br1");
    host.ip_command(&format!("address add {}/24 broadcast + dev br1", host.ip()));
    host.ip_command("link set br1 up");
    host.ip_command("route replace default dev br1");
}
