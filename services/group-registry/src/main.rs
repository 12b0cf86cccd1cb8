//! `group-registry`: the registry as a program of its own.

use std::process::ExitCode;

use group_registry::{RegistryArgs, bind};
use service_kit::program::{self, About};

const ABOUT: About = About {
    name: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
    what: "Knows which groups exist, on which multicast address, who may use them, and where relays and hubs are",
    example: "group-registry --data /var/lib/gaung/registry --iface eth0",
};

fn main() -> ExitCode {
    program::main::<RegistryArgs, _>(ABOUT, |config, stop| async { bind(config).await?.run(stop).await })
}
