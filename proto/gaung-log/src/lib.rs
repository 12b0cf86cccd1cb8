//! gaung-log
