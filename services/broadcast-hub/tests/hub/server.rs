//! A gRPC server on a runtime of its own, so that dropping it cuts every connection as a killed process would.

use std::net::{SocketAddr, TcpListener};

use tokio::runtime::Runtime;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{service::Routes, transport::Server};

pub struct KillableServer {
    runtime: Option<Runtime>,
    pub addr: SocketAddr,
}

impl KillableServer {
    pub fn start(addr: SocketAddr, routes: Routes) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = listen(addr);
        listener.set_nonblocking(true).unwrap();
        let addr = listener.local_addr().unwrap();
        runtime.spawn(async move {
            let incoming = TcpListenerStream::new(tokio::net::TcpListener::from_std(listener).unwrap());
            Server::builder().add_routes(routes).serve_with_incoming(incoming).await.unwrap();
        });
        Self { runtime: Some(runtime), addr }
    }
}

impl Drop for KillableServer {
    fn drop(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

/// Listens even while connections of a server before it are closing.
fn listen(addr: SocketAddr) -> TcpListener {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        match socket.bind(&addr.into()).and_then(|()| socket.listen(128)) {
            Ok(()) => return socket.into(),
            Err(error) => assert!(std::time::Instant::now() < deadline, "{addr}: {error}"),
        }
        std::thread::yield_now();
    }
}
