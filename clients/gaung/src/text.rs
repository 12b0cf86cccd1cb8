//! `gaung text`: a bare text session over TCP.

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

/// A line of the hub that is longer than this is shown in pieces.
const MAX_SHOWN: usize = 64 * 1024;

/// Carries lines both ways until the hub ends the session or a signal comes.
///
/// # Errors
/// Unreachable if nobody listens there; failed if the session breaks.
pub(crate) async fn run(args: TextArgs) -> anyhow::Result<()> {
    let stop = stop::on_signals()?;
    stop::on_hangup(&stop, stop::Serves::Keyboard)?;
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

/// Sends the lines of stdin; at their end the session is still listened to, so this never ends well.
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

/// Prints what comes: as it is, or on a terminal line by line and harmless.
async fn show(mut socket: OwnedReadHalf) -> anyhow::Result<()> {
    let mut output = Output::new();
    let harmless = output::on_terminal();
    let mut buffer = vec![0; 16 * 1024];
    let mut begun = Vec::new();
    loop {
        let count = socket.read(&mut buffer).await.context("the session broke")?;
        if count == 0 {
            show_lines(&mut output, &begun)?;
            return output.flush();
        }
        if harmless {
            begun.extend_from_slice(&buffer[..count]);
            let end = match begun.iter().rposition(|b| *b == b'\n') {
                Some(end) => end + 1,
                None if begun.len() > MAX_SHOWN => begun.len(),
                None => 0,
            };
            show_lines(&mut output, &begun[..end])?;
            begun.drain(..end);
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

/// `HOST:PORT` of what was typed: port 8080 unless given, IPv6 in brackets.
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
