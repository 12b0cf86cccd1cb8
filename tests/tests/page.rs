//! The page in headless Chromium: chatting with a terminal, through a hub's restart, with hostile words, at every width.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{fs, path::Path};

use gaung_tests::{
    browser::{Browser, DESKTOP, Driver, ENTER, Look, PHONE, page_url},
    deployment::Up,
    requires::{Need, has},
    services::{Service, Services},
};
use serde_json::{Value, json};

/// Opens the page as somebody, in `everyone`.
fn enter<'a>(driver: &'a Driver, look: Look, url: &str, name: &str) -> Browser<'a> {
    let browser = driver.open(look, url);
    browser.wait("the name is asked", "return document.querySelector('dialog input')");
    browser.keys("dialog input", name);
    browser.click("dialog button.main");
    browser.wait("the session is open", "return document.body.dataset.state === 'open'");
    browser.wait("the log is there", "return document.querySelector('.divider.top')?.textContent.includes('everyone')");
    browser
}

fn say(browser: &Browser<'_>, text: &str) {
    browser.keys("#input", &format!("{text}{ENTER}"));
}

/// Waits for a message with exactly these words, logged.
fn hears(browser: &Browser<'_>, words: &str) {
    let words = json!(words);
    browser.wait(
        &format!("the message {words}"),
        &format!("return [...document.querySelectorAll('article[data-seq] .body')].some((one) => one.textContent === {words})"),
    );
}

fn nothing_is_wrong(browsers: &[&Browser<'_>]) {
    for browser in browsers {
        // Requests that were under way when a hub ended are told by the browser itself.
        let console: Vec<_> = browser.console().into_iter().filter(|line| !line.contains("net::ERR_")).collect();
        assert!(console.is_empty(), "{console:#?}");
    }
}

#[test]
fn two_browsers_and_a_terminal_chat() {
    if !has("two_browsers_and_a_terminal_chat", &[Need::Chromium]) {
        return;
    }
    let up = Up::start(&[]);
    let url = page_url(up.address("page"));
    let dewi = up.person("Dewi");
    let listener = dewi.listen(&["everyone", "--lane", "multicast"]);
    let driver = Driver::start();
    let sari = enter(&driver, DESKTOP, &url, "Sari");
    let budi = enter(&driver, Look { language: "id", ..DESKTOP }, &url, "Budi");

    say(&sari, "Halo semua");
    hears(&budi, "Halo semua");
    let _ = listener.stdout_line("what a browser said", |line| line.contains("Sari") && line.ends_with("Halo semua"));
    let _ = dewi.out(&["send", "everyone", "Halo Sari!"]);
    hears(&sari, "Halo Sari!");
    hears(&budi, "Halo Sari!");
    sari.wait("her name is marked", "return document.querySelector('mark')?.textContent === 'Sari'");
    sari.wait("all three heard", "return document.querySelector('.receipt')?.textContent.includes('heard by all 3')");
    sari.wait("lanes of members", "return document.querySelector('#member-list .lane-multicast') && document.querySelector('#member-list .lane-tcp')");

    sari.wait("it is read out", "return document.querySelector('#spoken').textContent.includes('Dewi: Halo Sari!')");
    // By keys alone: from message to message, past who has heard it, to its buttons.
    sari.keys("#timeline", "\u{e013}\u{e013}\u{e004}\u{e004}");
    let focused = sari.run(
        "const focused = document.activeElement;
         return [focused.ariaLabel, focused.closest('article')?.querySelector('.body').textContent]",
        &[],
    );
    assert_eq!(focused, json!(["React 👍", "Halo semua"]));

    // Budi replies and reacts to what Sari said; she edits it, and deletes another one.
    budi.run(
        "const one = document.querySelector('article[data-seq]'); one.focus(); one.querySelector('[aria-label=\"Balas\"]').click();",
        &[],
    );
    say(&budi, "Siap");
    hears(&sari, "Siap");
    sari.wait("the reply quotes", "return document.querySelector('.quote')?.textContent === 'Sari: Halo semua'");
    budi.run(
        "const one = document.querySelector('article[data-seq]'); one.focus(); one.querySelector('.tools button').click();",
        &[],
    );
    sari.wait("the reaction", "return document.querySelector('.reactions button')?.textContent.endsWith(' 1')");
    sari.keys("#input", "\u{e013}");
    sari.wait("her message is in the box", "return document.querySelector('#input').value === 'Halo semua'");
    say(&sari, "!");
    budi.wait(
        "the edit",
        "return document.querySelector('article[data-seq] .body').textContent === 'Halo semua! diubah'",
    );
    say(&sari, "salah kamar");
    hears(&budi, "salah kamar");
    sari.run(
        "const last = [...document.querySelectorAll('article[data-seq]')].at(-1);
         last.focus();
         last.querySelector('[aria-label=Delete]').click();",
        &[],
    );
    sari.click("dialog button.main");
    budi.wait("the deletion", "return document.querySelector('article.deleted')");
    assert!(!budi.shown("#timeline").contains("salah kamar"));
    nothing_is_wrong(&[&sari, &budi]);
}

#[test]
fn a_restart_of_the_hub_misses_nothing() {
    if !has("a_restart_of_the_hub_misses_nothing", &[Need::Chromium]) {
        return;
    }
    let page = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listen = page.to_string();
    let mut services = Services::start_with(&[(Service::Hub, &["--page-listen", &listen])]);
    let driver = Driver::start();
    let sari = enter(&driver, DESKTOP, &page_url(page), "Sari");
    let dewi = services.person("Dewi");
    let _ = dewi.out(&["send", "everyone", "sebelum"]);
    hears(&sari, "sebelum");

    services.kill(Service::Hub);
    sari.wait(
        "the loss is said",
        "return document.body.dataset.state !== 'open' && !document.querySelector('#banner').hidden",
    );
    say(&sari, "ditulis saat putus");
    sari.wait("it waits", "return document.querySelector('.pending')?.textContent.includes('sending')");
    let lines: String = (1..=300).map(|n| format!("kata {n}\n")).collect();
    let _ = dewi.feed(&["send", "everyone", "-"], lines.as_bytes()).expect_code(0);
    services.start_again(Service::Hub);

    hears(&sari, "ditulis saat putus");
    sari.wait("nothing waits", "return !document.querySelector('.pending')");
    let heard = sari.run(
        "const texts = [];
         const { Items } = await import('/js/wire/items.js');
         const { decodeRun } = await import('/js/wire/run.js');
         const { decodeContent } = await import('/js/wire/content.js');
         const api = await import('/js/chat/api.js');
         const { everyone } = await api.about();
         const { runs } = await api.history(everyone, { before: 100000, limit: 1000 });
         for (const { run } of new Items().push(runs))
           for (const message of decodeRun(run).messages) texts.push(decodeContent(message.type, message.payload).body);
         return texts;",
        &[],
    );
    let logged: Vec<&str> = heard.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    assert_eq!(logged.len(), 302, "each message once");
    // What the page shows, from its end upwards, is the log's end.
    let shown =
        sari.run("return [...document.querySelectorAll('article[data-seq] .body')].map((one) => one.textContent)", &[]);
    let shown: Vec<&str> = shown.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    assert!(shown.len() >= 100, "{}", shown.len());
    assert_eq!(shown, logged[logged.len() - shown.len()..]);
    climb(&sari);
    hears(&sari, "sebelum");
    nothing_is_wrong(&[&sari]);
}

#[test]
fn hostile_words_stay_words() {
    if !has("hostile_words_stay_words", &[Need::Chromium]) {
        return;
    }
    const SCRIPT: &str = "<script>document.title='owned'</script><img src=x onerror=document.title='owned'>";
    let up = Up::start(&[]);
    let url = page_url(up.address("page"));
    let driver = Driver::start();
    let sari = enter(&driver, DESKTOP, &url, "Sari");
    let hostile = up.person("<b onclick=alert(1)>Eve</b>");
    let _ = hostile.out(&["send", "everyone", SCRIPT]);
    hears(&sari, SCRIPT);
    let _ = hostile.feed(&["send", "everyone", "-"], "satu\u{202e}dua\u{7}\x1b[31m\n".as_bytes()).expect_code(0);
    hears(&sari, "satu\u{fffd}dua\u{2407}\u{241b}[31m");
    let listener = hostile.listen(&["everyone", "--lane", "tcp"]);
    sari.wait("the name is text", "return [...document.querySelectorAll('#member-list .name')].some((one) => one.textContent.startsWith('<b onclick'))");
    drop(listener);
    let found = sari.run("return [document.scripts.length, document.querySelectorAll('main b b, main img, #members b').length, document.title]", &[]);
    assert_eq!(found, json!([1, 0, "Gaung"]));

    // A browser's own words go the same way, and its name.
    let eve = enter(&driver, PHONE, &url, "<i>Eve</i>\u{202e}");
    say(&eve, SCRIPT);
    sari.wait("her name is text", "return [...document.querySelectorAll('article header b')].some((one) => one.textContent === '<i>Eve</i>\u{fffd}')");
    assert_eq!(sari.run("return document.title", &[]), json!("Gaung"));
    nothing_is_wrong(&[&sari, &eve]);
}

#[test]
fn everything_is_within_reach_on_a_phone_and_on_a_desktop() {
    if !has("everything_is_within_reach_on_a_phone_and_on_a_desktop", &[Need::Chromium]) {
        return;
    }
    let up = Up::start(&[]);
    let url = page_url(up.address("page"));
    let driver = Driver::start();
    let long = "x".repeat(300);
    let _ = up.person("Dewi").out(&["send", "everyone", &long]);
    for look in [PHONE, DESKTOP] {
        let browser = enter(&driver, look, &url, "Sari");
        hears(&browser, &long);
        browser.wait("the members", "return document.querySelector('#member-list li')");
        let mut wanted = vec!["#input", "#send", "#notify", "#search", "#room-name"];
        if look.phone {
            wanted.extend(["#menu", "#show-members"]);
        } else {
            wanted.extend(["#me", "#new-group", "#use-invite", "#share", "#room-list button", "#member-list li"]);
        }
        reached(&browser, &wanted);
        browser.click("#search");
        browser.keys("#search-text", "xxx");
        reached(&browser, &["#search-text", "#search-found button"]);
        browser.click("#search");
        if look.phone {
            browser.click("#menu");
            reached(&browser, &["#me", "#new-group", "#use-invite", "#share", "#room-list button", "#rooms a.button"]);
            browser.click("#share");
            browser.wait("the code", "return document.querySelector('.qr')");
            let side = browser
                .run("const code = document.querySelector('.qr'); await code.decode(); return code.naturalWidth", &[]);
            assert!(side.as_u64().unwrap() >= 240, "{side}");
            reached(&browser, &[".qr", ".copy", "dialog button.main"]);
            browser.click("dialog button.main");
            browser.run("document.querySelector('#menu').click()", &[]);
            browser.click("#show-members");
            reached(&browser, &["#member-list li"]);
        }
        browser.go(&format!("{url}lab"));
        browser.wait("the network is drawn", "return document.querySelector('#topology svg, #topology p')");
        reached(&browser, &["#group", "header a.button"]);
        nothing_is_wrong(&[&browser]);
    }
}

/// No sideways scrolling, and each of these is in view with nothing over it.
fn reached(browser: &Browser<'_>, selectors: &[&str]) {
    let found = browser.run(
        "const hidden = arguments[0].filter((selector) => {
           const element = document.querySelector(selector);
           const box = element.getBoundingClientRect();
           const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
           const inside = box.left >= 0 && box.right <= innerWidth && box.top >= 0 && box.bottom <= innerHeight;
           return !inside || !(element.contains(top) || top?.contains(element));
         });
         return { hidden, sideways: document.documentElement.scrollWidth - innerWidth };",
        &[json!(selectors)],
    );
    assert_eq!(found["hidden"], json!([]), "not within reach");
    assert!(found["sideways"].as_i64().unwrap() <= 0, "{found}");
}

#[test]
fn a_long_history_is_read_by_scrolling_and_the_page_stays_small() {
    if !has("a_long_history_is_read_by_scrolling_and_the_page_stays_small", &[Need::Chromium]) {
        return;
    }
    let up = Up::start(&[]);
    let url = page_url(up.address("page"));
    let lines: String = (1..=1500).map(|n| format!("kata {n}\n")).collect();
    let _ = up.person("Dewi").feed(&["send", "everyone", "-"], lines.as_bytes()).expect_code(0);
    let driver = Driver::start();
    let sari = driver.open(DESKTOP, &url);
    sari.wait("the name is asked", "return document.querySelector('dialog input')");
    sari.keys("dialog input", "Sari");
    sari.click("dialog button.main");
    hears(&sari, "kata 1500");
    let climbed = climb(&sari);
    assert!(climbed <= 180, "{climbed}");
    let seqs = sari
        .run("return [...document.querySelectorAll('article[data-seq]')].map((one) => Number(one.dataset.seq))", &[]);
    let seqs: Vec<u64> = seqs.as_array().unwrap().iter().map(|seq| seq.as_u64().unwrap()).collect();
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "in order, without a hole: {seqs:?}");
    sari.click("#latest");
    hears(&sari, "kata 1500");

    // Words from far back are found and shown where they stand.
    sari.click("#search");
    sari.keys("#search-text", "kata 77");
    sari.wait("found", "return [...document.querySelectorAll('#search-found button')].some((one) => one.textContent.endsWith('kata 77'))");
    sari.run("[...document.querySelectorAll('#search-found button')].find((one) => one.textContent.endsWith('kata 77')).click()", &[]);
    sari.wait("it is shown", "return document.activeElement?.textContent.includes('kata 77')");
    nothing_is_wrong(&[&sari]);
}

/// Scrolls up to the first message; gives how many there were in the page at most.
fn climb(browser: &Browser<'_>) -> u64 {
    let most = browser.run(
        "const box = document.querySelector('#timeline');
         const first = () => document.querySelector('article[data-seq]')?.dataset.seq;
         let most = 0;
         while (first() !== '1') {
           box.scrollTop = 0;
           await new Promise((resolve) => requestAnimationFrame(resolve));
           most = Math.max(most, document.querySelectorAll('article').length);
         }
         return most;",
        &[],
    );
    most.as_u64().unwrap()
}

#[test]
fn groups_are_made_joined_and_entered_by_invite() {
    if !has("groups_are_made_joined_and_entered_by_invite", &[Need::Chromium]) {
        return;
    }
    let up = Up::start(&[]);
    let url = page_url(up.address("page"));
    let driver = Driver::start();
    let sari = enter(&driver, DESKTOP, &url, "Sari");
    let budi = enter(&driver, PHONE, &url, "Budi");

    sari.click("#new-group");
    sari.keys("dialog input[name=name]", "lobby");
    sari.click("dialog button.main");
    sari.wait("she is in it", "return document.querySelector('#room-name').textContent === 'lobby'");
    budi.click("#menu");
    budi.click("#others summary");
    budi.wait("he sees it", "return document.querySelector('#other-list button')?.textContent === '# lobby'");
    budi.click("#other-list button");
    budi.wait("he is in it", "return document.querySelector('#room-name').textContent === 'lobby' && document.querySelector('.divider.top')?.textContent.includes('lobby')");
    say(&budi, "di sini");
    hears(&sari, "di sini");

    sari.click("#new-group");
    sari.keys("dialog input[name=name]", "rapat");
    sari.click("dialog input[name=isPrivate]");
    sari.click("dialog button.main");
    sari.wait(
        "she is in it",
        "return document.querySelector('#room-name').textContent === 'rapat' && document.querySelector('.divider.top')",
    );
    sari.click("#invite");
    let code = sari.wait("a code", "return document.querySelector('dialog .copy')?.textContent");
    sari.click("dialog button.main");
    budi.click("#menu");
    budi.click("#use-invite");
    budi.keys("dialog input[name=code]", code.as_str().unwrap());
    budi.click("dialog button.main");
    budi.wait(
        "he is in it",
        "return document.querySelector('#room-name').textContent === 'rapat' && document.querySelector('.divider.top')",
    );
    say(&budi, "rahasia");
    hears(&sari, "rahasia");

    // What comes to a group that is not shown is counted, and a reload forgets nothing.
    sari.click("#room-list button[data-room=everyone]");
    say(&budi, "Sari, masih di sana?");
    sari.wait(
        "unread and mention",
        "return document.querySelector('[data-room=rapat] .mentions')?.textContent === '1'",
    );
    sari.run("location.reload()", &[]);
    sari.wait("unread again", "return document.querySelector('[data-room=rapat] .unread.badge')?.textContent === '1'");
    sari.click("#room-list button[data-room=rapat]");
    hears(&sari, "Sari, masih di sana?");
    sari.wait("a line where unread begins", "return document.querySelector('.divider.unread')");
    sari.wait("read", "return !document.querySelector('.badge')");
    nothing_is_wrong(&[&budi]);
}

#[test]
fn the_lab_shows_who_hears_by_which_lane_and_what_it_costs() {
    if !has("the_lab_shows_who_hears_by_which_lane_and_what_it_costs", &[Need::Chromium]) {
        return;
    }
    let up = Up::start(&[]);
    let url = page_url(up.address("page"));
    let dewi = up.person("Dewi");
    let _multicast = dewi.listen(&["everyone", "--lane", "multicast"]);
    let _tcp = up.person("Wati").listen(&["everyone", "--lane", "tcp"]);
    let driver = Driver::start();
    let lab = driver.open(DESKTOP, &format!("{url}lab"));
    lab.wait("lanes", "const lanes = document.querySelector('#lanes')?.textContent ?? ''; return lanes.includes('multicast 1') && lanes.includes('tcp 1')");
    lab.wait("the drawing", "return document.querySelectorAll('#topology .node').length === 4");
    let mut talk = dewi.start(&["send", "everyone", "-"]);
    let busy = "return !/ 0(\\s|$)/.test(document.querySelector('#messages .legend')?.textContent ?? ' 0')";
    for n in 0.. {
        talk.write(format!("kata {n}\n"));
        let rate = lab.run(busy, &[]);
        if rate == Value::Bool(true) {
            break;
        }
    }
    lab.wait(
        "what was sent by multicast",
        "return /: [1-9][\\d.]* ?k? datagrams/.test(document.querySelector('#totals').textContent)",
    );
    lab.wait("the listener's row", "return [...document.querySelectorAll('#members tbody tr')].some((row) => row.textContent.includes('Dewi') && row.textContent.includes('multicast') && row.textContent.includes('0.0 %'))");
    nothing_is_wrong(&[&lab]);
}

/// Golden vectors as the page's own decoders see them.
#[test]
fn the_pages_decoders_agree_with_the_golden_vectors() {
    if !has("the_pages_decoders_agree_with_the_golden_vectors", &[Need::Chromium]) {
        return;
    }
    let up = Up::start(&[]);
    let driver = Driver::start();
    let browser = driver.open(DESKTOP, &page_url(up.address("page")));
    let contents = ["text", "reply", "edit", "delete", "react", "join", "leave"];
    let vectors: Vec<Value> = contents.iter().map(|kind| json!([kind, golden(&format!("content-{kind}"))])).collect();
    let got = browser.run(
        "const { fromHex, toHex } = await import('/js/wire/bytes.js');
         const { Items } = await import('/js/wire/items.js');
         const { decodeRun } = await import('/js/wire/run.js');
         const { Type, decodeContent, encodeContent } = await import('/js/wire/content.js');
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
         for (const [kind, hex] of contents) {
           const content = decodeContent(Type[kind], fromHex(hex));
           if (content.kind !== kind) wrong.push(kind);
           // A leave's reason is not written by the page.
           if (kind !== 'leave' && toHex(encodeContent(content.author, content)[1]) !== hex) wrong.push(kind);
         }
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

#[test]
fn the_pages_log_keeps_order_gaps_and_whose_words_they_are() {
    if !has("the_pages_log_keeps_order_gaps_and_whose_words_they_are", &[Need::Chromium]) {
        return;
    }
    let up = Up::start(&[]);
    let driver = Driver::start();
    let browser = driver.open(DESKTOP, &page_url(up.address("page")));
    let got = browser.run(
        "const { Log } = await import('/js/chat/log.js');
         const { encodeContent } = await import('/js/wire/content.js');
         const say = (seq, device, content) => {
           const [type, payload] = encodeContent('x', content);
           return { seq, device, client: device, clientSeq: seq, sentAt: 0, type, payload };
         };
         const text = (seq, device = 'a') => say(seq, device, { kind: 'text', body: `m${seq}` });
         const seqs = (log) => log.rows.map((row) => row.seq);
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
         const edited = log.current(log.find(8));
         // The oldest go, and come back with their changes.
         log.append(Array.from({ length: 5000 }, (_, at) => text(30 + at)), 'tcp');
         log.trim();
         const trimmed = [log.rows.length, log.oldest, log.complete];
         return { before, missing, filling, filled, lost, trimmed, head: log.head,
           now: [now.body, now.edited, now.deleted, [...now.reactions.get('!')]], edited: [edited.body, edited.edited] };",
        &[],
    );
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
fn a_name_is_found_as_a_whole_word() {
    if !has("a_name_is_found_as_a_whole_word", &[Need::Chromium]) {
        return;
    }
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
    if !has("no_text_is_missing_in_either_language", &[Need::Chromium]) {
        return;
    }
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
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../proto/gaung-proto/tests/golden/{name}.hex"));
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split('#').next())
        .map(str::trim)
        .collect()
}
