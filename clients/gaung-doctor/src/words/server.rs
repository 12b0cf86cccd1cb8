//! Describes findings of a server's security.

use gaung_terminal::sanitise::one_line;

use super::{super::finding::ServerTrouble, Words, advice};

/// Describes a finding. `address`: the server's.
pub(super) fn words(address: &str, trouble: &ServerTrouble) -> Words {
    let address = one_line(address);
    match trouble {
        ServerTrouble::OtherSite { shown, expected } => Words::new(
            format!("the server at {address} belongs to the site {shown}, and not to {}", expected.join(" or ")),
            "commands refuse it: another server has this address, or poses as yours",
            advice(format!(
                "compare {shown} with the code that your server shows; if it is the same: gaung site trust {shown} --server {address}"
            )),
        ),
        ServerTrouble::NoTls => Words::new(
            format!("the server at {address} speaks no TLS"),
            "commands refuse it: it is an older Gaung, or no Gaung",
            advice("update it; until then --insecure connects without encryption"),
        ),
        ServerTrouble::NotAsked => Words::new(
            format!("this machine speaks with {address} without encryption, because of --insecure or GAUNG_INSECURE"),
            "everyone on the network can read and change what it sends",
            advice("leave it out, unless the server speaks no TLS"),
        ),
        ServerTrouble::TakesPlaintext => Words::new(
            format!("the server at {address} lets machines connect without TLS"),
            "everyone on the network can read what they send, and can pose as them",
            advice("start it without --plaintext any (GAUNG_PLAINTEXT), which is for lessons and measurements"),
        ),
        ServerTrouble::ClocksDiffer { days, refused_by_browsers } => Words::new(
            match days {
                ..0 => format!("the certificate of {address} was issued {} days in the future", days.unsigned_abs()),
                _ => format!("the certificate of {address} was issued {days} days ago, and servers renew theirs daily"),
            },
            match refused_by_browsers {
                true => "the clocks differ: browsers refuse the page by HTTPS, and times shown are wrong",
                false => "the clocks differ, so that times shown are wrong; nothing is refused for it",
            },
            advice("set both clocks: timedatectl shows the time here"),
        ),
    }
}
