//! The words of the table.

/// An enum whose variants have names that stand in files.
macro_rules! named {
    ($(#[$doc:meta])* $type:ident { $($(#[$of:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type { $($(#[$of])* $variant,)* }

        impl $type {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// As it stands in files.
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
    /// What is tried.
    Experiment {
        /// The same message to 1, 2, 4, 8, 16 receivers by each way.
        OneToMany = "one-to-many",
        /// What reaches a host that did not ask for it.
        WhoHears = "who-hears",
        /// Services with 1, 2, 4 workers.
        Threads = "threads",
        /// Receivers that lose datagrams.
        Loss = "loss",
        /// What the sender learns.
        Receipts = "receipts",
        /// Somebody comes after the messages.
        LateJoiner = "late-joiner",
    }
}

named! {
    /// Who was measured.
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
    /// What was measured.
    Metric {
        /// Left the server's interface in a burst, Ethernet headers included, B.
        SenderBytes = "sender_bytes",
        /// The same in frames.
        SenderFrames = "sender_frames",
        /// From before the first message until the last receiver had the last one, ms.
        LastReceiver = "last_receiver_ms",
        /// Processor time of the sending process for a burst, ms.
        SenderCpu = "sender_cpu_ms",
        /// Messages that were heard, of all that should be, by all receivers together, %.
        Heard = "heard_percent",
        /// Frames that came to the witness for each message, 1.
        WitnessFrames = "witness_frames_per_message",
        /// Frames that came to a member for each message, 1.
        MemberFrames = "member_frames_per_message",
        /// Messages delivered in a second, all receivers together, 1/s.
        Throughput = "delivered_per_second",
        /// Members of whom the sender knows that they heard, 1.
        KnownHeard = "known_heard",
        /// Members of whom the sender knows that they were there, 1.
        KnownPresent = "known_present",
        /// From the start of a late receiver until it had the last message, ms.
        CaughtUp = "caught_up_ms",
    }
}
