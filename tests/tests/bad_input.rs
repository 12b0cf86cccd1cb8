//! Bad input at every door: each has its own clear error, and nothing stops or is lost.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::unix::fs::PermissionsExt as _,
    time::Duration,
};

use bytes::BytesMut;
use gaung_proto::{
    ClientId, DeviceId, Epoch, Generation, GroupId, GroupTag, LogId, Pkt, SenderId, Seq,
    body::{Cookie, Heartbeat, Nak, NakRange, Ncf, Probe, Publish, Status},
    datagram::{DATAGRAM_HEADER, Fragment, Header, PacketType},
    frame::encode_control,
    pb::hub as pb,
};
use gaung_tests::{
    deployment::{Person, Up},
    process::Process,
    programs::program,
    reserved_port::ReservedPort,
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::Value;

/// Pieces thrown at each door, random ones and as many valid ones with one field changed.
const PIECES: usize = 10_000;

#[test]
fn ten_thousand_bad_datagrams_of_each_kind_change_nothing() {
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let up = Up::start(&[]);
    let ani = up.person("ani");
    let group = group(&ani, "lobby");
    let listener = ani.listen(&["lobby", "--lane", "multicast", "--json", "--count", "2"]);
    assert_eq!(ani.out(&["send", "lobby", "sebelum"]), ["1"]);

    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let doors = [up.address("relay_udp"), group.address, discovery(&up)];
    let samples = sample_datagrams(&group);
    for i in 0..PIECES {
        let random: Vec<u8> = (0..rng.random_range(0..1500)).map(|_| rng.random()).collect();
        let mutated = with_one_field_changed(&mut rng, &samples[i % samples.len()]);
        for door in doors {
            // A full receive buffer is the receiver's affair; the test sends as a stranger would.
            let _ = socket.send_to(&random, door);
            let _ = socket.send_to(&mutated, door);
        }
    }
    let seq: u64 = ani.out(&["send", "lobby", "sesudah"])[0].parse().unwrap();
    let heard = listener.end().expect_code(0).stdout;
    assert_eq!(heard.len(), 2, "seed {seed}");
    let history = ani.out(&["history", "lobby", "--from", "1", "--json"]);
    let last: Value = serde_json::from_str(history.last().unwrap()).unwrap();
    assert_eq!((last["seq"].as_u64(), last["text"].as_str()), (Some(seq), Some("sesudah")), "seed {seed}");
    assert_eq!(history.len() as u64, seq, "seed {seed}");
}

#[test]
fn ten_thousand_bad_pieces_of_each_kind_on_every_tcp_port_change_nothing() {
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let up = Up::start(&[]);
    let ani = up.person("ani");
    let _ = ani.out(&["group", "create", "lobby"]);
    let listener = ani.listen(&["lobby", "--lane", "tcp", "--json", "--count", "1"]);

    let hello = encode_control(&client_frame(pb::client_frame::Frame::Hello(pb::Hello {
        version: 1,
        client_id: vec![1; 16].into(),
        device_id: vec![0; 16].into(),
        name: "tamu".to_owned(),
        ..Default::default()
    })));
    let subscribe = encode_control(&client_frame(pb::client_frame::Frame::Subscribe(pb::Subscribe {
        by: Some(pb::subscribe::By::Name("lobby".to_owned())),
        ..Default::default()
    })));
    let doors = ["registry", "relay", "hub", "tcp", "text", "registry_metrics", "relay_metrics", "hub_metrics"];
    // Each connection takes several pieces, for most doors end a session at its first bad one.
    const PIECES_PER_CONNECTION: usize = 50;
    for door in doors {
        for _ in 0..PIECES / PIECES_PER_CONNECTION {
            let mut socket = TcpStream::connect(up.address(door)).unwrap();
            socket.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
            for _ in 0..PIECES_PER_CONNECTION {
                let random: Vec<u8> = (0..rng.random_range(1..200)).map(|_| rng.random()).collect();
                let mut mutated = BytesMut::from(if rng.random() { &hello[..] } else { &subscribe[..] });
                let at = rng.random_range(0..mutated.len());
                mutated[at] = rng.random();
                if socket.write_all(&mutated).and_then(|()| socket.write_all(&random)).is_err() {
                    break;
                }
            }
        }
    }
    assert!(!ani.out(&["send", "lobby", "masih ada"]).is_empty(), "seed {seed}");
    assert_eq!(listener.end().expect_code(0).stdout.len(), 1, "seed {seed}");
    let _ = ani.out(&["group", "create", "baru"]);
}

#[test]
fn a_line_of_ten_megabytes_on_the_text_port_is_refused_and_the_session_goes_on() {
    let up = Up::start(&[]);
    let ani = up.person("ani");
    let listener = ani.listen(&["--everyone", "--lane", "tcp", "--json", "--count", "1"]);
    let mut socket = TcpStream::connect(up.address("text")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut reader = socket.try_clone().unwrap();
    socket.write_all(&vec![b'x'; 10 << 20]).unwrap();
    socket.write_all(b"\nhalo\n").unwrap();
    let mut answer = String::new();
    let mut buffer = [0; 4096];
    while !answer.contains("65536") && !answer.contains("64 KiB") && !answer.contains("too long") {
        let read = reader.read(&mut buffer).unwrap();
        assert!(read > 0, "the session ended: {answer}");
        answer.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    let heard = listener.end().expect_code(0).stdout;
    assert!(heard[0].contains("\"halo\""), "{heard:?}");
}

#[test]
fn text_that_is_not_utf8_arrives_as_it_was_sent() {
    let up = Up::start(&[]);
    let ani = up.person("ani");
    let _ = ani.out(&["group", "create", "lobby"]);
    let listener = ani.listen(&["lobby", "--json", "--count", "1"]);
    let _ = ani.feed(&["send", "lobby", "-"], b"\xff\xfe halo\n").expect_code(0);
    let heard: Value = serde_json::from_str(&listener.end().expect_code(0).stdout[0]).unwrap();
    assert_eq!((&heard["text"], heard["data"].as_str()), (&Value::Null, Some("//4gaGFsbw==")));
}

#[test]
fn every_wrong_command_says_what_is_wrong_and_ends_with_its_code() {
    let up = Up::start(&[]);
    let ani = up.person("ani");
    let _ = ani.out(&["group", "create", "lobby"]);
    let taken = group(&ani, "lobby").address;
    let taken_ip = taken.ip().to_string();
    let cases: [(&[&str], i32, &str); 17] = [
        (&["group", "create", ""], 2, "name"),
        (&["group", "create", "dua kata"], 2, "letters"),
        (&["group", "create", "lobby"], 1, "lobby"),
        (&["group", "show", "tiada"], 3, "tiada"),
        (&["send", "tiada", "halo"], 3, "tiada"),
        (&["listen", "tiada"], 3, "tiada"),
        (&["history", "tiada"], 3, "tiada"),
        (&["group", "create", "a", "--address", "10.0.0.1"], 2, "multicast"),
        (&["group", "create", "a", "--address", "224.0.0.7"], 2, "224.0.0"),
        (&["group", "create", "a", "--address", "232.1.2.3"], 2, "232"),
        (&["group", "create", "a", "--address", "239.255.255.250"], 2, "239.255.255.250"),
        (&["group", "create", "a", "--address", &taken_ip], 1, &taken_ip),
        (&["send", "lobby"], 2, ""),
        (&["send", "lobby", ""], 2, "empty"),
        (&["listen", "lobby", "--lane", "radio"], 2, "radio"),
        (&["listen", "lobby", "--iface", "tiada0"], 2, "tiada0"),
        (&["group", "join", "--invite", "AAAAAAAAAAAAAAAAAAAAAAAAAA"], 3, "invite"),
    ];
    for (args, code, word) in cases {
        let ended = ani.run(args);
        let said = ended.stderr.join("\n");
        assert_eq!(ended.code(), code, "{args:?}: {said}");
        assert!(said.to_lowercase().contains(&word.to_lowercase()), "{args:?}: {said}");
    }
    let too_long = vec![b'x'; 256 * 1024 + 1];
    let ended = ani.feed(&["send", "lobby", "-"], &too_long);
    let said = ended.stderr.join("\n");
    assert!(ended.code() != 0 && said.contains("262144"), "{said}");
    let stranger = up.person("budi");
    assert_eq!(stranger.run(&["group", "delete", "lobby"]).code(), 4, "only the owner deletes");
}

#[test]
fn an_unreachable_server_ends_with_5() {
    let port = ReservedPort::find();
    let nobody = port.addr();
    let ani = Person::at(&nobody.to_string(), "ani");
    for args in [&["send", "lobby", "halo"][..], &["listen", "lobby"], &["group", "list"], &["status"]] {
        let ended = ani.run(args);
        assert_eq!(ended.code(), 5, "{args:?}: {:?}", ended.stderr);
        assert!(ended.stderr.join("\n").contains(&nobody.to_string()), "{:?}", ended.stderr);
    }
}

/// The ports of `gaung up`, as its flags `--NAME-port` name them.
const PORTS: [&str; 11] = [
    "registry",
    "relay",
    "relay-udp",
    "hub",
    "hub-tcp",
    "text",
    "page",
    "discovery",
    "registry-metrics",
    "relay-metrics",
    "hub-metrics",
];

#[test]
fn up_says_which_setting_mends_a_bad_start() {
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = busy.local_addr().unwrap().port().to_string();
    let data = tempfile::TempDir::new().unwrap();
    let file = data.path().join("file");
    std::fs::write(&file, "not a folder").unwrap();
    let good = data.path().join("good").display().to_string();
    let cases = [
        (vec!["--data", &good, "--registry-port", &port], "--registry-port"),
        (vec!["--data", &good, "--page-port", &port], "--page-port"),
        (vec!["--data", file.to_str().unwrap()], "file"),
    ];
    for (flags, word) in cases {
        let base = ["up", "--headless", "--listen", "127.0.0.1"];
        let iface: &[&str] = if flags.contains(&"--iface") { &[] } else { &["--iface", "lo"] };
        let given = |name: &&&str| flags.contains(&format!("--{name}-port").as_str());
        let ports: Vec<String> =
            PORTS.iter().filter(|name| !given(name)).map(|name| format!("--{name}-port=0")).collect();
        let args = base.iter().chain(iface).chain(&flags).copied().chain(ports.iter().map(String::as_str));
        let ended = Process::start(program("gaung"), args).end();
        let said = ended.stderr.join("\n");
        assert_ne!(ended.code(), 0, "{flags:?}");
        assert!(said.contains(word), "{flags:?}: {said}");
    }
}

#[test]
fn a_data_folder_is_held_by_one_process_and_a_taken_text_port_is_a_warning() {
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = busy.local_addr().unwrap().port().to_string();
    let up = Up::start(&["--text-port", &port]);
    assert!(up.process().stderr_so_far().join("\n").contains(&port), "{:?}", up.process().stderr_so_far());
    let ani = up.person("ani");
    let _ = ani.out(&["group", "create", "lobby"]);

    let folder = up.data().to_owned();
    let mut second = std::process::Command::new(program("gaung"));
    second.args(["up", "--headless", "--listen", "127.0.0.1", "--iface", "lo", "--data"]).arg(&folder);
    for name in PORTS {
        second.arg(format!("--{name}-port=0"));
    }
    let ended = Process::spawn(second).end();
    let said = ended.stderr.join("\n");
    assert!(ended.code() != 0 && said.contains("another process"), "{said}");
    assert_eq!(ani.out(&["send", "lobby", "masih"]), ["1"]);
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
}

struct Group {
    address: SocketAddr,
    tag: GroupTag,
    id: GroupId,
    log: LogId,
    generation: Generation,
}

fn group(person: &Person, name: &str) -> Group {
    let shown = match person.run(&["group", "show", name, "--json"]) {
        ended if ended.code() == 0 => ended.stdout,
        _ => {
            let _ = person.out(&["group", "create", name]);
            person.out(&["group", "show", name, "--json"])
        }
    };
    let shown: Value = serde_json::from_str(&shown[0]).unwrap();
    let id: GroupId = shown["id"].as_str().unwrap().parse().unwrap();
    let log = LogId(u64::from_str_radix(shown["log_id"].as_str().unwrap(), 16).unwrap());
    let generation = Generation(shown["generation"].as_u64().unwrap() as u32);
    let ip: Ipv4Addr = shown["address"].as_str().unwrap().parse().unwrap();
    let port = shown["port"].as_u64().unwrap() as u16;
    Group { address: SocketAddr::from((ip, port)), tag: GroupTag::of(id, generation, log), id, log, generation }
}

fn discovery(up: &Up) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, up.port("discovery_port")))
}

/// Valid datagrams with the group's own tag, of the kinds that reach relay and members.
fn sample_datagrams(group: &Group) -> Vec<Vec<u8>> {
    let sender = SenderId([7; 16]);
    let header = |packet_type| Header {
        packet_type,
        flags: 0,
        tag: group.tag,
        epoch: Epoch(1),
        pkt: Pkt(1),
        seq: Seq(1),
        fragment: Fragment::WHOLE,
        ts_us: 0,
    };
    let mut samples = Vec::new();
    let mut add = |packet_type, write: &dyn Fn(&mut BytesMut)| {
        let mut body = BytesMut::new();
        write(&mut body);
        samples.push(header(packet_type).encode(&body).to_vec());
    };
    add(PacketType::Nak, &|out| {
        Nak { sender, cookie: Cookie(1), ranges: vec![NakRange::messages(Seq(1), Seq(1_000_000))] }.write(out);
    });
    add(PacketType::Probe, &|out| Probe { sender, nonce: 1, cookie: Cookie(0) }.write(out));
    add(PacketType::Status, &|out| {
        let device = DeviceId([3; 16]);
        let (highest_pkt, received, lost, repaired, echo_ts_us, echo_delay_us) = (Pkt(9), 9, 0, 0, 0, 0);
        Status { sender, cookie: Cookie(1), device, highest_pkt, received, lost, repaired, echo_ts_us, echo_delay_us }
            .write(out);
    });
    add(PacketType::Publish, &|out| {
        Publish { sender, cookie: Cookie(1), device: DeviceId::NONE, content_type: 1, payload: b"x" }.write(out);
    });
    add(PacketType::Heartbeat, &|out| {
        Heartbeat {
            group: group.id,
            log: group.log,
            oldest_repairable: Seq(1),
            oldest_logged: Seq(1),
            epoch_start: Seq(1),
            last_pkt: Pkt(1),
            grtt_us: 500,
            group_size: 1,
            generation: group.generation,
        }
        .write(out);
    });
    add(PacketType::Ncf, &|out| Ncf { ranges: vec![NakRange::messages(Seq(1), Seq(2))] }.write(out));
    add(PacketType::Data, &|out| {
        let mut block = gaung_proto::block::BlockBuilder::new();
        block.push(&gaung_proto::block::MessageRef {
            author: gaung_proto::block::Author { device: DeviceId(group.id.0), client: ClientId([1; 16]) },
            client_seq: gaung_proto::ClientSeq(1),
            content_type: gaung_proto::ContentType::Text,
            sent_at: gaung_proto::block::SentAt(0),
            payload: b"palsu",
        });
        block.write(out);
    });
    samples
}

/// Offset and width of every field of the header but magic and group tag (WIRE.md, Datagrams).
const HEADER_FIELDS: [(usize, usize); 11] =
    [(2, 1), (3, 1), (4, 1), (5, 1), (6, 2), (16, 4), (20, 4), (24, 8), (32, 2), (34, 2), (36, 4)];

/// One field of the header, or one number of the body, is another: at its limits, a little off, or anything.
fn with_one_field_changed(rng: &mut StdRng, datagram: &[u8]) -> Vec<u8> {
    let mut changed = datagram.to_vec();
    let body = changed.len() - DATAGRAM_HEADER;
    let (at, width) = if rng.random_bool(0.7) {
        HEADER_FIELDS[rng.random_range(0..HEADER_FIELDS.len())]
    } else {
        let width = [1, 2, 4, 8][rng.random_range(0..4)].min(body);
        (DATAGRAM_HEADER + rng.random_range(0..=body - width), width)
    };
    let field = &mut changed[at..at + width];
    let was = field.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    let far_ahead = rng.random_range(1_000..u64::MAX);
    let value = [0, u64::MAX, was.wrapping_sub(1), was | 1 << (width * 8 - 1), far_ahead][rng.random_range(0..5)];
    field.copy_from_slice(&value.to_be_bytes()[8 - width..]);
    changed
}

fn client_frame(frame: pb::client_frame::Frame) -> pb::ClientFrame {
    pb::ClientFrame { frame: Some(frame) }
}
