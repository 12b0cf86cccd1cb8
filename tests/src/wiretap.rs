//! A TCP proxy that records what passes, as somebody on the network would.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{self, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};

/// A running proxy; it ends with its connections when dropped.
#[derive(Debug)]
pub struct Wiretap {
    _runtime: Runtime,
    addr: SocketAddr,
    connections: Arc<Mutex<Vec<Recording>>>,
}

/// What passed through one connection.
#[derive(Debug, Clone, Default)]
struct Recording {
    to_server: Arc<Mutex<Vec<u8>>>,
    to_client: Arc<Mutex<Vec<u8>>>,
}

impl Wiretap {
    /// Passes connections to `server` from a port of its own.
    ///
    /// # Panics
    /// If it cannot listen.
    #[must_use]
    pub fn start(server: SocketAddr) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let connections = Arc::<Mutex<Vec<Recording>>>::default();
        let recordings = Arc::clone(&connections);
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let recording = Recording::default();
                recordings.lock().unwrap_or_else(PoisonError::into_inner).push(recording.clone());
                tokio::spawn(pass(client, server, recording));
            }
        });
        Self { _runtime: runtime, addr, connections }
    }

    /// Where clients connect to.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Everything that passed by now, one connection and direction after another, with the masks of WebSockets removed.
    ///
    /// # Panics
    /// Never: a recording is never left half written.
    #[must_use]
    pub fn recorded(&self) -> Vec<u8> {
        let connections = self.connections.lock().expect("no thread panics while it holds it");
        let streams = connections.iter().flat_map(|one| [unmasked(&bytes(&one.to_server)), bytes(&one.to_client)]);
        streams.collect::<Vec<_>>().concat()
    }
}

fn bytes(of: &Mutex<Vec<u8>>) -> Vec<u8> {
    of.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

async fn pass(client: TcpStream, server: SocketAddr, recording: Recording) -> io::Result<()> {
    let server = TcpStream::connect(server).await?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::try_join!(
        copy(from_client, to_server, &recording.to_server),
        copy(from_server, to_client, &recording.to_client)
    )?;
    Ok(())
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    recorded: &Mutex<Vec<u8>>,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        recorded.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..read]);
        to.write_all(&buffer[..read]).await?;
    }
}

/// Browsers mask what they send in a WebSocket (RFC 6455, section 5.3), with keys that they send along.
fn unmasked(stream: &[u8]) -> Vec<u8> {
    let upgrade = stream.to_ascii_lowercase();
    let Some(end) =
        find(&upgrade, b"upgrade: websocket").and_then(|at| Some(at + find(&upgrade[at..], b"\r\n\r\n")? + 4))
    else {
        return stream.to_vec();
    };
    let (mut plain, mut rest) = (stream[..end].to_vec(), &stream[end..]);
    while let Some((payload, left)) = frame(rest) {
        plain.extend(payload);
        rest = left;
    }
    plain
}

fn frame(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (&[_, length], rest) = bytes.split_first_chunk()?;
    let (length, rest) = match length & 0x7f {
        126 => rest.split_first_chunk().map(|(length, rest)| (u16::from_be_bytes(*length).into(), rest))?,
        127 => rest.split_first_chunk().map(|(length, rest)| (u64::from_be_bytes(*length), rest))?,
        length => (length.into(), rest),
    };
    let (mask, rest) = rest.split_first_chunk::<4>()?;
    let (payload, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    Some((payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect(), rest))
}

/// Where `wanted` begins.
#[must_use]
pub fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
