//! The two lists between the model and the world: effects that are to be run, and inputs that the model handles.

use std::time::Duration;

use crossterm::event::{KeyEvent, MouseEvent};
use gaung_client::{Event, GroupInfo, HistoryPage, LaneChoice, LogStatus, Member, Moderation, Receipt, ServerStatus};
use gaung_proto::{GroupName, Kind, Seq};

use super::incoming::IncomingMessage;

/// How many messages one page of a log has.
pub(crate) const PAGE: u64 = 200;

/// Something that the model wants done.
#[derive(Debug, Clone)]
pub(crate) enum Effect {
    /// Start a listener. Its answers are [`Input::Entered`] or [`Input::NotEntered`], then [`Input::ListenerEvent`].
    Enter {
        /// The group.
        group: GroupName,
        /// The listener's number.
        session: u32,
        /// The lanes that it may use.
        choice: LaneChoice,
        /// The message after which it starts; from now on if `None`.
        after: Option<Seq>,
    },
    /// Stop the listener of a group.
    Leave {
        /// The group.
        group: GroupName,
        /// Whether the membership ends too.
        lasting: bool,
    },
    /// Publish a message; the answer is [`Input::Published`].
    Publish {
        /// The group.
        group: GroupName,
        /// The message's number.
        number: u64,
        /// The content.
        kind: Kind,
    },
    /// Read a page of a log; the answer is [`Input::Page`].
    Read {
        /// The group.
        group: GroupName,
        /// The page.
        page: HistoryPage,
        /// The number of the group's listener, by which an outdated answer is recognised.
        session: u32,
        /// The message to show if the page is read to jump there.
        jump: Option<Seq>,
    },
    /// Search a whole log; the answers are [`Input::SearchResults`].
    Search {
        /// The group.
        group: GroupName,
        /// The words that a message has to contain.
        words: String,
        /// The number of the list that takes the answers.
        number: u64,
    },
    /// Request the members of a group; the answer is [`Input::Members`].
    Members(GroupName),
    /// Follow the receipt of a message; the answers are [`Input::Receipts`].
    Receipts {
        /// The group.
        group: GroupName,
        /// The message.
        seq: Seq,
    },
    /// Create a group; the answer is [`Input::Created`] or [`Input::RequestFailed`].
    Create {
        /// The group.
        group: GroupName,
        /// Whether it is entered by invite only.
        private: bool,
    },
    /// Create an invite; the answer is [`Input::Invited`] or [`Input::RequestFailed`].
    Invite {
        /// The group.
        group: GroupName,
        /// How often it can be used; any number if `None`.
        uses: Option<u32>,
        /// How long it is valid; 24 h if `None`.
        expires: Option<Duration>,
    },
    /// Redeem the code of an invite; the answer is [`Input::Created`] or [`Input::RequestFailed`].
    Redeem(String),
    /// Decide about a device; the answer is [`Input::Moderated`] or [`Input::RequestFailed`].
    Moderate {
        /// The group.
        group: GroupName,
        /// The name or the first digits of the device.
        who: String,
        /// What is done to it.
        what: Moderation,
    },
    /// Request the names of all groups; the answer is [`Input::Groups`].
    Groups,
    /// Request the state of the services; the answer is [`Input::Status`].
    Status {
        /// The group whose log is shown besides.
        group: GroupName,
        /// The number of the list that takes the answer.
        number: u64,
    },
    /// Change the name that others see.
    Rename(gaung_proto::DisplayName),
    /// Notify the person by the bell and the desktop, as the settings say.
    Notify {
        /// The title, without control characters.
        title: String,
        /// The text, without control characters.
        body: String,
    },
    /// Turn the mouse on or off.
    Mouse(bool),
    /// Draw the whole screen again.
    Redraw,
    /// Store drafts and read positions.
    Save,
}

/// Something that happened.
#[derive(Debug)]
pub(crate) enum Input {
    /// A key was pressed.
    Key(KeyEvent),
    /// Text was pasted.
    Paste(String),
    /// The mouse was moved or clicked.
    Mouse(MouseEvent),
    /// The terminal got the focus or lost it.
    Focus(bool),
    /// The terminal has so many columns and rows.
    Resize(u16, u16),
    /// The time is this, in µs since 1970.
    Tick(u64),
    /// A listener reports an event.
    ListenerEvent {
        /// The listener's number.
        session: u32,
        /// The event.
        event: Box<Event>,
    },
    /// A listener started.
    Entered {
        /// The listener's number.
        session: u32,
        /// The group.
        group: Box<GroupInfo>,
    },
    /// A listener could not be started.
    NotEntered {
        /// The listener's number.
        session: u32,
        /// Why it could not.
        why: EnterRefusal,
    },
    /// A page of a log was read.
    Page {
        /// The group.
        group: GroupName,
        /// The page that was requested.
        page: HistoryPage,
        /// The number of the group's listener at the time of the request.
        session: u32,
        /// The message to show.
        jump: Option<Seq>,
        /// The messages, oldest first, or why they could not be read.
        answer: Result<Vec<IncomingMessage>, String>,
    },
    /// An own message was acknowledged, or is late, or failed.
    Published {
        /// The group.
        group: GroupName,
        /// The message's number.
        number: u64,
        /// The outcome.
        outcome: PublishOutcome,
    },
    /// A search found messages.
    SearchResults {
        /// The number of the list.
        number: u64,
        /// The messages, newest first.
        messages: Vec<IncomingMessage>,
        /// Set with the last answer: whether the search succeeded, or why it failed.
        end: Option<Result<(), String>>,
    },
    /// The members of a group.
    Members {
        /// The group.
        group: GroupName,
        /// The members as the registry lists them.
        members: Vec<Member>,
        /// The names of the text sessions in the group.
        text_sessions: Vec<String>,
    },
    /// Receipts of own messages.
    Receipts {
        /// The group.
        group: GroupName,
        /// The receipts, each of one message.
        receipts: Vec<Receipt>,
    },
    /// A group was created, or opened by an invite.
    Created(GroupName),
    /// An invite was created.
    Invited {
        /// The group.
        group: GroupName,
        /// The code.
        code: String,
        /// The end of its validity, in ms since 1970.
        until_ms: i64,
    },
    /// A device was moderated, and the services honour it.
    Moderated {
        /// The group.
        group: GroupName,
        /// The name of the device's owner, without control characters; the device's id if it has none.
        who: String,
        /// What was done.
        what: Moderation,
    },
    /// The names of all groups.
    Groups(Vec<String>),
    /// The state of the services.
    Status {
        /// The number of the list.
        number: u64,
        /// The services.
        server: Box<Result<ServerStatus, String>>,
        /// The group's log and members.
        log: Box<Result<LogStatus, String>>,
    },
    /// A request failed.
    RequestFailed(String),
    /// A service that runs in this process logged a line.
    LogLine(String),
}

/// Why a group cannot be entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EnterRefusal {
    /// It does not exist.
    NoSuchGroup,
    /// It is private, and this device is not a member.
    NotInvited,
    /// It failed for another reason, in words without control characters.
    Other(String),
}

/// The outcome of publishing a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PublishOutcome {
    /// It is not acknowledged yet; another outcome follows.
    Late,
    /// It is logged with this seq.
    Logged(Seq),
    /// It was not logged, for this reason.
    Failed(String),
}
