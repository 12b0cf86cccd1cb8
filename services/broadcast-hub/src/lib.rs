//! broadcast-hub
