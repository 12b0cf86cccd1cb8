//! Logs: to stderr, as text or JSON, filtered by one string.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use tracing_subscriber::{EnvFilter, fmt, util::SubscriberInitExt as _};

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    /// For people; in colour on a terminal unless `NO_COLOR` is set.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// A log filter that cannot be parsed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the log level {filter:?} cannot be read ({reason}); use error, warn, info, debug, trace, or for one part \
         of the program `info,multicast_relay=debug`"
)]
pub struct FilterError {
    filter: String,
    reason: String,
}

/// Starts logging for the whole process.
///
/// `filter`: a level, or directives such as `info,multicast_relay=debug`. Returns false, and changes nothing, if
/// logging had been started before.
///
/// # Errors
/// [`FilterError`] if `filter` cannot be read.
pub fn init(format: LogFormat, filter: &str) -> Result<bool, FilterError> {
    let filter = parse_filter(filter)?;
    // Whoever read stderr may have gone; to complain of that to stderr panics, in a task that has something else to do.
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    let started = match format {
        LogFormat::Text => builder.with_ansi(colour_wanted()).finish().try_init(),
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init(),
    };
    Ok(started.is_ok())
}

/// Checks a filter without starting anything, for `--check-config`.
///
/// # Errors
/// [`FilterError`] if `filter` cannot be read.
pub fn check_filter(filter: &str) -> Result<(), FilterError> {
    parse_filter(filter).map(|_| ())
}

fn parse_filter(filter: &str) -> Result<EnvFilter, FilterError> {
    EnvFilter::builder().parse(filter).map_err(|e| FilterError { filter: filter.to_owned(), reason: e.to_string() })
}

fn colour_wanted() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn starting_twice_is_harmless() {
        init(LogFormat::Text, "warn").unwrap();
        assert!(!init(LogFormat::Json, "info").unwrap(), "the second start changes nothing");
    }

    #[test]
    fn a_bad_filter_says_what_a_good_one_is() {
        let err = check_filter("info,foo=loudest").unwrap_err().to_string();
        assert!(err.contains("error, warn, info"), "{err}");
        check_filter("info,service_kit=trace").unwrap();
    }
}
