//! Default ports. Each can be set; tests use 0.

/// TCP port of the registry's gRPC.
pub const REGISTRY: u16 = 7400;
/// TCP port of the relay's gRPC.
pub const RELAY: u16 = 7401;
/// UDP port of the relay's data plane.
pub const RELAY_UDP: u16 = 7402;
/// TCP port of the hub's gRPC.
pub const HUB: u16 = 7403;
/// TCP port of the hub's framed sessions.
pub const HUB_TCP: u16 = 7404;
/// UDP port that the hub broadcasts to.
pub const BROADCAST: u16 = 7405;
/// UDP port of service discovery.
pub const DISCOVERY: u16 = 7406;
/// Two doctors that test with each other, TCP.
pub const DOCTOR: u16 = 7407;
/// TCP port of the hub's page and WebSocket.
pub const WEB: u16 = 7480;
/// TCP port of the registry's metrics over HTTP.
pub const REGISTRY_METRICS: u16 = 7490;
/// TCP port of the relay's metrics over HTTP.
pub const RELAY_METRICS: u16 = 7491;
/// TCP port of the hub's metrics over HTTP.
pub const HUB_METRICS: u16 = 7492;
/// Hub, text for bare sockets.
pub const TEXT: u16 = 8080;
/// First port given to a group; each group has one of its own from here up.
pub const FIRST_GROUP: u16 = 20000;
