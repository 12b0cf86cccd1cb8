#![allow(clippy::unwrap_used)]
use std::sync::Arc;

use bytes::Bytes;
use crossterm::event::{KeyCode, KeyModifiers};
use gaung_client::{Event, HistoryPage, Lane};
use gaung_proto::{Kind, Seq, SeqRange};

use super::*;
use crate::{
    effect::{Refusal, Said},
    incoming::IncomingMessage,
    model::{
        composer::{Intent, Stage as Sent},
        overlay::Overlay,
        room::{RoomState, Scroll},
        timeline::What,
    },
    settings::Notify,
    staged::{ANI, BUDI, CITRA, Stage, info, member, receipt, text},
};

fn notified(stage: &Stage) -> usize {
    stage.effects.iter().filter(|effect| matches!(effect, Effect::Notify { .. })).count()
}

#[test]
fn what_is_said_elsewhere_is_counted_until_it_is_looked_at() {
    let mut stage = Stage::with(&["everyone", "lobby"]);
    stage.words(0, BUDI, "seen at once");
    stage.words(1, BUDI, "one");
    stage.words(1, CITRA, "two, Ani");
    let counts = |stage: &Stage, i: usize| (stage.model.rooms[i].marks.unread, stage.model.rooms[i].marks.mentions);
    assert_eq!((counts(&stage, 0), counts(&stage, 1)), ((0, 0), (2, 1)));
    stage.press(KeyCode::Char('a'), KeyModifiers::ALT);
    assert_eq!(stage.model.rooms.current_index(), 1);
    assert_eq!(counts(&stage, 1), (0, 0));
    assert_eq!(stage.model.rooms[1].marks.read, Seq(2));
    assert_eq!(
        stage.model.rooms[1].marks.new_from,
        Some(Seq(1)),
        "the line of what is new stays while it is looked at"
    );
    stage.press(KeyCode::Char('1'), KeyModifiers::ALT);
    assert_eq!(stage.model.rooms[1].marks.new_from, None);
}

#[test]
fn own_words_and_changes_count_for_nothing_and_notify_nobody() {
    let mut stage = Stage::with(&["everyone", "lobby"]);
    stage.model.context.settings.notify = Notify::All;
    let own = stage.words(1, ANI, "Ani speaks of Ani");
    stage.say(1, BUDI, Kind::React { seq: own, emoji: "👍".to_owned(), remove: false });
    assert_eq!((stage.model.rooms[1].marks.unread, notified(&stage)), (0, 0));
}

#[test]
fn mentions_and_answers_notify_as_wished() {
    let mut stage = Stage::with(&["everyone", "lobby"]);
    let own = stage.words(1, ANI, "who comes?");
    stage.words(1, BUDI, "nobody is named");
    assert_eq!(notified(&stage), 0);
    stage.words(1, BUDI, "ani: I do");
    stage.words(1, BUDI, "ani: and again at once");
    assert_eq!(notified(&stage), 1, "once a second");
    stage.later();
    stage.say(1, CITRA, Kind::Reply { to: own, body: Bytes::from_static(b"me too") });
    assert_eq!((notified(&stage), stage.model.rooms[1].marks.mentions), (2, 3));
    stage.later();
    stage.type_keys("/notify all\n");
    stage.words(0, BUDI, "anything");
    assert_eq!(notified(&stage), 3);
    stage.give(Input::Focus(true));
    stage.words(0, BUDI, "it is looked at");
    assert_eq!(notified(&stage), 3);
    stage.type_keys("/notify off\n");
    stage.words(1, BUDI, "Ani!");
    assert_eq!(notified(&stage), 3);
}

#[test]
fn what_is_typed_is_said_shown_as_under_way_and_comes_back() {
    let mut stage = Stage::with(&["everyone"]);
    stage.type_keys("halo semua\n");
    assert_eq!(stage.published(), [text("halo semua")]);
    assert_eq!(stage.line(), "");
    assert_eq!(stage.model.rooms[0].composer.pending.len(), 1);
    let seq = stage.words(0, ANI, "halo semua");
    assert_eq!(stage.model.rooms[0].composer.pending.len(), 0);
    let group = stage.model.rooms[0].name.clone();
    stage.give(Input::Said { group, number: 1, outcome: Said::Logged(seq) });
    assert!(matches!(stage.effects.last(), Some(Effect::Receipts { seq: asked, .. }) if *asked == seq));
}

#[test]
fn what_cannot_be_sent_comes_back_into_the_line() {
    let mut stage = Stage::with(&["everyone"]);
    stage.type_keys("halo\n");
    let group = stage.model.rooms[0].name.clone();
    stage.give(Input::Said { group: group.clone(), number: 1, outcome: Said::Late });
    assert_eq!(stage.model.rooms[0].composer.pending[0].stage, Sent::Late);
    stage.give(Input::Said { group, number: 1, outcome: Said::Failed("no".to_owned()) });
    assert_eq!(stage.line(), "halo");
    assert!(matches!(stage.model.rooms[0].composer.pending[0].stage, Sent::Failed(_)));
    stage.type_keys("\n");
    assert_eq!((stage.published().len(), stage.model.rooms[0].composer.pending.len()), (2, 1));
}

#[test]
fn replies_edits_deletions_and_reactions_are_messages() {
    let mut stage = Stage::with(&["everyone"]);
    let own = stage.words(0, ANI, "saya datng");
    let his = stage.words(0, BUDI, "jam berapa?");
    stage.type_keys("/reply jam 5\n/edit saya datang\n/react +1\n/delete\n");
    let body = |words: &'static str| Bytes::from_static(words.as_bytes());
    assert_eq!(
        stage.published(),
        [
            Kind::Reply { to: his, body: body("jam 5") },
            Kind::Edit { seq: own, body: body("saya datang") },
            Kind::React { seq: his, emoji: "👍".to_owned(), remove: false },
            Kind::Delete { seq: own },
        ]
    );
    stage.type_keys(&format!("/edit #{his} x\n"));
    assert_eq!(stage.published().len(), 4, "others' words are theirs");
    assert_eq!(stage.model.room().unwrap().composer.intent, Intent::Say);
}

#[test]
fn a_message_is_chosen_and_answered_by_keys() {
    let mut stage = Stage::with(&["everyone"]);
    let first = stage.words(0, BUDI, "satu");
    stage.words(0, CITRA, "dua");
    for _ in 0..2 {
        stage.press(KeyCode::Up, KeyModifiers::ALT);
    }
    assert_eq!(stage.model.room().unwrap().selected, Some(first));
    stage.type_keys("rtentu\n");
    assert_eq!(stage.published(), [Kind::Reply { to: first, body: Bytes::from_static(b"tentu") }]);
}

#[test]
fn tab_completes_people_commands_and_groups() {
    let mut stage = Stage::with(&["everyone", "lobby"]);
    stage.words(0, BUDI, "x");
    stage.type_keys("bu");
    stage.press(KeyCode::Tab, KeyModifiers::NONE);
    assert_eq!(stage.line(), "Budi: ");
    stage.press(KeyCode::Char('u'), KeyModifiers::CONTROL);
    stage.type_keys("halo @b");
    stage.press(KeyCode::Tab, KeyModifiers::NONE);
    assert_eq!(stage.line(), "halo @Budi ");
    stage.press(KeyCode::Char('c'), KeyModifiers::CONTROL);
    stage.type_keys("/jo");
    stage.press(KeyCode::Tab, KeyModifiers::NONE);
    stage.type_keys("lo");
    stage.press(KeyCode::Tab, KeyModifiers::NONE);
    assert_eq!(stage.line(), "/join lobby ");
    stage.press(KeyCode::Char('c'), KeyModifiers::CONTROL);
    stage.type_keys("/re");
    for expected in ["/react ", "/reply ", "/react "] {
        stage.press(KeyCode::Tab, KeyModifiers::NONE);
        assert_eq!(stage.line(), expected);
    }
    stage.press(KeyCode::BackTab, KeyModifiers::SHIFT);
    assert_eq!(stage.line(), "/reply ");
}

#[test]
fn a_question_mark_alone_lists_the_keys_and_twice_is_typed() {
    let mut stage = Stage::with(&["everyone"]);
    stage.type_keys("?");
    assert!(matches!(stage.model.overlay, Some(Overlay::Help { .. })));
    stage.type_keys("?");
    assert!(stage.model.overlay.is_none());
    // The help has gone; the key that closed it is typed.
    assert_eq!(stage.line(), "?");
    stage.type_keys("?");
    assert_eq!(stage.line(), "??");
}

#[test]
fn pasted_lines_are_one_message() {
    let mut stage = Stage::with(&["everyone"]);
    stage.give(Input::Paste("satu\r\ndua\rtiga".to_owned()));
    assert!(stage.published().is_empty(), "a paste sends nothing by itself");
    stage.type_keys("\n");
    assert_eq!(stage.published(), [text("satu\ndua\ntiga")]);
}

#[test]
fn scrolling_up_reads_older_pages_and_what_comes_does_not_move_the_picture() {
    let mut stage = Stage::with(&["everyone"]);
    for n in 0..100 {
        stage.words(0, BUDI, &format!("pesan {n}"));
    }
    stage.press(KeyCode::PageUp, KeyModifiers::NONE);
    let scroll = stage.model.room().unwrap().scroll;
    assert!(matches!(scroll, Scroll::At { .. }));
    stage.words(0, BUDI, "baru");
    assert_eq!((stage.model.room().unwrap().scroll, stage.model.room().unwrap().marks.unread), (scroll, 1));
    for _ in 0..10 {
        stage.press(KeyCode::PageUp, KeyModifiers::NONE);
    }
    let asked = stage.effects.iter().filter(|effect| matches!(effect, Effect::Read { .. })).count();
    assert_eq!(asked, 0, "the log begins at 1, and nothing is older");
    for _ in 0..12 {
        stage.press(KeyCode::PageDown, KeyModifiers::NONE);
    }
    assert_eq!((stage.model.room().unwrap().scroll, stage.model.room().unwrap().marks.unread), (Scroll::Latest, 0));
}

#[test]
fn an_older_page_is_asked_for_once() {
    let mut stage = Stage::with(&["everyone"]);
    let session = stage.model.rooms[0].session;
    let ready = Event::Ready { group: Arc::new(info("everyone")), next_seq: Seq(1001), lane: Lane::Multicast };
    stage.hear(0, ready);
    assert!(matches!(stage.effects[0], Effect::Read { page: HistoryPage::NEWEST, .. }));
    let page = |from: u64, to: u64| {
        let said = |seq| {
            IncomingMessage::of(
                &gaung_proto::block::Message {
                    seq: Seq(seq),
                    author: gaung_proto::block::Author {
                        device: crate::staged::device(BUDI),
                        client: gaung_proto::ClientId([BUDI; 16]),
                    },
                    client_seq: gaung_proto::ClientSeq(seq),
                    content_type: gaung_proto::ContentType::Text,
                    sent_at: gaung_proto::block::SentAt(seq),
                    payload: Bytes::new(),
                },
                gaung_proto::Content { author_name: "Budi".to_owned(), kind: text(&format!("m{seq}")) },
                Lane::History,
            )
        };
        (from..to).map(said).collect::<Vec<_>>()
    };
    let group = stage.model.rooms[0].name.clone();
    let answer = |page_of, messages| Input::Page {
        group: group.clone(),
        page: page_of,
        session,
        jump: None,
        answer: Ok(messages),
    };
    stage.give(answer(HistoryPage::NEWEST, page(801, 1001)));
    for _ in 0..30 {
        stage.press(KeyCode::PageUp, KeyModifiers::NONE);
    }
    let asked: Vec<_> = stage
        .effects
        .iter()
        .filter_map(|effect| if let Effect::Read { page, .. } = effect { Some(*page) } else { None })
        .collect();
    assert_eq!(asked, [HistoryPage::NEWEST, HistoryPage::Before(Seq(801))]);
    stage.give(answer(HistoryPage::Before(Seq(801)), page(601, 801)));
    assert_eq!(stage.model.rooms[0].timeline.items().len(), 400);
}

#[test]
fn ctrl_c_clears_asks_and_ends() {
    let mut stage = Stage::with(&["everyone"]);
    stage.type_keys("halo");
    let interrupt = |stage: &mut Stage| stage.press(KeyCode::Char('c'), KeyModifiers::CONTROL);
    interrupt(&mut stage);
    assert_eq!(stage.line(), "");
    interrupt(&mut stage);
    assert!(!stage.model.quit);
    stage.press(KeyCode::Left, KeyModifiers::NONE);
    interrupt(&mut stage);
    assert!(!stage.model.quit, "another key between is a change of mind");
    interrupt(&mut stage);
    assert!(stage.model.quit);
}

#[test]
fn trouble_is_told_once_and_its_end_too() {
    let mut stage = Stage::with(&["everyone"]);
    let group = || Arc::new(info("everyone"));
    for _ in 0..3 {
        stage.hear(0, Event::Reconnecting { group: group(), why: "gone\x1b[2J".to_owned() });
    }
    assert_eq!(stage.model.rooms[0].state, RoomState::Away);
    for _ in 0..2 {
        stage.hear(0, Event::Reconnected { group: group() });
    }
    let notices: Vec<_> = stage.model.rooms[0]
        .timeline
        .items()
        .iter()
        .filter_map(|item| if let What::Notice(notice) = &item.what { Some(notice.text.as_str()) } else { None })
        .collect();
    assert_eq!(notices, ["cannot be reached, trying again: gone␛[2J", "reached again, nothing is missing"]);
}

#[test]
fn a_gap_is_shown_in_its_place_and_filled_there() {
    let mut stage = Stage::with(&["everyone"]);
    stage.words(0, BUDI, "satu");
    let range = SeqRange { first: Seq(2), last: Seq(3) };
    stage.hear(0, Event::Gap { group: Arc::new(info("everyone")), range });
    assert_eq!(stage.model.rooms[0].timeline.items().len(), 2);
    stage.words(0, BUDI, "dua");
    stage.words(0, BUDI, "tiga");
    stage.hear(0, Event::GapFilled { group: Arc::new(info("everyone")), range });
    let items = stage.model.rooms[0].timeline.items();
    assert!(items.len() == 3 && items.iter().all(|item| item.entry().is_some()));
}

#[test]
fn groups_are_joined_left_and_never_all_closed() {
    let mut stage = Stage::with(&["everyone"]);
    stage.type_keys("/join rapat\n");
    assert!(
        stage.effects.iter().any(|effect| matches!(effect, Effect::Enter { group, .. } if group.as_str() == "rapat"))
    );
    assert_eq!((stage.model.rooms.len(), stage.model.rooms.current_index()), (2, 1));
    let session = stage.model.rooms[1].session;
    stage.give(Input::NotEntered { session, why: Refusal::NoSuchGroup });
    assert_eq!(
        (stage.model.rooms.len(), stage.model.rooms.current_index()),
        (1, 0),
        "what cannot be entered is closed again"
    );
    stage.type_keys("/leave\n");
    assert_eq!(stage.model.rooms.len(), 1);
}

#[test]
fn who_comes_and_goes_is_said_but_not_oneself() {
    let mut stage = Stage::with(&["everyone"]);
    let group = stage.model.rooms[0].name.clone();
    let members = |list: &[(u8, bool)]| Input::Members {
        group: group.clone(),
        members: list.iter().map(|(who, present)| member(*who, *present, "tcp")).collect(),
        text_sessions: Vec::new(),
    };
    stage.give(members(&[(ANI, true), (BUDI, true)]));
    assert!(stage.model.rooms[0].timeline.items().is_empty(), "who was here before did not come");
    stage.give(members(&[(ANI, false), (BUDI, false), (CITRA, true)]));
    let items = stage.model.rooms[0].timeline.items();
    assert!(matches!(&items[0].what, What::Presence(p) if p.came == ["Citra"] && p.left == ["Budi"]));
}

#[test]
fn alt_h_asks_who_has_heard_the_last_own_words() {
    let mut stage = Stage::with(&["everyone"]);
    let own = stage.words(0, ANI, "penting");
    stage.words(0, BUDI, "ya");
    stage.press(KeyCode::Char('h'), KeyModifiers::ALT);
    assert_eq!(stage.model.overlay, Some(Overlay::Info { seq: own, top: 0 }));
    assert!(matches!(stage.effects.last(), Some(Effect::Receipts { seq, .. }) if *seq == own));
    let group = stage.model.rooms[0].name.clone();
    stage.give(Input::Receipts { group, receipts: vec![receipt(own, 3, 4)] });
    assert_eq!(stage.model.rooms[0].receipts[&own].heard, 3);
}
