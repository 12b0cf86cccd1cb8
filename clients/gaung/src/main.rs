//! gaung
fn main() {}
