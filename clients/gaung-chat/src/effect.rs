//! What the screen wants done, and what comes of it: the two lists between the model and the world.

use std::time::Duration;

use crossterm::event::{KeyEvent, MouseEvent};
use gaung_client::{Event, GroupInfo, HistoryPage, LaneChoice, LogStatus, Member, Receipt, ServerStatus};
use gaung_proto::{GroupName, Kind, Seq};

use super::incoming::IncomingMessage;

/// How many messages one page of a log has.
pub(crate) const PAGE: u64 = 200;

/// To be done.
#[derive(Debug, Clone)]
pub(crate) enum Effect {
    /// Listen to a group; the answers are [`Input::Entered`] or [`Input::NotEntered`], then [`Input::ListenerEvent`].
    Enter {
        /// Which.
        group: GroupName,
        /// The listener's number.
        session: u32,
        /// By which lane.
        choice: LaneChoice,
        /// After this message, or from now on.
        after: Option<Seq>,
    },
    /// Stop listening; `lasting`: be a member no more.
    Leave {
        /// Which.
        group: GroupName,
        /// The membership ends too.
        lasting: bool,
    },
    /// Say something; the answer is [`Input::Published`].
    Publish {
        /// Where.
        group: GroupName,
        /// The message's number.
        number: u64,
        /// What.
        kind: Kind,
    },
    /// Read a page; the answer is [`Input::Page`].
    Read {
        /// Of which group.
        group: GroupName,
        /// Which page.
        page: HistoryPage,
        /// The listener's number when it was asked for.
        session: u32,
        /// The message to show, if it was asked for to jump there.
        jump: Option<Seq>,
    },
    /// Look for words in the log; the answers are [`Input::SearchResults`].
    Search {
        /// In which group.
        group: GroupName,
        /// Which words.
        words: String,
        /// The list's number.
        number: u64,
    },
    /// Ask who is there; the answer is [`Input::Members`].
    Members(GroupName),
    /// Follow who has heard a message; the answers are [`Input::Receipts`].
    Receipts {
        /// Of which group.
        group: GroupName,
        /// Which message.
        seq: Seq,
    },
    /// Make a group; the answer is [`Input::Created`] or [`Input::RequestFailed`].
    Create {
        /// Its name.
        group: GroupName,
        /// By invite only.
        private: bool,
    },
    /// Make an invite; the answer is [`Input::Invited`] or [`Input::RequestFailed`].
    Invite {
        /// Of which group.
        group: GroupName,
        /// How often it can be used; any number if `None`.
        uses: Option<u32>,
        /// Until when; 24 h if `None`.
        expires: Option<Duration>,
    },
    /// Enter by invite; the answer is [`Input::Created`] or [`Input::RequestFailed`].
    Redeem(String),
    /// Ask what groups there are; the answer is [`Input::Groups`].
    Groups,
    /// Ask how the services are; the answer is [`Input::Status`].
    Status {
        /// Of which group besides.
        group: GroupName,
        /// The list's number.
        number: u64,
    },
    /// Be called otherwise.
    Rename(gaung_proto::DisplayName),
    /// Ring, and tell the desktop, as the settings say.
    Notify {
        /// Harmless.
        title: String,
        /// Harmless.
        body: String,
    },
    /// Hear the mouse, or not.
    Mouse(bool),
    /// Draw all of it anew.
    Redraw,
    /// Keep drafts and places.
    Save,
}

/// What happened.
#[derive(Debug)]
pub(crate) enum Input {
    /// A key.
    Key(KeyEvent),
    /// Pasted text.
    Paste(String),
    /// The mouse.
    Mouse(MouseEvent),
    /// The terminal is looked at, or not.
    Focus(bool),
    /// Columns and rows.
    Resize(u16, u16),
    /// The time, µs since 1970.
    Tick(u64),
    /// A listener tells.
    ListenerEvent {
        /// Which listener.
        session: u32,
        /// What.
        event: Box<Event>,
    },
    /// A listener began.
    Entered {
        /// Which.
        session: u32,
        /// The group.
        group: Box<GroupInfo>,
    },
    /// It did not begin.
    NotEntered {
        /// Which.
        session: u32,
        /// Why.
        why: EnterRefusal,
    },
    /// A page of the log, oldest first.
    Page {
        /// Of which group.
        group: GroupName,
        /// What was asked for.
        page: HistoryPage,
        /// The listener's number when it was asked for.
        session: u32,
        /// The message to show.
        jump: Option<Seq>,
        /// The messages, or why there are none.
        answer: Result<Vec<IncomingMessage>, String>,
    },
    /// What became of one's own words.
    Published {
        /// Where.
        group: GroupName,
        /// Which.
        number: u64,
        /// How far they are.
        outcome: PublishOutcome,
    },
    /// Messages with the words sought, newest first.
    SearchResults {
        /// Which list.
        number: u64,
        /// They.
        messages: Vec<IncomingMessage>,
        /// Nothing follows; why it ended, if it failed.
        end: Option<Result<(), String>>,
    },
    /// Who is there.
    Members {
        /// In which group.
        group: GroupName,
        /// Devices.
        members: Vec<Member>,
        /// What bare text sessions call themselves.
        text_sessions: Vec<String>,
    },
    /// Who has heard.
    Receipts {
        /// In which group.
        group: GroupName,
        /// Of one or more messages.
        receipts: Vec<Receipt>,
    },
    /// A group was made, or an invite opened it.
    Created(GroupName),
    /// An invite.
    Invited {
        /// To which group.
        group: GroupName,
        /// The code.
        code: String,
        /// Until when, ms since 1970.
        until_ms: i64,
    },
    /// What groups there are.
    Groups(Vec<String>),
    /// How the services are.
    Status {
        /// Which list.
        number: u64,
        /// The services.
        server: Box<Result<ServerStatus, String>>,
        /// The group's log and members.
        log: Box<Result<LogStatus, String>>,
    },
    /// Something asked for did not work.
    RequestFailed(String),
    /// A line that a service logged.
    LogLine(String),
}

/// Why a group cannot be entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EnterRefusal {
    /// It does not exist.
    NoSuchGroup,
    /// It is private.
    NotInvited,
    /// Something else, harmless.
    Other(String),
}

/// How far words are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PublishOutcome {
    /// Still under way.
    Late,
    /// Durable.
    Logged(Seq),
    /// Not logged; why.
    Failed(String),
}
