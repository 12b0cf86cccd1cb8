//! A chat in fifty lines: lines of stdin are published to a group, its messages are printed as they come.
//!
//! `cargo run -p gaung-client --example chat -- 192.168.1.10 everyone Lina`

use std::{env, error::Error, io::stdin, thread};

use gaung_client::{Client, Event, LaneChoice, ListenOptions, Settings, StartAt};
use gaung_proto::{Content, GroupName, Kind};
use tokio::sync::mpsc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let [_, server, group, name] =
        env::args().collect::<Vec<_>>().try_into().map_err(|_| "usage: chat SERVER GROUP NAME")?;
    let group: GroupName = group.parse()?;
    // The folder keeps the device key: the same folder is the same device.
    let mut settings = Settings::new(env::temp_dir().join(format!("gaung-example-{name}")));
    settings.server = Some(server);
    settings.name = Some(name.parse()?);
    let client = Client::connect(settings).await?;

    let groups = vec![group.clone()];
    let mut listener = client.listen(ListenOptions { groups, lane: LaneChoice::Auto, from: StartAt::Next }).await?;
    let publisher = client.publisher(&group).await?;
    let (typed, mut lines) = mpsc::channel(16);
    thread::spawn(move || stdin().lines().map_while(Result::ok).try_for_each(|line| typed.blocking_send(line)));
    loop {
        tokio::select! {
            Some(event) = listener.next() => print(event),
            line = lines.recv() => match line {
                // Awaiting the acknowledgement gives the message's seq once it is durable.
                Some(line) => println!("logged {}", publisher.publish(Content::text("", line)).await?.await?),
                None => break,
            },
        }
    }
    listener.close().await;
    Ok(())
}

fn print(event: Event) {
    if let Event::Message { message, content: Content { author_name, kind: Kind::Text(body) }, .. } = event {
        println!("{} {author_name}: {}", message.seq, String::from_utf8_lossy(&body));
    } else {
        eprintln!("{event:?}");
    }
}
