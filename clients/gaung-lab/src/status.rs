//! How a running lab's hosts are.

use crate::{
    network::Counters,
    running::{Running, RunningHost},
};

/// What has passed a host's interface; `None` if the host is gone.
#[must_use]
pub fn counters(host: &RunningHost) -> Option<Counters> {
    Counters::read(&format!("/proc/{}/net/dev", host.task)).ok()
}

impl Running {
    /// The labs' difficulties that a person should know.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let ended = self.hosts.iter().filter(|host| !host.alive);
        let ended = ended.map(|host| format!("`{}` on {} has ended", host.runs, host.name));
        ended.chain(self.rights.missing().map(str::to_owned)).collect()
    }
}
