//! Who has a role in a group decides about others on the page.

use std::fs;

use ed25519_dalek::SigningKey;
use gaung_proto::{
    DeviceId, GroupId,
    policy::{Policy, PolicyChange, Role, SignedPolicy},
};
use gaung_tests::{
    browser::{Browser, DESKTOP, Driver, page_url},
    deployment::Up,
    needs,
};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use serde_json::{Value, json};

use crate::{enter, hears, modules::golden_path, nothing_is_wrong, privacy::make_group, say, tabs::join};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Any changes, one after another: the page makes the same bytes of each version as the library of the other programs.
#[test]
fn the_page_makes_policies_as_others_do() {
    needs!(Chromium);
    let mut rng = SmallRng::seed_from_u64(17);
    let (mut policy, mut changes, mut versions) = (Policy::unset(GroupId([7; 16])), Vec::new(), Vec::new());
    for _ in 0..400 {
        // Enough devices that the oldest kicks give way.
        let device = DeviceId([rng.random_range(1..=255); 16]);
        let (change, said) = match rng.random_range(0..8) {
            0 => (PolicyChange::SetRole(device, Role::Admin), json!({ "kind": "role", "role": 2 })),
            1 => (PolicyChange::SetRole(device, Role::Moderator), json!({ "kind": "role", "role": 1 })),
            2 => (PolicyChange::SetRole(device, Role::Member), json!({ "kind": "role" })),
            3 => (PolicyChange::Ban(device), json!({ "kind": "ban" })),
            4 => (PolicyChange::Unban(device), json!({ "kind": "unban" })),
            5 => (PolicyChange::Unmute(device), json!({ "kind": "unmute" })),
            6 => (PolicyChange::Kick(device), json!({ "kind": "kick" })),
            _ => {
                let until = rng.random_range(1..1_i64 << 42);
                (PolicyChange::Mute(device, until), json!({ "kind": "mute", "until": until }))
            }
        };
        policy = policy.with(change);
        changes.push(json!([hex(&device.0), said]));
        versions.push(hex(&policy.encode()));
    }
    let golden = fs::read_to_string(golden_path("signing-policy")).unwrap();
    let key = fs::read_to_string(golden_path("signing-call")).unwrap();
    let key = key.lines().find(|line| line.ends_with("# Ed25519 secret key")).unwrap();
    let key: [u8; 32] = std::array::from_fn(|at| u8::from_str_radix(&key[2 * at..2 * at + 2], 16).unwrap());
    let signed = SignedPolicy::sign(&SigningKey::from_bytes(&key), policy);
    assert!(golden.contains(&hex(SigningKey::from_bytes(&key).verifying_key().as_bytes())[..20]), "the vectors' key");

    let up = Up::start(&[]);
    let driver = Driver::start();
    let browser = driver.open(DESKTOP, &page_url(up.address("page")));
    let got = browser.run(
        "const { fromHex, toHex } = await import('/js/wire/bytes.js');
         const ed25519 = await import('/js/wire/ed25519.js');
         const policies = await import('/js/wire/policy.js');
         const [changes, versions, seed, whole] = arguments;
         let policy = policies.unset('07070707-0707-0707-0707-070707070707');
         const wrong = [];
         for (const [at, [device, change]] of changes.entries()) {
           policy = policies.withChange(policy, { ...change, device });
           if (toHex(policies.encode(policy)) !== versions[at]) wrong.push(at);
         }
         const again = policies.decodeSigned(fromHex(whole));
         const encoded = policies.encode(policy);
         const signature = toHex(ed25519.sign(fromHex(seed), policies.policyBytes(encoded)));
         const signed = policies.signedPolicy(encoded, toHex(ed25519.publicKey(fromHex(seed))), signature);
         return { wrong, decoded: toHex(policies.encode(again)), signed: toHex(signed) };",
        &[json!(changes), json!(versions), json!(hex(&key)), json!(hex(signed.encoded()))],
    );
    assert_eq!(got["wrong"], json!([]));
    assert_eq!(got["decoded"], json!(versions.last()));
    assert_eq!(got["signed"], json!(hex(signed.encoded())));
}

/// Chooses what the dialog about a member offers under these words.
fn decide(browser: &Browser<'_>, name: &str, words: &str) {
    let member = format!(
        "[...document.querySelectorAll('#member-list button.name')].find((one) => one.textContent === '{name}')"
    );
    browser.wait("the member may be decided about", &format!("return Boolean({member})"));
    browser.run(&format!("{member}.click()"), &[]);
    let choice =
        format!("[...document.querySelectorAll('dialog .choice')].find((one) => one.textContent === '{words}')");
    browser.wait("the choice", &format!("return Boolean({choice})"));
    browser.run(&format!("{choice}.click()"), &[]);
}

fn banner(browser: &Browser<'_>, words: &str) {
    browser.wait(
        "it is said",
        &format!("return document.querySelector('#banner').textContent.includes({})", json!(words)),
    );
}

#[test]
fn an_owner_mutes_hides_and_bans_and_a_member_cannot() {
    needs!(Chromium);
    let up = Up::start(&[]);
    let url = page_url(up.address("page"));
    let driver = Driver::start();
    let sari = enter(&driver, DESKTOP, &url, "Sari");
    make_group(&sari, "lobby", false);
    let budi = enter(&driver, DESKTOP, &url, "Budi");
    budi.click("#others summary");
    join(&budi, "lobby");

    decide(&sari, "Budi", "Mute for 1 hour");
    banner(&sari, "Budi may not write for now");
    say(&budi, "dibisukan");
    banner(&budi, "muted");
    assert_eq!(
        budi.run("return document.querySelector('#input').value", &[]),
        json!("dibisukan"),
        "nothing typed is lost"
    );
    decide(&sari, "Budi", "Let write again");
    banner(&sari, "Budi may write again");
    budi.keys("#input", "\u{e007}");
    hears(&sari, "dibisukan");

    sari.run(
        "const one = [...document.querySelectorAll('article[data-seq]')].at(-1); one.focus(); one.querySelector('[aria-label=Hide]').click();",
        &[],
    );
    sari.click("dialog button.main");
    hears(&budi, "A moderator hid this message.");

    assert_eq!(budi.run("return document.querySelectorAll('#member-list button').length", &[]), json!(0));
    let forged: Value = budi.run(
        "const { Identity } = await import('/js/chat/identity.js');
         const api = await import('/js/chat/api.js');
         const policies = await import('/js/wire/policy.js');
         const { fromHex, toHex } = await import('/js/wire/bytes.js');
         const identity = await Identity.load();
         const [group] = (await api.groups({ search: 'lobby' })).groups;
         const { policy } = await api.policy(group.id, {});
         const next = policies.withChange(policies.decodeSigned(fromHex(policy)), { kind: 'role', device: identity.device, role: 2 });
         const encoded = policies.encode(next);
         const signature = await identity.sign(policies.policyBytes(encoded));
         return api.setPolicy(toHex(policies.signedPolicy(encoded, identity.publicKey, signature))).catch((error) => error.status);",
        &[],
    );
    assert_eq!(forged, json!(403), "who has no role gives itself none");

    decide(&sari, "Budi", "Ban");
    sari.click("dialog button.main");
    banner(&sari, "Budi is banned");
    budi.wait("why", "return document.querySelector('#room-about').textContent.includes('banned')");
    let lift =
        "[...document.querySelectorAll('#member-list button')].find((one) => one.textContent === 'Lift the ban')";
    sari.wait("the ban is listed", &format!("return Boolean({lift})"));
    sari.run(&format!("{lift}.click()"), &[]);
    banner(&sari, "may join again");
    nothing_is_wrong(&[&sari]);
}
