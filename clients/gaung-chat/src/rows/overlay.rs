//! The rows of what covers the conversation.

use gaung_client::MissingMember;
use gaung_proto::Seq;
use gaung_terminal::wrap::{rows, shortened};

use super::{SHOWN, receipt::receipt_text};
use crate::{
    authorship::AuthorState,
    model::{
        context::ChatContext,
        overlay::{List, Overlay},
        room::Room,
        timeline::ItemKey,
    },
    ui_text::{Lang, UiText, day_name, lane_name},
};

/// The most columns that an overlay takes.
pub(crate) const WIDEST: u16 = 84;

/// Returns how many rows an overlay has on this screen, for scrolling.
pub(crate) fn row_count(context: &ChatContext, room: Option<&Room>, overlay: &Overlay) -> usize {
    let width = usize::from(context.size.0.min(WIDEST).saturating_sub(4));
    match overlay {
        Overlay::Help { .. } => help(context.lang, width).len(),
        Overlay::Info { seq, .. } => info(context, room, *seq, width).len(),
        Overlay::List(list) => list.rows.len(),
    }
}

/// Returns the keys and commands.
pub(crate) fn help(lang: Lang, width: usize) -> Vec<String> {
    wrapped(lang.text(UiText::Help), width)
}

/// Returns the rows of a list, the last one saying that more may come or that nothing was found.
pub(crate) fn listed(lang: Lang, list: &List, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = list.rows.iter().map(|row| shortened(&row.text, width)).collect();
    match (list.busy, lines.is_empty()) {
        (true, _) => lines.push(lang.text(UiText::Looking).to_owned()),
        (false, true) => lines.push(lang.text(UiText::NothingFound).to_owned()),
        (false, false) => {}
    }
    lines
}

/// Returns a message with its reactions and who received it.
pub(crate) fn info(context: &ChatContext, room: Option<&Room>, seq: Seq, width: usize) -> Vec<String> {
    let Some(room) = room else { return Vec::new() };
    let lang = context.lang;
    let Ok(index) = room.timeline.find(ItemKey::of(seq)) else {
        return vec![lang.text(UiText::NotLoaded).to_owned()];
    };
    let item = &room.timeline.items()[index];
    let Some(entry) = item.entry() else { return Vec::new() };
    let when = format!("{}, {}", day_name(lang, context.zone, item.at_us), context.zone.clock_s(item.at_us));
    let mut lines = vec![
        format!("{} · {when}", entry.name),
        lang.fill(UiText::CameBy, &[("lane", lang.text(lane_name(entry.lane))), ("device", &entry.device.to_string())]),
        lang.text(AuthorState::of(entry.authorship(), entry.device, &context.people).explanation()).to_owned(),
    ];
    for reaction in &entry.reactions {
        let names: Vec<_> = reaction.by.iter().map(|(_, name)| name.as_str()).collect();
        lines.push(format!("{}  {}", reaction.emoji, names.join(", ")));
    }
    if let Some(receipt) = room.receipts.get(&seq) {
        lines.push(String::new());
        lines.push(format!("✓ {}", receipt_text(lang, receipt)));
        let missing: Vec<_> = receipt.missing.iter().map(|missing| name_of(room, missing)).collect();
        if !missing.is_empty() {
            lines.push(lang.fill(UiText::NotYet, &[("names", &missing.join(", "))]));
        }
        if receipt.absent > 0 {
            lines.push(lang.fill(UiText::WereAway, &[("count", &receipt.absent.to_string())]));
        }
    }
    if let Some(words) = entry.text().filter(|words| words.len() > SHOWN) {
        lines.extend([String::new(), words.to_owned()]);
    }
    lines.iter().flat_map(|line| wrapped(line, width)).collect()
}

fn name_of(room: &Room, missing: &MissingMember) -> String {
    if !missing.name.is_empty() {
        return gaung_terminal::sanitise::one_line(&missing.name).into_owned();
    }
    room.roster.name_of(missing.device)
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    rows(text, width, width).into_iter().map(|range| text[range].to_owned()).collect()
}
