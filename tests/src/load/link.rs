//! The bytes of one connection of the generator: as they are, or by TLS.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
};

use rustls::{ClientConfig, ClientConnection, pki_types::ServerName};

/// A connection to a server.
#[derive(Debug)]
pub struct Link {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

impl Link {
    /// Begins; with `tls` it waits until the handshake is done. The server proves nothing, since nobody is deceived here.
    ///
    /// # Errors
    /// The handshake fails.
    pub fn begin(mut stream: TcpStream, tls: Option<&Arc<ClientConfig>>) -> anyhow::Result<Self> {
        let Some(config) = tls else { return Ok(Self { stream, tls: None }) };
        let name = ServerName::try_from("hub.gaung.internal").expect("a DNS name");
        let mut tls = Box::new(ClientConnection::new(Arc::clone(config), name)?);
        tls.complete_io(&mut stream)?;
        Ok(Self { stream, tls: Some(tls) })
    }

    /// Returns the socket.
    pub const fn socket(&self) -> &TcpStream {
        &self.stream
    }

    /// Reads once; 0 at the end. By TLS all that was decrypted comes at once, if `room` suffices for a record.
    ///
    /// # Errors
    /// As of the socket; what breaks TLS.
    pub fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let Self { stream, tls } = self;
        let Some(tls) = tls else { return stream.read(room) };
        loop {
            match tls.reader().read(room) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
            if tls.read_tls(stream)? == 0 {
                return Ok(0);
            }
            tls.process_new_packets().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
    }

    /// Writes the beginning of `bytes`; returns how many.
    ///
    /// # Errors
    /// As of the socket.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Self { stream, tls } = self;
        let Some(tls) = tls else { return stream.write(bytes) };
        while tls.wants_write() {
            tls.write_tls(stream)?;
        }
        let written = tls.writer().write(bytes)?;
        while tls.wants_write() {
            match tls.write_tls(stream) {
                Ok(_) => {}
                // The next call goes on with it.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }
}
