//! broadcast-hub
fn main() {}
