//! Settings: the flags that all services have, values that all read alike, and all faults reported together.

use std::{fmt, net::SocketAddr, ops::RangeInclusive, time::Duration};

use clap::Args;

use crate::{
    rpc::CONNECTIONS_PER_ADDRESS,
    secure::PlaintextPolicy,
    telemetry::{self, LogFormat},
};

/// Every fault of a configuration. Displays as a headline and one line a fault.
///
/// ```
/// # use service_kit::config::ConfigErrors;
/// let mut errors = ConfigErrors::new();
/// let port = errors.check("--port", "x".parse::<u16>());
/// errors.add("--iface eth9", "there is no such interface; those there are: lo, eth0");
/// assert_eq!(port, None);
/// assert!(errors.finish(port).unwrap_err().to_string().starts_with("2 settings are wrong:\n"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConfigErrors(Vec<ConfigError>);

/// One fault: the setting, and what is wrong with it and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ConfigError {
    setting: String,
    fault: String,
}

impl ConfigErrors {
    /// Makes an empty list of faults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a fault. `setting`: the flag or variable as the user writes it; `fault`: what is wrong and what to do.
    pub fn add(&mut self, setting: impl Into<String>, fault: impl fmt::Display) {
        self.0.push(ConfigError { setting: setting.into(), fault: fault.to_string() });
    }

    /// Takes the value, or notes the error under `setting`.
    pub fn check<T, E: fmt::Display>(&mut self, setting: impl Into<String>, value: Result<T, E>) -> Option<T> {
        value.map_err(|e| self.add(setting, e)).ok()
    }

    /// Takes the size of a buffer in memory, from 64 KiB to 1 TiB, or notes that it is out of range.
    pub fn check_buffer(&mut self, flag: &str, bytes: u64) -> usize {
        const SIZES: RangeInclusive<u64> = 64 * 1024..=1 << 40;
        if !SIZES.contains(&bytes) {
            self.add(flag, "must be from 64KiB to 1TiB");
        }
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// Notes an advertised host that is no host name or address alone; empty means that none was set.
    pub fn check_advertise(&mut self, host: &str) {
        if host.contains([':', '/', ' ']) {
            self.add("--advertise", "must be a host name or address alone, such as 192.168.1.10");
        }
    }

    /// True if nothing was wrong so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the checked configuration if there was no fault.
    ///
    /// # Errors
    /// Itself if there was any fault.
    ///
    /// # Panics
    /// If `config` is `None` although no fault was noted, which is a defect of the caller.
    pub fn finish<T>(self, config: Option<T>) -> Result<T, Self> {
        if self.0.is_empty() { Ok(config.expect("a value is missing only if its fault was noted")) } else { Err(self) }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => write!(f, "1 setting is wrong:")?,
            n => write!(f, "{n} settings are wrong:")?,
        }
        self.0.iter().try_for_each(|e| write!(f, "\n  {}: {}", e.setting, e.fault))
    }
}

impl std::error::Error for ConfigErrors {}

/// Flags of every service; `#[command(flatten)]` them.
#[derive(Debug, Clone, Args)]
pub struct CommonArgs {
    /// What to log: error, warn, info, debug, trace, or for one part of the program `info,multicast_relay=debug`.
    #[arg(long, env = "GAUNG_LOG_LEVEL", default_value = "info", value_name = "FILTER", global = true)]
    pub log_level: String,
    /// Format of log lines.
    #[arg(long, env = "GAUNG_LOG_FORMAT", value_enum, default_value_t, value_name = "FORMAT", global = true)]
    pub log_format: LogFormat,
    /// Address of the HTTP server for `/metrics` and `/healthz`; `off` for none. [default: the service's port on all addresses]
    #[arg(long, env = "GAUNG_METRICS_LISTEN", value_name = "ADDR:PORT|off", value_parser = parse_listen, global = true)]
    pub metrics_listen: Option<ListenAddr>,
    /// From where connections without TLS are taken: from nowhere, from this machine, or from anywhere on the network, where everyone
    /// can read and change them.
    #[arg(
        long,
        env = "GAUNG_PLAINTEXT",
        value_enum,
        default_value_t,
        value_name = "never|loopback|any",
        global = true
    )]
    pub plaintext: PlaintextPolicy,
    /// gRPC connections that one address of another machine may have open; 0 for its share of all.
    #[arg(
        long,
        env = "GAUNG_CONNECTIONS_PER_ADDRESS",
        default_value_t = CONNECTIONS_PER_ADDRESS,
        value_name = "N",
        global = true
    )]
    pub connections_per_address: u64,
    /// How long open requests and streams may take to end after SIGINT or SIGTERM.
    #[arg(long, env = "GAUNG_DRAIN", default_value = "5s", value_name = "DURATION", value_parser = parse_duration, global = true)]
    pub drain: Duration,
}

/// An address to listen on, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenAddr {
    /// Listen there; port 0 takes a free one.
    On(SocketAddr),
    /// Do not listen.
    Off,
}

impl CommonArgs {
    /// Longest drain that is accepted.
    pub const MAX_DRAIN: Duration = Duration::from_secs(600);

    /// Notes what is wrong with these flags.
    pub fn check(&self, errors: &mut ConfigErrors) {
        errors.check("--log-level", telemetry::check_filter(&self.log_level));
        if self.drain > Self::MAX_DRAIN {
            errors.add("--drain", "longer than 10 minutes; give at most 600s");
        }
    }

    /// Returns where metrics are served, if at all; `default` without the flag.
    #[must_use]
    pub fn metrics_addr(&self, default: SocketAddr) -> Option<SocketAddr> {
        match self.metrics_listen {
            None => Some(default),
            Some(ListenAddr::On(addr)) => Some(addr),
            Some(ListenAddr::Off) => None,
        }
    }
}

/// Reads `ADDR:PORT` or `off`.
///
/// # Errors
/// What a good value looks like.
pub fn parse_listen(text: &str) -> Result<ListenAddr, String> {
    if text == "off" {
        return Ok(ListenAddr::Off);
    }
    text.parse()
        .map(ListenAddr::On)
        .map_err(|_| "is not an address with a port; write it like 0.0.0.0:7490 or [::]:7490, or off".to_owned())
}

/// Reads a duration: whole numbers with the units ms, s, m, h, d, also several as in `1h30m`; `0` needs none.
///
/// # Errors
/// What a good value looks like.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || "is not a duration; write it like 500ms, 30s, 15m, 24h, 7d or 1h30m".to_owned();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut total_ms: u64 = 0;
    while !rest.is_empty() {
        let (number, unit, after) = number_and_unit(rest).ok_or_else(wrong)?;
        let unit_ms = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        total_ms = number.checked_mul(unit_ms).and_then(|ms| total_ms.checked_add(ms)).ok_or_else(wrong)?;
        rest = after;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(Duration::from_millis(total_ms)) }
}

/// Reads a size in bytes: a whole number, alone or with B, KiB, MiB, GiB, TiB (or K, M, G, T for the same), or the
/// decimal kB, MB, GB, TB.
///
/// # Errors
/// What a good value looks like.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let wrong = || "is not a size; write it like 65536, 64KiB, 256MiB or 1GiB".to_owned();
    if let Ok(bytes) = text.parse() {
        return Ok(bytes);
    }
    let (number, unit, after) = number_and_unit(text).ok_or_else(wrong)?;
    let unit_bytes: u64 = match unit {
        "B" => 1,
        "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        "T" | "TiB" => 1 << 40,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return Err(wrong()),
    };
    if after.is_empty() { number.checked_mul(unit_bytes).ok_or_else(wrong) } else { Err(wrong()) }
}

/// Splits `12ms3s` into 12, `ms` and `3s`.
fn number_and_unit(text: &str) -> Option<(u64, &str, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, rest) = text.split_at(digits);
    let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
    let (unit, after) = rest.split_at(end);
    Some((number.parse().ok()?, unit.trim(), after))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        common: CommonArgs,
    }

    #[test]
    fn durations() {
        for (text, ms) in
            [("0", 0), ("500ms", 500), ("30s", 30_000), ("24h", 86_400_000), ("1h30m", 5_400_000), ("7d", 604_800_000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "5", "h", "-1s", "1.5h", "99999999999999999999s", "18446744073709551615d", "1h30"] {
            assert!(parse_duration(text).unwrap_err().contains("24h"), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [("0", 0), ("65536", 65536), ("64KiB", 65536), ("1G", 1 << 30), ("5MB", 5_000_000)] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "KiB", "1.5G", "-1", "1XB", "99999999999T", "1K2"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn all_faults_are_listed_one_a_line() {
        let mut errors = ConfigErrors::new();
        let args = Program::try_parse_from(["x", "--log-level", "foo=loud", "--drain", "1h"]).unwrap().common;
        args.check(&mut errors);
        let text = errors.finish(Some(())).unwrap_err().to_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[1].contains("--log-level") && lines[2].contains("--drain"), "{text}");
    }

    #[test]
    fn metrics_can_be_moved_and_turned_off() {
        let default = "0.0.0.0:7490".parse().unwrap();
        let addr =
            |flags: &[&str]| Program::try_parse_from([&["x"], flags].concat()).unwrap().common.metrics_addr(default);
        assert_eq!(addr(&[]), Some(default));
        assert_eq!(addr(&["--metrics-listen", "127.0.0.1:0"]), Some("127.0.0.1:0".parse().unwrap()));
        assert_eq!(addr(&["--metrics-listen", "off"]), None);
    }
}
