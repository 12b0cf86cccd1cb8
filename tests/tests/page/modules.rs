//! The page's modules by themselves: decoders, the log, names, texts.

use std::{
    fs,
    path::{Path, PathBuf},
};

use gaung_proto::foreign_text::is_all_visible;
use gaung_tests::{
    browser::{Browser, DESKTOP, Driver, Look, page_url},
    deployment::Up,
    needs,
};
use serde_json::{Value, json};

/// Golden vectors as the page's own decoders see them.
#[test]
fn the_pages_decoders_agree_with_the_golden_vectors() {
    needs!(Chromium);
    let up = Up::start(&[]);
    let driver = Driver::start();
    let browser = driver.open(DESKTOP, &page_url(up.address("page")));
    // Each line: the payload, then `# type kind author=… field=…`.
    let vectors = fs::read_to_string(golden_path("content")).unwrap();
    let vectors: Vec<_> = vectors.lines().filter_map(|line| line.split_once(" # ")).collect();
    let vectors: Vec<Value> = vectors.iter().map(|(hex, says)| json!([hex.trim(), says])).collect();
    let got = browser.run(
        "const { fromHex, toHex } = await import('/js/wire/bytes.js');
         const { Items } = await import('/js/wire/items.js');
         const { decodeRun } = await import('/js/wire/run.js');
         const { KINDS, decodeContent, encodeContent } = await import('/js/wire/content.js');
         const frames = await import('/js/wire/frames.js');
         const [run, hello, published, contents] = arguments;
         const decoded = decodeRun(fromHex(run));
         const messages = decoded.messages.map(({ payload, ...head }) => ({ ...head, kind: decodeContent(head.type, payload).kind }));
         // Byte by byte, and two items at once.
         const items = new Items();
         const cut = [...fromHex(published)].flatMap((byte) => [...items.push(Uint8Array.of(byte))]);
         const both = [...new Items().push(fromHex(published + run))];
         const device = 'a0a1a2a3a4a5a6a7a8a9aaabacadaeaf';
         const clientId = 'b0b1b2b3b4b5b6b7b8b9babbbcbdbebf';
         const wrong = [];
         for (const [hex, says] of contents) {
           const type = parseInt(says);
           const content = decodeContent(type, fromHex(hex));
           const words = { seq: 'to', body: 'text' };
           const field = ([name, value]) => ` ${words[name] ?? name}=${value}`;
           const { kind, ...rest } = content;
           if (`${type} ${kind}${Object.entries(rest).map(field).join('')}` !== says) wrong.push(says);
           if (KINDS[kind]?.type !== type || toHex(encodeContent(content.author, content)[1]) !== hex) wrong.push(kind);
         }
         if (contents.length !== Object.keys(KINDS).length) wrong.push('a kind has no vector');
         let cutShort = 0;
         for (let end = 0; end < run.length / 2; end += 1) {
           try { decodeRun(fromHex(run).subarray(0, end)); } catch (error) { cutShort += error instanceof RangeError ? 1 : 0; }
         }
         return { group: decoded.group, log: decoded.log, epoch: decoded.epoch, messages, wrong, cutShort,
           published: frames.decodeServerFrame(cut[0].control), both: both.map((item) => Object.keys(item)[0]),
           hello: toHex(frames.hello({ clientId, device, name: 'Sari' })) };",
        &[json!(golden("run")), json!(golden("frame-hello")), json!(golden("frame-published")), json!(vectors)],
    );
    assert_eq!(got["wrong"], json!([]));
    assert_eq!(got["hello"], json!(golden("frame-hello")));
    assert_eq!(got["both"], json!(["control", "run"]));
    let acks = json!([{ "firstClientSeq": 7, "firstSeq": 41, "count": 1 }]);
    assert_eq!(got["published"], json!({ "kind": "published", "tag": 9, "log": "0123456789abcdef", "acks": acks }));
    assert_eq!(got["group"], json!("0192f0c1-7a2b-7c3d-8e4f-5061728394a5"));
    assert_eq!((&got["log"], &got["epoch"]), (&json!("0123456789abcdef"), &json!(3)));
    let kinds: Vec<_> = got["messages"].as_array().unwrap().iter().map(|one| (&one["seq"], &one["kind"])).collect();
    let expected = [(json!(41), json!("text")), (json!(42), json!("react")), (json!(43), json!("unknown"))];
    assert_eq!(kinds, expected.iter().map(|(seq, kind)| (seq, kind)).collect::<Vec<_>>());
    assert_eq!(got["messages"][0]["clientSeq"], json!(7));
    assert_eq!(got["messages"][0]["device"], json!("a0a1a2a3a4a5a6a7a8a9aaabacadaeaf"));
    assert_eq!(got["cutShort"].as_u64().unwrap(), golden("run").len() as u64 / 2, "no part of a run is taken for one");
}

/// What the page computes itself where the browser has no signatures for it.
#[test]
fn the_page_signs_as_rfc_8032_and_the_golden_vectors_say() {
    needs!(Chromium);
    let up = Up::start(&[]);
    let driver = Driver::start();
    let browser = driver.open(DESKTOP, &page_url(up.address("page")));
    let part = |name: &str, part: &str| {
        let text = fs::read_to_string(golden_path(name)).unwrap();
        let begun = text.lines().skip_while(|line| !line.ends_with(&format!("# {part}")));
        let rows = begun.enumerate().take_while(|(at, line)| *at == 0 || !line.contains('#')).map(|(_, line)| line);
        json!(rows.filter_map(|line| line.split_whitespace().next()).collect::<String>())
    };
    let golden = json!({
        "seed": part("signing-call", "Ed25519 secret key"),
        "nonce": part("signing-call", "nonce"),
        "subject": part("signing-redeem", "subject: the code"),
        "challenge": part("signing-hello", "challenge"),
        "clientId": part("signing-hello", "client_id"),
        "payload": part("signing-author", "payload of content-text.hex"),
        "seen": format!(
            "{}{}",
            part("signing-author", "seen seq").as_str().unwrap(),
            part("signing-author", "seen hash").as_str().unwrap()
        ),
    });
    let got = browser.run(
        "const { fromHex, text, toHex } = await import('/js/wire/bytes.js');
         const { publicKey, sign } = await import('/js/wire/ed25519.js');
         const { sha256, sha512 } = await import('/js/wire/sha2.js');
         const { callBytes, helloBytes } = await import('/js/wire/signing.js');
         const { authorBytes } = await import('/js/wire/authorship.js');
         const [rfc, { seed, nonce, subject, challenge, clientId, payload, seen }] = arguments;
         const signed = (bytes) => toHex(sign(fromHex(seed), bytes));
         const wrong = [];
         for (const [seed, key, message, signature] of rfc) {
           if (toHex(publicKey(fromHex(seed))) !== key) wrong.push(`the key of ${seed}`);
           if (toHex(sign(fromHex(seed), fromHex(message))) !== signature) wrong.push(`the signature by ${seed}`);
         }
         // Around the lengths at which a message needs one block more.
         for (let length = 0; length < 300; length += 1) {
           const bytes = crypto.getRandomValues(new Uint8Array(length));
           for (const [name, own] of [['SHA-256', sha256], ['SHA-512', sha512]]) {
             const theirs = new Uint8Array(await crypto.subtle.digest(name, bytes));
             if (toHex(own(bytes)) !== toHex(theirs)) wrong.push(`${name} of ${toHex(bytes)}`);
           }
         }
         const group = '0192f0c1-7a2b-7c3d-8e4f-5061728394a5';
         const place = { group, log: '0123456789abcdef', client: 'b0b1b2b3b4b5b6b7b8b9babbbcbdbebf', clientSeq: 7, type: 1 };
         return { wrong, key: toHex(publicKey(fromHex(seed))), call: signed(callBytes({ method: 'delete', group, nonce })),
           redeem: signed(callBytes({ method: 'redeem', nonce, subject: text(fromHex(subject)) })),
           author: signed(authorBytes(place, fromHex(payload), fromHex(seen))),
           hello: signed(helloBytes({ challenge: fromHex(challenge), clientId })) };",
        &[json!(RFC_8032), golden],
    );
    assert_eq!(got["wrong"], json!([]));
    assert_eq!(got["key"], part("signing-call", "public key"));
    assert_eq!(got["call"], part("signing-call", "signature"));
    assert_eq!(got["redeem"], part("signing-redeem", "signature"));
    assert_eq!(got["hello"], part("signing-hello", "signature"));
    assert_eq!(got["author"], part("signing-author", "signature"));
}

/// Secret key, public key, message and signature of RFC 8032, section 7.1: tests 1 to 3 and "SHA(abc)".
const RFC_8032: [[&str; 4]; 4] = [
    [
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ],
    [
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ],
    [
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ],
    [
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ],
];

#[test]
fn the_pages_log_keeps_order_gaps_and_whose_words_they_are() {
    needs!(Chromium);
    let up = Up::start(&[]);
    let driver = Driver::start();
    let browser = driver.open(DESKTOP, &page_url(up.address("page")));
    let got = on_log(
        &browser,
        "const seqs = (log) => log.rows.map((row) => row.seq);
         const gaps = (log) => log.gaps.map(({ first, last, lost }) => [first, last, lost]);
         const log = new Log('one');
         log.begin(11, 10);
         // A run may begin before what was asked for, and history may overlap.
         log.append([text(10), text(11)], 'tcp');
         log.prepend([text(8), text(9), text(10), text(11)], 9);
         const before = [seqs(log), log.complete, log.find(9).lane, log.find(11).lane];
         // Back after a pause: what was said meanwhile is missing until it comes.
         log.begin(12, 20);
         const missing = gaps(log);
         log.append([12, 13, 14].map((seq) => text(seq)), 'tcp');
         const filling = gaps(log);
         log.append([15, 16, 17, 18, 19, 20].map((seq) => text(seq)), 'tcp');
         const filled = gaps(log);
         log.lose(21, 22);
         log.append([text(23)], 'tcp');
         const lost = [gaps(log), seqs(log).at(-1)];
         // Only the author's device changes its words, and the last change wins, whichever came first here.
         log.append([
           say(24, 'b', { kind: 'edit', seq: 23, body: 'forged' }),
           say(25, 'a', { kind: 'edit', seq: 8, body: 'second' }),
           say(26, 'b', { kind: 'delete', seq: 23 }),
           say(27, 'b', { kind: 'react', seq: 23, emoji: '!', remove: false }),
           say(28, 'c', { kind: 'react', seq: 23, emoji: '!', remove: false }),
           say(29, 'b', { kind: 'react', seq: 23, emoji: '!', remove: true }),
         ], 'tcp');
         log.prepend([text(7), text(8), say(9, 'a', { kind: 'edit', seq: 8, body: 'first' })], 1);
         const now = log.current(log.find(23));
         const reacted = [...now.reactions.get('!')];
         const edited = log.current(log.find(8));
         // Who has proven no device changes nobody's words, not even those of nobody.
         const nobody = '0'.repeat(32);
         const other = new Log('two');
         other.begin(1, 0);
         other.append([text(1, nobody), say(2, nobody, { kind: 'delete', seq: 1 }), say(3, 'a', { kind: 'attest' })], 'tcp');
         const nobodys = [other.current(other.find(1)).deleted, other.rows.length];
         // The oldest go, and come back with their changes.
         log.append(Array.from({ length: 5000 }, (_, at) => text(30 + at)), 'tcp');
         log.trim();
         const trimmed = [log.rows.length, log.oldest, log.complete];
         return { nobodys, before, missing, filling, filled, lost, trimmed, head: log.head,
           now: [now.body, now.edited, now.deleted, reacted], edited: [edited.body, edited.edited] };",
    );
    assert_eq!(got["nobodys"], json!([false, 1]));
    assert_eq!(got["before"], json!([[9, 10, 11], false, "history", "tcp"]));
    assert_eq!(got["missing"], json!([[12, 20, false]]));
    assert_eq!(got["filling"], json!([[15, 20, false]]));
    assert_eq!(got["filled"], json!([]));
    assert_eq!(got["lost"], json!([[[21, 22, true]], 23]));
    assert_eq!(got["now"], json!(["m23", false, false, ["c"]]));
    assert_eq!(got["edited"], json!(["second", true]));
    assert_eq!(got["trimmed"], json!([2000, 3030, false]));
    assert_eq!(got["head"], json!(5029));
}

#[test]
fn the_pages_log_shows_nothing_of_what_a_moderator_hid() {
    needs!(Chromium);
    let up = Up::start(&[]);
    let driver = Driver::start();
    let browser = driver.open(DESKTOP, &page_url(up.address("page")));
    let got = on_log(
        &browser,
        "const log = new Log('one');
         log.begin(1, 0);
         log.append([text(1), say(2, 'm', { kind: 'moderate', seq: 1 }), say(3, 'a', { kind: 'edit', seq: 1, body: 'again' })], 'tcp');
         log.append([text(4)], 'tcp');
         const [hidden, shown] = [1, 4].map((seq) => log.current(log.find(seq)));
         return { rows: log.rows.map((row) => row.seq), hidden: [hidden.body, hidden.deleted, hidden.hidden], shown: shown.hidden };",
    );
    assert_eq!(got["rows"], json!([1, 4]), "hiding is no row of its own");
    assert_eq!(got["hidden"], json!(["", true, true]));
    assert_eq!(got["shown"], json!(false));
}

/// Whoever floods a group costs a browser no more than the messages' own bytes, and only for as long as they are shown.
#[test]
fn the_pages_log_is_bounded_whatever_changes_come() {
    needs!(Chromium);
    let up = Up::start(&[]);
    let driver = Driver::start();
    let browser = driver.open(DESKTOP, &page_url(up.address("page")));
    let got = on_log(
        &browser,
        "const times = (count, each) => { for (let at = 0; at < count; at += 1) each(at); };
         // As many reactions to one message as come cost each the same.
         const react = (count) => {
           const log = new Log('one');
           log.begin(1, 0);
           log.append([text(1, 'a')], 'tcp');
           const messages = Array.from({ length: count }, (_, at) => say(2 + at, `d${at}`, { kind: 'react', seq: 1, emoji: '!' }));
           const begun = performance.now();
           for (const message of messages) log.append([message], 'tcp');
           return [performance.now() - begun, log.current(log.find(1)).reactions.get('!').size];
         };
         react(4000);
         const [few, many] = [react(4000), react(32000)];
         const most = react(120000)[1];
         // Edits of what is not here: the one who sends most loses them.
         const old = new Log('old');
         old.begin(100001, 100000);
         old.append([say(100001, 'ani', { kind: 'edit', seq: 50, body: 'benar' })], 'tcp');
         times(100, (at) => old.append([say(100002 + at, 'eve', { kind: 'edit', seq: 60 + at, body: 'z'.repeat(100000) })], 'tcp'));
         old.prepend([text(50, 'ani'), text(61, 'eve')], 1);
         const pending = [old.current(old.find(50)).body, old.current(old.find(61)).body.length];
         // What no row can be is not kept; the texts of rows and of their edits have a bound together.
         const wide = new Log('wide');
         wide.begin(1, 0);
         times(400, (at) => wide.append([text(1 + at, 'eve')], 'tcp'));
         times(400, (at) => wide.append([say(401 + at, 'eve', { kind: 'edit', seq: 1 + at, body: 'y'.repeat(100000) })], 'tcp'));
         wide.trim();
         const edited = wide.rows.length;
         const long = new Log('long');
         long.begin(1, 0);
         times(900, (at) => long.append([say(1 + at, 'eve', { kind: 'text', body: 'y'.repeat(100000) })], 'tcp'));
         return { few, many, most, pending, edited, long: long.rows.length, next: long.next };",
    );
    let number = |value: &Value| value.as_f64().unwrap();
    assert_eq!((&got["few"][1], &got["many"][1]), (&json!(4000), &json!(32000)));
    let (few, many) = (number(&got["few"][0]), number(&got["many"][0]));
    assert!(many < 30.0 * few.max(5.0), "8 times as many take {few} and {many} ms");
    assert!(number(&got["most"]) <= 50_000.0, "{got}");
    assert_eq!(got["pending"], json!(["benar", 3]), "an honest edit outlasts a flood of others");
    assert!(number(&got["edited"]) < 200.0 && number(&got["long"]) < 700.0, "{got}");
    assert_eq!(got["next"], json!(901));
}

/// The page has its own copy of the table, so it is compared character by character.
#[test]
fn the_page_shows_of_foreign_text_what_the_terminal_shows() {
    needs!(Chromium);
    let up = Up::start(&[]);
    let driver = Driver::start();
    let browser = driver.open(DESKTOP, &page_url(up.address("page")));
    let vectors: Value =
        serde_json::from_str(include_str!("../../../proto/gaung-proto/tests/foreign_text.json")).unwrap();
    let suspect: Vec<u32> =
        ('\0'..=char::MAX).filter(|c| !is_all_visible(c.encode_utf8(&mut [0; 4]))).map(u32::from).collect();
    let got = browser.run(
        "const { line, lines } = await import('/js/view/harmless.js');
         const [vectors, suspect] = arguments;
         const wrong = vectors.filter(({ text, shown }) => line(text) !== shown).map(({ what, text }) => [what, line(text)]);
         const known = new Set(suspect);
         const different = [];
         for (let code = 0; code <= 0x10ffff; code += 1) {
           if (code >= 0xd800 && code <= 0xdfff) continue;
           const c = String.fromCodePoint(code);
           if ((line(c) !== c) !== known.has(code)) different.push(code);
         }
         return { wrong, different, lines: lines('a\\r\\nb\\tc\\rd\\u2028') };",
        &[vectors, json!(suspect)],
    );
    assert_eq!(got, json!({ "wrong": [], "different": [], "lines": "a\nb\tc\u{240d}d\u{fffd}" }));
}

#[test]
fn a_name_is_found_as_a_whole_word() {
    needs!(Chromium);
    let up = Up::start(&[]);
    let driver = Driver::start();
    let browser = driver.open(DESKTOP, &page_url(up.address("page")));
    for (text, name, places) in [
        ("halo @Sari, sari. Sarita", "Sari", json!([[5, 10], [12, 16]])),
        ("Sarita, kasari", "Sari", json!([])),
        ("日本 さん", "日本", json!([[0, 2]])),
        ("hai Budi-S (a.b(c)", "Budi-S", json!([[4, 10]])),
        ("hai a.b(c", "a.b(c", json!([[4, 9]])),
        ("hai axb(c", "a.b(c", json!([])),
        ("siapa?", "", json!([])),
    ] {
        let body = "const { mentions } = await import('/js/chat/mention.js'); return mentions(...arguments)";
        assert_eq!(browser.run(body, &[json!(text), json!(name)]), places, "{name} in {text}");
    }
}

#[test]
fn no_text_is_missing_in_either_language() {
    needs!(Chromium);
    let up = Up::start(&[]);
    let driver = Driver::start();
    let browser = driver.open(Look { language: "id", ..DESKTOP }, &page_url(up.address("page")));
    let catalogue = browser.run(
        "const { CATALOGUE, LANGUAGE } = await import('/js/view/words.js');
         const holes = (text) => [...text.matchAll(/\\{\\w+\\}/g)].map(([hole]) => hole).sort().join();
         const shape = (words) => Object.fromEntries(Object.entries(words).map(([key, text]) => [key, holes(text)]));
         return { language: LANGUAGE, en: shape(CATALOGUE.en), id: shape(CATALOGUE.id) };",
        &[],
    );
    assert_eq!(catalogue["language"], json!("id"));
    assert_eq!(catalogue["en"], catalogue["id"], "the same texts with the same values");
    let known = catalogue["en"].as_object().unwrap();
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("../clients/web");
    let mut used = Vec::new();
    each_file(&web, &mut |text| {
        for (before, after) in
            [(" t(\"", '"'), ("(t(\"", '"'), ("{t(\"", '"'), ("data-t=\"", '"'), ("data-t-label=\"", '"')]
        {
            used.extend(text.split(before).skip(1).filter_map(|rest| rest.split(after).next()).map(str::to_owned));
        }
    });
    assert!(used.len() > 60, "the texts are found: {}", used.len());
    for key in used {
        assert!(known.contains_key(&key), "no text for {key}");
    }
}

/// Runs a script that has the page's `Log`, which honours all changes unless it is told which, and `text` and `say` that make messages
/// for it.
pub fn on_log(browser: &Browser<'_>, script: &str) -> Value {
    const MESSAGES: &str = "const page = await import('/js/chat/log.js');
         class Log extends page.Log {
           constructor(id, counts = () => true) { super(id, counts); }
         }
         const { encodeContent } = await import('/js/wire/content.js');
         const say = (seq, device, content) => {
           const [type, payload] = encodeContent('x', content);
           return { seq, device, client: device, clientSeq: seq, sentAt: 0, type, payload };
         };
         const text = (seq, device = 'a') => say(seq, device, { kind: 'text', body: `m${seq}` });
         ";
    browser.run(&[MESSAGES, script].concat(), &[])
}

fn each_file(folder: &Path, act: &mut impl FnMut(&str)) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            each_file(&entry.path(), act);
        } else if let Ok(text) = fs::read_to_string(entry.path()) {
            act(&text);
        }
    }
}

/// A vector as hexadecimal digits.
fn golden(name: &str) -> String {
    let text = fs::read_to_string(golden_path(name)).unwrap();
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split('#').next())
        .map(str::trim)
        .collect()
}

pub fn golden_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../proto/gaung-proto/tests/golden/{name}.hex"))
}
