use super::*;

/// 10 000 random datagrams and 10 000 valid ones with one byte changed: no panic, nothing unbounded, and the sender
/// still repairs afterwards.
#[test]
fn hostile_datagrams_do_no_harm() {
    let seed = std::env::var("GAUNG_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random::<u64>);
    println!("GAUNG_SEED={seed}");
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut bench = Bench::new();
    bench.send(1, &[900, 10, 20_000, 7]);
    let valid = valid_datagrams(&bench);
    for round in 0..20_000 {
        let datagram = if round % 2 == 0 { random_bytes(&mut rng) } else { mutated(&mut rng, &valid) };
        let from = addr(rng.random());
        if let Ok((mut header, body)) = Header::decode(&datagram) {
            header.tag = bench.sender.tag();
            let _ = bench.sender.handle_datagram(bench.now, from, None, &header, body);
        }
        bench.advance(Duration::from_micros(rng.random_range(0..2000)));
        bench.events();
        assert!(bench.sender.members().count() <= 256);
    }
    // What was still gathered is repaired, and has arrived.
    (0..2).for_each(|_| drop(bench.advance(Duration::from_secs(2))));
    bench.nak(200, vec![NakRange::messages(Seq(2), Seq(2))]);
    assert_eq!(bench.advance(TIMING.repair_gather_max).iter().filter_map(data_seq).count(), 1, "GAUNG_SEED={seed}");
}

fn valid_datagrams(bench: &Bench) -> Vec<Bytes> {
    let cookie = bench.cookie(1);
    let sender = SenderId([1; 16]);
    let nak = Nak { sender, cookie, ranges: vec![NakRange::messages(Seq(1), Seq(4)); 3] };
    let probe = Probe { sender, nonce: 1, cookie };
    let bodies = [
        (PacketType::Nak, body(|out| nak.write(out))),
        (PacketType::Status, body(|out| Status { cookie, ..status_of(1) }.write(out))),
        (PacketType::Probe, body(|out| probe.write(out))),
    ];
    let encode = |(packet_type, body): &(PacketType, BytesMut)| {
        bench.sender.header(bench.now, *packet_type, Pkt(1), Seq(1)).encode(body)
    };
    bodies.iter().map(encode).collect()
}

fn random_bytes(rng: &mut SmallRng) -> Vec<u8> {
    let len = rng.random_range(0..1500);
    (0..len).map(|_| rng.random()).collect()
}

fn mutated(rng: &mut SmallRng, valid: &[Bytes]) -> Vec<u8> {
    let mut datagram = valid[rng.random_range(0..valid.len())].to_vec();
    let at = rng.random_range(0..datagram.len());
    datagram[at] = rng.random();
    datagram
}

/// A group without members, of which there are many, is heard of once a minute, one of few every 2 s, and each at once when somebody comes or something is said.
#[test]
fn a_group_that_nobody_listens_to_rests() {
    let mut bench = Bench::new();
    let beats = |bench: &mut Bench, seconds: u64| {
        let end = bench.now + Duration::from_secs(seconds);
        let mut beats = 0;
        while bench.now < end {
            let next = bench.sender.poll_timeout().0.clamp(bench.now + MS, end);
            beats += bench.advance(next - bench.now).len();
        }
        beats
    };
    beats(&mut bench, 12);
    let resting = beats(&mut bench, 60);
    assert!((27..=31).contains(&resting), "{resting} in a minute");
    bench.sender.set_groups(10_000);
    let resting = beats(&mut bench, 600);
    assert!((8..=11).contains(&resting), "{resting} in ten minutes");
    bench.status(1, 0);
    let listened_to = beats(&mut bench, 9);
    assert!(listened_to >= 9, "{listened_to}");
    beats(&mut bench, 12);
    bench.send(1, &[5]);
    let after_a_run = beats(&mut bench, 9);
    assert!(after_a_run >= 9, "{after_a_run}");
}

/// All ports of one host have one share of the repairs of a silent group.
#[test]
fn a_host_with_many_ports_is_repaired_like_one() {
    let mut bench = Bench::with(SenderConfig { repair_bytes: 4 * 1024 * 1024, ..config(0) });
    for first in 0..40 {
        bench.send(1 + first * 50, &[1000; 50]);
    }
    bench.advance(Duration::from_secs(2));
    let mut sent = Vec::new();
    for port in 1..=16 {
        let from = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 66), port);
        let cookie = bench.sender.config.cookies.of(from);
        for first in (1..2000).step_by(64) {
            let ranges = vec![NakRange::messages(Seq(first), Seq(first + 63))];
            let nak = Nak { sender: SenderId([port as u8; 16]), cookie, ranges };
            sent.extend(bench.hear(from, PacketType::Nak, 0, &body(|out| nak.write(out))));
        }
    }
    (0..40).for_each(|_| sent.extend(bench.advance(10 * MS)));
    let is_repair = |sent: &&Transmit| {
        let header = header(sent);
        header.has(flags::REPAIR) || header.packet_type == PacketType::Parity
    };
    let repairs = sent.iter().filter(is_repair).count();
    // Parity for whole blocks is sent twice over.
    assert!((256..=1024).contains(&repairs), "{repairs} repairs for one host");
    bench.nak(2, vec![NakRange::messages(Seq(3), Seq(3))]);
    assert!(bench.advance(TIMING.repair_gather_max).iter().any(|sent| data_seq(sent) == Some(3)), "others find room");
}
