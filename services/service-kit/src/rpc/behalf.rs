//! Calls that a service makes for somebody who has reached it by another way, such as a browser by the page.

use std::net::IpAddr;

use tonic::Request;

/// The metadata key that names the address for which a call is made.
const BEHALF: &str = "gaung-behalf";

/// Names the address for which a service makes a call, so that the called one charges it and not the service.
pub fn call_on_behalf<T>(request: &mut Request<T>, address: IpAddr) {
    let text = address.to_canonical().to_string();
    let value = text.parse().expect("an address is ASCII");
    request.metadata_mut().insert(BEHALF, value);
}

/// Returns the address that a call is charged to: the one that it came from, or the one that a service of this machine names.
/// `None`: this process. Others could name any address, so only this machine's services are believed.
pub fn charged_address<T>(request: &Request<T>) -> Option<IpAddr> {
    let from = request.remote_addr().map(|addr| addr.ip().to_canonical());
    if from.is_some_and(|ip| !ip.is_loopback()) {
        return from;
    }
    let named = request.metadata().get(BEHALF).and_then(|value| value.to_str().ok()?.parse().ok());
    named.or(from)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::SocketAddr;

    use tonic::transport::server::TcpConnectInfo;

    use super::*;

    fn call(from: &str, behalf: &str) -> Request<()> {
        let from: SocketAddr = from.parse().unwrap();
        let mut request = Request::new(());
        request.extensions_mut().insert(TcpConnectInfo { local_addr: None, remote_addr: Some(from) });
        call_on_behalf(&mut request, behalf.parse().unwrap());
        request
    }

    #[test]
    fn only_services_of_this_machine_name_another_address() {
        let ip = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        for from in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(charged_address(&call(from, "10.0.0.9")), ip("10.0.0.9"), "{from}");
        }
        for from in ["10.0.0.1:1", "[fd00::1]:1", "[::ffff:10.0.0.1]:1"] {
            let from_ip = from.parse::<SocketAddr>().unwrap().ip().to_canonical();
            assert_eq!(charged_address(&call(from, "127.0.0.1")), Some(from_ip));
        }
        assert_eq!(charged_address(&call("127.0.0.1:1", "::ffff:10.0.0.9")), ip("10.0.0.9"));
        let mut plain = call("127.0.0.1:1", "10.0.0.9");
        plain.metadata_mut().insert(BEHALF, "nobody".parse().unwrap());
        assert_eq!(charged_address(&plain), ip("127.0.0.1"));
        assert_eq!(charged_address(&Request::new(())), None);
    }
}
