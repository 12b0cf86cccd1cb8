#![allow(clippy::unwrap_used)]

use gaung_proto::RelayId;
use gaung_site::{ExpectedSite, Role, SiteAuthority, tls as site_tls};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use rustls::{pki_types::UnixTime, time_provider::DefaultTimeProvider};
use service_kit::secure::ServiceCredentials;
use std::sync::Arc;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket},
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream as ClientStream, server::TlsStream as ServerStream};

use super::*;

const ROLE: Role = Role::Hub(RelayId([3; 16]));

/// Makes a connection whose client end buffers little.
async fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpSocket::new_v4().unwrap();
    client.set_recv_buffer_size(16 * 1024).unwrap();
    let client = client.connect(listener.local_addr().unwrap()).await.unwrap();
    (listener.accept().await.unwrap().0, client)
}

async fn tls_connection() -> (ServerStream<TcpStream>, ClientStream<TcpStream>) {
    let site = SiteAuthority::create().unwrap();
    let credentials = ServiceCredentials::issue(&site, ROLE, &[], UnixTime::now()).unwrap();
    let config = site_tls::client_config(ExpectedSite::Any, None, &[], Arc::new(DefaultTimeProvider)).unwrap();
    let (server, client) = connection().await;
    let accepting = TlsAcceptor::from(credentials.server_config(&[])).accept(server);
    let connecting = TlsConnector::from(Arc::new(config)).connect(ROLE.server_name(), client);
    tokio::try_join!(accepting, connecting).unwrap()
}

fn session_socket(stream: ServerStream<TcpStream>) -> SessionSocket {
    let (stream, tls) = stream.into_inner();
    SessionSocket::new(stream, Some(Box::new(tls)))
}

fn is_full<T>(outcome: &io::Result<T>) -> bool {
    outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

/// Writes `data` in random slices, as a session does.
async fn send(socket: &SessionSocket, data: &[u8], mut rng: SmallRng) {
    let mut sent = 0;
    while sent < data.len() || socket.has_unsent() {
        match socket.flush(None) {
            Ok(true) => {}
            Ok(false) => {
                socket.writable().await;
                continue;
            }
            full => {
                assert!(is_full(&full), "{full:?}");
                socket.writable().await;
                continue;
            }
        }
        let slice = rng.random_range(1..20_000);
        let written = socket.write(data[sent..].chunks(slice).take(rng.random_range(1..=SLICES)));
        sent += written.unwrap_or_else(|error| panic!("{error}, though everything before is written"));
    }
}

/// Reads everything up to the end, in random pieces.
async fn receive_all(stream: &mut (impl tokio::io::AsyncRead + Unpin), mut rng: SmallRng) -> Vec<u8> {
    let (mut all, mut room) = (Vec::new(), vec![0; 30_000]);
    loop {
        let limit = rng.random_range(1..room.len());
        match stream.read(&mut room[..limit]).await.unwrap() {
            0 => return all,
            n => all.extend_from_slice(&room[..n]),
        }
    }
}

#[tokio::test]
async fn what_counts_as_written_arrives_once_and_in_order() {
    let seed = rand::random();
    println!("seed {seed}");
    let rng = || SmallRng::seed_from_u64(seed);
    let mut data = vec![0; 3 << 20];
    rng().fill(&mut data[..]);
    let (server, mut client) = tls_connection().await;
    let socket = session_socket(server);
    let sending = async {
        send(&socket, &data, rng()).await;
        socket.close(true).await;
    };
    let ((), heard) = tokio::join!(sending, receive_all(&mut client, rng()));
    assert!(heard == data, "{} of {} bytes", heard.len(), data.len());
}

#[tokio::test]
async fn bytes_that_wait_for_room_are_unsent_and_limited() {
    let (server, mut client) = tls_connection().await;
    let socket = session_socket(server);
    let slice = [7; 200_000];
    let mut written = 0;
    let full = loop {
        match socket.write(std::iter::once(&slice[..])) {
            Ok(n) if n <= 64 * 1024 => written += n,
            full => break full,
        }
    };
    assert!(is_full(&full), "{full:?}");
    assert!(socket.has_unsent());
    assert!(is_full(&socket.flush(None)), "nothing moves while the peer reads nothing");
    let mut heard = 0;
    let mut room = vec![0; 1 << 20];
    while heard < written {
        // The peer takes a little at a time; whatever the socket takes meanwhile is progress.
        heard += client.read(&mut room).await.unwrap();
        let flushed = socket.flush(None);
        assert!(flushed.is_ok() || is_full(&flushed), "{flushed:?}");
    }
    assert!(socket.flush(None).unwrap() && !socket.has_unsent());
}

/// Reads up to the end of input.
async fn read_up_to_end(socket: &SessionSocket, heard: &mut Vec<u8>) -> io::Result<()> {
    let mut room = vec![0; 64 * 1024];
    loop {
        match socket.read(&mut room) {
            Ok(input) => {
                heard.extend_from_slice(&room[..input.bytes]);
                if input.is_ended {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => socket.readable().await,
            Err(error) => return Err(error),
        }
    }
}

#[tokio::test]
async fn an_end_that_comes_with_the_last_bytes_is_noticed_and_a_cut_is_an_error() {
    for is_closed in [true, false] {
        let mut data = vec![0; 1 << 20];
        SmallRng::seed_from_u64(1).fill(&mut data[..]);
        let (server, mut client) = tls_connection().await;
        let socket = session_socket(server);
        let sending = async {
            client.write_all(&data).await.unwrap();
            client.flush().await.unwrap();
            if is_closed {
                client.shutdown().await.unwrap();
            }
            drop(client);
        };
        let mut heard = Vec::new();
        let ((), ended) = tokio::join!(sending, read_up_to_end(&socket, &mut heard));
        assert!(heard == data);
        assert_eq!(ended.err().map(|error| error.kind()), (!is_closed).then_some(ErrorKind::UnexpectedEof));
    }
}

#[tokio::test]
async fn bytes_that_were_decrypted_before_come_first() {
    let (mut server, mut client) = tls_connection().await;
    client.write_all(b"hello").await.unwrap();
    assert_eq!(server.read_u8().await.unwrap(), b'h');
    let socket = session_socket(server);
    let mut room = vec![0; 64 * 1024];
    let early = socket.read_decrypted(&mut room).unwrap();
    assert_eq!((&room[..early.bytes], early.is_ended), (&b"ello"[..], false));
    assert!(is_full(&socket.read_decrypted(&mut room)));
    client.write_all(b" again").await.unwrap();
    client.shutdown().await.unwrap();
    let mut heard = Vec::new();
    read_up_to_end(&socket, &mut heard).await.unwrap();
    assert_eq!(heard, b" again");
}

#[tokio::test]
async fn plaintext_is_written_and_read_as_it_is() {
    let (server, mut client) = connection().await;
    let socket = SessionSocket::new(server, None);
    let data = vec![5; 1 << 20];
    let sending = async {
        let mut sent = 0;
        while sent < data.len() {
            match socket.write(data[sent..].chunks(1000).take(SLICES)) {
                Ok(n) => sent += n,
                full => {
                    assert!(is_full(&full), "{full:?}");
                    socket.writable().await;
                }
            }
        }
        assert!(!socket.has_unsent() && socket.flush(None).unwrap());
        socket.close(true).await;
    };
    let ((), heard) = tokio::join!(sending, receive_all(&mut client, SmallRng::seed_from_u64(1)));
    assert!(heard == data);
    client.write_all(b"hello").await.unwrap();
    drop(client);
    let mut heard = Vec::new();
    read_up_to_end(&socket, &mut heard).await.unwrap();
    assert_eq!(heard, b"hello");
}
