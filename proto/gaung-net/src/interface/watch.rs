//! Watching the interfaces: cables, addresses and names come and go while a program runs.

use std::{
    collections::HashMap,
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket},
};
use tokio::{
    io::unix::AsyncFd,
    sync::watch,
    task::spawn_blocking,
    time::{sleep, timeout},
};
use tracing::debug;

use super::{Interface, Link, LinkSelection, interfaces, select};

/// The links to use, now and as they change. Clones share one watcher, which ends with the last of them.
///
/// The kernel reports changes by a netlink route socket (rtnetlink(7)); where that is refused, such as in a sandbox,
/// the interfaces are listed again every [`LinkWatch::POLL`].
#[derive(Debug, Clone)]
pub struct LinkWatch {
    selections: watch::Receiver<LinkSelection>,
}

/// After the first news of a change others follow: an address is deleted and another one set.
const SETTLE: Duration = Duration::from_millis(100);
/// Longest wait for a row of news to end, so that a link that flaps is looked at too.
const SETTLE_MOST: Duration = Duration::from_secs(1);
/// Interval at which the list is read in spite of netlink, for changes that netlink does not report.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

impl LinkWatch {
    /// Interval at which the interfaces are listed where the kernel does not report changes.
    pub const POLL: Duration = Duration::from_secs(2);

    /// Watches for `wanted`: names or addresses of interfaces, none for all that fit, as [`select`] does. An interface
    /// that is renamed while it is used stays in use. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the system does not list its interfaces.
    pub fn begin(wanted: Vec<String>) -> io::Result<Self> {
        // Before the first list, so that nothing is missed between them.
        let news = open_news().inspect_err(|error| debug!(%error, "netlink refused; interfaces are polled")).ok();
        let mut memory = LinkMemory { wanted, renewals: AddressRenewals::default(), used: HashMap::new() };
        let (sender, selections) = watch::channel(memory.look(interfaces()?));
        tokio::spawn(keep(memory, news, sender));
        Ok(Self { selections })
    }

    /// Always the same links, for tests and for those that chose by themselves.
    #[must_use]
    pub fn fixed(links: Vec<Link>) -> Self {
        let (_, selections) = watch::channel(LinkSelection { links, ..LinkSelection::default() });
        Self { selections }
    }

    /// Returns the links to use now.
    #[must_use]
    pub fn now(&self) -> LinkSelection {
        self.selections.borrow().clone()
    }

    /// Waits for the next change after the one seen last. Cancel safe; waits for ever where nothing changes.
    pub async fn changed(&mut self) -> LinkSelection {
        if self.selections.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.selections.borrow_and_update().clone()
    }
}

async fn keep(mut memory: LinkMemory, mut news: Option<AsyncFd<OwnedFd>>, sender: watch::Sender<LinkSelection>) {
    loop {
        let pause = if news.is_some() { LOOK_AGAIN } else { LinkWatch::POLL };
        tokio::select! {
            () = sender.closed() => return,
            told = heard(news.as_ref(), &mut memory.renewals) => match told {
                Ok(()) => settle(news.as_ref(), &mut memory.renewals).await,
                Err(error) => {
                    debug!(%error, "netlink ended; interfaces are polled");
                    news = None;
                }
            },
            () = sleep(pause) => {}
        }
        let list = match spawn_blocking(interfaces).await {
            Ok(Ok(list)) => list,
            Ok(Err(error)) => {
                debug!(%error, "interfaces unknown for now");
                continue;
            }
            // The runtime is ending.
            Err(_) => return,
        };
        let selection = memory.look(list);
        sender.send_if_modified(|now| {
            let changes = *now != selection;
            if changes {
                *now = selection;
            }
            changes
        });
    }
}

/// Waits for news and notes it; for ever without a socket.
async fn heard(news: Option<&AsyncFd<OwnedFd>>, renewals: &mut AddressRenewals) -> io::Result<()> {
    let Some(news) = news else { return std::future::pending().await };
    loop {
        let mut ready = news.readable().await?;
        // Else it was not readable after all.
        if let Ok(outcome) = ready.try_io(|socket| take_news(socket.get_ref(), renewals)) {
            return outcome;
        }
    }
}

async fn settle(news: Option<&AsyncFd<OwnedFd>>, renewals: &mut AddressRenewals) {
    let row = async { while let Ok(Ok(())) = timeout(SETTLE, heard(news, renewals)).await {} };
    // A link that flaps without end is looked at all the same.
    let _ = timeout(SETTLE_MOST, row).await;
}

/// `RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV4_ROUTE` of rtnetlink(7): the default gateway tells which of several
/// addresses comes first.
const NEWS_GROUPS: u32 = 0x1 | 0x10 | 0x40;
/// Longer news are cut, which is harmless: their beginning says enough.
const NEWS_BYTES: usize = 16 * 1024;

#[expect(deprecated, reason = "the constructor in its place is unsafe, and an owned descriptor stays open")]
fn open_news() -> io::Result<AsyncFd<OwnedFd>> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let news = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    bind(news.as_raw_fd(), &NetlinkAddr::new(0, NEWS_GROUPS))?;
    AsyncFd::new(news)
}

/// Reads all news that wait. Only the kernel can send to such a socket.
fn take_news(news: &OwnedFd, renewals: &mut AddressRenewals) -> io::Result<()> {
    let mut buffer = vec![0; NEWS_BYTES];
    let mut some = false;
    loop {
        match recv(news.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(length) => renewals.note(&buffer[..length]),
            // News were lost, and with them perhaps an address.
            Err(Errno::ENOBUFS) => renewals.note_unknown(),
            Err(Errno::EINTR) => continue,
            Err(Errno::EAGAIN) if some => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
        some = true;
    }
}

/// State of a watcher between two lists.
#[derive(Debug)]
struct LinkMemory {
    wanted: Vec<String>,
    renewals: AddressRenewals,
    /// The number of the interface that a name stood for.
    used: HashMap<String, u32>,
}

impl LinkMemory {
    fn look(&mut self, mut list: Vec<Interface>) -> LinkSelection {
        for interface in &mut list {
            interface.renewals = self.renewals.of(interface.index);
        }
        let mut wanted = Vec::with_capacity(self.wanted.len());
        for name in &self.wanted {
            let named = list.iter().find(|interface| interface.name == *name);
            let renamed = list.iter().find(|interface| self.used.get(name) == Some(&interface.index));
            // Another card may have got the name; it takes over once it can be used.
            match [named, renamed].into_iter().flatten().find(|i| i.is_usable()).or(named).or(renamed) {
                Some(interface) => {
                    self.used.insert(name.clone(), interface.index);
                    wanted.push(interface.name.clone());
                }
                // It may be an address, or come later.
                None => wanted.push(name.clone()),
            }
        }
        select(&list, &wanted)
    }
}

/// How often each interface lost an address or went, by its number.
#[derive(Debug, Default)]
struct AddressRenewals {
    of: HashMap<u32, u32>,
    /// News that were lost may have been of any interface.
    all: u32,
}

/// A link is gone, one of the message types of rtnetlink(7).
const RTM_DELLINK: u16 = 17;
const RTM_DELADDR: u16 = 21;
/// Of `nlmsghdr`, and of what is read of `ifinfomsg` and `ifaddrmsg`: both have the interface's number at byte 4.
const HEADER: usize = 16;
const INDEX: std::ops::Range<usize> = HEADER + 4..HEADER + 8;
/// Interfaces that are told apart; numbers are never used again, so that those that went would gather without end.
const MAX_KNOWN: usize = 4096;

impl AddressRenewals {
    fn of(&self, index: u32) -> u32 {
        self.all.wrapping_add(self.of.get(&index).copied().unwrap_or(0))
    }

    /// Reads a datagram of news, one or several messages.
    fn note(&mut self, mut bytes: &[u8]) {
        while let (Some(length), Some(kind)) = (field(bytes, 0..4), field(bytes, 4..6)) {
            if (kind == u32::from(RTM_DELLINK) || kind == u32::from(RTM_DELADDR))
                && let Some(index) = field(bytes, INDEX)
            {
                if self.of.len() >= MAX_KNOWN {
                    self.of.clear();
                    self.note_unknown();
                }
                let count = self.of.entry(index).or_default();
                *count = count.wrapping_add(1);
            }
            // Messages begin at multiples of four bytes.
            let next = (length as usize).max(HEADER).next_multiple_of(4);
            bytes = bytes.get(next..).unwrap_or_default();
        }
    }

    fn note_unknown(&mut self) {
        self.all = self.all.wrapping_add(MAX_KNOWN as u32);
    }
}

/// A number in the machine's own order of bytes.
fn field(bytes: &[u8], at: std::ops::Range<usize>) -> Option<u32> {
    match *bytes.get(at)? {
        [a, b] => Some(u16::from_ne_bytes([a, b]).into()),
        [a, b, c, d] => Some(u32::from_ne_bytes([a, b, c, d])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interface::{ChooseError, Role, tests::interface};

    fn message(kind: u16, index: u32) -> Vec<u8> {
        let mut bytes = 24_u32.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.resize(HEADER + 4, 0);
        bytes.extend(index.to_ne_bytes());
        bytes
    }

    fn memory(wanted: &[&str]) -> LinkMemory {
        let wanted = wanted.iter().map(|&name| name.to_owned()).collect();
        LinkMemory { wanted, renewals: AddressRenewals::default(), used: HashMap::new() }
    }

    fn names(selection: &LinkSelection) -> Vec<&str> {
        selection.links.iter().map(|link| link.name.as_str()).collect()
    }

    #[test]
    fn an_address_that_went_and_came_back_is_a_change() {
        let mut memory = memory(&[]);
        let list = || vec![interface("eth0", 2, "10.0.0.1/24", Role::Wired)];
        let before = memory.look(list());
        assert_eq!(memory.look(list()), before);
        let news = [message(20, 2), message(RTM_DELADDR, 3), message(RTM_DELADDR, 2)].concat();
        memory.renewals.note(&news);
        let after = memory.look(list());
        assert_ne!(after, before, "what was joined there is void");
        memory.renewals.note_unknown();
        assert_ne!(memory.look(list()), after);
    }

    #[test]
    fn news_that_are_cut_or_absurd_are_passed_over() {
        let mut renewals = AddressRenewals::default();
        let whole = message(RTM_DELLINK, 7);
        for length in 0..whole.len() {
            renewals.note(&whole[..length]);
        }
        assert_eq!(renewals.of(7), 0);
        renewals.note(&[0; 64]);
        renewals.note(&[0xff; 64]);
        for index in 0..2 * MAX_KNOWN as u32 {
            renewals.note(&message(RTM_DELLINK, index));
        }
        assert!(renewals.of.len() <= MAX_KNOWN, "interfaces that went are forgotten");
    }

    #[test]
    fn a_name_is_waited_for_and_followed() {
        let mut memory = memory(&["eth0"]);
        let lo = interface("lo", 1, "127.0.0.1/8", Role::Loopback);
        let absent = memory.look(vec![lo.clone()]);
        assert!(absent.links.is_empty() && matches!(absent.missing[..], [ChooseError::NoSuch { .. }]), "{absent:?}");
        let there = memory.look(vec![lo.clone(), interface("eth0", 2, "", Role::Wired)]);
        assert_eq!(there.missing, [ChooseError::NoAddress("eth0".to_owned())]);
        assert_eq!(names(&memory.look(vec![interface("eth0", 2, "10.0.0.1/24", Role::Wired)])), ["eth0"]);
        assert_eq!(names(&memory.look(vec![interface("lan0", 2, "10.0.0.1/24", Role::Wired)])), ["lan0"]);
        let both =
            |lan: &str, eth: &str| vec![interface("lan0", 2, lan, Role::Wired), interface("eth0", 3, eth, Role::Wired)];
        assert_eq!(
            names(&memory.look(both("10.0.0.1/24", ""))),
            ["lan0"],
            "another card has the name and no address yet"
        );
        assert_eq!(names(&memory.look(both("10.0.0.1/24", "10.0.1.1/24"))), ["eth0"], "the name wins");
        assert!(memory.look(both("10.0.0.1/24", "")).links.is_empty(), "it is the one that is used now");
    }

    #[tokio::test]
    async fn this_machine_is_watched_until_nobody_cares() {
        let watch = LinkWatch::begin(vec!["127.0.0.1".to_owned()]).expect("interfaces are listed");
        assert_eq!(watch.now().links.first().map(|link| link.role), Some(Role::Loopback));
        let mut other = watch.clone();
        assert!(timeout(Duration::from_millis(20), other.changed()).await.is_err(), "nothing changes");
    }
}
