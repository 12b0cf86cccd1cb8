//! `gaung status`: shows services, groups and members.

mod members;

use std::collections::BTreeMap;

use gaung_client::{
    Client, ClientError, GroupInfo, HubStatus, LogStatus, Member, ServerStatus, ServiceInfo, ServiceKind,
};
use gaung_terminal::{sanitise::one_line, table::table};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::{
    cli::StatusArgs,
    context::Context,
    group::{address, to_json},
    output::Output,
};

/// How many groups are requested at a time.
const AT_ONCE: usize = 16;

/// Shows all services and groups; a relay or hub that does not answer is shown as such and is no error.
///
/// # Errors
/// [`ClientError`] if the registry does not answer.
pub(crate) async fn run(context: &Context, args: StatusArgs) -> anyhow::Result<()> {
    let client = context.connect().await?;
    if let Some(group) = args.group {
        return members::run(context, &client, &group, args.json).await;
    }
    let server = client.status().await?;
    let services = services(&client, &server).await;
    let groups = groups(&client).await?;
    let site = client.site().map(|met| met.id.code().to_string());
    let mut output = Output::new();
    if args.json {
        let ServerStatus { server, version, twins, .. } = server;
        let encrypted = site.is_some();
        output.line(&to_json(&Status { server, site, encrypted, version, twins, services, groups }))?;
    } else {
        lines(&server, site.as_deref(), &services, &groups).iter().try_for_each(|line| output.line(line))?;
    }
    output.flush()
}

#[derive(Debug, Serialize)]
struct Status {
    server: String,
    /// The code of the server's site; `None` if the connection is not encrypted.
    site: Option<String>,
    encrypted: bool,
    version: String,
    /// Other servers that run on a copy of this one's data folder, or the other way round.
    twins: Vec<String>,
    services: Vec<Service>,
    groups: Vec<Group>,
}

#[derive(Debug, Serialize)]
struct Service {
    kind: &'static str,
    id: String,
    /// Whether it renewed its lease at the registry in time.
    up: bool,
    host: String,
    grpc_port: u16,
    udp_port: u16,
    tcp_port: u16,
    text_port: u16,
    web_port: u16,
    /// Relays only.
    durable: Option<bool>,
    /// Hubs only, and only if it answers.
    sessions: Option<u64>,
    web_sessions: Option<u64>,
    text_sessions: Option<u64>,
    version: String,
}

#[derive(Debug, Serialize)]
struct Group {
    name: String,
    id: String,
    address: String,
    private: bool,
    /// `None` if the relay does not answer.
    head: Option<u64>,
    oldest: Option<u64>,
    epoch: Option<u32>,
    durable: Option<bool>,
    /// Why `head` is unknown.
    error: Option<String>,
    members: usize,
    /// Members here now, by lane.
    present: BTreeMap<String, usize>,
}

async fn services(client: &Client, server: &ServerStatus) -> Vec<Service> {
    let mut services = Vec::new();
    for info in &server.services {
        let hub = match info.kind {
            ServiceKind::Hub if info.alive => client.hub_status(info).await.ok(),
            ServiceKind::Hub | ServiceKind::Relay => None,
        };
        services.push(Service::of(info, hub));
    }
    services
}

impl Service {
    fn of(info: &ServiceInfo, hub: Option<HubStatus>) -> Self {
        let (kind, durable) = match info.kind {
            ServiceKind::Relay => ("relay", Some(info.durable)),
            ServiceKind::Hub => ("hub", None),
        };
        Self {
            kind,
            id: info.id.to_string(),
            up: info.alive,
            host: info.host.clone(),
            grpc_port: info.grpc_port,
            udp_port: info.udp_port,
            tcp_port: info.tcp_port,
            text_port: info.text_port,
            web_port: info.web_port,
            durable,
            sessions: hub.as_ref().map(|hub| hub.framed_sessions),
            web_sessions: hub.as_ref().map(|hub| hub.web_sessions),
            text_sessions: hub.as_ref().map(|hub| hub.text_sessions),
            version: info.version.clone(),
        }
    }

    fn row(&self) -> [String; 5] {
        let host = one_line(&self.host);
        let ports = match self.kind {
            "hub" => format!(
                "{host} grpc {} tcp {} page {} text {} broadcast {}",
                self.grpc_port,
                self.tcp_port,
                port(self.web_port),
                port(self.text_port),
                self.udp_port
            ),
            _ => format!("{host} grpc {} udp {}", self.grpc_port, self.udp_port),
        };
        let note = match (self.durable, self.sessions, self.web_sessions, self.text_sessions) {
            (Some(durable), ..) => kept(durable).to_owned(),
            (None, Some(sessions), Some(browsers), Some(text)) => {
                format!("{sessions} sessions, {browsers} browsers, {text} text")
            }
            (None, ..) => String::new(),
        };
        let up = if self.up { "up" } else { "down" };
        [self.kind.to_owned(), up.to_owned(), ports, note, one_line(&self.version).into_owned()]
    }
}

async fn groups(client: &Client) -> Result<Vec<Group>, ClientError> {
    let all = client.groups().await?;
    let mut groups: Vec<Group> = Vec::with_capacity(all.len());
    for some in all.chunks(AT_ONCE) {
        let mut requests = JoinSet::new();
        for info in some.iter().cloned() {
            let client = client.clone();
            requests.spawn(async move {
                let log = client.group_status(&info.name).await;
                let members = client.members(&info.name).await.unwrap_or_default();
                Group::of(&info, log, &members)
            });
        }
        groups.extend(requests.join_all().await);
    }
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(groups)
}

impl Group {
    fn of(info: &GroupInfo, log: Result<LogStatus, ClientError>, members: &[Member]) -> Self {
        let mut present = BTreeMap::new();
        for member in members.iter().filter(|member| member.present) {
            let lane = if member.lane.is_empty() { "unknown" } else { &member.lane };
            *present.entry(lane.to_owned()).or_insert(0) += 1;
        }
        let (log, error) = match log {
            Ok(log) => (Some(log), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let log = log.as_ref();
        Self {
            name: info.name.to_string(),
            id: info.id.to_string(),
            address: address(info),
            private: info.private,
            head: log.map(|log| log.head.0),
            oldest: log.map(|log| log.oldest.0),
            epoch: log.map(|log| log.epoch),
            durable: log.map(|log| log.durable),
            error,
            members: members.len(),
            present,
        }
    }

    fn row(&self) -> [String; 5] {
        let here: usize = self.present.values().sum();
        let lanes: Vec<_> = self.present.iter().map(|(lane, count)| format!("{count} {}", one_line(lane))).collect();
        let lanes = if lanes.is_empty() { String::new() } else { format!(": {}", lanes.join(", ")) };
        [
            self.name.clone(),
            self.address.clone(),
            self.head.map_or_else(|| "?".to_owned(), |head| head.to_string()),
            self.durable.map_or("relay does not answer", kept).to_owned(),
            format!("{here} of {} here{lanes}", self.members),
        ]
    }
}

fn lines(server: &ServerStatus, site: Option<&str>, services: &[Service], groups: &[Group]) -> Vec<String> {
    let registry = [
        "registry".to_owned(),
        "up".to_owned(),
        server.server.clone(),
        site.map_or_else(|| "not encrypted".to_owned(), |code| format!("site {code}, encrypted")),
        one_line(&server.version).into_owned(),
    ];
    let rows: Vec<_> = std::iter::once(registry).chain(services.iter().map(Service::row)).collect();
    let mut lines = table(["SERVICE", "STATE", "ADDRESS", "", "VERSION"], &rows);
    for twin in &server.twins {
        lines.push(format!(
            "warning: {} has the same identity: a data folder was copied, and members of both hear each other; stop one and \
             give it an empty folder",
            one_line(twin)
        ));
    }
    lines.push(String::new());
    lines.extend(table(
        ["GROUP", "ADDRESS", "HEAD", "LOG", "MEMBERS"],
        &groups.iter().map(Group::row).collect::<Vec<_>>(),
    ));
    lines
}

const fn kept(durable: bool) -> &'static str {
    if durable { "durable" } else { "memory, not durable" }
}

fn port(port: u16) -> String {
    if port == 0 { "off".to_owned() } else { port.to_string() }
}
