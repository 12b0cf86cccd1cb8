//! The sending agents.

use std::{env, time::Duration};

use anyhow::{Context as _, bail};
use gaung_client::{Client, Format, NewGroup, Settings};
use gaung_proto::{Content, GroupName, Seq};
use nix::sys::resource::{UsageWho, getrusage};
use tokio::{
    net::UdpSocket,
    sync::mpsc::UnboundedReceiver,
    time::{Instant, sleep},
};

use super::{ANYWHERE, AgentReply, AgentRequest, Burst, KnownReceipts, Sent, marked, reply};
use crate::clock::now_ns;

/// Connects the SDK's client of this host.
///
/// # Errors
/// If the services do not answer.
pub(super) async fn connect() -> anyhow::Result<Client> {
    let data = env::var_os("GAUNG_DATA").context("an agent has a folder")?;
    let server = env::var("GAUNG_SERVER").ok();
    let name = env::var("GAUNG_NAME").ok().and_then(|name| name.parse().ok());
    Ok(Client::connect(Settings { server, name, ..Settings::new(data) }).await?)
}

/// Runs the publishing agent.
///
/// # Errors
/// If the services do not answer at first.
pub(super) async fn publisher(mut requests: UnboundedReceiver<AgentRequest>) -> anyhow::Result<()> {
    let client = connect().await?;
    reply(&AgentReply::Done)?;
    while let Some(ask) = requests.recv().await {
        let told = match ask {
            AgentRequest::Make { group, text } => make(&client, &group, text).await,
            AgentRequest::UntilPresent { group, count } => until_present(&client, &group, count).await,
            AgentRequest::Publish { group, burst } => publish(&client, &group, burst).await,
            AgentRequest::Receipts { group, count, wait_ms } => receipts(&client, &group, count, wait_ms).await,
            AgentRequest::Tally { .. } | AgentRequest::SendToEach { .. } => bail!("a publisher cannot do {ask:?}"),
        };
        reply(&told.unwrap_or_else(|error| AgentReply::Failed(format!("{error:#}"))))?;
    }
    Ok(())
}

async fn make(client: &Client, group: &str, text: bool) -> anyhow::Result<AgentReply> {
    let format = if text { Format::Text } else { Format::Proto };
    let _ = client.create_group(NewGroup { format, ..NewGroup::named(group.parse()?) }).await?;
    Ok(AgentReply::Done)
}

const BETWEEN_LOOKS: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(20);

async fn until_present(client: &Client, group: &str, count: usize) -> anyhow::Result<AgentReply> {
    let group: GroupName = group.parse()?;
    let until = Instant::now() + PATIENCE;
    loop {
        let present = client.group_status(&group).await?.members.len();
        if present >= count {
            return Ok(AgentReply::Done);
        }
        if Instant::now() > until {
            bail!("the relay knows {present} of {count} members");
        }
        sleep(BETWEEN_LOOKS).await;
    }
}

async fn publish(client: &Client, group: &str, burst: Burst) -> anyhow::Result<AgentReply> {
    let publisher = client.publisher(&group.parse()?).await?;
    let (begun_ns, cpu) = (now_ns(), cpu_us()?);
    let mut answers = Vec::new();
    for index in 0..burst.count {
        // Without a name: a group of bare text would carry it as text.
        let content = Content::text("", marked::text(burst.number, index, burst.bytes));
        answers.push(publisher.publish(content).await?);
        pause(burst, index).await;
    }
    for answer in answers {
        let _: Seq = answer.await?;
    }
    Ok(AgentReply::Sent(Sent { begun_ns, cpu_us: cpu_us()? - cpu }))
}

async fn receipts(client: &Client, group: &str, count: u32, wait_ms: u64) -> anyhow::Result<AgentReply> {
    let group: GroupName = group.parse()?;
    let head = client.group_status(&group).await?.head.0;
    let seqs: Vec<Seq> = (head + 1 - u64::from(count)..=head).map(Seq).collect();
    let mut watch = client.receipts(&group, seqs.iter().copied(), Duration::from_millis(wait_ms)).await?;
    let mut known = vec![KnownReceipts { heard: 0, present: 0 }; seqs.len()];
    while let Some(changed) = watch.next().await {
        for receipt in changed? {
            if let Some(at) = seqs.iter().position(|seq| *seq == receipt.seq) {
                known[at] = KnownReceipts { heard: receipt.heard, present: receipt.present };
            }
        }
    }
    Ok(AgentReply::Receipts(known))
}

/// Runs the agent that sends plain UDP datagrams to each receiver in turn.
///
/// # Errors
/// If there is no socket.
pub(super) async fn datagrams(mut requests: UnboundedReceiver<AgentRequest>) -> anyhow::Result<()> {
    let socket = UdpSocket::bind(ANYWHERE).await.context("a UDP socket")?;
    reply(&AgentReply::Done)?;
    while let Some(ask) = requests.recv().await {
        let AgentRequest::SendToEach { to, burst } = ask else { bail!("a sender of datagrams cannot do {ask:?}") };
        let (begun_ns, cpu) = (now_ns(), cpu_us()?);
        for index in 0..burst.count {
            let text = marked::text(burst.number, index, burst.bytes);
            for receiver in &to {
                let _ = socket.send_to(&text, receiver).await.with_context(|| format!("a datagram to {receiver}"))?;
            }
            pause(burst, index).await;
        }
        reply(&AgentReply::Sent(Sent { begun_ns, cpu_us: cpu_us()? - cpu }))?;
    }
    Ok(())
}

async fn pause(burst: Burst, index: u32) {
    if burst.pause_us > 0 && index % 10 == 9 {
        sleep(Duration::from_micros(burst.pause_us)).await;
    }
}

/// Returns the processor time of this process, in µs.
fn cpu_us() -> anyhow::Result<u64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).context("getrusage")?;
    let (user, system) = (usage.user_time(), usage.system_time());
    let micros = (user.tv_sec() + system.tv_sec()) * 1_000_000 + user.tv_usec() + system.tv_usec();
    Ok(micros.cast_unsigned())
}
