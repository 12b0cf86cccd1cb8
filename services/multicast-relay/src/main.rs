//! multicast-relay
fn main() {}
