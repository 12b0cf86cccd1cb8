//! gaung-client
