//! Copies one group's messages into another, from the oldest kept on, until it is stopped or `COUNT` are copied.
//!
//! `cargo run -p gaung-client --example mirror -- 192.168.1.10 lobby archive [COUNT]`
//!
//! Texts and replies are copied, under their authors' names. Edits, deletions and reactions refer to messages by seq and
//! count only from their author's device, so a copy of them would mean something else.

use std::{env, error::Error};

use gaung_client::{Client, Event, LaneChoice, ListenOptions, Settings, StartAt};
use gaung_proto::{Content, GroupName, Kind, block::Message};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let (Some(server), Some(source), Some(target)) = (args.next(), args.next(), args.next()) else {
        return Err("usage: mirror SERVER SOURCE TARGET [COUNT]".into());
    };
    let count = args.next().map_or(Ok(u64::MAX), |count| count.parse())?;
    let (source, target): (GroupName, GroupName) = (source.parse()?, target.parse()?);
    let mut settings = Settings::new(env::temp_dir().join("gaung-example-mirror"));
    settings.server = Some(server);
    let client = Client::connect(settings).await?;

    let publisher = client.publisher(&target).await?;
    let from_start = ListenOptions { groups: vec![source], lane: LaneChoice::Auto, from: StartAt::Oldest };
    let mut listener = client.listen(from_start).await?;
    let mut copied = 0;
    while copied < count {
        let Some(event) = listener.next().await else { break };
        if let Event::Lost { range, .. } = &event {
            eprintln!("lost {range}: no longer kept, so not copied");
        }
        let Event::Message { message: Message { seq, .. }, content, .. } = event else { continue };
        let (Kind::Text(body) | Kind::Reply { body, .. }) = content.kind else { continue };
        // Awaiting each acknowledgement keeps the source's order and says what is safe.
        let logged = publisher.publish(Content::text(content.author_name, body)).await?.await?;
        println!("{seq} → {logged}");
        copied += 1;
    }
    listener.close().await;
    Ok(())
}
