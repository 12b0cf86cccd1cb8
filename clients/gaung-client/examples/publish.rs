//! Publishes each line of stdin as one message, pipelined, and prints each message's seq once it is durable.
//!
//! `seq 1000 | cargo run -p gaung-client --example publish -- 192.168.1.10 lobby`

use std::{env, error::Error, io::stdin, thread};

use gaung_client::{Client, PendingAck, PublishError, Settings};
use gaung_proto::Content;
use tokio::sync::mpsc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let [_, server, group] = env::args().collect::<Vec<_>>().try_into().map_err(|_| "usage: publish SERVER GROUP")?;
    let mut settings = Settings::new(env::temp_dir().join("gaung-example-publish"));
    settings.server = Some(server);
    let publisher = Client::connect(settings).await?.publisher(&group.parse()?).await?;

    let (read, mut lines) = mpsc::channel(1024);
    thread::spawn(move || stdin().lines().map_while(Result::ok).try_for_each(|line| read.blocking_send(line)));
    // As many as a publisher keeps unacknowledged; beyond, publishing waits.
    let (published, mut pending) = mpsc::channel::<PendingAck>(1024);
    let printing = tokio::spawn(async move {
        while let Some(acknowledgement) = pending.recv().await {
            println!("{}", acknowledgement.await?);
        }
        Ok::<_, PublishError>(())
    });
    while let Some(line) = lines.recv().await {
        if published.send(publisher.publish(Content::text("example", line)).await?).await.is_err() {
            break;
        }
    }
    drop(published);
    printing.await??;
    Ok(())
}
