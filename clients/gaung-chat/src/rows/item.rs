//! The rows of one item of a conversation.

use gaung_client::KnownPeople;
use gaung_proto::Seq;
use gaung_terminal::wrap::{self, columns, fitted, shortened};
use ratatui::{
    style::{Modifier, Style},
    text::{Line, Span},
};

use crate::{
    authorship::AuthorState,
    model::{
        composer::{DeliveryStage, PendingMessage},
        context::LocalUser,
        room::Room,
        timeline::{Item, ItemContent, MessageBody, MessageEntry, Presence},
    },
    people::{colour_key, mentions},
    theme::Theme,
    ui_text::{Lang, UiText, Zone, day_name, same_day},
};

/// The narrowest conversation, in columns, in which names have a column of their own.
const WITH_COLUMN: usize = 64;
/// The width of the column of names.
const NAME: usize = 12;
/// The width of a time and a space, `14:05 `.
const CLOCK: usize = 6;
/// How many bytes of one message the conversation shows, about a hundred rows; the overlay of the message shows all.
pub(crate) const SHOWN: usize = 8 * 1024;

/// Formats the items of one group's conversation as rows of so many columns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowFormatter<'a> {
    /// The language.
    pub(crate) lang: Lang,
    /// The time zone.
    pub(crate) zone: Zone,
    /// The colours.
    pub(crate) theme: Theme,
    /// Whom the person knows.
    pub(crate) people: &'a KnownPeople,
    /// The person who reads.
    pub(crate) me: &'a LocalUser,
    /// The group whose items they are.
    pub(crate) room: &'a Room,
    /// The width in columns.
    pub(crate) width: usize,
}

impl RowFormatter<'_> {
    /// Returns the rows of an item; one of a new day, or the first new one, begins with a separator.
    pub(crate) fn item(&self, item: &Item, before: Option<&Item>) -> Vec<Line<'static>> {
        let mut rows = Vec::new();
        if before.is_none_or(|before| !same_day(self.zone, before.at_us, item.at_us)) {
            rows.push(self.separator(&day_name(self.lang, self.zone, item.at_us), self.theme.dim()));
        }
        if self.begins_new(item, before) {
            rows.push(self.separator(self.lang.text(UiText::NewFromHere), self.theme.accent()));
        }
        match &item.content {
            ItemContent::Message(entry) => self.message(&mut rows, entry, item.at_us),
            ItemContent::Presence(presence) => self.presence(&mut rows, presence),
            ItemContent::Gap { range, lost } => {
                let word = if *lost { UiText::LostRange } else { UiText::MissingRange };
                let style = if *lost { self.theme.error() } else { self.theme.dim() };
                let range = gaung_terminal::names::range(*range);
                self.notice(&mut rows, "┄ ", &self.lang.fill(word, &[("range", &range)]), style);
            }
            ItemContent::Notice(notice) => {
                let style = if notice.is_error { self.theme.error() } else { self.theme.dim() };
                self.notice(&mut rows, "— ", &notice.text, style);
            }
            ItemContent::Unlogged { name, words } => {
                let head = self.head(item.at_us, name, self.theme.name(name.as_bytes()));
                self.text(&mut rows, head, words, Style::new());
            }
        }
        rows
    }

    /// Returns the rows of an own message that has not come back from the log.
    pub(crate) fn pending(&self, pending: &PendingMessage) -> Vec<Line<'static>> {
        let mut rows = Vec::new();
        let mark = match &pending.stage {
            DeliveryStage::Sending | DeliveryStage::Logged(_) => "…".to_owned(),
            DeliveryStage::Late => self.lang.text(UiText::WaitingForRelay).to_owned(),
            DeliveryStage::Failed(why) => self.lang.fill(UiText::NotSent, &[("why", why)]),
        };
        let failed = matches!(pending.stage, DeliveryStage::Failed(_));
        let style = if failed { self.theme.error() } else { self.theme.dim() };
        let style_of_name = self.theme.dim();
        let head =
            RowPrefix { clock: "  …   ".to_owned(), name: self.me.name.clone(), mark: " ", style: style_of_name };
        self.text(&mut rows, head, &pending.words, self.theme.dim());
        if failed || pending.stage == DeliveryStage::Late {
            self.under(&mut rows, &mark, style);
        }
        rows
    }

    fn begins_new(&self, item: &Item, before: Option<&Item>) -> bool {
        let Some(new_from) = self.room.marks.new_from else { return false };
        item.entry().is_some() && item.key.seq >= new_from && before.is_none_or(|before| before.key.seq < new_from)
    }

    fn message(&self, rows: &mut Vec<Line<'static>>, entry: &MessageEntry, at_us: u64) {
        let first = rows.len();
        let own = entry.device == self.me.device && !entry.device.is_none();
        if let Some(to) = entry.reply_to {
            self.quote(rows, to);
        }
        let style = self.theme.name(colour_key(entry.device.as_bytes(), &entry.name));
        let state = AuthorState::of(entry.authorship(), entry.device, self.people);
        let head = RowPrefix { mark: state.mark(), ..self.head(at_us, &entry.name, style) };
        match entry.text() {
            Some(words) => {
                let named = !own && mentions(words, &self.me.name);
                let style = match state {
                    AuthorState::Broken => self.theme.error().add_modifier(Modifier::CROSSED_OUT),
                    AuthorState::Compared | AuthorState::Signed | AuthorState::Unsigned if named => {
                        self.theme.mention()
                    }
                    AuthorState::Compared | AuthorState::Signed | AuthorState::Unsigned => Style::new(),
                };
                let shown = beginning(words);
                self.text_or_action(rows, head, shown, style);
                if shown.len() < words.len() {
                    let more = (words.len() - shown.len()).to_string();
                    self.under(rows, &self.lang.fill(UiText::MoreWords, &[("count", &more)]), self.theme.dim());
                }
                if entry.edited {
                    self.append(rows, self.lang.text(UiText::Edited));
                }
            }
            None => self.text(rows, head, &entry.shown(self.lang), self.theme.dim()),
        }
        if !matches!(entry.body, MessageBody::Deleted | MessageBody::Hidden) {
            self.reactions(rows, entry);
        }
        if own {
            self.receipt(rows, entry.seq);
        }
        if self.room.selected == Some(entry.seq) {
            rows[first..].iter_mut().for_each(|row| row.style = row.style.patch(self.theme.selected()));
        }
    }

    /// Adds the text of a message; one that begins with `/me` is shown as an action.
    fn text_or_action(&self, rows: &mut Vec<Line<'static>>, head: RowPrefix, words: &str, style: Style) {
        match words.strip_prefix("/me ") {
            Some(does) => {
                let does = format!("{} {does}", head.name);
                let head = RowPrefix { name: "*".to_owned(), ..head };
                self.text(rows, head, &does, style.add_modifier(Modifier::ITALIC));
            }
            None => self.text(rows, head, words, style),
        }
    }

    fn quote(&self, rows: &mut Vec<Line<'static>>, to: Seq) {
        let quoted = match self.room.timeline.entry(to) {
            Some(entry) => format!("╭ {}: {}", entry.name, entry.shown(self.lang).replace('\n', " ")),
            None => format!("╭ #{to}"),
        };
        let indent = self.indent();
        let text = shortened(&quoted, self.width.saturating_sub(indent));
        let mut spans = self.margin();
        spans.push(Span::styled(text, self.theme.dim()));
        rows.push(Line::from(spans));
    }

    fn reactions(&self, rows: &mut Vec<Line<'static>>, entry: &MessageEntry) {
        if entry.reactions.is_empty() {
            return;
        }
        let each: Vec<_> =
            entry.reactions.iter().map(|reaction| format!("{} {}", reaction.emoji, reaction.by.len())).collect();
        self.under(rows, &each.join("  "), self.theme.accent());
    }

    fn presence(&self, rows: &mut Vec<Line<'static>>, presence: &Presence) {
        let mut parts = Vec::new();
        for (names, few, many) in
            [(&presence.came, UiText::Came, UiText::CameMany), (&presence.left, UiText::Went, UiText::WentMany)]
        {
            match names.len() {
                0 => {}
                1..=4 => parts.push(self.lang.fill(few, &[("names", &names.join(", "))])),
                more => parts.push(
                    self.lang.fill(many, &[("names", &names[..3].join(", ")), ("more", &(more - 3).to_string())]),
                ),
            }
        }
        if !parts.is_empty() {
            self.notice(rows, "· ", &parts.join(" · "), self.theme.dim());
        }
    }

    fn head(&self, at_us: u64, name: &str, style: Style) -> RowPrefix {
        RowPrefix { clock: format!("{} ", self.zone.clock(at_us)), name: name.to_owned(), mark: " ", style }
    }

    fn text(&self, rows: &mut Vec<Line<'static>>, head: RowPrefix, words: &str, style: Style) {
        let indent = self.indent();
        let mut prefix = vec![Span::styled(head.clock, self.theme.dim())];
        if self.has_column() {
            let name = shortened(&head.name, NAME);
            let padding = " ".repeat(NAME.saturating_sub(columns(&name)));
            let border = Span::styled(format!("{}│ ", head.mark), self.theme.dim());
            prefix.extend([Span::raw(padding), Span::styled(name, head.style), border]);
        } else {
            let name = shortened(&head.name, self.width.saturating_sub(CLOCK + 4).min(20));
            let mark = if head.mark == " " { "" } else { head.mark };
            prefix.extend([Span::styled(name, head.style), Span::styled(format!("{mark} "), self.theme.dim())]);
        }
        let taken: usize = prefix.iter().map(|span| columns(&span.content)).sum();
        let ranges = wrap::rows(words, self.width.saturating_sub(taken), self.width.saturating_sub(indent));
        for (index, range) in ranges.into_iter().enumerate() {
            let mut spans = if index == 0 { std::mem::take(&mut prefix) } else { self.margin() };
            spans.push(Span::styled(words[range].to_owned(), style));
            rows.push(Line::from(spans));
        }
    }

    /// Adds a row below the text.
    pub(super) fn under(&self, rows: &mut Vec<Line<'static>>, text: &str, style: Style) {
        let mut spans = self.margin();
        spans.push(Span::styled(shortened(text, self.width.saturating_sub(self.indent())), style));
        rows.push(Line::from(spans));
    }

    /// Adds a text to the last row if it fits there, else below it.
    pub(super) fn append(&self, rows: &mut Vec<Line<'static>>, text: &str) {
        match rows.last_mut() {
            Some(last) if last.width() + columns(text) < self.width => {
                last.push_span(Span::styled(format!(" {text}"), self.theme.dim()));
            }
            Some(_) | None => self.under(rows, text, self.theme.dim()),
        }
    }

    /// Adds a text of the program.
    fn notice(&self, rows: &mut Vec<Line<'static>>, mark: &str, text: &str, style: Style) {
        let width = self.width.saturating_sub(CLOCK + columns(mark));
        for (index, range) in wrap::rows(text, width, width).into_iter().enumerate() {
            let mark = if index == 0 { mark } else { "  " };
            rows.push(Line::styled(format!("{}{mark}{}", " ".repeat(CLOCK), &text[range]), style));
        }
    }

    /// Returns a separator such as `── Monday ─────`.
    fn separator(&self, text: &str, style: Style) -> Line<'static> {
        let begin = shortened(&format!("── {text} "), self.width);
        let rest = "─".repeat(self.width.saturating_sub(columns(&begin)));
        Line::styled(format!("{begin}{rest}"), style)
    }

    const fn has_column(&self) -> bool {
        self.width >= WITH_COLUMN
    }

    const fn indent(&self) -> usize {
        if self.has_column() { CLOCK + NAME + 3 } else { CLOCK }
    }

    fn margin(&self) -> Vec<Span<'static>> {
        if self.has_column() {
            vec![Span::raw(fitted("", CLOCK + NAME)), Span::styled(" │ ", self.theme.dim())]
        } else {
            vec![Span::raw(fitted("", CLOCK))]
        }
    }
}

/// Returns at most [`SHOWN`] bytes of a text, without splitting a character.
fn beginning(words: &str) -> &str {
    let end = words.char_indices().map(|(index, _)| index).take_while(|index| *index <= SHOWN).last();
    if words.len() <= SHOWN { words } else { &words[..end.unwrap_or(0)] }
}

/// What is before the text of a message.
struct RowPrefix {
    clock: String,
    name: String,
    /// What is known about the author, in one column.
    mark: &'static str,
    style: Style,
}
