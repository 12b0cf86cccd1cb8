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
    assert_eq!(bench.advance(MAX_GATHER).iter().filter_map(data_seq).count(), 1, "GAUNG_SEED={seed}");
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
