//! The last words to a connection that becomes no session.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// How long a peer has to read why it is refused. One that is gone or does not close gets no more time.
const READING_LIMIT: Duration = Duration::from_secs(1);

/// Says why the connection ends, and waits a moment until the peer has read it: a reset would discard the words.
pub(crate) async fn say_goodbye(mut stream: TcpStream, words: &[u8]) {
    let saying = async {
        stream.write_all(words).await?;
        stream.shutdown().await?;
        let mut scratch = [0; 1024];
        while stream.read(&mut scratch).await? > 0 {}
        io::Result::Ok(())
    };
    // The connection ends either way.
    let _ = timeout(READING_LIMIT, saying).await;
}
