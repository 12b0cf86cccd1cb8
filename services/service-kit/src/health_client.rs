//! The health check behind a service's `health` subcommand, for containers without a shell.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use tokio::time::timeout;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::rpc::ServiceEndpoint;

/// The result of a health check: whether the service serves, and one line that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthReport {
    /// Whether the answer was SERVING.
    pub serving: bool,
    /// One line for people, without a newline.
    pub line: String,
}

impl HealthReport {
    /// Returns exit code 0 if the service serves, else 1.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(u8::from(!self.serving))
    }
}

/// Requests the state of the whole server at `target` (`HOST:PORT`) by grpc.health.v1, within `deadline`. By TLS if the server speaks
/// it, whoever it is, so that the answer comes where plaintext is refused.
pub async fn check(target: &str, deadline: Duration) -> HealthReport {
    let state = timeout(deadline, status(target)).await;
    let (serving, text) = match state {
        Err(_) => (false, format!("no answer within {} ms", deadline.as_millis())),
        Ok(Err(reason)) => (false, reason),
        Ok(Ok(ServingStatus::Serving)) => (true, "serving".to_owned()),
        Ok(Ok(ServingStatus::NotServing)) => (false, "not serving".to_owned()),
        Ok(Ok(ServingStatus::Unknown | ServingStatus::ServiceUnknown)) => (false, "state unknown".to_owned()),
    };
    HealthReport { serving, line: format!("{target}: {text}") }
}

/// Returns the name under which an instance of `service` reports its health, so that a client knows which one answered.
#[must_use]
pub fn instance_name(service: &str, id: impl std::fmt::Display) -> String {
    format!("{service}/{id}")
}

/// Which server answered a check for one instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answerer {
    /// The instance itself: the server knows its name and serves.
    Instance,
    /// A server that serves but does not know the instance's name.
    Another,
    /// No server that serves, or none in time.
    Nobody,
}

/// Checks at `service` for the instance of that name ([`instance_name`]), within `deadline`.
pub async fn ask(service: &ServiceEndpoint, instance: &str, deadline: Duration) -> Answerer {
    let asked = async {
        let mut client = HealthClient::new(service.connect().await.ok()?);
        let request = |service: &str| HealthCheckRequest { service: service.to_owned() };
        match client.check(request(instance)).await {
            Ok(answer) => Some(answer.into_inner().status()).map(|status| (status, Answerer::Instance)),
            Err(status) if status.code() == tonic::Code::NotFound => {
                let answer = client.check(request("")).await.ok()?;
                Some((answer.into_inner().status(), Answerer::Another))
            }
            Err(_) => None,
        }
    };
    match timeout(deadline, asked).await {
        Ok(Some((ServingStatus::Serving, answerer))) => answerer,
        Ok(Some(_) | None) | Err(_) => Answerer::Nobody,
    }
}

/// Returns the address at which a server that listens on `listen` is reached from the same machine: an unspecified address
/// becomes the loopback one.
#[must_use]
pub fn local_target(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, listen.port())
}

async fn status(target: &str) -> Result<ServingStatus, String> {
    let server = ServiceEndpoint::of_anyone(target).map_err(|e| e.to_string())?;
    let channel = server.connect().await.map_err(|e| format!("cannot connect: {}", root_cause(&e)))?;
    let answer = HealthClient::new(channel).check(HealthCheckRequest { service: String::new() }).await;
    match answer {
        Ok(answer) => Ok(answer.into_inner().status()),
        Err(status) => Err(format!("{:?}: {}", status.code(), status.message())),
    }
}

fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn nobody_there_is_one_line_and_code_1() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        drop(listener);
        let report = check(&addr, Duration::from_secs(10)).await;
        assert!(!report.serving && report.line.contains("refused") && !report.line.contains('\n'), "{}", report.line);
        assert!(!check("not a target", Duration::from_secs(1)).await.serving);
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_is_given_up() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let report = check(&silent.local_addr().unwrap().to_string(), Duration::from_millis(50)).await;
        assert!(!report.serving && report.line.contains("no answer within 50 ms"), "{}", report.line);
    }

    #[test]
    fn unspecified_listeners_are_reached_on_loopback() {
        assert_eq!(local_target("0.0.0.0:7400".parse().unwrap()), "127.0.0.1:7400".parse().unwrap());
        assert_eq!(local_target("[::]:7400".parse().unwrap()), "[::1]:7400".parse().unwrap());
        assert_eq!(local_target("10.0.0.1:7400".parse().unwrap()), "10.0.0.1:7400".parse().unwrap());
    }
}
