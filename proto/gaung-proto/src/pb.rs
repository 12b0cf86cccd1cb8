//! The generated types, one module per schema; everything in here is unchecked.

/// `gaung.message.v1`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::wildcard_enum_match_arm)]
pub mod message {
    include!(concat!(env!("OUT_DIR"), "/gaung.message.v1.rs"));
}
/// `gaung.registry.v1`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::wildcard_enum_match_arm)]
pub mod registry {
    include!(concat!(env!("OUT_DIR"), "/gaung.registry.v1.rs"));
}
/// `gaung.relay.v1`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::wildcard_enum_match_arm)]
pub mod relay {
    include!(concat!(env!("OUT_DIR"), "/gaung.relay.v1.rs"));
}
/// `gaung.hub.v1`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::wildcard_enum_match_arm)]
pub mod hub {
    include!(concat!(env!("OUT_DIR"), "/gaung.hub.v1.rs"));
}

/// All schemas as an encoded `google.protobuf.FileDescriptorSet`, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/gaung_descriptors.bin"));
