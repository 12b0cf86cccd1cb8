//! What holds of every log on disk. `crate::Store` is the one under test, and the root says what differs.

mod damage;
mod failing_disk;
mod group_commit;
mod log;
mod power_cut;
mod salvage;
mod shrink;
mod superseded;
