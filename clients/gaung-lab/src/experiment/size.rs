//! The sizes of the experiments.

/// The sizes of all experiments. The full one takes some minutes, the quick one less than one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunSize {
    /// How often each measurement is made.
    pub(crate) repetitions: u32,
    /// Messages of a burst, few enough for the smallest receive buffer that systems have.
    pub(crate) burst: u32,
    /// Text of a message, bytes.
    pub(crate) message_bytes: usize,
    /// Of one to many, ascending.
    pub(crate) receivers: &'static [u32],
    /// Workers of the services, ascending.
    pub(crate) workers: &'static [u32],
    /// Messages of each of four publishers in the experiment with workers.
    pub(crate) stream: u32,
    /// In percent, ascending.
    pub(crate) losses: &'static [u32],
    /// Messages of a burst in which some are lost.
    pub(crate) lossy_burst: u32,
    /// Messages that were sent before the late receiver joins.
    pub(crate) history: u32,
}

impl RunSize {
    /// The sizes for a report.
    pub(crate) const FULL: Self = Self {
        repetitions: 10,
        burst: 64,
        message_bytes: 1000,
        receivers: &[1, 2, 4, 8, 16],
        workers: &[1, 2, 4],
        stream: 1500,
        losses: &[0, 1, 5, 10, 20],
        lossy_burst: 500,
        history: 200,
    };
    /// The sizes for a quick look and for tests.
    pub(crate) const QUICK: Self = Self {
        repetitions: 3,
        burst: 64,
        message_bytes: 1000,
        receivers: &[1, 4],
        workers: &[1, 2],
        stream: 200,
        losses: &[0, 20],
        lossy_burst: 300,
        history: 50,
    };

    /// Returns how many members the network needs.
    #[must_use]
    pub(crate) fn members(&self) -> usize {
        let receivers = self.receivers.iter().copied().max().unwrap_or(1) as usize;
        receivers.max(8)
    }
}
