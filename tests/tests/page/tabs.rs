//! One person with two tabs.

use gaung_tests::{
    browser::{Browser, DESKTOP, Driver, ENTER, page_url},
    deployment::Up,
    needs,
};

use crate::{enter, hears, nothing_is_wrong, say};

#[test]
fn two_tabs_share_name_groups_and_what_is_read_and_each_has_its_draft() {
    needs!(Chromium);
    let up = Up::start(&[]);
    let url = page_url(up.address("page"));
    let dewi = up.person("Dewi");
    for group in ["lobby", "kedua"] {
        let _ = dewi.out(&["group", "create", group]);
    }
    let driver = Driver::start();
    let sari = enter(&driver, DESKTOP, &url, "Sari");
    sari.click("#others summary");
    join(&sari, "lobby");
    show(&sari, "everyone");
    let first = sari.tab();
    let second = sari.open_tab(&url);
    sari.wait("the session is open", "return document.body.dataset.state === 'open'");
    show(&sari, "lobby");

    // What one tab shows is read for the other.
    let _ = dewi.out(&["send", "lobby", "siapa di sini?"]);
    hears(&sari, "siapa di sini?");
    sari.switch(&first);
    let _ = dewi.out(&["send", "everyone", "dan di sini?"]);
    hears(&sari, "dan di sini?");
    sari.wait("all is read", "return !document.querySelector('.badge') && !document.title.includes('(')");

    // Both speak under the new name.
    sari.click("#me");
    sari.wait("the name is asked", "return document.querySelector('dialog input')");
    sari.run("document.querySelector('dialog input').value = ''", &[]);
    sari.keys("dialog input", &format!("Sari Baru{ENTER}"));
    sari.switch(&second);
    sari.wait("the other tab has it", "return document.querySelector('#me').textContent.includes('Sari Baru')");
    say(&sari, "dari tab kedua");
    hears(&sari, "dari tab kedua");
    let said = dewi.out(&["history", "lobby", "--limit", "1"]).join("\n");
    assert!(said.contains("Sari Baru: dari tab kedua"), "{said}");

    // A group that was joined in one tab outlasts another one's being left in the other, and a reload.
    sari.switch(&first);
    join(&sari, "kedua");
    show(&sari, "everyone");
    sari.switch(&second);
    sari.click("#leave");
    sari.click("dialog button.main");
    sari.wait("she has left", "return !document.querySelector('#room-list [data-room=lobby]')");
    show(&sari, "everyone");
    sari.keys("#input", "draf yang panjang");
    sari.switch(&first);
    say(&sari, "halo");
    hears(&sari, "halo");
    sari.switch(&second);
    sari.run("location.reload()", &[]);
    sari.wait("the draft", "return document.querySelector('#input')?.value === 'draf yang panjang'");
    for tab in [&second, &first] {
        sari.switch(tab);
        sari.wait(
            "one group more, and one less",
            "return document.querySelector('#room-list [data-room=kedua]') && !document.querySelector('#room-list [data-room=lobby]')",
        );
    }
    nothing_is_wrong(&[&sari]);
}

/// Joins a group of the list of others, which is open.
pub fn join(browser: &Browser<'_>, group: &str) {
    let button =
        format!("[...document.querySelectorAll('#other-list button')].find((one) => one.textContent === '# {group}')");
    browser.wait("it is among the others", &format!("return {button}"));
    browser.run(&format!("{button}.click()"), &[]);
    browser.wait("it is shown", &format!("return document.querySelector('#room-name').textContent === '{group}'"));
}

fn show(browser: &Browser<'_>, group: &str) {
    let button = format!("#room-list button[data-room={group}]");
    browser.wait("it is among the groups", &format!("return document.querySelector('{button}')"));
    browser.click(&button);
    browser.wait("it is shown", &format!("return document.querySelector('#room-name').textContent === '{group}'"));
}
