#![allow(clippy::unwrap_used)]
use std::sync::Arc;

use bytes::Bytes;
use crossterm::event::{KeyCode, KeyModifiers};
use gaung_client::{Event, GroupInfo, HistoryPage, Lane};
use gaung_proto::{Kind, Seq, SeqRange};

use super::*;
use crate::{
    effect::{EnterRefusal, PublishOutcome},
    incoming::IncomingMessage,
    model::{
        composer::{ComposeIntent, DeliveryStage},
        overlay::Overlay,
        room::{RoomState, Scroll},
        timeline::{ItemContent, MessageBody},
    },
    settings::Notify,
    test_chat::{ANI, BUDI, CITRA, TestChat, info, member, receipt, text},
};

fn notified(chat: &TestChat) -> usize {
    chat.effects.iter().filter(|effect| matches!(effect, Effect::Notify { .. })).count()
}

#[test]
fn messages_of_other_groups_are_unread_until_they_are_seen() {
    let mut chat = TestChat::with(&["everyone", "lobby"]);
    chat.write(0, BUDI, "seen at once");
    chat.write(1, BUDI, "one");
    chat.write(1, CITRA, "two, Ani");
    let counts = |chat: &TestChat, i: usize| (chat.model.rooms[i].marks.unread, chat.model.rooms[i].marks.mentions);
    assert_eq!((counts(&chat, 0), counts(&chat, 1)), ((0, 0), (2, 1)));
    chat.press(KeyCode::Char('a'), KeyModifiers::ALT);
    assert_eq!(chat.model.rooms.current_index(), 1);
    assert_eq!(counts(&chat, 1), (0, 0));
    assert_eq!(chat.model.rooms[1].marks.read, Seq(2));
    assert_eq!(
        chat.model.rooms[1].marks.new_from,
        Some(Seq(1)),
        "the line of content is new stays while it is looked at"
    );
    chat.press(KeyCode::Char('1'), KeyModifiers::ALT);
    assert_eq!(chat.model.rooms[1].marks.new_from, None);
}

#[test]
fn own_messages_and_changes_are_neither_counted_nor_notified() {
    let mut chat = TestChat::with(&["everyone", "lobby"]);
    chat.model.context.settings.notify = Notify::All;
    let own = chat.write(1, ANI, "Ani speaks of Ani");
    chat.send(1, BUDI, Kind::React { seq: own, emoji: "👍".to_owned(), remove: false });
    assert_eq!((chat.model.rooms[1].marks.unread, notified(&chat)), (0, 0));
}

#[test]
fn mentions_and_replies_notify_as_the_settings_say() {
    let mut chat = TestChat::with(&["everyone", "lobby"]);
    let own = chat.write(1, ANI, "who comes?");
    chat.write(1, BUDI, "nobody is named");
    assert_eq!(notified(&chat), 0);
    chat.write(1, BUDI, "ani: I do");
    chat.write(1, BUDI, "ani: and again at once");
    assert_eq!(notified(&chat), 1, "once a second");
    chat.next_second();
    chat.send(1, CITRA, Kind::Reply { to: own, body: Bytes::from_static(b"me too") });
    assert_eq!((notified(&chat), chat.model.rooms[1].marks.mentions), (2, 3));
    chat.next_second();
    chat.type_keys("/notify all\n");
    chat.write(0, BUDI, "anything");
    assert_eq!(notified(&chat), 3);
    chat.input(Input::Focus(true));
    chat.write(0, BUDI, "it is looked at");
    assert_eq!(notified(&chat), 3);
    chat.type_keys("/notify off\n");
    chat.write(1, BUDI, "Ani!");
    assert_eq!(notified(&chat), 3);
}

#[test]
fn a_typed_message_is_published_shown_as_pending_and_comes_back() {
    let mut chat = TestChat::with(&["everyone"]);
    chat.type_keys("halo semua\n");
    assert_eq!(chat.published(), [text("halo semua")]);
    assert_eq!(chat.line(), "");
    assert_eq!(chat.model.rooms[0].composer.pending.len(), 1);
    let seq = chat.write(0, ANI, "halo semua");
    assert_eq!(chat.model.rooms[0].composer.pending.len(), 0);
    let group = chat.model.rooms[0].name.clone();
    chat.input(Input::Published { group, number: 1, outcome: PublishOutcome::Logged(seq) });
    assert!(matches!(chat.effects.last(), Some(Effect::Receipts { seq: followed, .. }) if *followed == seq));
}

#[test]
fn a_message_that_fails_returns_to_the_line() {
    let mut chat = TestChat::with(&["everyone"]);
    chat.type_keys("halo\n");
    let group = chat.model.rooms[0].name.clone();
    chat.input(Input::Published { group: group.clone(), number: 1, outcome: PublishOutcome::Late });
    assert_eq!(chat.model.rooms[0].composer.pending[0].stage, DeliveryStage::Late);
    chat.input(Input::Published { group, number: 1, outcome: PublishOutcome::Failed("no".to_owned()) });
    assert_eq!(chat.line(), "halo");
    assert!(matches!(chat.model.rooms[0].composer.pending[0].stage, DeliveryStage::Failed(_)));
    chat.type_keys("\n");
    assert_eq!((chat.published().len(), chat.model.rooms[0].composer.pending.len()), (2, 1));
}

#[test]
fn replies_edits_deletions_and_reactions_are_messages() {
    let mut chat = TestChat::with(&["everyone"]);
    let own = chat.write(0, ANI, "saya datng");
    let his = chat.write(0, BUDI, "jam berapa?");
    chat.type_keys("/reply jam 5\n/edit saya datang\n/react +1\n/delete\n");
    let body = |words: &'static str| Bytes::from_static(words.as_bytes());
    assert_eq!(
        chat.published(),
        [
            Kind::Reply { to: his, body: body("jam 5") },
            Kind::Edit { seq: own, body: body("saya datang") },
            Kind::React { seq: his, emoji: "👍".to_owned(), remove: false },
            Kind::Delete { seq: own },
        ]
    );
    chat.type_keys(&format!("/edit #{his} x\n"));
    assert_eq!(chat.published().len(), 4, "messages of others cannot be edited");
    assert_eq!(chat.model.room().unwrap().composer.intent, ComposeIntent::Say);
}

#[test]
fn a_message_is_selected_and_replied_to_by_keys() {
    let mut chat = TestChat::with(&["everyone"]);
    let first = chat.write(0, BUDI, "satu");
    chat.write(0, CITRA, "dua");
    for _ in 0..2 {
        chat.press(KeyCode::Up, KeyModifiers::ALT);
    }
    assert_eq!(chat.model.room().unwrap().selected, Some(first));
    chat.type_keys("rtentu\n");
    assert_eq!(chat.published(), [Kind::Reply { to: first, body: Bytes::from_static(b"tentu") }]);
}

#[test]
fn tab_completes_people_commands_and_groups() {
    let mut chat = TestChat::with(&["everyone", "lobby"]);
    chat.write(0, BUDI, "x");
    chat.type_keys("bu");
    chat.press(KeyCode::Tab, KeyModifiers::NONE);
    assert_eq!(chat.line(), "Budi: ");
    chat.press(KeyCode::Char('u'), KeyModifiers::CONTROL);
    chat.type_keys("halo @b");
    chat.press(KeyCode::Tab, KeyModifiers::NONE);
    assert_eq!(chat.line(), "halo @Budi ");
    chat.press(KeyCode::Char('c'), KeyModifiers::CONTROL);
    chat.type_keys("/jo");
    chat.press(KeyCode::Tab, KeyModifiers::NONE);
    chat.type_keys("lo");
    chat.press(KeyCode::Tab, KeyModifiers::NONE);
    assert_eq!(chat.line(), "/join lobby ");
    chat.press(KeyCode::Char('c'), KeyModifiers::CONTROL);
    chat.type_keys("/re");
    for expected in ["/react ", "/redact ", "/reply ", "/react "] {
        chat.press(KeyCode::Tab, KeyModifiers::NONE);
        assert_eq!(chat.line(), expected);
    }
    chat.press(KeyCode::BackTab, KeyModifiers::SHIFT);
    assert_eq!(chat.line(), "/reply ");
}

#[test]
fn a_question_mark_alone_opens_the_help_and_a_second_one_is_typed() {
    let mut chat = TestChat::with(&["everyone"]);
    chat.type_keys("?");
    assert!(matches!(chat.model.overlay, Some(Overlay::Help { .. })));
    chat.type_keys("?");
    assert!(chat.model.overlay.is_none());
    // The key that closed the help is typed.
    assert_eq!(chat.line(), "?");
    chat.type_keys("?");
    assert_eq!(chat.line(), "??");
}

#[test]
fn pasted_lines_are_one_message() {
    let mut chat = TestChat::with(&["everyone"]);
    chat.input(Input::Paste("satu\r\ndua\rtiga".to_owned()));
    assert!(chat.published().is_empty(), "a paste sends nothing by itself");
    chat.type_keys("\n");
    assert_eq!(chat.published(), [text("satu\ndua\ntiga")]);
}

#[test]
fn new_messages_do_not_move_a_conversation_that_is_scrolled_up() {
    let mut chat = TestChat::with(&["everyone"]);
    for n in 0..100 {
        chat.write(0, BUDI, &format!("pesan {n}"));
    }
    chat.press(KeyCode::PageUp, KeyModifiers::NONE);
    let scroll = chat.model.room().unwrap().scroll;
    assert!(matches!(scroll, Scroll::At { .. }));
    chat.write(0, BUDI, "baru");
    assert_eq!((chat.model.room().unwrap().scroll, chat.model.room().unwrap().marks.unread), (scroll, 1));
    for _ in 0..10 {
        chat.press(KeyCode::PageUp, KeyModifiers::NONE);
    }
    let pages = chat.effects.iter().filter(|effect| matches!(effect, Effect::Read { .. })).count();
    assert_eq!(pages, 0, "the log begins at 1, and nothing is older");
    for _ in 0..12 {
        chat.press(KeyCode::PageDown, KeyModifiers::NONE);
    }
    assert_eq!((chat.model.room().unwrap().scroll, chat.model.room().unwrap().marks.unread), (Scroll::Latest, 0));
}

#[test]
fn an_older_page_is_requested_once() {
    let mut chat = TestChat::with(&["everyone"]);
    let session = chat.model.rooms[0].session;
    let ready = Event::Ready { group: Arc::new(info("everyone")), next_seq: Seq(1001), lane: Lane::Multicast };
    chat.listener_event(0, ready);
    assert!(matches!(chat.effects[0], Effect::Read { page: HistoryPage::NEWEST, .. }));
    let page = |from: u64, to: u64| {
        let said = |seq| {
            IncomingMessage::of(
                &info("everyone"),
                gaung_proto::LogId(7),
                &gaung_proto::block::Message {
                    seq: Seq(seq),
                    author: gaung_proto::block::Author {
                        device: crate::test_chat::device(BUDI),
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
    let group = chat.model.rooms[0].name.clone();
    let answer = |page_of, messages| Input::Page {
        group: group.clone(),
        page: page_of,
        session,
        jump: None,
        answer: Ok(messages),
    };
    chat.input(answer(HistoryPage::NEWEST, page(801, 1001)));
    for _ in 0..30 {
        chat.press(KeyCode::PageUp, KeyModifiers::NONE);
    }
    let pages: Vec<_> = chat
        .effects
        .iter()
        .filter_map(|effect| if let Effect::Read { page, .. } = effect { Some(*page) } else { None })
        .collect();
    assert_eq!(pages, [HistoryPage::NEWEST, HistoryPage::Before(Seq(801))]);
    chat.input(answer(HistoryPage::Before(Seq(801)), page(601, 801)));
    assert_eq!(chat.model.rooms[0].timeline.items().len(), 400);
}

#[test]
fn ctrl_c_clears_the_line_then_asks_then_ends_the_chat() {
    let mut chat = TestChat::with(&["everyone"]);
    chat.type_keys("halo");
    let interrupt = |chat: &mut TestChat| chat.press(KeyCode::Char('c'), KeyModifiers::CONTROL);
    interrupt(&mut chat);
    assert_eq!(chat.line(), "");
    interrupt(&mut chat);
    assert!(!chat.model.quit);
    chat.press(KeyCode::Left, KeyModifiers::NONE);
    interrupt(&mut chat);
    assert!(!chat.model.quit, "another key between is a change of mind");
    interrupt(&mut chat);
    assert!(chat.model.quit);
}

#[test]
fn a_lost_connection_is_reported_once_and_so_is_its_return() {
    let mut chat = TestChat::with(&["everyone"]);
    let group = || Arc::new(info("everyone"));
    for _ in 0..3 {
        chat.listener_event(0, Event::Reconnecting { group: group(), why: "gone\x1b[2J".to_owned() });
    }
    assert_eq!(chat.model.rooms[0].state, RoomState::Away);
    for _ in 0..2 {
        chat.listener_event(0, Event::Reconnected { group: group() });
    }
    let notices: Vec<_> = chat.model.rooms[0]
        .timeline
        .items()
        .iter()
        .filter_map(
            |item| if let ItemContent::Notice(notice) = &item.content { Some(notice.text.as_str()) } else { None },
        )
        .collect();
    assert_eq!(notices, ["cannot be reached, trying again: gone␛[2J", "reached again, nothing is missing"]);
}

#[test]
fn a_gap_is_shown_at_its_position_and_filled_there() {
    let mut chat = TestChat::with(&["everyone"]);
    chat.write(0, BUDI, "satu");
    let range = SeqRange { first: Seq(2), last: Seq(3) };
    chat.listener_event(0, Event::Gap { group: Arc::new(info("everyone")), range });
    assert_eq!(chat.model.rooms[0].timeline.items().len(), 2);
    chat.write(0, BUDI, "dua");
    chat.write(0, BUDI, "tiga");
    chat.listener_event(0, Event::GapFilled { group: Arc::new(info("everyone")), range });
    let items = chat.model.rooms[0].timeline.items();
    assert!(items.len() == 3 && items.iter().all(|item| item.entry().is_some()));
}

#[test]
fn groups_are_joined_and_left_but_the_last_one_stays() {
    let mut chat = TestChat::with(&["everyone"]);
    chat.type_keys("/join rapat\n");
    assert!(
        chat.effects.iter().any(|effect| matches!(effect, Effect::Enter { group, .. } if group.as_str() == "rapat"))
    );
    assert_eq!((chat.model.rooms.len(), chat.model.rooms.current_index()), (2, 1));
    let session = chat.model.rooms[1].session;
    chat.input(Input::NotEntered { session, why: EnterRefusal::NoSuchGroup });
    assert_eq!(
        (chat.model.rooms.len(), chat.model.rooms.current_index()),
        (1, 0),
        "what cannot be entered is closed again"
    );
    chat.type_keys("/leave\n");
    assert_eq!(chat.model.rooms.len(), 1);
}

#[test]
fn joins_and_leaves_of_others_are_shown() {
    let mut chat = TestChat::with(&["everyone"]);
    let group = chat.model.rooms[0].name.clone();
    let members = |list: &[(u8, bool)]| Input::Members {
        group: group.clone(),
        members: list.iter().map(|(who, present)| member(*who, *present, "tcp")).collect(),
        text_sessions: Vec::new(),
    };
    chat.input(members(&[(ANI, true), (BUDI, true)]));
    assert!(chat.model.rooms[0].timeline.items().is_empty(), "who was here before did not come");
    chat.input(members(&[(ANI, false), (BUDI, false), (CITRA, true)]));
    let items = chat.model.rooms[0].timeline.items();
    assert!(matches!(&items[0].content, ItemContent::Presence(p) if p.came == ["Citra"] && p.left == ["Budi"]));
}

#[test]
fn alt_h_shows_the_receipt_of_the_last_own_message() {
    let mut chat = TestChat::with(&["everyone"]);
    let own = chat.write(0, ANI, "penting");
    chat.write(0, BUDI, "ya");
    chat.press(KeyCode::Char('h'), KeyModifiers::ALT);
    assert_eq!(chat.model.overlay, Some(Overlay::Info { seq: own, top: 0 }));
    assert!(matches!(chat.effects.last(), Some(Effect::Receipts { seq, .. }) if *seq == own));
    let group = chat.model.rooms[0].name.clone();
    chat.input(Input::Receipts { group, receipts: vec![receipt(own, 3, 4)] });
    assert_eq!(chat.model.rooms[0].receipts[&own].heard, 3);
}

#[test]
fn a_hidden_message_stays_hidden_whatever_its_author_does() {
    let mut chat = TestChat::with(&["lobby"]);
    let seq = chat.write(0, ANI, "words");
    chat.send(0, BUDI, Kind::Moderate { seq });
    for kind in [Kind::Edit { seq, body: Bytes::from_static(b"again") }, Kind::Delete { seq }] {
        chat.send(0, ANI, kind);
        assert_eq!(chat.model.rooms[0].timeline.entry(seq).unwrap().body, MessageBody::Hidden);
    }
    assert_eq!(chat.model.rooms[0].timeline.items().len(), 1, "hiding is no item of its own");
}

#[test]
fn who_has_a_role_moderates_by_commands() {
    let mut chat = TestChat::with(&["lobby"]);
    chat.input(Input::Resize(160, 50));
    chat.type_keys("/mute Budi Santoso 1h\n");
    let Some(Effect::Moderate { group, who, what }) = chat.effects.last().cloned() else {
        panic!("{:?}", chat.effects.last())
    };
    assert_eq!((group.as_str(), &who[..]), ("lobby", "Budi Santoso"));
    chat.input(Input::Moderated { group, who, what });
    assert!(chat.effects.iter().any(|effect| matches!(effect, Effect::Members(_))), "the list is read anew");
    let said = chat.model.context.status_message().map(|status| &status.text[..]);
    assert_eq!(said, Some("Budi Santoso may not write in lobby for 1h; /unmute Budi Santoso lifts that"));
}

#[test]
fn in_a_private_group_words_are_changed_by_a_signature_alone() {
    for private in [false, true] {
        let mut chat = TestChat::with(&["rapat"]);
        let session = chat.model.rooms[0].session;
        let group = Box::new(GroupInfo { private, ..info("rapat") });
        chat.input(Input::Entered { session, group });
        // Also once the window was begun anew.
        chat.model.rooms[0].timeline.clear(Some(Seq::FIRST));
        let [edited, deleted, signed] = ["satu", "dua", "tiga"].map(|words| chat.write(0, ANI, words));
        let edit = |seq| Kind::Edit { seq, body: Bytes::from_static(b"lain") };
        chat.send_unsigned(0, ANI, edit(edited));
        chat.send_unsigned(0, ANI, Kind::Delete { seq: deleted });
        chat.send(0, ANI, edit(signed));
        let text = |seq| chat.model.rooms[0].timeline.entry(seq).unwrap().text().map(str::to_owned);
        let unsigned = if private { [Some("satu"), Some("dua")] } else { [Some("lain"), None] };
        assert_eq!([text(edited), text(deleted)], unsigned.map(|words| words.map(str::to_owned)), "private: {private}");
        assert_eq!(text(signed).as_deref(), Some("lain"));
    }
}

#[test]
fn a_message_is_hidden_only_by_a_signature_that_fits() {
    let mut chat = TestChat::with(&["lobby"]);
    let seq = chat.write(0, ANI, "words");
    chat.send_unsigned(0, BUDI, Kind::Moderate { seq });
    chat.send_changed(0, BUDI, Kind::Moderate { seq }, |message| message.client_seq.0 += 1);
    assert_eq!(chat.model.rooms[0].timeline.entry(seq).unwrap().text(), Some("words"));
}
