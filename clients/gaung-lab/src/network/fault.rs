//! Faults of a network: datagrams that are lost, and that take time.

use std::{str::FromStr, time::Duration};

use anyhow::Context as _;
use gaung_client::ErrorKind;
use serde::{Deserialize, Serialize};

use super::{Host, INTERFACE, Network};
use crate::error::Refusal;

/// The part of the UDP datagrams that a host loses of those that come in, each by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Loss {
    /// Thousandths, 0 to 1000.
    pub permille: u32,
}

impl Loss {
    /// Whole percents, at most 100.
    #[must_use]
    pub const fn percent(percent: u32) -> Self {
        Self { permille: percent * 10 }
    }
}

impl FromStr for Loss {
    type Err = &'static str;

    /// Reads `5%`, `5` or `0.5%`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_suffix('%').unwrap_or(text);
        let percent: f64 = number.parse().map_err(|_| "write percents, like 5% or 0.5%")?;
        if (0.0..=100.0).contains(&percent) {
            Ok(Self { permille: (percent * 10.0).round() as u32 })
        } else {
            Err("a loss is between 0% and 100%")
        }
    }
}

/// The time that each frame takes more on its way out of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Delay(pub Duration);

impl Network {
    /// Lets members and witness lose; in the place of any loss before.
    ///
    /// # Errors
    /// [`Refusal`] without `nft`; what it says.
    pub fn set_loss(&self, loss: Loss) -> anyhow::Result<()> {
        self.members.iter().chain([&self.witness]).try_for_each(|host| lose(host, loss))
    }

    /// Lets every frame take longer.
    ///
    /// # Errors
    /// [`Refusal`] where the kernel has no netem.
    pub fn set_delay(&self, Delay(delay): Delay) -> anyhow::Result<()> {
        let line = format!("qdisc replace dev {INTERFACE} root netem limit 100000 delay {}us\n", delay.as_micros());
        for host in self.hosts() {
            host.machine.feed("tc", &["-batch", "-"], line.clone()).map_err(|error| no_netem(&error))?;
        }
        Ok(())
    }
}

fn lose(host: &Host, loss: Loss) -> anyhow::Result<()> {
    let heal = "add table inet lab\ndelete table inet lab\n";
    let which = match loss.permille {
        0 => None,
        // `numgen` knows no number that is always smaller.
        1000.. => Some(String::new()),
        permille => Some(format!("numgen random mod 1000 < {permille} ")),
    };
    let rule = which.map_or_else(String::new, |which| {
        format!(
            "table inet lab {{ chain incoming {{ type filter hook input priority 0; \
             iifname \"{INTERFACE}\" meta l4proto udp {which}counter drop; }}; }}\n"
        )
    });
    let name = host.machine.name();
    host.machine.feed("nft", &["-f", "-"], format!("{heal}{rule}")).with_context(|| format!("loss at {name}"))
}

fn no_netem(error: &anyhow::Error) -> Refusal {
    Refusal::new(
        ErrorKind::Failed,
        format!(
            "--delay needs the kernel's netem, which is not to be had here; leave it out, or load it: sudo modprobe sch_netem \
             ({})",
            error.to_string().lines().next().unwrap_or_default()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_written_in_percents() {
        let read = |text: &str| text.parse::<Loss>().map(|loss| loss.permille);
        assert_eq!([read("5%"), read("5"), read("0.5%"), read("100%")], [Ok(50), Ok(50), Ok(5), Ok(1000)]);
        for wrong in ["", "x", "-1", "101%", "NaN"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
