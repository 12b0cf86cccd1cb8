//! What others on the network learn, and how people come to a page that they do not hear.

use gaung_site::SiteAuthority;
use gaung_tests::{
    browser::{Browser, DESKTOP, Driver, Look, PHONE, distant_page_url, page_url},
    deployment::Up,
    needs,
    wiretap::{Wiretap, find},
};
use serde_json::json;

use crate::{enter, hears, nothing_is_wrong, say};

/// Whoever records all that two browsers send and get, by HTTP, has no key of theirs.
#[test]
fn a_recording_of_a_pages_whole_life_has_no_seed() {
    needs!(Chromium);
    let up = Up::start(&[]);
    let tap = Wiretap::start(up.address("page"));
    let url = distant_page_url(tap.addr());
    let driver = Driver::start();
    let sari = enter(&driver, DESKTOP, &url, "Sari");
    let budi = enter(&driver, DESKTOP, &url, "Budi");
    say(&sari, "Halo semua");
    hears(&budi, "Halo semua");

    make_group(&sari, "rapat", true);
    sari.click("#invite");
    let code = sari.wait("a code", "return document.querySelector('dialog .copy')?.textContent");
    sari.click("dialog button.main");
    budi.click("#use-invite");
    budi.keys("dialog input[name=code]", code.as_str().unwrap());
    budi.click("dialog button.main");
    in_group(&budi, "rapat");
    say(&budi, "rahasia");
    hears(&sari, "rahasia");
    make_group(&sari, "lobby", false);
    say(&sari, "di lobby");
    hears(&sari, "di lobby");

    sari.run("location.reload()", &[]);
    sari.wait("the session is open", "return document.body.dataset.state === 'open'");
    sari.click("#room-list button[data-room=rapat]");
    hears(&sari, "rahasia");
    sari.click("#leave");
    sari.click("dialog button.main");
    sari.wait("she has left", "return !document.querySelector('#room-list [data-room=rapat]')");
    nothing_is_wrong(&[&sari, &budi]);
    let identities = [&sari, &budi].map(|browser| {
        browser.run(
            "const { Device } = await import('/js/chat/device.js');
             const { publicKey, id } = await Device.load();
             return { isSecureContext, seed: JSON.parse(localStorage.getItem('gaung.seed')), publicKey, id };",
            &[],
        )
    });
    drop((sari, budi));

    let recorded = tap.recorded();
    let has = |wanted: &[u8]| find(&recorded, wanted).is_some();
    assert!(has(b"Halo semua") && has(code.as_str().unwrap().as_bytes()), "the recording is of what they did");
    for identity in identities {
        assert_eq!(identity["isSecureContext"], json!(false), "here the page has to compute itself");
        let (key, seed) = (identity["publicKey"].as_str().unwrap(), identity["seed"].as_str().unwrap());
        assert!(has(key.as_bytes()) && has(&from_hex(identity["id"].as_str().unwrap())), "what the others may know");
        let seed = from_hex(seed);
        assert_eq!(seed.len(), 32);
        for (written, form) in forms(&seed) {
            assert!(!has(&form), "{written}");
        }
    }
}

/// The ways in which a program may write bytes.
fn forms(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let list = bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(",");
    let object = bytes.iter().enumerate().map(|(at, byte)| format!("\"{at}\":{byte}")).collect::<Vec<_>>().join(",");
    let reversed = bytes.iter().rev().copied().collect();
    vec![
        ("bytes", bytes.to_vec()),
        ("reversed", reversed),
        ("hexadecimal", hex.clone().into_bytes()),
        ("capitals", hex.to_uppercase().into_bytes()),
        ("base 64", base64(bytes).into_bytes()),
        ("a list", list.into_bytes()),
        ("an object", object.into_bytes()),
    ]
}

/// Base 64 of as many whole groups as there are.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |three: &[u8]| {
        let bits = three.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        [18, 12, 6, 0].map(|shift| char::from(DIGITS[bits >> shift & 63]))
    };
    bytes.chunks_exact(3).flat_map(group).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

pub fn make_group(browser: &Browser<'_>, name: &str, is_private: bool) {
    browser.click("#new-group");
    browser.keys("dialog input[name=name]", name);
    if is_private {
        browser.click("dialog input[name=isPrivate]");
    }
    browser.click("dialog button.main");
    in_group(browser, name);
}

fn in_group(browser: &Browser<'_>, name: &str) {
    browser.wait(
        "it is shown",
        &format!("return document.querySelector('#room-name').textContent === '{name}' && document.querySelector('.divider.top')"),
    );
}

/// A browser that keeps keys has one that no script reads, for all its tabs; one that has a seed from before stays the same device.
#[test]
fn a_browser_stays_the_same_device() {
    needs!(Chromium);
    let up = Up::start(&[]);
    let url = page_url(up.address("page"));
    let driver = Driver::start();
    let sari = enter(&driver, DESKTOP, &url, "Sari");
    let device = "const { Device } = await import('/js/chat/device.js'); return (await Device.load()).publicKey;";
    let first = sari.run(device, &[]);
    let _tab = sari.open_tab(&url);
    sari.wait("the session is open", "return document.body.dataset.state === 'open'");
    assert_eq!(sari.run(device, &[]), first, "in another tab");
    let kept = sari.run(
        "const done = (request) => new Promise((resolve) => (request.onsuccess = () => resolve(request.result)));
         const base = await done(indexedDB.open('gaung', 1));
         const { privateKey } = await done(base.transaction('keys').objectStore('keys').get('device'));
         const read = await crypto.subtle.exportKey('pkcs8', privateKey).then(() => 'read', (error) => error.name);
         return [localStorage.getItem('gaung.seed'), privateKey.extractable, read];",
        &[],
    );
    assert_eq!(kept, json!([null, false, "InvalidAccessError"]));

    // RFC 8032, section 7.1, test 1.
    let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    sari.run("localStorage.setItem('gaung.seed', JSON.stringify(arguments[0])); location.reload()", &[json!(seed)]);
    sari.wait("the session is open", "return document.body.dataset.state === 'open'");
    let key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    assert_eq!(sari.run(device, &[]), json!(key));
    nothing_is_wrong(&[&sari]);
}

#[test]
fn a_page_that_others_can_read_says_so_in_a_banner() {
    needs!(Chromium);
    let up = Up::start(&[]);
    let (own, distant) = (page_url(up.address("page")), distant_page_url(up.address("page")));
    let driver = Driver::start();
    let first = "Everyone on this network can read along.";
    let indonesian = "Semua orang di jaringan ini bisa ikut membaca.";
    for (look, words) in [(DESKTOP, first), (PHONE, first), (Look { language: "id", ..PHONE }, indonesian)] {
        let sari = enter(&driver, look, &distant, "Sari");
        let link = distant.replacen("http:", "https:", 1);
        sari.wait(
            "the banner and its links",
            &format!(
                "const links = [...document.querySelectorAll('#exposed a')].map((link) => link.href);
                 return links.includes('{link}') && links.includes('{distant}trust')"
            ),
        );
        assert!(sari.shown("#exposed").contains(words), "{}", sari.shown("#exposed"));
        let above = sari.run(
            "const [banner, app] = ['#exposed', '#app'].map((one) => document.querySelector(one).getBoundingClientRect());
             const input = document.querySelector('#input').getBoundingClientRect();
             return [banner.top, banner.bottom - app.top, banner.height < innerHeight / 3, input.bottom <= innerHeight];",
            &[],
        );
        assert_eq!(above, json!([0, 0, true, true]), "above everything, and the message box stays in view");

        // It is hidden for this tab, a reload included, and for no other.
        sari.click("#exposed button");
        sari.run("location.reload()", &[]);
        sari.wait("the session is open", "return document.body.dataset.state === 'open'");
        assert_eq!(sari.run("return document.querySelector('#exposed').hidden", &[]), json!(true));
        let _tab = sari.open_tab(&distant);
        sari.wait("the banner in a new tab", "return !document.querySelector('#exposed').hidden");
        sari.go(&own);
        sari.wait("the name is asked", "return document.querySelector('dialog input')");
        assert_eq!(
            sari.run("return document.querySelector('#exposed').hidden", &[]),
            json!(true),
            "nobody reads along"
        );
        nothing_is_wrong(&[&sari]);
    }
}

/// The page of a site whose root is installed opens without a warning, and another's does not open.
#[test]
fn https_opens_without_a_warning_once_the_sites_root_is_installed() {
    needs!(Chromium, Certutil);
    let up = Up::start(&[]);
    let url = page_url(up.address("page"));
    let secure = url.replacen("http:", "https:", 1);
    let root = ureq::get(format!("{url}trust/root.crt")).call().unwrap().body_mut().read_to_vec().unwrap();

    let driver = Driver::start_trusting(&root);
    let sari = enter(&driver, DESKTOP, &secure, "Sari");
    assert_eq!(sari.run("return isSecureContext", &[]), json!(true));
    say(&sari, "Lewat HTTPS");
    hears(&sari, "Lewat HTTPS");
    sari.go(&format!("{secure}trust"));
    let shown = sari.wait(
        "code and fingerprint",
        "const [code, print] = ['#code', '#fingerprint'].map((one) => document.querySelector(one).textContent);
         return code && print && [code, print]",
    );
    let hashed = sari.run(
        "const root = await (await fetch('trust/root.crt')).arrayBuffer();
         return [...new Uint8Array(await crypto.subtle.digest('SHA-256', root))].map((byte) => byte.toString(16).padStart(2, '0').toUpperCase()).join(':')",
        &[],
    );
    assert_eq!(shown[1], hashed);
    let folder = up.data().join("registry/site");
    assert_eq!(shown[0], json!(SiteAuthority::load_or_create(&folder).unwrap().id().code().to_string()));
    nothing_is_wrong(&[&sari]);

    let other = SiteAuthority::create().unwrap();
    let stranger = Driver::start_trusting(other.root());
    let warning = stranger.open(DESKTOP, &secure).shown("body");
    assert!(warning.contains("NET::ERR_CERT_AUTHORITY_INVALID"), "{warning}");
}
