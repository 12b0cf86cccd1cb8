//! The names of lanes.

use gaung_client::Lane;

use super::UiText;

/// Returns the name of a lane.
pub(crate) const fn lane_name(lane: Lane) -> UiText {
    match lane {
        Lane::Multicast => UiText::LaneMulticast,
        Lane::Tcp => UiText::LaneTcp,
        Lane::Broadcast => UiText::LaneBroadcast,
        Lane::History => UiText::LaneHistory,
    }
}
