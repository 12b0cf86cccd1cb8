//! Who wrote a message, as browsers sign and show it.

use std::{fs, io::Write as _, net::TcpStream};

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use gaung_proto::GroupId;
use gaung_tests::{
    browser::{DESKTOP, Driver, distant_page_url, page_url},
    deployment::{Person, Up},
    eve::Eve,
    needs,
};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use serde_json::{Value, json};

use crate::{
    enter, hears,
    modules::{golden_path, on_log},
    nothing_is_wrong, say,
};

/// Returns author, text and author state of each message. A signature fits only with the device that the relay names.
fn history(person: &Person, group: &str) -> Vec<Value> {
    let message = |line: String| {
        let message: Value = serde_json::from_str(&line).unwrap();
        json!([message["author"], message["text"], message["author_state"]])
    };
    person.out(&["history", group, "--from", "1", "--json"]).into_iter().map(message).collect()
}

#[test]
fn what_a_browser_says_is_signed_by_its_device() {
    needs!(Chromium);
    let up = Up::start(&[]);
    let dewi = up.person("Dewi");
    let driver = Driver::start();
    // One browser has signatures of its own, the other one's page computes them.
    let sari = enter(&driver, DESKTOP, &page_url(up.address("page")), "Sari");
    let budi = enter(&driver, DESKTOP, &distant_page_url(up.address("page")), "Budi");
    assert_eq!([&sari, &budi].map(|browser| browser.run("return isSecureContext", &[])), [json!(true), json!(false)]);
    say(&sari, "satu");
    hears(&budi, "satu");
    say(&budi, "dua");
    hears(&sari, "dua");
    let said = [json!(["Sari", "satu", "signed"]), json!(["Budi", "dua", "signed"])];
    assert_eq!(history(&dewi, "everyone"), said);
    nothing_is_wrong(&[&sari, &budi]);
}

#[test]
fn what_a_browser_says_into_a_log_that_was_begun_anew_is_signed_for_the_new_one() {
    needs!(Chromium);
    let up = Up::start(&[]);
    let dewi = up.person("Dewi");
    let _ = dewi.out(&["group", "create", "lobby"]);
    let driver = Driver::start();
    let sari = enter(&driver, DESKTOP, &page_url(up.address("page")), "Sari");
    sari.click("#others summary");
    crate::tabs::join(&sari, "lobby");
    say(&sari, "sebelum");
    hears(&sari, "sebelum");
    let _ = dewi.out(&["group", "reset", "lobby"]);
    say(&sari, "sesudah");
    hears(&sari, "sesudah");
    assert_eq!(history(&dewi, "lobby"), [json!(["Sari", "sesudah", "signed"])]);
}

/// Nothing behind a name whose device has signed, `~` where nobody has, and `✗` where something was changed.
#[test]
fn a_browser_shows_what_nobody_signed_and_what_does_not_fit() {
    needs!(Chromium);
    let up = Up::start(&[]);
    let dewi = up.person("Dewi");
    let driver = Driver::start();
    let sari = enter(&driver, DESKTOP, &distant_page_url(up.address("page")), "Sari");
    let _ = dewi.out(&["send", "everyone", "setuju"]);
    hears(&sari, "setuju");
    let mut netcat = TcpStream::connect(up.address("text")).unwrap();
    netcat.write_all(b"tanpa kunci\n").unwrap();
    hears(&sari, "tanpa kunci");
    let shown: Value = serde_json::from_str(&dewi.out(&["group", "show", "everyone", "--json"])[0]).unwrap();
    let everyone: GroupId = shown["id"].as_str().unwrap().parse().unwrap();
    let mut eve = Eve::at(&up);
    let mut changed = eve.read(everyone).remove(0);
    let at = changed.payload.windows(6).position(|words| words == b"setuju").unwrap();
    let mut payload = changed.payload.to_vec();
    payload[at..at + 6].copy_from_slice(b"tolak!");
    changed.payload = payload.into();
    changed.author.client.0 = [9; 16];
    eve.publish(everyone, &changed);
    hears(&sari, "tolak!");
    let marks = sari.wait(
        "the marks",
        "const rows = [...document.querySelectorAll('article[data-seq]')];
         const marks = rows.map((row) => [row.querySelector('.body').textContent, row.querySelector('.author-mark')?.textContent ?? '',
           getComputedStyle(row.querySelector('.body')).textDecorationLine]);
         return marks.at(-1)[1] && marks;",
    );
    let expected = [["setuju", "", "none"], ["tanpa kunci", "~", "none"], ["tolak!", "✗", "line-through"]];
    assert_eq!(marks, json!(expected));
    nothing_is_wrong(&[&sari]);
}

/// The first device that a browser meets under a name keeps it; the browser's own is never shown apart to itself.
#[test]
fn a_second_device_of_a_name_is_shown_apart_everywhere() {
    needs!(Chromium);
    let up = Up::start(&[]);
    let (budi, other) = (up.person("Budi"), up.person("BUDI"));
    let driver = Driver::start();
    let sari = enter(&driver, DESKTOP, &page_url(up.address("page")), "Sari");
    let _ = budi.out(&["send", "everyone", "yang pertama"]);
    hears(&sari, "yang pertama");
    let _ = other.out(&["send", "everyone", "yang kedua"]);
    hears(&sari, "yang kedua");
    let _ = up.person("Sari").out(&["send", "everyone", "bukan Sari"]);
    hears(&sari, "bukan Sari");
    say(&sari, "saya Sari");
    hears(&sari, "saya Sari");
    let names = "[...document.querySelectorAll('article[data-seq] header b')].map((one) => one.textContent)";
    let apart = |name: &str| format!("new RegExp('^{name}·[0-9a-f]{{4}}$')");
    let expected = format!(
        "const names = {names};
         return names.length === 4 && names[0] === 'Budi' && {}.test(names[1]) && {}.test(names[2]) && names[3] === 'Sari'",
        apart("BUDI"),
        apart("Sari")
    );
    sari.wait("names apart", &expected);
    sari.wait(
        "it is said",
        "return document.querySelector('#banner').textContent.includes('another device had this name first')",
    );
    // Whose name it is stays so in the next session of the browser.
    sari.run("location.reload()", &[]);
    sari.wait("names apart again", &expected);
    nothing_is_wrong(&[&sari]);
}

/// Keys, messages and signatures of all kinds: the page's own arithmetic and the library of the other programs agree on each.
#[test]
fn the_page_verifies_as_strictly_as_others() {
    needs!(Chromium);
    let mut rng = SmallRng::seed_from_u64(17);
    let mut cases: Vec<([u8; 32], Vec<u8>, [u8; 64])> = Vec::new();
    for length in 0..24 {
        let key = SigningKey::from_bytes(&rng.random());
        let message: Vec<u8> = (0..length * 9).map(|_| rng.random()).collect();
        let (public, signature) = (key.verifying_key().to_bytes(), key.sign(&message).to_bytes());
        cases.push((public, message.clone(), signature));
        let mut flipped = (public, message.clone(), signature);
        let bit = 1 << rng.random_range(0..8);
        flipped.0[rng.random_range(0..32)] ^= bit;
        cases.push(flipped);
        let mut flipped = (public, message.clone(), signature);
        flipped.2[rng.random_range(0..64)] ^= bit;
        cases.push(flipped);
        // The same scalar, not reduced: the order of the base point is added.
        let mut unreduced = (public, message, signature);
        let mut carry = 0;
        for (byte, add) in unreduced.2[32..].iter_mut().zip(ORDER) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            (*byte, carry) = (sum as u8, sum >> 8);
        }
        cases.push(unreduced);
    }
    // Keys of small order, for which anybody can make signatures that are valid where nobody is strict.
    for key in SMALL_ORDER {
        let mut signature = [0; 64];
        signature[0] = 1;
        cases.push((key, b"halo".to_vec(), signature));
        let signer = SigningKey::from_bytes(&rng.random());
        cases.push((key, b"halo".to_vec(), signer.sign(b"halo").to_bytes()));
    }
    let is_valid = |(key, message, signature): &([u8; 32], Vec<u8>, [u8; 64])| {
        let key = VerifyingKey::from_bytes(key).ok();
        key.is_some_and(|key| key.verify_strict(message, &Signature::from_bytes(signature)).is_ok())
    };
    let expected: Vec<bool> = cases.iter().map(is_valid).collect();
    assert_eq!(expected.iter().filter(|valid| **valid).count(), 24);
    let up = Up::start(&[]);
    let driver = Driver::start();
    let browser = driver.open(DESKTOP, &page_url(up.address("page")));
    let got = browser.run(
        "const { verify } = await import('/js/wire/ed25519.js');
         return arguments[0].map((parts) => verify(...parts.map((bytes) => Uint8Array.from(bytes))));",
        &[json!(
            cases
                .iter()
                .map(|(key, message, signature)| json!([key.to_vec(), message, signature.to_vec()]))
                .collect::<Vec<_>>()
        )],
    );
    assert_eq!(got, json!(expected));
}

/// The order of the base point, little-endian.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// Encodings of points of order 1, 2 and 4, one of them not canonical.
const SMALL_ORDER: [[u8; 32]; 4] = {
    let mut keys = [[0; 32]; 4];
    keys[0][0] = 1;
    keys[1] = [0xff; 32];
    keys[1][0] = 0xec;
    keys[1][31] = 0x7f;
    keys[3] = keys[1];
    keys[3][0] = 0xee;
    keys
};

#[test]
fn a_trailer_fits_only_its_message_its_place_and_its_author() {
    needs!(Chromium);
    let up = Up::start(&[]);
    let driver = Driver::start();
    let browser = driver.open(DESKTOP, &page_url(up.address("page")));
    let vector = fs::read_to_string(golden_path("signing-author")).unwrap();
    let payload: String = vector
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| &line[..line.find(' ').unwrap_or(line.len())])
        .collect();
    let got = browser.run(
        "const { fromHex, toHex } = await import('/js/wire/bytes.js');
         const { authorState } = await import('/js/wire/authorship.js');
         const { sha256 } = await import('/js/wire/sha2.js');
         const payload = fromHex(arguments[0]);
         const device = toHex(sha256(payload.subarray(-136, -104)).subarray(0, 16));
         const place = { group: '0192f0c1-7a2b-7c3d-8e4f-5061728394a5', log: '0123456789abcdef',
           client: 'b0b1b2b3b4b5b6b7b8b9babbbcbdbebf', clientSeq: 7, type: 1 };
         const nobody = '0'.repeat(32);
         const states = [authorState(place, device, payload), authorState(place, nobody, payload),
           authorState(place, device, payload.subarray(0, -139))];
         const elsewhere = [{ group: '0192f0c1-7a2b-7c3d-8e4f-5061728394a6' }, { log: '0123456789abcdee' }, { clientSeq: 8 }, { type: 2 },
           { client: 'b0b1b2b3b4b5b6b7b8b9babbbcbdbebe' }].map((other) => authorState({ ...place, ...other }, device, payload));
         const flipped = Array.from(payload, (byte, at) => {
           const other = payload.slice();
           other[at] ^= 1 << (at % 8);
           return authorState(place, device, other);
         });
         return { states, elsewhere: [...new Set(elsewhere)], another: authorState(place, 'a'.repeat(32), payload), flipped: flipped.includes('signed') };",
        &[json!(payload)],
    );
    assert_eq!(got["states"], json!(["signed", "signed", "unsigned"]));
    assert_eq!(got["elsewhere"], json!(["broken"]));
    assert_eq!((&got["another"], &got["flipped"]), (&json!("broken"), &json!(false)));
}

/// Whose words a message changes, and what hides it, is believed of a signature alone where it matters.
#[test]
fn changes_count_by_who_has_signed_them() {
    needs!(Chromium);
    let up = Up::start(&[]);
    let driver = Driver::start();
    let browser = driver.open(DESKTOP, &page_url(up.address("page")));
    let got = on_log(
        &browser,
        "const { Room } = await import('/js/chat/room.js');
         const shown = (isPrivate, state) => {
           const room = new Room({ id: 'g', name: 'g', private: isPrivate }, { stateOf: () => state });
           room.replaceLog('one');
           room.log.begin(1, 0);
           room.log.append([text(1), say(2, 'a', { kind: 'edit', seq: 1, body: 'lain' }), text(3), say(4, 'a', { kind: 'delete', seq: 3 }),
             text(5), say(6, 'm', { kind: 'moderate', seq: 5 })], 'tcp');
           const [edited, deleted, hidden] = [1, 3, 5].map((seq) => room.log.current(room.log.find(seq)));
           return [edited.body, deleted.deleted, hidden.hidden];
         };
         return [false, true].map((isPrivate) => ['signed', 'pending', 'unsigned', 'broken'].map((state) => shown(isPrivate, state)));",
    );
    let padded = on_log(
        &browser,
        "const log = new Log('one');
         log.begin(1, 0);
         const padded = (seq, extra) => {
           const change = say(seq, 'a', { kind: 'delete', seq: seq - 1 });
           const trailer = new Uint8Array(139);
           trailer.set([0x7a, 0x88, 0x01]);
           const payload = new Uint8Array(change.payload.length + extra + 139);
           payload.set(change.payload);
           payload.set(trailer, payload.length - 139);
           return { ...change, payload };
         };
         log.append([text(1), padded(2, 0), text(3), padded(4, 4000)], 'tcp');
         return [1, 3].map((seq) => log.current(log.find(seq)).deleted);",
    );
    assert_eq!(padded, json!([true, false]), "a deletion with much behind it is no true one");
    let (all, own, none) = (json!(["lain", true, true]), json!(["lain", true, false]), json!(["m1", false, false]));
    assert_eq!(got[0], json!([all, all, own, none]), "in an open group");
    assert_eq!(got[1], json!([all, all, none, none]), "in a private one");
}
