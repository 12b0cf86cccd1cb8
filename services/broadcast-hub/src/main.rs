//! `broadcast-hub`: the hub as a program of its own.

use std::process::ExitCode;

use broadcast_hub::{HubArgs, bind};
use service_kit::program::{self, About};

const ABOUT: About = About {
    name: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
    what: "Fans messages out over TCP, to text sessions and by broadcast",
    example: "broadcast-hub --registry 192.168.1.10:7400 --data /var/lib/gaung/hub",
};

fn main() -> ExitCode {
    program::main::<HubArgs, _>(ABOUT, |config, stop| async { bind(config).await?.run(stop).await })
}
