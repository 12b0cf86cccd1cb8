//! The program itself, killed with SIGKILL again and again while groups are made: no id, name or address twice, and
//! nothing acknowledged is lost.
#![allow(clippy::unwrap_used)]

use std::{
    collections::{HashMap, HashSet},
    io::{BufRead as _, BufReader},
    net::Ipv4Addr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use gaung_proto::pb::registry::{self as pb, registry_service_client::RegistryServiceClient};
use group_registry::address::Low23;
use tokio::{sync::mpsc, time::timeout};
use tonic::transport::Channel;

const KILLS: usize = 6;
const CLIENTS: usize = 8;
const ACKNOWLEDGED_BEFORE_A_KILL: usize = 30;

struct Program {
    child: Child,
    addr: String,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    fn start(data: &Path) -> Self {
        let flags = ["--grpc-listen", "127.0.0.1:0", "--metrics-listen", "off", "--no-discovery"];
        let mut child = Command::new(env!("CARGO_BIN_EXE_group-registry"))
            .args(flags)
            .args(["--iface", "lo", "--quiet-time", "0", "--log-format", "json", "--plaintext", "any"])
            .arg("--data")
            .arg(data)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let addr = lines.by_ref().find_map(|line| served_at(&line.unwrap())).expect("it says where it serves");
        // Its pipe must not fill up.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, addr }
    }

    async fn connect(&self) -> RegistryServiceClient<Channel> {
        let endpoint = Channel::from_shared(format!("http://{}", self.addr)).unwrap();
        RegistryServiceClient::new(timeout(Duration::from_secs(30), endpoint.connect()).await.unwrap().unwrap())
    }
}

fn served_at(line: &str) -> Option<String> {
    let after = line.split_once("\"registry serves\"").map(|_| line.split_once("\"grpc\":\""))??.1;
    Some(after.split_once('"')?.0.to_owned())
}

type Acknowledged = Arc<Mutex<HashMap<String, (bytes::Bytes, pb::Group)>>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_groups_are_made() {
    let dir = tempfile::tempdir().unwrap();
    let acknowledged = Acknowledged::default();
    let mut asked: HashMap<String, bytes::Bytes> = HashMap::new();
    for kill in 0..KILLS {
        for n in 0..CLIENTS * 20 {
            // Half of the names are those of the round before, some of which were made and some not.
            let name = format!("g{}", kill * CLIENTS * 10 + n);
            asked.entry(name).or_insert_with(|| bytes::Bytes::copy_from_slice(&rand::random::<[u8; 16]>()));
        }
        round(dir.path(), &asked, &acknowledged).await;
    }
    let program = Program::start(dir.path());
    let mut client = program.connect().await;
    let request = pb::ListGroupsRequest { page_size: 1000, page_token: String::new(), viewer: None };
    let listed = timeout(Duration::from_secs(30), client.list_groups(request)).await.unwrap().unwrap().into_inner();
    assert_eq!(listed.next_page_token, "");
    let groups: HashMap<_, _> = listed.groups.iter().map(|group| (group.name.clone(), group.clone())).collect();
    assert_eq!(groups.len(), listed.groups.len(), "names");
    let count = listed.groups.len();
    assert_eq!(listed.groups.iter().map(|g| g.id.clone()).collect::<HashSet<_>>().len(), count, "ids");
    let low = |g: &pb::Group| Low23::of(g.address.parse::<Ipv4Addr>().unwrap());
    assert_eq!(listed.groups.iter().map(low).collect::<HashSet<_>>().len(), count, "addresses");
    let acknowledged = acknowledged.lock().unwrap();
    assert!(acknowledged.len() >= KILLS * ACKNOWLEDGED_BEFORE_A_KILL / 2, "{}", acknowledged.len());
    for (name, (_, group)) in acknowledged.iter() {
        assert_eq!(groups.get(name), Some(group), "acknowledged and lost or changed");
    }
}

/// Starts the program, lets clients make groups, and kills it once enough were acknowledged.
async fn round(data: &Path, asked: &HashMap<String, bytes::Bytes>, acknowledged: &Acknowledged) {
    let mut program = Program::start(data);
    register_relay(&mut program.connect().await).await;
    let (done, mut count) = mpsc::channel(1024);
    let requests: Vec<_> = asked.clone().into_iter().collect();
    for part in requests.chunks(requests.len().div_ceil(CLIENTS)) {
        let (mut client, part) = (program.connect().await, part.to_vec());
        let (acknowledged, done) = (Arc::clone(acknowledged), done.clone());
        tokio::spawn(async move {
            for (name, request_id) in part {
                let request = pb::CreateGroupRequest {
                    request_id: request_id.clone(),
                    name: name.clone(),
                    owner_public_key: owner(),
                    ..Default::default()
                };
                let Ok(made) = client.create_group(request).await else { return };
                let group = made.into_inner().group.unwrap();
                let before = acknowledged.lock().unwrap().insert(name, (request_id, group.clone()));
                assert!(before.as_ref().is_none_or(|(_, known)| *known == group), "one request, two groups");
                if before.is_none() && done.send(()).await.is_err() {
                    return;
                }
            }
        });
    }
    drop(done);
    let enough = async {
        for _ in 0..ACKNOWLEDGED_BEFORE_A_KILL {
            if count.recv().await.is_none() {
                return;
            }
        }
    };
    timeout(Duration::from_secs(60), enough).await.unwrap();
    program.child.kill().unwrap();
    program.child.wait().unwrap();
    while timeout(Duration::from_secs(30), count.recv()).await.unwrap().is_some() {}
}

async fn register_relay(client: &mut RegistryServiceClient<Channel>) {
    let relay = pb::RegisterServiceRequest {
        kind: pb::ServiceKind::Relay.into(),
        service_id: bytes::Bytes::from_static(&[7; 16]),
        grpc_port: 7401,
        durable: true,
        ..Default::default()
    };
    timeout(Duration::from_secs(30), client.register_service(relay)).await.unwrap().unwrap();
}

fn owner() -> bytes::Bytes {
    let key = ed25519_dalek::SigningKey::from_bytes(&[1; 32]);
    bytes::Bytes::copy_from_slice(key.verifying_key().as_bytes())
}
