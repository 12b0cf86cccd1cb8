//! `gaung text`: a text session over TCP, as netcat would have it.

use anyhow::Context as _;
use gaung_client::ErrorKind;
use gaung_proto::{limits::MAX_PAYLOAD, ports};
use gaung_terminal::sanitise::one_line_bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use crate::{
    cli::talk::TextArgs,
    failure::Failure,
    output::{self, Output, say},
    stdin_lines::{self, LineBody},
    stop,
};

/// The longest line of the hub that is shown in one piece, in bytes.
const MAX_SHOWN: usize = 64 * 1024;

/// Copies lines both ways until the hub ends the session or a signal comes.
///
/// # Errors
/// Unreachable if no server listens there; failed if the session breaks.
pub(crate) async fn run(args: TextArgs) -> anyhow::Result<()> {
    let stop = stop::on_signals()?;
    stop::on_hangup(&stop, stop::TerminalUse::Interactive)?;
    let target = target(&args.host);
    let unreachable = |e: std::io::Error| {
        Failure::new(
            ErrorKind::Unreachable,
            format!("no text port answers at {target}: {e}; is `gaung up` running there?"),
        )
    };
    let (read, write) = TcpStream::connect(&target).await.map_err(unreachable)?.into_split();
    tokio::select! {
        biased;
        () = stop.cancelled() => Ok(()),
        shown = show(read) => {
            shown?;
            say("the hub ended the session");
            Ok(())
        }
        sent = pass_stdin(write) => sent,
    }
}

/// Sends the lines of stdin. It returns only on an error: at the end of stdin the session goes on.
async fn pass_stdin(mut socket: OwnedWriteHalf) -> anyhow::Result<()> {
    let mut lines = stdin_lines::read();
    while let Some(line) = lines.recv().await {
        match line.body {
            LineBody::Bytes(body) => {
                let line = [&body[..], b"\n"].concat();
                socket.write_all(&line).await.context("the session broke")?;
            }
            LineBody::TooLong => {
                say(&format!("line {} was not sent: it has more than {MAX_PAYLOAD} bytes", line.number))
            }
            LineBody::Broken(error) => say(&format!("cannot read stdin any more: {error}")),
        }
    }
    std::future::pending().await
}

/// Prints what the hub sends: unchanged, or on a terminal line by line without control characters.
async fn show(mut socket: OwnedReadHalf) -> anyhow::Result<()> {
    let mut output = Output::new();
    let sanitise = output::on_terminal();
    let mut buffer = vec![0; 16 * 1024];
    let mut unfinished = Vec::new();
    loop {
        let count = socket.read(&mut buffer).await.context("the session broke")?;
        if count == 0 {
            show_lines(&mut output, &unfinished)?;
            return output.flush();
        }
        if sanitise {
            unfinished.extend_from_slice(&buffer[..count]);
            let end = match unfinished.iter().rposition(|b| *b == b'\n') {
                Some(end) => end + 1,
                None if unfinished.len() > MAX_SHOWN => unfinished.len(),
                None => 0,
            };
            show_lines(&mut output, &unfinished[..end])?;
            unfinished.drain(..end);
        } else {
            output.bytes(&buffer[..count])?;
        }
        output.flush()?;
    }
}

fn show_lines(output: &mut Output, bytes: &[u8]) -> anyhow::Result<()> {
    let lines = bytes.split_inclusive(|b| *b == b'\n').map(|line| line.strip_suffix(b"\n").unwrap_or(line));
    lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line)).try_for_each(|line| output.line(&one_line_bytes(line)))
}

/// Returns `HOST:PORT` of an argument: port 8080 unless given, IPv6 in brackets.
fn target(host: &str) -> String {
    let bare_v6 = host.parse::<std::net::Ipv6Addr>().is_ok();
    if bare_v6 {
        return format!("[{host}]:{}", ports::TEXT);
    }
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if has_port { host.to_owned() } else { format!("{host}:{}", ports::TEXT) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_8080_unless_given() {
        for (typed, target_is) in [
            ("lab", "lab:8080"),
            ("lab:80", "lab:80"),
            ("10.0.0.1", "10.0.0.1:8080"),
            ("::1", "[::1]:8080"),
            ("[::1]", "[::1]:8080"),
            ("[::1]:99", "[::1]:99"),
        ] {
            assert_eq!(target(typed), target_is);
        }
    }
}
