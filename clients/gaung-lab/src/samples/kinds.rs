//! The experiments, series and metrics of the table of samples.

/// Defines an enum whose variants have names that are written to files.
macro_rules! named {
    ($(#[$doc:meta])* $type:ident { $($(#[$of:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type { $($(#[$of])* $variant,)* }

        impl $type {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns the name that is written to files.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }

        impl std::str::FromStr for $type {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                let all = || Self::ALL.iter().map(|one| one.name()).collect::<Vec<_>>().join(", ");
                Self::ALL.iter().copied().find(|one| one.name() == text).ok_or_else(|| format!("one of {}", all()))
            }
        }
    };
}

named! {
    /// An experiment.
    Experiment {
        /// The same message to 1, 2, 4, 8, 16 receivers by each way.
        OneToMany = "one-to-many",
        /// Frames that reach a host that joined no group.
        WhoHears = "who-hears",
        /// Services with 1, 2, 4 workers.
        Threads = "threads",
        /// Receivers that lose datagrams.
        Loss = "loss",
        /// Receipts that the sender gets.
        Receipts = "receipts",
        /// A receiver that joins after the messages were sent.
        LateJoiner = "late-joiner",
    }
}

named! {
    /// A way of sending that is measured.
    Series {
        /// A datagram to each receiver, by a plain UDP sender.
        Unicast = "unicast",
        /// The hub's fan-out over TCP.
        Tcp = "tcp",
        /// The hub's UDP broadcast.
        Broadcast = "broadcast",
        /// The relay's multicast, with repair.
        Multicast = "multicast",
        /// A group of bare text: the relay's multicast without repair.
        Unrepaired = "unrepaired",
        /// Multicast, with one member of several asleep.
        OneAsleep = "one-asleep",
    }
}

named! {
    /// A quantity that is measured.
    Metric {
        /// Bytes that left the server's interface in a burst, Ethernet headers included.
        SenderBytes = "sender_bytes",
        /// Frames that left the server's interface in a burst.
        SenderFrames = "sender_frames",
        /// Time from before the first message until the last receiver had the last one, in ms.
        LastReceiver = "last_receiver_ms",
        /// Processor time of the sending process for a burst, in ms.
        SenderCpu = "sender_cpu_ms",
        /// Share of all messages that was received, by all receivers together, in percent.
        Heard = "heard_percent",
        /// Frames that reached the witness for each message.
        WitnessFrames = "witness_frames_per_message",
        /// Frames that reached a member for each message.
        MemberFrames = "member_frames_per_message",
        /// Messages delivered a second, all receivers together.
        Throughput = "delivered_per_second",
        /// Members that acknowledged, as the sender knows.
        KnownHeard = "known_heard",
        /// Members that were present, as the sender knows.
        KnownPresent = "known_present",
        /// Time from the start of a late receiver until it had the last message, in ms.
        CaughtUp = "caught_up_ms",
    }
}
