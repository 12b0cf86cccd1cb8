//! Who wrote a message, as browsers sign and show it.

use gaung_tests::{
    browser::{DESKTOP, Driver, distant_page_url, page_url},
    deployment::{Person, Up},
    needs,
};
use serde_json::{Value, json};

use crate::{enter, hears, nothing_is_wrong, say};

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
