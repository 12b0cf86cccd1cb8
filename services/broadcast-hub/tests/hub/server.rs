//! A gRPC server of the site on a runtime of its own. Dropping it cuts every connection, like a killed process.

use std::{
    net::{SocketAddr, TcpListener},
    time::{Duration, Instant},
};

use gaung_site::Role;
use service_kit::{
    readiness::Readiness,
    rpc::RpcServer,
    secure::{PlaintextPolicy, SecurePort},
};
use socket2::{Domain, Socket, Type};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::site::credentials;

pub struct KillableServer {
    runtime: Option<Runtime>,
    pub addr: SocketAddr,
}

impl KillableServer {
    pub fn start(addr: SocketAddr, role: Role, routes: Routes) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let addr = if addr.port() == 0 { reserve(addr) } else { addr };
        let listener = listen(addr);
        listener.set_nonblocking(true).unwrap();
        let secure = SecurePort::new(Some(&credentials(role)), PlaintextPolicy::Any, &[b"h2"]);
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let server = RpcServer::new(listener, routes, &[], &[], Readiness::new()).unwrap().secured(secure);
            server.serve(CancellationToken::new()).await.unwrap();
        });
        Self { runtime: Some(runtime), addr }
    }
}

impl Drop for KillableServer {
    fn drop(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

/// Finds a free port and keeps it until the test process ends, so that nothing else gets it while its server is away.
fn reserve(any: SocketAddr) -> SocketAddr {
    let bound = bind(any).unwrap();
    let addr = bound.local_addr().unwrap().as_socket().unwrap();
    std::mem::forget(bound);
    addr
}

/// Listens as soon as the server before it does not any more, even while that one's connections are closing.
fn listen(addr: SocketAddr) -> TcpListener {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match bind(addr).and_then(|socket| socket.listen(128).map(|()| socket)) {
            Ok(socket) => return socket.into(),
            Err(error) => assert!(Instant::now() < deadline, "{addr}: {error}"),
        }
        std::thread::yield_now();
    }
}

fn bind(addr: SocketAddr) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}
