//! The chat on a whole screen, driven as a person does it: typed into tmux, read from its screen.
#![allow(clippy::unwrap_used, missing_docs)]

use gaung_tests::{
    deployment::{Person, Up},
    needs,
    terminal::Terminal,
};
use nix::sys::signal::Signal;

const SIZE: (u16, u16) = (80, 24);
/// By which lane this machine hears is another test's matter.
const READY: &str = " · by ";

fn chat(person: &Person, args: &[&str]) -> Terminal {
    let terminal = person.on_terminal(&[&["chat"], args].concat(), SIZE);
    terminal.shows(READY);
    terminal
}

#[test]
fn from_first_start_to_a_conversation_of_three() {
    needs!(Tmux);
    let up = Up::start(&[]);
    let people = ["ani", "budi", "citra"].map(|name| up.person(name));
    let [ani, budi, citra] = people.each_ref().map(|person| chat(person, &[]));

    ani.until("three members", |screen| ["ani", "budi", "citra"].iter().all(|n| screen.contains(&format!("● {n}"))));
    ani.enter("Halo semua, siapa yang hadir?");
    for other in [&budi, &citra] {
        other.shows("ani Halo semua");
    }
    budi.enter("Budi di sini 👍");
    citra.enter("/reply saya juga");
    for all in [&ani, &budi, &citra] {
        let screen = all.until("both answers", |s| s.contains("Budi di sini") && s.contains("saya juga"));
        assert!(screen.contains("╭ "), "an answer quotes what it answers:\n{screen}");
    }
    ani.shows("heard by 3 of 3");

    ani.enter("salah ktik");
    budi.shows("salah ktik");
    ani.enter("/edit salah ketik");
    budi.shows("salah ketik (edited)");
    budi.enter("/react 👍");
    ani.shows("👍 1");
    ani.enter("/delete");
    citra.shows("(taken back)");
    citra.enter("/me menari");
    ani.shows("* citra menari");

    budi.keys(&["C-c", "C-c"]);
    assert_eq!(budi.ended(), (0, true));
    ani.shows("budi left");
}

#[test]
fn groups_are_made_joined_counted_and_come_back_with_their_drafts() {
    needs!(Tmux);
    let up = Up::start(&[]);
    let (ani, budi) = (up.person("ani"), up.person("budi"));
    let screen = chat(&ani, &[]);
    screen.enter("/create rapat");
    screen.shows("2 rapat");
    screen.shows("rapat>");
    screen.keys(&["M-1"]);
    screen.shows("everyone>");
    let _ = budi.out(&["send", "rapat", "satu"]);
    let _ = budi.out(&["send", "rapat", "dua, ani"]);
    screen.shows("2 rapat     @1 2│");
    screen.keys(&["M-a"]);
    let seen = screen.shows("rapat>");
    assert!(seen.contains("── new ─"), "{seen}");
    screen.text("setengah kalimat");
    screen.shows("rapat> setengah kalimat");
    screen.signal(Signal::SIGTERM);
    assert_eq!(screen.ended(), (0, true));
    drop(screen);

    let _ = budi.out(&["send", "rapat", "tiga"]);
    let screen = chat(&ani, &[]);
    screen.shows("2 rapat        1│");
    screen.keys(&["C-n"]);
    screen.shows("rapat> setengah kalimat");
    let seen = screen.shows("budi tiga");
    let new = seen.find("── new ─").expect("what was said meanwhile is new");
    assert!(seen.find("dua, ani").unwrap() < new && new < seen.find("budi tiga").unwrap(), "{seen}");
}

#[test]
fn old_pages_are_read_and_searched_and_a_paste_is_one_message() {
    needs!(Tmux);
    let up = Up::start(&[]);
    let (ani, budi) = (up.person("ani"), up.person("budi"));
    let lines: String = (1..=900).map(|n| format!("baris nomor {n}.\n")).collect();
    let _ = budi.feed(&["send", "everyone", "-"], lines.as_bytes()).expect_code(0);
    let screen = chat(&ani, &[]);
    screen.shows("baris nomor 900.");
    screen.keys(&["C-Home"]);
    screen.shows("baris nomor 1.");
    screen.keys(&["Escape"]);
    screen.shows("baris nomor 900.");
    // Page after page up to the first line, each read from the log as it is needed.
    screen.until("the first line", |seen| {
        let there = seen.contains("baris nomor 1.");
        if !there {
            screen.keys(&["PageUp"]);
        }
        there
    });
    screen.enter("/search NOMOR 77.");
    screen.shows("budi: baris nomor 77.");
    screen.keys(&["Enter"]);
    let seen = screen.shows("#77: r reply");
    assert!(seen.contains("baris nomor 78.") && seen.contains("baris nomor 76."), "{seen}");
    screen.keys(&["Escape"]);
    screen.until("no selection", |seen| !seen.contains("#77: r reply"));
    screen.keys(&["Escape"]);
    screen.shows("baris nomor 900.");

    screen.paste("satu\n  dua\ntiga");
    screen.shows("  dua");
    screen.keys(&["Enter"]);
    screen.shows("heard by 1 of 1");
    assert_eq!(ani.out(&["history", "everyone", "--limit", "1", "--json"]).len(), 1);
    let last = &ani.out(&["history", "everyone", "--limit", "1"])[0];
    assert!(last.ends_with("ani: satu␊  dua␊tiga"), "{last}");
}

#[test]
fn a_search_does_not_find_what_a_moderator_has_hidden() {
    needs!(Tmux);
    let up = Up::start(&[]);
    let ani = up.person("ani");
    let _ = ani.out(&["group", "create", "lobby"]);
    assert_eq!(ani.out(&["send", "lobby", "rahasia besar"]), ["1"]);
    assert_eq!(ani.out(&["send", "lobby", "rahasia kecil"]), ["2"]);
    let _ = ani.out(&["group", "redact", "lobby", "1"]);
    let screen = chat(&ani, &["lobby"]);
    screen.enter("/search RAHASIA");
    let seen = screen.shows("ani: rahasia kecil");
    assert!(!seen.contains("rahasia besar"), "{seen}");
}

#[test]
fn it_follows_the_window_speaks_indonesian_and_shows_the_keys() {
    needs!(Tmux);
    let up = Up::start(&[]);
    let ani = up.person("ani");
    let screen = ani.on_terminal(&["chat", "--lang", "id"], SIZE);
    screen.shows(" · lewat ");
    screen.keys(&["?"]);
    screen.shows("tombol dan perintah");
    screen.keys(&["Escape"]);
    screen.until("no help", |s| !s.contains("tombol dan perintah"));
    screen.resize(160, 50);
    screen.until("a wide screen", |s| s.lines().count() == 50 && s.contains("● ani (Anda)"));
    screen.resize(40, 10);
    screen.until("a narrow one", |s| !s.contains("● ani") && s.contains("everyone>"));
    screen.enter("/quit");
    assert_eq!(screen.ended(), (0, true));
}

#[test]
fn a_restart_of_the_services_is_told_in_one_line_and_loses_nothing() {
    needs!(Tmux);
    let up = Up::start(&[]);
    let flags: Vec<(&str, String)> = [
        ("--registry-port", up.address("registry").port()),
        ("--relay-port", up.address("relay").port()),
        ("--relay-udp-port", up.address("relay_udp").port()),
        ("--hub-port", up.address("hub").port()),
        ("--hub-tcp-port", up.address("tcp").port()),
    ]
    .map(|(flag, port)| (flag, port.to_string()))
    .to_vec();
    let (ani, budi) = (up.person("ani"), up.person("budi"));
    let screen = chat(&ani, &["--lane", "tcp"]);
    screen.shows("by tcp");
    screen.enter("sebelum");
    // Shown at once, and logged a moment later; what is not logged when the services die comes back to be sent again.
    screen.shows("heard by");
    screen.shows("ani sebelum");
    let data = up.kill();
    screen.shows("reconnecting…");
    screen.enter("di tengah");
    screen.shows("waiting for the relay");
    let flags: Vec<&str> = flags.iter().flat_map(|(flag, port)| [*flag, port.as_str()]).collect();
    let _up = Up::start_in(data, &flags);
    screen.shows("reached again");
    screen.until("the words said meanwhile", |s| s.contains("ani di tengah") && !s.contains("waiting for"));
    let _ = budi.out(&["send", "everyone", "sesudah"]);
    screen.shows("budi sesudah");
}

#[test]
fn up_opens_the_chat_says_how_others_join_and_keeps_its_log_off_the_screen() {
    needs!(Tmux);
    let nobody = Person::at("127.0.0.1:1", "ani");
    let args = [
        "up",
        "--listen",
        "127.0.0.1",
        "--iface",
        "lo",
        "--log-level",
        "info",
        "--registry-port",
        "0",
        "--relay-port",
        "0",
        "--relay-udp-port",
        "0",
        "--hub-port",
        "0",
        "--hub-tcp-port",
        "0",
        "--text-port",
        "0",
        "--broadcast-port",
        "0",
        "--discovery-port",
        "0",
        "--registry-metrics-port",
        "0",
        "--relay-metrics-port",
        "0",
        "--hub-metrics-port",
        "0",
    ];
    let screen = nobody.on_terminal(&args, SIZE);
    screen.shows("others join with: gaung chat --server");
    screen.enter("halo sendiri");
    let seen = screen.shows("heard by 1 of 1");
    assert!(seen.lines().next().unwrap().contains("everyone · by"), "the title is whole:\n{seen}");
    // A log line may stand in the row above the input, and nowhere else.
    let rows: Vec<&str> = seen.lines().collect();
    let (status, others) = (rows.len() - 2, rows.iter().enumerate());
    assert!(others.filter(|(i, _)| *i != status).all(|(_, row)| !row.contains("INFO")), "{seen}");
    screen.enter("/quit");
    assert_eq!(screen.ended(), (0, true));
}

#[test]
fn colours_are_used_unless_they_are_not_wished_and_lines_where_they_are() {
    needs!(Tmux);
    let up = Up::start(&[]);
    let (ani, budi, citra) = (up.person("ani"), up.person("budi"), up.person("citra"));
    let coloured = chat(&ani, &["--theme", "dark"]);
    let plain = budi.on_terminal_with(&["chat"], SIZE, &[("NO_COLOR", "1")]);
    plain.shows(READY);
    let lines = citra.on_terminal(&["chat", "--plain"], SIZE);
    lines.shows("listening to everyone");
    lines.enter("halo");
    for screen in [&coloured, &plain] {
        screen.shows("citra halo");
    }
    lines.shows("] citra: halo");
    // Colours of the palette are told by number (ECMA-48, 8.3.117).
    let has_colour =
        |terminal: &Terminal| terminal.coloured().contains("\x1b[38;5;") || terminal.coloured().contains("[1;38;5;");
    assert!(has_colour(&coloured), "{:?}", coloured.coloured());
    assert!(!has_colour(&plain), "{:?}", plain.coloured());
    lines.enter("/quit");
    assert_eq!(lines.ended(), (0, true));
}

#[test]
fn a_group_that_does_not_exist_is_told_before_the_screen_is_taken() {
    needs!(Tmux);
    let up = Up::start(&[]);
    let screen = up.person("ani").on_terminal(&["chat", "tidak-ada"], SIZE);
    assert_eq!(screen.ended(), (3, true));
    assert!(screen.screen().contains("gaung: "), "{}", screen.screen());
}

#[test]
fn what_others_send_does_not_move_the_cursor_or_colour() {
    needs!(Tmux);
    let up = Up::start(&[]);
    let (ani, eve) = (up.person("ani"), up.person("eve"));
    let screen = chat(&ani, &[]);
    let _ = screen.shows("● ani");
    let _ =
        eve.feed(&["send", "everyone", "-"], b"\x1b[2J\x1b[H\x1b]0;judul\x07jahat \xe2\x80\xaetxt\n").expect_code(0);
    let seen = screen.shows("jahat");
    assert!(seen.contains("␛[2J␛[H␛]0;judul␇jahat \u{fffd}txt"), "{seen}");
    assert!(seen.contains("everyone>") && seen.contains("● ani"), "{seen}");
}

#[test]
fn who_has_a_role_bans_from_the_screen() {
    needs!(Tmux);
    let up = Up::start(&[]);
    let (ani, budi) = (up.person("ani"), up.person("budi"));
    let _ = ani.out(&["group", "create", "lobby"]);
    let _ = budi.out(&["group", "join", "lobby"]);
    let _ = budi.out(&["send", "lobby", "halo"]);
    let screen = chat(&ani, &["lobby"]);
    screen.shows("halo");
    screen.enter("/ban budi");
    screen.shows("budi is banned from lobby");
    let _ = budi.run(&["send", "lobby", "lagi"]).expect_code(4);
    screen.enter("/role budi king");
    screen.shows("/role NAME admin, moderator or member");
}
