//! group-registry
