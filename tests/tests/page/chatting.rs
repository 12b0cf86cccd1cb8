//! People who chat: in two browsers and a terminal, while the hub goes away, in groups of their own.

use gaung_tests::{
    browser::{DESKTOP, Driver, Look, PHONE, page_url},
    deployment::Up,
    needs,
    reserved_port::ReservedPort,
    services::{Service, Services},
};
use serde_json::json;

use crate::{climb, enter, hears, nothing_is_wrong, say};

#[test]
fn browsers_by_https_and_by_http_chat() {
    needs!(Chromium);
    let up = Up::start(&[]);
    let url = page_url(up.address("page"));
    let driver = Driver::start();
    let sari = enter(&driver, DESKTOP, &url.replacen("http:", "https:", 1), "Sari");
    let budi = enter(&driver, DESKTOP, &url, "Budi");
    say(&sari, "Lewat TLS");
    hears(&budi, "Lewat TLS");
    say(&budi, "Tanpa TLS");
    hears(&sari, "Tanpa TLS");
    assert_eq!(sari.run("return [location.protocol, isSecureContext]", &[]), json!(["https:", true]));
    sari.wait("who is there", "return document.querySelectorAll('#member-list .lane-tcp').length === 2");
    nothing_is_wrong(&[&sari, &budi]);
}

#[test]
fn two_browsers_and_a_terminal_chat() {
    needs!(Chromium);
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
    sari.wait(
        "her message is logged",
        "return [...document.querySelectorAll('article[data-seq]')].at(-1).textContent.includes('salah kamar')",
    );
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
    needs!(Chromium);
    let port = ReservedPort::find();
    let page = port.addr();
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
fn groups_are_made_joined_and_entered_by_invite() {
    needs!(Chromium);
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
