//! Lanes as people call them.

use gaung_client::Lane;

use super::Word;

/// The name of a lane.
pub(crate) const fn lane_word(lane: Lane) -> Word {
    match lane {
        Lane::Multicast => Word::LaneMulticast,
        Lane::Tcp => Word::LaneTcp,
        Lane::Broadcast => Word::LaneBroadcast,
        Lane::History => Word::LaneHistory,
    }
}
