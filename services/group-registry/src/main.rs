//! group-registry
fn main() {}
