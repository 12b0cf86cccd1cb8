//! The three services as programs of their own, to be killed and started again over the same data and ports.

use std::{path::PathBuf, process::Command};

use tempfile::TempDir;

use crate::{deployment::Person, process::Process, programs::program, reserved_port::ReservedPort};

/// What a registry of tests enrols relays and hubs by.
pub const ENROL_SECRET: &str = "6f1d0c27a94be358d2710f6ab83c9e45";

/// Which service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// group-registry.
    Registry,
    /// multicast-relay.
    Relay,
    /// broadcast-hub.
    Hub,
}

/// Registry, relay and hub of one small LAN on loopback.
///
/// The registry keeps its port, for that is what clients know; relay and hub take a free one at every start and are
/// found through the registry.
#[derive(Debug)]
pub struct Services {
    data: TempDir,
    registry_port: ReservedPort,
    more: Vec<(Service, Vec<String>)>,
    registry: Option<Process>,
    relay: Option<Process>,
    hub: Option<Process>,
}

impl Services {
    /// Starts all three and waits until each serves.
    ///
    /// # Panics
    /// If one does not come up.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with more flags, which each of them keeps when it is started again.
    ///
    /// # Panics
    /// If one does not come up.
    #[must_use]
    pub fn start_with(flags: &[(Service, &[&str])]) -> Self {
        let data = TempDir::new().expect("a temporary folder");
        let more = flags.iter().map(|(service, flags)| (*service, flags.iter().map(ToString::to_string).collect()));
        let more = more.collect();
        let mut services =
            Self { data, registry_port: ReservedPort::find(), more, registry: None, relay: None, hub: None };
        for service in [Service::Registry, Service::Relay, Service::Hub] {
            services.start_again(service);
        }
        services
    }

    /// Starts one that was killed, and waits until it serves.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn start_again(&mut self, service: Service) {
        let process = Process::spawn(self.command(service));
        let _ = process.stderr_line("sign that it serves", |line| line.contains(Self::serving(service)));
        if service == Service::Relay {
            // Its place is in the registry from here on.
            let _ = process.stderr_line("registration", |line| line.contains("registered"));
        }
        *self.slot(service) = Some(process);
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self, service: Service) {
        if let Some(mut process) = self.slot(service).take() {
            process.kill();
        }
    }

    /// The running process.
    ///
    /// # Panics
    /// If it was killed.
    pub fn process(&mut self, service: Service) -> &Process {
        self.slot(service).as_ref().expect("the service runs")
    }

    /// The registry as `HOST:PORT`.
    #[must_use]
    pub fn server(&self) -> String {
        self.registry_port.addr().to_string()
    }

    /// A person at a terminal of this machine.
    ///
    /// # Panics
    /// If no folder can be made for it.
    #[must_use]
    pub fn person(&self, name: &str) -> Person {
        Person::at(&self.server(), name)
    }

    /// Where a service keeps its data.
    #[must_use]
    pub fn data(&self, service: Service) -> PathBuf {
        self.data.path().join(Self::name(service))
    }

    /// The command that starts a service.
    #[must_use]
    pub fn command(&self, service: Service) -> Command {
        let mut command = Command::new(program(Self::name(service)));
        command.args(["--metrics-listen", "off", "--log-level", "info", "--iface", "lo", "--data"]);
        command.arg(self.data(service));
        let enrolment = if service == Service::Registry { "GAUNG_ENROL_SECRET" } else { "GAUNG_ENROL_TOKEN" };
        command.env(enrolment, ENROL_SECRET);
        match service {
            Service::Registry => {
                command.args(["--grpc-listen", &self.server(), "--discovery-port", "0"]);
            }
            Service::Relay => {
                command.args(["--registry", &self.server(), "--grpc-listen", "127.0.0.1:0", "--udp-port", "0"]);
            }
            Service::Hub => {
                command.args(["--registry", &self.server(), "--grpc-listen", "127.0.0.1:0"]);
                command.args(["--tcp-listen", "127.0.0.1:0", "--text-listen", "127.0.0.1:0", "--no-broadcast"]);
                if !self.has_flag(Service::Hub, "--page-listen") {
                    command.args(["--page-listen", "127.0.0.1:0"]);
                }
            }
        }
        for (_, flags) in self.more.iter().filter(|(flagged, _)| *flagged == service) {
            command.args(flags);
        }
        command
    }

    fn has_flag(&self, service: Service, flag: &str) -> bool {
        self.more.iter().any(|(flagged, flags)| *flagged == service && flags.iter().any(|given| given == flag))
    }

    fn slot(&mut self, service: Service) -> &mut Option<Process> {
        match service {
            Service::Registry => &mut self.registry,
            Service::Relay => &mut self.relay,
            Service::Hub => &mut self.hub,
        }
    }

    const fn name(service: Service) -> &'static str {
        match service {
            Service::Registry => "group-registry",
            Service::Relay => "multicast-relay",
            Service::Hub => "broadcast-hub",
        }
    }

    const fn serving(service: Service) -> &'static str {
        match service {
            Service::Registry => "registry serves",
            Service::Relay => "serving",
            Service::Hub => "hub serves",
        }
    }
}
