"""Creates a group, publishes and follows, with nothing but grpcio and what the services say of themselves.

It proves neither a device nor a service, so the server has to run with --plaintext any.

usage: grpc_reflection_client.py REGISTRY RELAY GROUP COUNT
"""
import os
import sys

from gaung_grpc import Service, messages_of


def main(registry_target, relay_target, name, count):
    registry = Service(registry_target, "gaung.registry.v1.RegistryService")
    relay = Service(relay_target, "gaung.relay.v1.RelayService")
    content = relay.message("gaung.message.v1.Content")
    text = relay.message("gaung.message.v1.Text")

    # An Ed25519 public key (RFC 8032, section 7.1, test 1): only signed calls need its secret.
    owner = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    created = registry.call("CreateGroup", {
        "request_id": os.urandom(16), "name": name, "scope": 1, "format": 1,
        "owner_public_key": owner, "owner_name": "python",
    }).group
    print("created", created.name, flush=True)

    client_id = os.urandom(16)
    words = [f"pesan {i}: halo dari Python – ☕" for i in range(1, count + 1)]
    entries = [
        {"client_seq": i, "content_type": 1,
         "payload": content(author_name="python", text=text(body=word.encode())).SerializeToString()}
        for i, word in enumerate(words, start=1)
    ]
    published = relay.call("Publish", {
        "group_id": created.id, "client_id": client_id, "device_id": bytes(16), "entries": entries,
    })
    assert sum(ack.count for ack in published.acks) == count, "every message is acknowledged"
    print("published", count, flush=True)

    wish = {"add": {"group_id": created.id, "log_id": published.log_id, "from_seq": 1}}
    stream = relay.call("Follow", iter([wish]), "stream_stream")
    heard = []
    for answer in stream:
        if answer.WhichOneof("event") == "ended":
            sys.exit(f"follow ended: {answer.ended.message}")
        if answer.WhichOneof("event") != "run":
            continue
        for seq, author, content_type, payload in messages_of(answer.run):
            assert (author, content_type) == (client_id, 1), "own messages"
            heard.append((seq, content.FromString(payload).text.body.decode()))
        if len(heard) >= count:
            break
    stream.cancel()
    assert heard == list(enumerate(words, start=1)), heard
    print("followed", len(heard), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
