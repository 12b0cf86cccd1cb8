//! Reads from the relay's log what the engine asks for.

use anyhow::Context as _;
use gaung_engine::HistoryEnd;
use gaung_proto::{
    Seq, SeqRange,
    pb::relay::{ReadRequest, relay_service_client::RelayServiceClient},
    run::Run,
};
use tokio::sync::mpsc;
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt as _;

use super::{
    group::Place,
    member::{Command, Commands},
};

/// A run of one message of the largest size, with its framing.
const MAX_RESPONSE: usize = 1024 * 1024;

/// Serves the member until it is gone.
pub(super) async fn serve(
    place: Place,
    mut wanted: mpsc::UnboundedReceiver<SeqRange>,
    member: Commands,
) -> anyhow::Result<()> {
    let target = format!("http://{}", place.relay_grpc);
    let relay = RelayServiceClient::connect(target).await.context("the relay's log")?;
    let mut reader = Reader { relay: relay.max_decoding_message_size(MAX_RESPONSE), place, member };
    while let Some(range) = wanted.recv().await {
        let end = match reader.read(range).await {
            Ok(head) => HistoryEnd::Reached { head },
            Err(_) => HistoryEnd::Failed,
        };
        if reader.member.send_wait(Command::End(end)).await.is_err() {
            break;
        }
    }
    Ok(())
}

struct Reader {
    relay: RelayServiceClient<Channel>,
    place: Place,
    member: Commands,
}

impl Reader {
    /// Hands over the runs; gives the end of the range, or of the log before it.
    async fn read(&mut self, range: SeqRange) -> anyhow::Result<Seq> {
        let mut next = range.first;
        let request = ReadRequest {
            group_id: self.place.group.id.into(),
            log_id: self.place.group.log.0,
            from_seq: range.first.0,
            limit_messages: range.last.0 - range.first.0 + 1,
            ..ReadRequest::default()
        };
        let mut runs = match self.relay.read(request).await {
            Ok(runs) => runs.into_inner(),
            Err(status) => return Err(self.trimmed(status).await),
        };
        while let Some(response) = runs.message().await? {
            let run = Run::parse(response.run)?;
            next = run.last_seq().next();
            self.member.send_wait(Command::Run(run)).await.map_err(|_| anyhow::anyhow!("the member has ended"))?;
        }
        Ok(range.last.min(Seq(next.0 - 1)))
    }

    /// Tells the member where the log begins; what it still misses it asks for again.
    async fn trimmed(&self, status: Status) -> anyhow::Error {
        if status.code() == Code::OutOfRange {
            let details = status.get_details_error_info();
            let oldest = details.and_then(|info| info.metadata.get("oldest_seq")?.parse().ok());
            if let Some(oldest) = oldest {
                let _ = self.member.send_wait(Command::Trimmed(Seq(oldest))).await;
            }
        }
        status.into()
    }
}
