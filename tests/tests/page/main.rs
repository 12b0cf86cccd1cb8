//! The page in headless Chromium: chatting with a terminal, through a hub's restart, with hostile words, at every width.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod authors;
mod chatting;
mod looks;
mod moderating;
mod modules;
mod privacy;
mod tabs;

use gaung_tests::browser::{Browser, Driver, ENTER, Look};
use serde_json::json;

/// Opens the page as somebody, in `everyone`.
pub fn enter<'a>(driver: &'a Driver, look: Look, url: &str, name: &str) -> Browser<'a> {
    let browser = driver.open(look, url);
    browser.wait("the name is asked", "return document.querySelector('dialog input')");
    browser.keys("dialog input", name);
    browser.click("dialog button.main");
    browser.wait("the session is open", "return document.body.dataset.state === 'open'");
    browser.wait("the log is there", "return document.querySelector('.divider.top')?.textContent.includes('everyone')");
    browser
}

pub fn say(browser: &Browser<'_>, text: &str) {
    browser.keys("#input", &format!("{text}{ENTER}"));
}

/// Waits for a message with exactly these words, logged.
pub fn hears(browser: &Browser<'_>, words: &str) {
    let words = json!(words);
    browser.wait(
        &format!("the message {words}"),
        &format!("return [...document.querySelectorAll('article[data-seq] .body')].some((one) => one.textContent === {words})"),
    );
}

pub fn nothing_is_wrong(browsers: &[&Browser<'_>]) {
    for browser in browsers {
        // Requests that were under way when a hub ended are told by the browser itself, and on pages without encryption that one of
        // the page's headers is for others.
        let is_usual = |line: &String| line.contains("net::ERR_") || line.contains("Cross-Origin-Opener-Policy");
        let console: Vec<_> = browser.console().into_iter().filter(|line| !is_usual(line)).collect();
        assert!(console.is_empty(), "{console:#?}");
    }
}

/// Scrolls up to the first message; gives how many there were in the page at most.
pub fn climb(browser: &Browser<'_>) -> u64 {
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
