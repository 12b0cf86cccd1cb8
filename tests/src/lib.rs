//! gaung-tests
