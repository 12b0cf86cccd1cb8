//! Follows the receipts of published messages, and reports them in the order of the messages.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use gaung_client::{Client, ClientError, ErrorKind, MemberLane, MissingMember, Receipt};
use gaung_proto::{DeviceId, GroupName, Seq, limits::MAX_RECEIPT_MESSAGES};
use gaung_terminal::sanitise::one_line;
use serde::Serialize;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::group::to_json;

/// How many batches of receipts are followed at a time; messages acknowledged meanwhile form the next batch.
const AT_ONCE: usize = 8;
/// How many messages may lack their receipt before no more are published.
const MAX_WAITING: usize = 16 * 1024;

/// What to follow, and how to report it.
#[derive(Debug, Clone)]
pub(super) struct ReceiptRequest {
    pub(super) client: Client,
    pub(super) group: GroupName,
    /// How long to wait for members who have not acknowledged.
    pub(super) wait: Duration,
    pub(super) json: bool,
    /// Whether there is one message, whose seq is left out.
    pub(super) single: bool,
}

/// The receipts of some messages, as lines.
#[derive(Debug)]
pub(super) struct ReceiptLines {
    pub(super) lines: Vec<String>,
    /// Why some of them are unknown or incomplete.
    pub(super) error: Option<(ErrorKind, String)>,
}

/// Follows the receipts of the messages that are added to it.
#[derive(Debug)]
pub(super) struct ReceiptWatch {
    acknowledged: mpsc::UnboundedSender<Seq>,
    reports: mpsc::Receiver<ReceiptLines>,
    waiting: usize,
    task: JoinHandle<()>,
}

impl ReceiptWatch {
    pub(super) fn start(request: ReceiptRequest) -> Self {
        // Bounded by `has_room`.
        let (acknowledged, seqs) = mpsc::unbounded_channel();
        let (report, reports) = mpsc::channel(AT_ONCE);
        let task = tokio::spawn(watch_all(Arc::new(request), seqs, report));
        Self { acknowledged, reports, waiting: 0, task }
    }

    pub(super) fn add(&mut self, seq: Seq) {
        self.waiting += 1;
        // The task runs for as long as this exists.
        let _ = self.acknowledged.send(seq);
    }

    pub(super) const fn has_room(&self) -> bool {
        self.waiting < MAX_WAITING
    }

    pub(super) const fn is_done(&self) -> bool {
        self.waiting == 0
    }

    /// Returns the next receipts. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<ReceiptLines> {
        let lines = self.reports.recv().await?;
        self.waiting -= lines.lines.len();
        Some(lines)
    }
}

impl Drop for ReceiptWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch_all(
    request: Arc<ReceiptRequest>,
    mut seqs: mpsc::UnboundedReceiver<Seq>,
    report: mpsc::Sender<ReceiptLines>,
) {
    let mut watches: VecDeque<JoinHandle<ReceiptLines>> = VecDeque::new();
    let mut more = true;
    while more || !watches.is_empty() {
        let mut batch = Vec::new();
        tokio::select! {
            count = seqs.recv_many(&mut batch, MAX_RECEIPT_MESSAGES as usize), if more && watches.len() < AT_ONCE => {
                more = count > 0;
                if more {
                    watches.push_back(tokio::spawn(watch(Arc::clone(&request), batch)));
                }
            }
            lines = first(&mut watches), if !watches.is_empty() => {
                watches.pop_front();
                if report.send(lines).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn first(watches: &mut VecDeque<JoinHandle<ReceiptLines>>) -> ReceiptLines {
    match watches.front_mut() {
        Some(watch) => watch.await.expect("a watch neither panics nor is aborted"),
        None => std::future::pending().await,
    }
}

/// Follows the receipts of some messages until they are complete or the time is over.
async fn watch(request: Arc<ReceiptRequest>, seqs: Vec<Seq>) -> ReceiptLines {
    let mut known: BTreeMap<Seq, Option<Receipt>> = seqs.iter().map(|&seq| (seq, None)).collect();
    let outcome = follow(&request, seqs, &mut known).await;
    let lacking = known.values().flatten().any(|receipt| !receipt.missing.is_empty());
    let names = if lacking { names(&request).await } else { HashMap::new() };
    let unknown = outcome.err().map(|error| (error.kind(), error.to_string()));
    let why = unknown.as_ref().map_or("the relay told nothing", |(_, why)| why);
    let line = |(seq, receipt): (&Seq, &Option<Receipt>)| match (receipt, request.json) {
        (Some(receipt), true) => to_json(&ReceiptObject::of(receipt, &names)),
        (None, true) => to_json(&ReceiptObject { seq: seq.0, error: Some(why), ..ReceiptObject::default() }),
        (Some(receipt), false) => prefixed(&request, *seq, &sentence(receipt, &names)),
        (None, false) => prefixed(&request, *seq, "nobody knows who has heard"),
    };
    let lines = known.iter().map(line).collect();
    ReceiptLines { lines, error: unknown }
}

async fn follow(
    request: &ReceiptRequest,
    seqs: Vec<Seq>,
    known: &mut BTreeMap<Seq, Option<Receipt>>,
) -> Result<(), ClientError> {
    let mut receipts = request.client.receipts(&request.group, seqs, request.wait).await?;
    while let Some(changed) = receipts.next().await {
        known.extend(changed?.into_iter().map(|receipt| (receipt.seq, Some(receipt))));
    }
    Ok(())
}

/// Returns the names of devices that the registry knows.
async fn names(request: &ReceiptRequest) -> HashMap<DeviceId, String> {
    let members = request.client.members(&request.group).await.unwrap_or_default();
    members.into_iter().map(|member| (member.device, member.name)).collect()
}

fn prefixed(request: &ReceiptRequest, seq: Seq, text: &str) -> String {
    if request.single { text.to_owned() } else { format!("{seq}: {text}") }
}

/// Returns a text such as `heard by 3 of 4; not yet: budi`.
fn sentence(receipt: &Receipt, names: &HashMap<DeviceId, String>) -> String {
    let mut parts = vec![format!("heard by {} of {}", receipt.heard, receipt.present)];
    let of = |text: bool| receipt.missing.iter().filter(move |m| (m.lane == Some(MemberLane::Text)) == text);
    let lacking = (receipt.present - receipt.silent).saturating_sub(receipt.heard);
    for (words, text, count) in [("not yet", false, lacking), ("cannot say", true, receipt.silent)] {
        if count > 0 {
            parts.push(format!("{words}: {}", list(of(text).map(|missing| shown(missing, names)), count as usize)));
        }
    }
    if receipt.absent > 0 {
        parts.push(format!("absent: {}", receipt.absent));
    }
    parts.join("; ")
}

/// Lists each name once, and how many there are besides.
fn list(names: impl Iterator<Item = String>, count: usize) -> String {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    names.for_each(|name| *times.entry(name).or_default() += 1);
    let more = count.saturating_sub(times.values().sum());
    let named = times.into_iter().map(|(name, times)| if times > 1 { format!("{name} ({times})") } else { name });
    let others = (more > 0).then(|| format!("{more} more"));
    named.chain(others).collect::<Vec<_>>().join(", ")
}

fn shown(missing: &MissingMember, names: &HashMap<DeviceId, String>) -> String {
    let known = names.get(&missing.device).or(Some(&missing.name)).filter(|name| !name.is_empty());
    match known {
        Some(name) => one_line(name).into_owned(),
        None if missing.device.is_none() => missing.client.to_string()[..8].to_owned(),
        None => missing.device.to_string()[..8].to_owned(),
    }
}

/// A receipt for scripts.
#[derive(Debug, Default, Serialize)]
struct ReceiptObject<'a> {
    seq: u64,
    heard: Option<u32>,
    present: Option<u32>,
    silent: Option<u32>,
    absent: Option<u32>,
    missing: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

impl ReceiptObject<'_> {
    fn of(receipt: &Receipt, names: &HashMap<DeviceId, String>) -> Self {
        Self {
            seq: receipt.seq.0,
            heard: Some(receipt.heard),
            present: Some(receipt.present),
            silent: Some(receipt.silent),
            absent: Some(receipt.absent),
            missing: Some(receipt.missing.iter().map(|missing| shown(missing, names)).collect()),
            error: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use gaung_proto::ClientId;

    use super::*;

    fn missing(device: u8, lane: MemberLane, name: &str) -> MissingMember {
        let (device, client) = (DeviceId([device; 16]), ClientId([7; 16]));
        MissingMember { device, client, lane: Some(lane), name: name.to_owned() }
    }

    fn receipt() -> Receipt {
        let missing = vec![
            missing(1, MemberLane::Multicast, ""),
            missing(1, MemberLane::Tcp, ""),
            missing(2, MemberLane::Tcp, ""),
            missing(0, MemberLane::Text, "client-3"),
        ];
        Receipt { seq: Seq(17), heard: 3, present: 9, silent: 1, absent: 2, missing, complete: false }
    }

    #[test]
    fn a_receipt_is_one_sentence() {
        let names = HashMap::from([(DeviceId([1; 16]), "bu\x07di".to_owned())]);
        let all = Receipt { heard: 4, present: 4, silent: 0, absent: 0, missing: Vec::new(), ..receipt() };
        assert_eq!(sentence(&all, &names), "heard by 4 of 4");
        let told = "heard by 3 of 9; not yet: 02020202, bu␇di (2), 2 more; cannot say: client-3; absent: 2";
        assert_eq!(sentence(&receipt(), &names), told);
    }

    #[test]
    fn a_receipt_is_one_object() {
        let names = HashMap::from([(DeviceId([1; 16]), "budi".to_owned())]);
        assert_eq!(
            to_json(&ReceiptObject::of(&receipt(), &names)),
            r#"{"seq":17,"heard":3,"present":9,"silent":1,"absent":2,"missing":["budi","budi","02020202","client-3"]}"#
        );
        let unknown = ReceiptObject { seq: 3, error: Some("away"), ..ReceiptObject::default() };
        let nulls = r#""heard":null,"present":null,"silent":null,"absent":null,"missing":null"#;
        assert_eq!(to_json(&unknown), format!(r#"{{"seq":3,{nulls},"error":"away"}}"#));
    }
}
