//! Who publishes under which client id, over each way to the relay.

use bytes::Bytes;
use gaung_proto::{
    ClientId, GroupId,
    pb::relay::{PublishRequest, relay_service_client::RelayServiceClient},
};
use tonic::{Code, transport::Channel};

use crate::support::{OneGroup, ack, entry, publish, request};

fn keyed(group: GroupId, client_seq: u64, key: &[u8]) -> PublishRequest {
    let entries = vec![entry(client_seq, "words")];
    PublishRequest { stream_key: Bytes::copy_from_slice(key), ..request(group, 1, entries) }
}

async fn refused(client: &mut RelayServiceClient<Channel>, request: PublishRequest) -> (Code, String) {
    let status = client.publish(request).await.unwrap_err();
    (status.code(), status.message().to_owned())
}

#[tokio::test]
async fn another_key_is_told_to_take_another_client_id_and_changes_nothing() {
    let OneGroup { registry: _registry, relay, group, mut client, .. } = OneGroup::start().await;
    let (own, other) = ([1; 16], [2; 16]);
    assert_eq!(publish(&mut client, keyed(group, 1, &own)).await.acks, [ack(1, 1, 1)]);
    for n in [1, 2, 1 << 40] {
        for stranger in [keyed(group, n, &other), keyed(group, n, &[])] {
            let (code, message) = refused(&mut client, stranger).await;
            assert_eq!(code, Code::AlreadyExists);
            assert!(message.contains("take a new one"), "{message}");
        }
    }
    assert_eq!(publish(&mut client, keyed(group, 2, &own)).await.acks, [ack(2, 2, 1)]);
    let origin = Bytes::from_static(&[10, 0, 0, 9]);
    let elsewhere = PublishRequest { origin: origin.clone(), ..keyed(group, 3, &own) };
    assert_eq!(publish(&mut client, elsewhere).await.acks, [ack(3, 3, 1)], "a key holds wherever it comes from");

    let another = |n, origin: &Bytes| PublishRequest {
        client_id: ClientId([7; 16]).into(),
        origin: origin.clone(),
        ..keyed(group, n, &[])
    };
    assert_eq!(publish(&mut client, another(1, &origin)).await.acks, [ack(1, 4, 1)]);
    let code = refused(&mut client, another(2, &Bytes::from_static(&[10, 0, 0, 8]))).await.0;
    assert_eq!(code, Code::AlreadyExists, "without a key the hub's session counts");
    let code = refused(&mut client, another(2, &Bytes::new())).await.0;
    assert_eq!(code, Code::AlreadyExists);
    for wrong in [keyed(group, 4, &[1; 3]), another(2, &Bytes::from_static(&[1; 5]))] {
        assert_eq!(refused(&mut client, wrong).await.0, Code::InvalidArgument);
    }
    let page = relay.metrics_page().await;
    assert!(page.contains("relay_client_window_bytes") && page.contains("relay_clients_forgotten"), "{page}");
    relay.stop().await;
}
