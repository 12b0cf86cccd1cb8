//! Describes findings of the test with another machine.

use gaung_terminal::sanitise::one_line;

use super::{
    super::{
        facts::CastName,
        finding::{Direction, PeerTrouble},
    },
    Words, advice,
};

/// Describes a finding. `host`: the other machine's name or address.
pub(super) fn words(host: &str, trouble: &PeerTrouble) -> Words {
    match trouble {
        PeerTrouble::Unreached(why) => Words::new(
            format!("there was no test with {}: {}", one_line(host), one_line(why)),
            "the connection between the two machines was not tested",
            advice("start `gaung doctor --peer` there first, and let in TCP to its port (7407) there"),
        ),
        PeerTrouble::Silent { passage, same_network } => Words::new(
            format!("no datagram arrived by {} {}", cast_name(passage.cast), way(host, passage.direction)),
            silent_means(passage.cast, *same_network),
            advice(silent_mend(passage.cast, *same_network)),
        ),
        PeerTrouble::Loses { passage, permille } => Words::new(
            format!(
                "{} % of the datagrams were lost by {} {}",
                percent(*permille),
                cast_name(passage.cast),
                way(host, passage.direction)
            ),
            match passage.cast {
                CastName::Broadcast => "broadcasts are not repaired: they are lost",
                CastName::Unicast | CastName::Multicast => {
                    "what is lost is repaired, and that takes time and bandwidth"
                }
            },
            advice("try a cable instead of Wi-Fi, another cable or another port; see errors with: ip -s link"),
        ),
        PeerTrouble::Cuts { passage, largest, wanted, text_only } => Words::new(
            format!(
                "of datagrams by {} {} those of up to {largest} B arrived; {wanted} B should",
                cast_name(passage.cast),
                way(host, passage.direction)
            ),
            if *text_only { "long lines of text groups do not arrive" } else { "large messages do not arrive by it" },
            advice("some link between the two has a small MTU: ip link on both, and the switches' settings"),
        ),
        PeerTrouble::Reorders { passage, permille } => Words::new(
            format!(
                "{} % of the datagrams were overtaken by {} {}",
                percent(*permille),
                cast_name(passage.cast),
                way(host, passage.direction)
            ),
            "members put them in order, and request some that would have arrived by themselves",
            advice("nothing, unless it is slow; several paths between two switches do this"),
        ),
    }
}

const fn silent_means(cast: CastName, same_network: bool) -> &'static str {
    match (cast, same_network) {
        (CastName::Unicast, _) => "members cannot request repairs, and UDP-only clients cannot publish",
        (CastName::Multicast, true) => {
            "members there receive by TCP: nothing is lost, but everything is sent more than once"
        }
        (CastName::Broadcast, true) => "broadcasts do not arrive there",
        (CastName::Multicast | CastName::Broadcast, false) => {
            "the two are in different networks, and this stays within one: members there receive by TCP"
        }
    }
}

const fn silent_mend(cast: CastName, same_network: bool) -> &'static str {
    match (cast, same_network) {
        (CastName::Unicast, _) => "let in UDP to port 7402 on the machine that serves",
        (CastName::Multicast, true) => {
            "run `sudo gaung doctor` on both; if they are well, it is the switch (IGMP snooping without a querier) or the \
             access point (AP isolation, multicast filtering)"
        }
        (CastName::Broadcast, true) => {
            "run `sudo gaung doctor` on both; if they are well, it is the access point (AP isolation)"
        }
        (CastName::Multicast | CastName::Broadcast, false) => {
            "name the server with --server; multicast between networks needs a multicast router and groups of scope \
             organization"
        }
    }
}

/// Returns where datagrams go or come from.
fn way(host: &str, direction: Direction) -> String {
    match direction {
        Direction::To => format!("to {}", one_line(host)),
        Direction::From => format!("from {}", one_line(host)),
    }
}

/// Returns the name for people.
pub(crate) const fn cast_name(cast: CastName) -> &'static str {
    match cast {
        CastName::Unicast => "unicast",
        CastName::Multicast => "multicast",
        CastName::Broadcast => "broadcast",
    }
}

/// Formats thousandths as percent, with one decimal if it is not zero.
pub(crate) fn percent(permille: u32) -> String {
    if permille.is_multiple_of(10) {
        (permille / 10).to_string()
    } else {
        format!("{}.{}", permille / 10, permille % 10)
    }
}
