//! The services of an experiment.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, bail};

use super::Bench;
use crate::services::{Program, Ready, start};

/// Lets the services have a thread for each core.
pub(crate) const WORKERS_ARE_CORES: u32 = 0;

/// Registry, relay and hub in one process on the server. Ended when dropped.
#[derive(Debug)]
pub(crate) struct Server(Option<Program>);

impl Server {
    /// Starts them, with nothing of what others left.
    ///
    /// # Errors
    /// If they do not become ready.
    pub(crate) fn start(bench: &mut Bench, workers: u32) -> anyhow::Result<Self> {
        let data: PathBuf = bench.new_folder("services");
        bench.devices = bench.new_folder("devices");
        fs::create_dir_all(&bench.devices).with_context(|| format!("cannot make {}", bench.devices.display()))?;
        let (data, workers) = (data.display().to_string(), workers.to_string());
        // The rate begins at a quarter and is found by trial, which is not what is measured here.
        let args = ["up", "--headless", "--log", "memory", "--rate", "10000", "--data", &data, "--workers", &workers];
        let program = start(&bench.network.server, &bench.folder, &args, Ready::Stdout("registry"))?.until_ready()?;
        Ok(Self(Some(program)))
    }

    /// What all its threads have had of processors, ms; `None` where the kernel does not tell.
    pub(crate) fn cpu_ms(&self) -> Option<f64> {
        // Where no /proc of the lab's own could be mounted, the number would be another process's.
        let own = fs::read_link("/proc/self").ok()?;
        if own.to_str()? != std::process::id().to_string() {
            return None;
        }
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0.as_ref()?.pid())).ok()?;
        let on_processor_ns = tasks.flatten().map(|task| -> Option<u64> {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse().ok()
        });
        Some(on_processor_ns.sum::<Option<u64>>()? as f64 / 1e6)
    }

    /// Fails if it has ended by itself.
    ///
    /// # Errors
    /// That it has.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        let program = self.0.as_mut().context("it runs until it is dropped")?;
        match program.child.try_wait().context("cannot look after the services")? {
            None => Ok(()),
            Some(status) => bail!("the services have ended: {status}"),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(program) = self.0.take() {
            program.kill();
        }
    }
}
