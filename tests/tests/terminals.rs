//! Terminals that go while a program serves them, and those that tell no size.
#![allow(missing_docs)]

use gaung_tests::{
    deployment::{Person, Up},
    pty::Pty,
};

/// As the shell tells of what SIGHUP ended.
const HUNG_UP: i32 = 129;

fn on_terminal(person: &Person, args: &[&str], size: (u16, u16)) -> Pty {
    Pty::start(person.command(args), size)
}

#[test]
fn whatever_reads_or_draws_on_a_terminal_ends_with_it_and_without_a_signal() {
    let up = Up::start(&[]);
    let ani = up.person("ani");
    let text = up.address("text").to_string();
    let _ = ani.out(&["send", "everyone", "halo"]);
    for (args, types, shows) in [
        (&["chat", "everyone"][..], "", "everyone"),
        (&["chat", "--plain", "everyone"], "", "everyone>"),
        (&["text", &text], "", "/name"),
        (&["listen", "everyone", "--from", "1"], "", "halo"),
        // Beside what is typed the terminal shows the number of the second message alone.
        (&["send", "everyone", "-"], "apa kabar\n", "2"),
    ] {
        let mut pty = on_terminal(&ani, args, (80, 24));
        pty.write(types.as_bytes());
        let _ = pty.wait(0, shows);
        assert_eq!(pty.hang_up(), Some(HUNG_UP), "{args:?}");
    }
}

#[test]
fn a_terminal_without_a_size_shows_the_chat_and_says_what_it_assumes() {
    let up = Up::start(&[]);
    let pty = on_terminal(&up.person("ani"), &["chat", "everyone"], (0, 0));
    let _ = pty.wait(0, "80");
    let _ = pty.wait(0, "is assumed");
    let _ = pty.wait(0, "everyone");
}
