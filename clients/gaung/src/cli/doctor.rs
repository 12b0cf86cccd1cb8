//! `gaung doctor`.

use clap::Args;

/// `gaung doctor`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  sudo gaung doctor\n  gaung doctor --quick --json\n  \
    gaung doctor --peer\n  gaung doctor --peer 192.168.1.10\n\n\
    Of each finding: what was seen, what it means, and the command that mends it; nothing is changed. As root it sees \
    IGMP and the packet filter too, and says what it could not look at. It ends once an IGMP querier has been heard, \
    and listens for one up to 125 s.\n\n\
    Exit codes: 0 well, 6 warnings, 7 problems; notes are no fault. With --json one object: health, interfaces, \
    findings (code, severity, interface, seen, means, mend, advice), peer and not_looked_at; code is stable, the words are not.")]
pub(crate) struct DoctorArgs {
    /// Do not wait for an IGMP querier that does not answer at once.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Test what passes between two machines, each way: without HOST wait here, then name this machine there.
    #[arg(long, value_name = "HOST", num_args = 0..=1, value_parser = super::not_empty)]
    pub(crate) peer: Option<Option<String>>,
    /// TCP port on which the two doctors find each other.
    #[arg(long, value_name = "P", default_value_t = gaung_proto::ports::DOCTOR, requires = "peer")]
    pub(crate) peer_port: u16,
    /// One JSON object instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}
