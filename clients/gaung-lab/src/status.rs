//! The state of a running lab's hosts.

use crate::{
    network::Counters,
    running::{Running, RunningHost},
};

/// Returns the counters of a host's interface; `None` if the host is gone.
#[must_use]
pub fn counters(host: &RunningHost) -> Option<Counters> {
    Counters::read(&format!("/proc/{}/net/dev", host.task)).ok()
}

impl Running {
    /// Returns what a person should know about the lab's state.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let ended = self.hosts.iter().filter(|host| !host.alive);
        let ended = ended.map(|host| format!("`{}` on {} has ended", host.runs, host.name));
        ended.chain(self.rights.missing().map(str::to_owned)).collect()
    }
}
