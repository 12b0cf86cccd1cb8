//! multicast-relay
