//! What lies between sender and receiver.

use std::{
    fs,
    process::Command,
    sync::mpsc::{Sender, sync_channel},
    thread,
};

use gaung_net::interface::{self, Link};
use nix::sched::{CloneFlags, unshare};

/// A way from one place to another.
pub(crate) struct Path {
    pub(crate) name: &'static str,
    pub(crate) sender: PathEnd,
    pub(crate) receiver: PathEnd,
}

impl Path {
    pub(crate) fn loopback() -> Self {
        let end = || PathEnd { link: Link::loopback(), thread: Thread::start() };
        Self { name: "loopback", sender: end(), receiver: end() }
    }

    /// A veth pair between two namespaces, which end with the process; `None` without root or `ip`.
    pub(crate) fn veth() -> Option<Self> {
        let (from, to) = (Thread::start(), Thread::start());
        let task = to.run(|| {
            unshare(CloneFlags::CLONE_NEWNET).ok()?;
            fs::read_link("/proc/thread-self").ok()?.file_name()?.to_str().map(str::to_owned)
        })?;
        let near = from.run(move || {
            unshare(CloneFlags::CLONE_NEWNET).ok()?;
            ip(&format!("link add near type veth peer name far netns {task}"))?;
            set_up("near", "10.99.0.1/24")
        })?;
        let far = to.run(|| set_up("far", "10.99.0.2/24"))?;
        Some(Self {
            name: "veth",
            sender: PathEnd { link: near, thread: from },
            receiver: PathEnd { link: far, thread: to },
        })
    }
}

/// An interface, and a thread of its network namespace.
pub(crate) struct PathEnd {
    link: Link,
    thread: Thread,
}

impl PathEnd {
    /// Does `work` there; threads that it starts are there too.
    pub(crate) fn run<T: Send + 'static>(&self, work: impl FnOnce(&Link) -> T + Send + 'static) -> T {
        let link = self.link.clone();
        self.thread.run(move || work(&link))
    }
}

struct Thread {
    work: Sender<Box<dyn FnOnce() + Send>>,
}

impl Thread {
    fn start() -> Self {
        let (work, queue) = std::sync::mpsc::channel::<Box<dyn FnOnce() + Send>>();
        thread::spawn(move || queue.into_iter().for_each(|work| work()));
        Self { work }
    }

    fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (reply, answer) = sync_channel(1);
        self.work.send(Box::new(move || reply.send(work()).unwrap())).unwrap();
        answer.recv().unwrap()
    }
}

fn set_up(name: &str, address: &str) -> Option<Link> {
    ip(&format!("addr add {address} dev {name}"))?;
    ip(&format!("link set {name} up"))?;
    let interfaces = interface::interfaces().ok()?;
    interface::choose(&interfaces, Some(name)).ok()?.links.into_iter().next()
}

fn ip(args: &str) -> Option<()> {
    Command::new("ip").args(args.split(' ')).output().ok().filter(|output| output.status.success()).map(drop)
}
