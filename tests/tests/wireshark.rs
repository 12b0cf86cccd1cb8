//! The Wireshark dissector, on a conversation that is captured here: every type of datagram, and the hub's TCP.
#![allow(missing_docs)]

use std::{
    collections::BTreeSet,
    fs,
    net::{Ipv4Addr, UdpSocket},
    path::{Path, PathBuf},
    process::Command,
};

use gaung_tests::{
    lab::{Host, Lab},
    needs,
    process::Process,
    programs::program,
    tcpdump::Recording,
};
use serde_json::Value;
use tempfile::TempDir;

const MESSAGES: u32 = 300;
/// The file of the clients' TLS secrets.
const KEYS: &str = "keys.log";

#[test]
fn a_conversation_is_read_to_the_last_byte() {
    needs!(Namespaces, Nft, Tcpdump, Tshark);
    let data = TempDir::new().expect("a temporary folder");
    let capture = data.path().join("talk.pcap");
    converse(&data, &capture);
    let talk = Shark { capture, keys: data.path().join(KEYS) };

    let types: BTreeSet<u32> = talk.fields("gaung", "gaung.type").iter().map(|text| number(text)).collect();
    assert_eq!(types, (1..=11).collect(), "of every type there is one");
    let wrong = talk.fields("_ws.malformed or gaung.cut_short or _ws.lua", "frame.number");
    assert_eq!(wrong, [""; 0], "frames that the dissector stumbled over");
    let unread = talk.fields("udp.payload[0:3] == 47:41:01 and not gaung", "frame.number");
    assert_eq!(unread, [""; 0], "datagrams that were not known as Gaung's");

    let sent: BTreeSet<String> = (1..=MESSAGES).map(words).collect();
    let heard = |filter: &str| -> BTreeSet<String> {
        let texts = talk.fields(filter, "gaung.message.text");
        texts.into_iter().filter(|text| sent.contains(text)).collect()
    };
    assert_eq!(heard("gaung.type == 1 and gaung.repair == 0"), sent, "by multicast");
    assert_eq!(heard("gaung_tcp"), sent, "by TCP");
    // By multicast it is in fragments, which are shown one by one.
    let by_tcp = talk.fields("gaung_tcp", "gaung.message.text");
    assert!(by_tcp.contains(&long_words()), "the long message, by TCP");
    // Of the talk's own datagrams none may have been lost, or all of them healed by parity; the golden ones have one.
    assert!(!talk.fields("gaung.type == 1 and gaung.repair == 1", "gaung.seq").is_empty(), "a repair is known as one");
    let broadcast = talk.fields("gaung.type == 11 and udp.srcport != 9999", "gaung.message.text");
    assert_eq!(broadcast, ["semua"]);
    let published = talk.fields("gaung.type == 9 and udp.srcport != 9999", "gaung.message.text");
    assert!(published.contains(&"datagram saja".to_owned()), "{published:?}");

    let frames: BTreeSet<String> = talk.fields("gaung_tcp", "gaung_tcp.frame").into_iter().collect();
    for frame in ["Hello", "Welcome", "Subscribe", "Subscribed", "Ack"] {
        assert!(frames.contains(frame), "{frame} is not in {frames:?}");
    }
    let answers: BTreeSet<String> = talk.fields("gaung_discovery", "gaung_discovery.type").into_iter().collect();
    assert_eq!(answers, BTreeSet::from(["1".to_owned(), "2".to_owned()]));

    golden_values(&talk);
}

/// What the golden datagrams hold, as they say themselves.
fn golden_values(talk: &Shark) {
    for (kind, field, value) in [
        (1, "gaung.epoch", "3"),
        (1, "gaung.padding", "000000000000"),
        (3, "gaung.range.first_seq", "38"),
        (4, "gaung.range.last_seq", "40"),
        (6, "gaung.parity.first_pkt", "17"),
        (6, "gaung.parity.k", "4"),
        (8, "gaung.generation", "3"),
        (11, "gaung.message.text", "halo semua"),
    ] {
        let found = talk.fields(&format!("udp.srcport == 9999 and gaung.type == {kind}"), field);
        assert!(found.contains(&value.to_owned()), "{field} of type {kind}: {found:?}");
    }
}

fn words(number: u32) -> String {
    format!("pesan ke {number}")
}

/// A message longer than one segment of TCP and than one TLS record.
fn long_words() -> String {
    "panjang ".repeat(5000)
}

/// Everything that a capture on the server can hold.
fn converse(data: &TempDir, capture: &Path) {
    let lab = Lab::new(3);
    lab.start_querier();
    let (server, far, near) = (lab.host(0), lab.host(1), lab.host(2));
    let recording = Recording::start(server, capture.to_owned(), "udp or tcp port 7404");
    let folder = |name: &str| data.path().join(name).display().to_string();
    let up = server.start(program("gaung"), &["up", "--headless", "--log", "memory", "--data", &folder("server")]);
    up.stdout_line("registry's address", |line| line.contains("7400"));
    let gaung = |host: &Host, args: &[&str]| {
        let mut command = host.command(program("gaung"));
        command.args(args).args(["--data", &folder("client")]).env("SSLKEYLOGFILE", folder(KEYS));
        Process::spawn(command)
    };
    // On another machine, so that discovery is asked by wire.
    let made = gaung(far, &["group", "create", "lobby", "--json"]).end().expect_code(0);
    let group: Value = serde_json::from_str(&made.stdout[0]).expect("a JSON line");
    let address = format!("{}:{}", group["address"].as_str().expect("an address"), group["port"]);
    let count = (MESSAGES + 1).to_string();
    let listen = |host: &Host, lane: &str| {
        let listener = gaung(host, &["listen", "lobby", "--lane", lane, "--count", &count]);
        listener.stderr_line("ready line", |line| line.starts_with("listening to lobby"));
        listener
    };
    let listeners = [listen(far, "multicast"), listen(near, "tcp")];
    far.lose(200);
    let mut sender = gaung(server, &["send", "lobby", "-"]);
    for number in 1..=MESSAGES {
        sender.write(format!("{}\n", words(number)));
    }
    sender.write(format!("{}\n", long_words()));
    let _ = sender.end().expect_code(0);
    for listener in listeners {
        assert_eq!(listener.end().expect_code(0).stdout.len(), MESSAGES as usize + 1);
    }
    far.heal();
    let everyone = gaung(near, &["listen", "--everyone", "--lane", "broadcast", "--count", "1"]);
    everyone.stderr_line("ready line", |line| line.starts_with("listening to everyone"));
    let _ = gaung(server, &["broadcast", "semua"]).end().expect_code(0);
    let _ = everyone.end().expect_code(0);
    let _ = gaung(near, &["send", "--udp-only", &address, "datagram", "saja"]).end().expect_code(0);
    // Rare ones: their golden vectors, to a relay that does not know their group.
    near.within(|| golden(lab.host(0).ip()));
    let _ = recording.end_after(END);
}

/// The last datagram.
const END: &[u8] = b"the end of the talk";

fn golden(server: Ipv4Addr) {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 9999)).expect("a free port");
    let folder = root().join("proto/gaung-proto/tests/golden");
    for entry in fs::read_dir(folder).expect("the golden vectors").flatten() {
        if entry.file_name().to_string_lossy().starts_with("datagram-") {
            let text = fs::read_to_string(entry.path()).expect("a vector is text");
            let digits: String = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()).collect();
            let bytes = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("digits"));
            let bytes: Vec<u8> = bytes.map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal")).collect();
            let _ = socket.send_to(&bytes, (server, 7402)).expect("a datagram is sent");
        }
    }
    let _ = socket.send_to(END, (server, 9)).expect("a datagram is sent");
}

/// `tshark` with the dissector on one capture.
struct Shark {
    capture: PathBuf,
    /// By which it decrypts.
    keys: PathBuf,
}

impl Shark {
    /// All values of a field in the frames that the filter passes, in order.
    fn fields(&self, filter: &str, field: &str) -> Vec<String> {
        let script = format!("lua_script:{}", root().join("deploy/wireshark/gaung.lua").display());
        let mut tshark = Command::new("tshark");
        tshark.arg("-r").arg(&self.capture).args(["-X", &script, "-Y", filter, "-T", "fields", "-e", field]);
        tshark.args(["-E", "aggregator=|", "-o", &format!("tls.keylog_file:{}", self.keys.display())]);
        let output = tshark.output().expect("tshark can be started");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !complaint.contains("Lua"), "tshark {filter}: {complaint}");
        let text = String::from_utf8(output.stdout).expect("tshark writes UTF-8");
        let values = text.lines().flat_map(|line| line.split('|').map(str::to_owned).collect::<Vec<_>>());
        values.filter(|value| !value.is_empty()).collect()
    }
}

fn number(text: &str) -> u32 {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
