//! `gaung doctor`.

use clap::Args;

/// `gaung doctor`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  sudo gaung doctor\n  gaung doctor --quick --json\n  \
    gaung doctor --peer\n  gaung doctor --peer 192.168.1.10\n\n\
    For each finding it prints what was seen, what it means, and the command that fixes it; it changes nothing. As root \
    it also checks IGMP and the packet filter; it lists what it could not check. It ends once an IGMP querier has sent a \
    query, for which it waits up to 125 s.\n\n\
    Exit codes: 0 no faults, 6 warnings, 7 problems; notes are not faults. With --json one object: health, interfaces, \
    findings (code, severity, interface, seen, means, mend, advice), peer and not_looked_at; code is stable, the texts are not.")]
pub(crate) struct DoctorArgs {
    /// Do not wait for an IGMP querier that does not respond at once.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Test what passes between two machines, both ways: without HOST here, then with this machine as HOST there.
    #[arg(long, value_name = "HOST", num_args = 0..=1, value_parser = super::not_empty)]
    pub(crate) peer: Option<Option<String>>,
    /// TCP port of the doctor that waits.
    #[arg(long, value_name = "P", default_value_t = gaung_proto::ports::DOCTOR, requires = "peer")]
    pub(crate) peer_port: u16,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}
