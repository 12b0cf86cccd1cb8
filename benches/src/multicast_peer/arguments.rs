//! `name=value` arguments; names that a peer does not know are another peer's.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Context as _, ensure};

/// What the harness and the person at it say.
#[derive(Debug, Clone)]
pub struct Arguments {
    /// Payload bytes, at least 16 for the number and the time within. Default 64.
    pub size: usize,
    /// Receivers that must be there before the publisher is ready. Default 1.
    pub receivers: usize,
    /// Messages a second; 0 (default): as many as `clients`, `ahead` and `limit` let through.
    pub rate: u64,
    /// How long messages are published. Default 2 s.
    pub duration: Duration,
    /// How long the warm-up takes, at a message each 4 ms. Default 400 ms.
    pub warm_up: Duration,
    /// This process's own address, whose interface it uses. Default 127.0.0.1.
    pub ip: Ipv4Addr,
    /// Where `tx` runs; for `rx`. Default 10.77.0.1.
    pub server: Ipv4Addr,
    /// Publishing clients, each with 1024 unacknowledged messages at most. Default 8.
    pub clients: usize,
    /// Messages of one request at full speed, 1 to 1024. Default 64.
    pub batch: usize,
    /// At full speed, messages a second at most; 0 (default): no limit.
    pub limit: u64,
    /// At full speed, messages ahead of the slowest receiver at most, as its STATUS tells each 100 ms; 0 (default): no
    /// limit.
    pub ahead: u64,
    /// The relay's `--rate`, Mbit/s. Default 8000, of which it begins with a quarter: no limit here.
    pub mbit: u32,
    /// `segmentation=off`: datagrams leave the relay one by one, as a simulated loss wants them. Default on.
    pub segmentation: bool,
    /// Bytes of the memory log. Default 1 GiB.
    pub log_bytes: usize,
}

impl Arguments {
    /// # Errors
    /// The argument that makes no sense.
    pub fn parse(words: &[String]) -> anyhow::Result<Self> {
        let find = |name: &str| {
            let found = words.iter().rev().filter_map(|word| word.split_once('='));
            found.filter(|(known, _)| *known == name).map(|(_, value)| value).next()
        };
        let number = |name: &str, default: u64| match find(name) {
            Some(value) => value.parse().with_context(|| format!("{name}={value} is no number")),
            None => Ok(default),
        };
        let address = |name: &str, default: Ipv4Addr| match find(name) {
            Some(value) => value.parse().with_context(|| format!("{name}={value} is no IPv4 address")),
            None => Ok(default),
        };
        let secs = find("secs").unwrap_or("2");
        let arguments = Self {
            size: number("size", 64)? as usize,
            receivers: number("r", 1)? as usize,
            rate: number("rate", 0)?,
            duration: Duration::try_from_secs_f64(secs.parse().with_context(|| format!("secs={secs}"))?)?,
            warm_up: Duration::from_millis(number("warm", 400)?),
            ip: address("ip", Ipv4Addr::LOCALHOST)?,
            server: address("server", Ipv4Addr::new(10, 77, 0, 1))?,
            clients: number("clients", 8)? as usize,
            batch: number("batch", 64)? as usize,
            limit: number("limit", 0)?,
            ahead: number("ahead", 0)?,
            mbit: number("mbit", 8000)? as u32,
            segmentation: find("segmentation") != Some("off"),
            log_bytes: number("log_bytes", 1 << 30)? as usize,
        };
        ensure!(arguments.size >= 16, "size= is at least 16");
        ensure!(arguments.clients > 0, "clients= is at least 1");
        ensure!((1..=1024).contains(&arguments.batch), "batch= is from 1 to 1024");
        Ok(arguments)
    }
}
