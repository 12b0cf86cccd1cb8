//! `group-registry enrol`: asks the registry that runs over a data folder for a token, by a socket in that folder. Who may enter the
//! folder may ask: the registry's own user, and root.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use gaung_site::EnrolToken;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::enrol::Enrolments;

const FILE: &str = "enrol.sock";
/// Time for the registry's answer, which needs no work.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Time before accept is retried after an error, such as too many open files.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// More than a token has.
const MAX_TOKEN_BYTES: u64 = 256;

/// The registry's end of the socket; its file is removed with it.
#[derive(Debug)]
pub(crate) struct TokenSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl TokenSocket {
    /// Opens the socket in `data`, whose store this process has open: a file from a registry that was killed is replaced.
    pub(crate) fn open(data: &Path) -> io::Result<Self> {
        let path = data.join(FILE);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok(Self { listener, path })
    }

    /// Gives a token to each who connects, until `stop`.
    pub(crate) async fn serve(self, enrolments: Arc<Enrolments>, stop: CancellationToken) -> anyhow::Result<()> {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((mut stream, _)) => {
                    let line = format!("{}\n", enrolments.open_token(Instant::now()));
                    // An empty socket takes so few bytes at once; whoever has left already gets none.
                    let _ = timeout(ANSWER_LIMIT, stream.write_all(line.as_bytes())).await;
                }
                Err(error) => {
                    warn!(%error, "request for a token not accepted");
                    sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }
}

impl Drop for TokenSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Asks the registry that runs over the data folder `data` for a token, which is good for an hour. Must be called within a runtime.
///
/// # Errors
/// If none runs there, or this user may not ask it.
pub async fn request_token(data: &Path) -> anyhow::Result<EnrolToken> {
    let path = data.join(FILE);
    let asked = async {
        let mut text = String::new();
        UnixStream::connect(&path).await?.take(MAX_TOKEN_BYTES).read_to_string(&mut text).await?;
        Ok::<_, io::Error>(text)
    };
    let answer = timeout(ANSWER_LIMIT, asked).await.context("the registry does not answer")?;
    let text = answer.with_context(|| {
        format!(
            "no registry answers at {}; start it, give its folder with --data, and be the same user or root",
            path.display()
        )
    })?;
    Ok(text.parse()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use gaung_site::SiteAuthority;

    use super::*;

    #[tokio::test]
    async fn whoever_may_enter_the_folder_gets_a_token_of_the_site() {
        let data = tempfile::tempdir().unwrap();
        assert!(format!("{:#}", request_token(data.path()).await.unwrap_err()).contains("--data"));
        let authority = Arc::new(SiteAuthority::create().unwrap());
        let enrolments = Arc::new(Enrolments::new(Arc::clone(&authority), None, Instant::now()).unwrap());
        // A file that a killed registry left behind is no obstacle.
        drop(std::os::unix::net::UnixListener::bind(data.path().join(FILE)).unwrap());
        let socket = TokenSocket::open(data.path()).unwrap();
        assert_eq!(fs::metadata(data.path().join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
        let stop = CancellationToken::new();
        let serving = tokio::spawn(socket.serve(enrolments, stop.clone()));
        let (first, second) = (request_token(data.path()).await.unwrap(), request_token(data.path()).await.unwrap());
        assert_eq!((first.site(), second.site()), (Some(authority.id()), Some(authority.id())));
        assert_ne!(first, second);
        stop.cancel();
        serving.await.unwrap().unwrap();
        assert!(!data.path().join(FILE).exists());
    }
}
