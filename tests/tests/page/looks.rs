//! What the page shows: others' words as words, everything within reach, long histories, the network.

use gaung_tests::{
    browser::{Browser, DESKTOP, Driver, PHONE, page_url},
    deployment::Up,
    needs,
};
use serde_json::{Value, json};

use crate::{climb, enter, hears, nothing_is_wrong, say};

#[test]
fn hostile_words_stay_words() {
    needs!(Chromium);
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
    needs!(Chromium);
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
    needs!(Chromium);
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

#[test]
fn the_lab_shows_who_hears_by_which_lane_and_what_it_costs() {
    needs!(Chromium);
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
