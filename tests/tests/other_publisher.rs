//! Somebody who publishes under another's client id, which stands in clear in the log.
#![allow(clippy::unwrap_used, missing_docs)]

use gaung_proto::{
    Content, GroupId,
    block::Author,
    pb::relay::{Entry, PublishRequest, ReadRequest, relay_service_client::RelayServiceClient},
    run::Run,
};
use gaung_tests::deployment::{Person, Up};
use serde_json::Value;
use tokio::runtime::Runtime;
use tonic::{Code, transport::Channel};

/// A raw client of the relay.
struct Eve {
    runtime: Runtime,
    relay: RelayServiceClient<Channel>,
    group: GroupId,
}

impl Eve {
    fn at(up: &Up, group: GroupId) -> Self {
        let runtime = Runtime::new().unwrap();
        let relay = runtime.block_on(RelayServiceClient::connect(format!("http://{}", up.address("relay")))).unwrap();
        Self { runtime, relay, group }
    }

    /// The author of the first message.
    fn copied(&mut self) -> Author {
        let request = ReadRequest { group_id: self.group.into(), from_seq: 1, ..ReadRequest::default() };
        let mut relay = self.relay.clone();
        let run = async { relay.read(request).await.unwrap().into_inner().message().await.unwrap().unwrap().run };
        let run = Run::parse(self.runtime.block_on(run)).unwrap();
        run.messages().next().unwrap().author
    }

    fn publish(&mut self, author: Author, client_seq: u64) -> Code {
        let (content_type, payload) = Content::text("ani", "kata eve").encode();
        let entry = Entry { client_seq, content_type: content_type.to_byte().into(), payload };
        let request = PublishRequest {
            group_id: self.group.into(),
            client_id: author.client.into(),
            device_id: author.device.into(),
            entries: vec![entry],
            ..PublishRequest::default()
        };
        let mut relay = self.relay.clone();
        self.runtime.block_on(async { relay.publish(request).await }).map_or_else(|status| status.code(), |_| Code::Ok)
    }
}

fn texts(person: &Person) -> Vec<String> {
    let text = |line: &String| serde_json::from_str::<Value>(line).unwrap()["text"].as_str().unwrap().to_owned();
    person.out(&["history", "lobby", "--from", "1", "--json"]).iter().map(text).collect()
}

#[test]
fn whose_client_id_is_copied_loses_nothing_and_goes_on_after_a_crash_too() {
    let up = Up::start(&[]);
    let ani = up.person("ani");
    let _ = ani.out(&["group", "create", "lobby"]);
    let shown: Value = serde_json::from_str(&ani.out(&["group", "show", "lobby", "--json"])[0]).unwrap();
    let group: GroupId = shown["id"].as_str().unwrap().parse().unwrap();
    let mut send = ani.start(&["send", "lobby", "-"]);
    send.write("satu\n");
    let _ = send.stdout_lines(1);
    let mut eve = Eve::at(&up, group);
    let author = eve.copied();
    for client_seq in [1, 2, 1 << 40] {
        assert_eq!(eve.publish(author, client_seq), Code::AlreadyExists);
    }
    send.write("dua\n");
    let _ = send.stdout_lines(2);
    assert_eq!(texts(&ani), ["satu", "dua"]);

    // The windows come back from the messages alone, so that the client belongs to the first who comes.
    let port = up.address("registry").port().to_string();
    let up = Up::start_in(up.kill(), &["--registry-port", &port]);
    assert_eq!(Eve::at(&up, group).publish(author, 3), Code::Ok);
    send.write("tiga\nempat\n");
    assert_eq!(send.end().expect_code(0).stdout, ["1", "2", "4", "5"]);
    assert_eq!(texts(&ani), ["satu", "dua", "kata eve", "tiga", "empat"]);
}
