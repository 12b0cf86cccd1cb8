//! Default ports. Each can be set; tests use 0.

/// Registry, gRPC.
pub const REGISTRY: u16 = 7400;
/// Relay, gRPC.
pub const RELAY: u16 = 7401;
/// Relay, UDP data plane.
pub const RELAY_UDP: u16 = 7402;
/// Hub, gRPC.
pub const HUB: u16 = 7403;
/// Hub, framed TCP.
pub const HUB_TCP: u16 = 7404;
/// UDP broadcast.
pub const BROADCAST: u16 = 7405;
/// Discovery, UDP.
pub const DISCOVERY: u16 = 7406;
/// Two doctors that test with each other, TCP.
pub const DOCTOR: u16 = 7407;
/// Page and WebSocket.
pub const WEB: u16 = 7480;
/// Registry's metrics, HTTP.
pub const REGISTRY_METRICS: u16 = 7490;
/// Relay's metrics, HTTP.
pub const RELAY_METRICS: u16 = 7491;
/// Hub's metrics, HTTP.
pub const HUB_METRICS: u16 = 7492;
/// Hub, text for bare sockets.
pub const TEXT: u16 = 8080;
/// First port given to a group; each group has one of its own from here up.
pub const FIRST_GROUP: u16 = 20000;
