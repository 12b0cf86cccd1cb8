//! Reading recorded files, and what stands between them and facts.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::facts::PortFacts;

/// As Linux 6.18 writes it on a little-endian machine.
const IGMP: &str = "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter
1\tlo        :     1      V3
\t\t\t\t010000E0     1 0:00000000\t\t0
4\teth0      :     2      V2
\t\t\t\t0703FFEF     1 1:0000001A\t\t1
\t\t\t\t010000E0     1 0:00000000\t\t0
9\tan-interface-15:     0      V1
";

#[test]
fn memberships_are_read_with_versions() {
    if cfg!(target_endian = "big") {
        return;
    }
    let read = proc::igmp(IGMP);
    let seen: Vec<_> = read.iter().map(|igmp| (igmp.index, igmp.version, igmp.groups.len())).collect();
    assert_eq!(seen, [(1, 3, 1), (4, 2, 2), (9, 1, 0)]);
    assert_eq!(read[1].groups, [Ipv4Addr::new(239, 255, 3, 7), Ipv4Addr::new(224, 0, 0, 1)]);
    for nonsense in ["", "\n\n\n", "Idx\n\t\t\tzz\n", "Idx\nx y : z\n\t\t\t010000E0 1\n"] {
        assert_eq!(proc::igmp(nonsense), []);
    }
}

fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (file, content) in files {
        let path = root.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    root
}

#[test]
fn a_bridge_is_read_with_its_ports() {
    let root = tree(&[
        ("br0/bridge/multicast_snooping", "1\n"),
        ("br0/bridge/multicast_querier", "0\n"),
        ("br0/brif/p2/multicast_flood", "0\n"),
        ("br0/brif/p2/broadcast_flood", "1\n"),
        ("br0/brif/p1/multicast_flood", "1\n"),
        ("eth0/mtu", "1500\n"),
    ]);
    let bridge = bridge::read(&root.path().join("br0")).unwrap();
    assert!(bridge.snooping && !bridge.querier);
    let port =
        |name: &str, multicast_flood| PortFacts { name: name.to_owned(), multicast_flood, broadcast_flood: true };
    assert_eq!(bridge.ports, [port("p1", true), port("p2", false)]);
    assert!(bridge::read(&root.path().join("eth0")).is_none());
    assert_eq!(number(&root.path().join("eth0/mtu")), Some(1500));
}

#[test]
fn the_greater_setting_is_in_force() {
    let root = tree(&[
        ("conf/all/rp_filter", "1\n"),
        ("conf/eth0/rp_filter", "0\n"),
        ("conf/eth1/rp_filter", "2\n"),
        ("igmp_max_memberships", "20\n"),
    ]);
    let system = System { proc_sys_ipv4: root.path().to_owned(), ..System::default() };
    assert_eq!(system.of_interface("eth0", "rp_filter"), Some(1));
    assert_eq!(system.of_interface("eth1", "rp_filter"), Some(2));
    assert_eq!(system.of_interface("eth2", "rp_filter"), None);
    assert_eq!(system.setting("igmp_max_memberships"), Some(20));
}

#[test]
fn neighbours_are_others_all_over_the_same_network() {
    let mask = |bits: u32| Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - bits).unwrap_or(0));
    let of = |ip: [u8; 4], bits| neighbours(ip.into(), mask(bits));
    let lan = of([10, 77, 0, 2], 24);
    assert!(lan.len() >= 8 && !lan.contains(&Ipv4Addr::new(10, 77, 0, 2)), "{lan:?}");
    assert!(lan.iter().any(|ip| ip.octets()[3] < 128) && lan.iter().any(|ip| ip.octets()[3] > 128), "{lan:?}");
    assert!(lan.iter().all(|ip| ip.octets()[..3] == [10, 77, 0] && !matches!(ip.octets()[3], 0 | 255)), "{lan:?}");
    assert_eq!(of([10, 0, 0, 1], 30), [Ipv4Addr::new(10, 0, 0, 2)]);
    for bits in [31, 32] {
        assert!(of([10, 77, 0, 1], bits).is_empty());
    }
}
