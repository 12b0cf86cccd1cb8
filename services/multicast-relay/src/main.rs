//! `multicast-relay`: the relay as a program of its own.

use std::process::ExitCode;

use multicast_relay::{RelayArgs, bind};
use service_kit::program::{self, About};

const ABOUT: About = About {
    name: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
    what: "Orders the messages of groups, keeps them, and sends each once by IP multicast",
    example: "multicast-relay --registry 192.168.1.10:7400 --data /var/lib/gaung/relay --iface eth0",
};

fn main() -> ExitCode {
    program::main::<RelayArgs, _>(ABOUT, |config, stop| async { bind(config).await?.run(stop).await })
}
