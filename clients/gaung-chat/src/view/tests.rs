//! Compares every view at two sizes with a stored picture; `GAUNG_UPDATE_SNAPSHOTS=1 cargo test -p gaung-chat view::tests`
//! stores the present ones.
#![allow(clippy::unwrap_used)]

use std::{env, fmt::Write as _, fs, path::Path, sync::Arc};

use bytes::Bytes;
use crossterm::event::{KeyCode, KeyModifiers};
use gaung_client::Event;
use gaung_proto::{Kind, Seq, SeqRange};
use ratatui::{Terminal, backend::TestBackend, style::Modifier};

use super::*;
use crate::{
    effect::Input,
    model::{
        composer::{DeliveryStage, PendingMessage},
        overlay::{List, ListRow, Overlay},
    },
    test_chat::{ANI, BUDI, CITRA, IMPOSTOR, TestChat, device, info, member, receipt, text},
    ui_text::{Lang, UiText},
};

const SIZES: [(u16, u16); 2] = [(80, 24), (160, 50)];

/// Makes a conversation of three people with every kind of item.
fn conversation(lang: Lang) -> TestChat {
    let mut chat = TestChat::with(&["everyone", "lobby", "praktikum-jaringan"]);
    chat.model.context.lang = lang;
    let group = chat.model.rooms[0].name.clone();
    let members = vec![
        member(ANI, true, "multicast"),
        member(BUDI, true, "tcp"),
        member(CITRA, true, "multicast"),
        member(9, false, ""),
    ];
    chat.input(Input::Members { group: group.clone(), members, text_sessions: vec!["client-4".to_owned()] });
    chat.write(0, BUDI, "Selamat pagi! Apakah semua sudah bisa masuk ke grup praktikum hari ini?");
    let own = chat.write(0, ANI, "Sudah, lewat multicast. Tampilannya 日本語 dan emoji 👩‍🚀 juga rapi.");
    chat.send(
        0,
        CITRA,
        Kind::Reply { to: own, body: Bytes::from_static("Di sini juga. Ani, tolong kirim alamatnya".as_bytes()) },
    );
    chat.send(0, BUDI, Kind::React { seq: own, emoji: "👍".to_owned(), remove: false });
    chat.send(0, CITRA, Kind::React { seq: own, emoji: "👍".to_owned(), remove: false });
    let wrong = chat.write(0, ANI, "Alamatnya 239.255.3.8");
    chat.send(0, ANI, Kind::Edit { seq: wrong, body: Bytes::from_static(b"Alamatnya 239.255.3.7\nport 20000") });
    let gone = chat.write(0, BUDI, "salah ketik");
    chat.send(0, BUDI, Kind::Delete { seq: gone });
    chat.write(0, CITRA, "/me mencatat");
    chat.write(0, BUDI, "\x1b[31mtidak\x07 merah\u{202e}");
    let last = chat.write(0, ANI, "Sampai nanti");
    let receipts = vec![receipt(own, 3, 3), receipt(wrong, 3, 3), receipt(last, 3, 4)];
    chat.input(Input::Receipts { group, receipts });
    chat.write(1, BUDI, "di lobby");
    chat.write(2, CITRA, "Ani, lihat ini");
    chat
}

fn picture_of(chat: &mut TestChat, size: (u16, u16)) -> String {
    chat.input(Input::Resize(size.0, size.1));
    let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
    let mut cursor = None;
    terminal.draw(|frame| cursor = draw(&chat.model, Theme::plain(), frame.buffer_mut())).unwrap();
    let buffer = terminal.backend().buffer();
    let mut picture = String::new();
    for y in 0..size.1 {
        let mut row = String::new();
        let mut hidden = 0;
        for x in 0..size.0 {
            let symbol = buffer[(x, y)].symbol();
            // A wide character covers the cell behind it.
            if hidden == 0 {
                row.push_str(symbol);
                hidden = columns(symbol).max(1);
            }
            hidden -= 1;
        }
        writeln!(picture, "{}", row.trim_end()).unwrap();
    }
    // Reversed rows show what is selected, so they are part of the picture.
    let reversed = |y: &u16| (0..size.0).any(|x| buffer[(x, *y)].modifier.contains(Modifier::REVERSED));
    writeln!(picture, "reversed rows {:?}", (0..size.1).filter(reversed).collect::<Vec<_>>()).unwrap();
    if let Some(position) = cursor {
        writeln!(picture, "cursor {},{}", position.x, position.y).unwrap();
    }
    picture
}

fn check_picture(name: &str, prepare: impl Fn() -> TestChat) {
    for size in SIZES {
        check_picture_of_size(name, &mut prepare(), size);
    }
}

fn check_picture_of_size(name: &str, chat: &mut TestChat, size: (u16, u16)) {
    let picture = picture_of(chat, size);
    let file = format!("src/view/snapshots/{name}-{}x{}.txt", size.0, size.1);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&file);
    if env::var_os("GAUNG_UPDATE_SNAPSHOTS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &picture).unwrap();
    }
    let known = fs::read_to_string(&path).unwrap_or_default();
    assert!(known == picture, "{file} is now\n{picture}");
}

#[test]
fn a_conversation_of_three() {
    check_picture("conversation", || conversation(Lang::En));
}

#[test]
fn the_same_in_indonesian() {
    check_picture("percakapan", || conversation(Lang::Id));
}

#[test]
fn who_has_not_signed_and_what_was_changed_is_marked() {
    let mut chat = TestChat::with(&["everyone"]);
    chat.write(0, BUDI, "saya sendiri");
    chat.write_unsigned(0, BUDI, "lewat netcat");
    chat.send_changed(0, BUDI, text("bayar 10 ke Citra"), |message| message.author.device = device(CITRA));
    chat.send_changed(0, CITRA, text("bayar 10"), |message| {
        let mut payload = message.payload.to_vec();
        let at = payload.windows(2).position(|two| two == b"10").unwrap();
        payload[at] = b'9';
        message.payload = payload.into();
    });
    // The same message, said again where it was not said.
    chat.send_changed(0, CITRA, text("ya"), |message| message.client_seq.0 += 1);
    let picture = picture_of(&mut chat, SIZES[1]);
    for row in ["Budi │ saya sendiri", "Budi~│ lewat netcat", "✗│ bayar 10 ke", "Citra✗│ bayar 10", "Citra✗│ ya"]
    {
        assert!(picture.contains(row), "{row}:\n{picture}");
    }
    let narrow = picture_of(&mut chat, (50, 24));
    for row in ["Budi saya sendiri", "Budi~ lewat netcat", "Citra✗ ya"] {
        assert!(narrow.contains(row), "{row}:\n{narrow}");
    }
}

#[test]
fn a_second_device_of_a_name_is_shown_apart_everywhere() {
    let mut chat = TestChat::with(&["everyone"]);
    chat.write(0, BUDI, "saya Budi");
    chat.write(0, IMPOSTOR, "saya juga");
    let group = chat.model.rooms[0].name.clone();
    let members = vec![member(BUDI, true, "tcp"), member(IMPOSTOR, true, "tcp")];
    chat.input(Input::Members { group: group.clone(), members, text_sessions: vec!["Budi".to_owned()] });
    let apart = format!("Budi·{}", &device(IMPOSTOR).to_string()[..4]);
    let picture = picture_of(&mut chat, SIZES[1]);
    let pane = format!("● {apart} ");
    for row in [
        &format!("{apart} │ saya juga"),
        &format!("shown as {apart}"),
        "Budi │ saya Budi",
        "● Budi ",
        &pane,
        "● Budi·? ",
    ] {
        assert!(picture.contains(row), "{row:?} in\n{picture}");
    }
    chat.write(0, IMPOSTOR, "lagi");
    assert_eq!(picture_of(&mut chat, SIZES[1]).matches("shown as").count(), 1, "it is said once");
    chat.type_keys("/members\n");
    assert!(picture_of(&mut chat, SIZES[1]).contains(&format!("● {apart}  tcp")));
}

#[test]
fn a_key_that_was_compared_is_marked() {
    let mut chat = TestChat::with(&["everyone"]);
    chat.write_unsigned(0, BUDI, "tanpa tanda tangan");
    chat.type_keys("/verify Budi\n");
    assert!(picture_of(&mut chat, SIZES[1]).contains("nothing here is signed by Budi"));
    chat.write(0, BUDI, "halo");
    chat.type_keys("/verify budi\n");
    let key = |who| ed25519_dalek::SigningKey::from_bytes(&[who; 32]).verifying_key().to_bytes();
    let digits = gaung_client::comparison_digits(&key(BUDI), &key(ANI));
    let picture = picture_of(&mut chat, SIZES[1]);
    assert!(picture.contains(&digits) && !picture.contains("Budi✓"), "{picture}");
    chat.type_keys("/verify Budi yes\n");
    let picture = picture_of(&mut chat, SIZES[1]);
    assert!(picture.contains("Budi✓│ halo") && picture.contains("Budi~│ tanpa"), "{picture}");
    let kept: Vec<_> = std::iter::from_fn(|| chat.model.context.people.poll_unsaved()).collect();
    assert!(kept.contains(&format!("compared {}", device(BUDI))), "{kept:?}");
}

#[test]
fn the_help_in_both_languages() {
    for (name, lang) in [("help", Lang::En), ("bantuan", Lang::Id)] {
        let mut chat = conversation(lang);
        chat.type_keys("?");
        check_picture_of_size(name, &mut chat, SIZES[0]);
        // A large screen shows it whole, the commands too.
        let whole = picture_of(&mut chat, SIZES[1]);
        for row in lang.text(UiText::Help).lines() {
            assert!(whole.contains(row), "{row:?} is not in\n{whole}");
        }
    }
}

#[test]
fn a_first_start() {
    check_picture("first-start", || {
        let mut chat = TestChat::with(&["everyone"]);
        chat.open("lobby");
        chat
    });
}

#[test]
fn errors_gaps_and_pending_messages() {
    check_picture("trouble", || {
        let mut chat = conversation(Lang::En);
        let group = || Arc::new(info("everyone"));
        let range = |first, last| SeqRange { first: Seq(first), last: Seq(last) };
        chat.listener_event(0, Event::Lost { group: group(), range: range(12, 13) });
        chat.listener_event(0, Event::Gap { group: group(), range: range(14, 19) });
        chat.listener_event(0, Event::Reconnecting { group: group(), why: "the relay does not answer".to_owned() });
        let pending =
            |number, words: &str, stage| PendingMessage { number, words: words.to_owned(), kind: text(words), stage };
        chat.model.rooms[0].composer.pending.push(pending(1, "ini lambat", DeliveryStage::Late));
        chat.model.rooms[0].composer.pending.push(pending(
            2,
            "ini gagal",
            DeliveryStage::Failed("the disk is full".to_owned()),
        ));
        chat.model.rooms[0].composer.pending.push(pending(3, "ini baru saja", DeliveryStage::Sending));
        chat
    });
}

#[test]
fn scrolled_up_with_a_message_selected() {
    check_picture("chosen", || {
        let mut chat = conversation(Lang::En);
        for n in 0..60 {
            chat.write(0, BUDI, &format!("pesan {n}"));
        }
        chat.press(KeyCode::PageUp, KeyModifiers::NONE);
        chat.press(KeyCode::Up, KeyModifiers::ALT);
        chat.write(0, BUDI, "sesuatu yang baru");
        chat
    });
}

#[test]
fn a_reply_of_several_lines_being_typed() {
    check_picture("typing", || {
        let mut chat = conversation(Lang::En);
        chat.type_keys("/reply\n");
        chat.input(Input::Paste("satu\ndua yang panjang ".to_owned() + &"kata ".repeat(20) + "\ntiga"));
        chat
    });
}

#[test]
fn the_receipt_of_a_message() {
    check_picture("heard", || {
        let mut chat = conversation(Lang::En);
        let group = chat.model.rooms[0].name.clone();
        let missing = |who: u8, name: &str| gaung_client::MissingMember {
            device: if who == 0 { gaung_proto::DeviceId::NONE } else { device(who) },
            client: gaung_proto::ClientId([who; 16]),
            lane: None,
            name: name.to_owned(),
        };
        let mut known = receipt(Seq(12), 2, 4);
        (known.silent, known.absent) = (1, 1);
        known.missing = vec![missing(BUDI, ""), missing(0, "client-4")];
        chat.input(Input::Receipts { group, receipts: vec![known] });
        chat.press(KeyCode::Char('h'), KeyModifiers::ALT);
        chat
    });
}

#[test]
fn the_results_of_a_search() {
    check_picture("search", || {
        let mut chat = conversation(Lang::En);
        chat.type_keys("/search alamat\n");
        let found = |seq, text: &str| ListRow { text: text.to_owned(), seq: Some(Seq(seq)) };
        if let Some(Overlay::List(List { rows, at, .. })) = &mut chat.model.overlay {
            rows.push(found(6, "Thursday, 26 November 2026 09:11  Ani: Alamatnya 239.255.3.7"));
            rows.push(found(3, "Thursday, 26 November 2026 09:08  Citra: Di sini juga. Ani, tolong kirim alamatnya"));
            *at = 1;
        }
        chat
    });
}

#[test]
fn a_very_long_message_is_cut_off_and_its_overlay_shows_all() {
    check_picture("long", || {
        let mut chat = TestChat::with(&["everyone"]);
        let long: String = (0..3000).map(|n| format!("kata{n} ")).collect();
        chat.write(0, BUDI, &long);
        chat.press(KeyCode::Up, KeyModifiers::ALT);
        chat.type_keys("i");
        chat.press(KeyCode::End, KeyModifiers::NONE);
        chat
    });
}

#[test]
fn every_size_can_be_picture_of() {
    let mut chat = conversation(Lang::En);
    for columns in (1..=200).step_by(7) {
        for rows in 1..=40 {
            picture_of(&mut chat, (columns, rows));
        }
    }
    chat.type_keys("?");
    for size in [(1, 1), (3, 3), (10, 4), (200, 2), (20, 60)] {
        picture_of(&mut chat, size);
    }
}

#[test]
fn no_control_character_of_others_reaches_the_terminal() {
    let mut chat = TestChat::with(&["everyone"]);
    let all: String = ('\0'..=char::MAX).filter(|c| c.is_control() || !c.is_alphanumeric()).collect();
    chat.write(0, BUDI, &all);
    for size in SIZES {
        let picture = picture_of(&mut chat, size);
        assert!(!picture.chars().any(|c| c.is_control() && c != '\n'));
        assert!(!picture.contains(['\u{202e}', '\u{2066}', '\u{200f}', '\u{61c}']));
    }
}
