"""Creates a group, publishes and follows, with nothing but grpcio and what the services say of themselves.

usage: grpc_reflection_client.py REGISTRY RELAY GROUP COUNT
"""
import os
import struct
import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


class Service:
    """A service's calls, made from its reflection."""

    def __init__(self, target, name):
        self.channel = grpc.insecure_channel(target)
        self.pool = DescriptorPool(ProtoReflectionDescriptorDatabase(self.channel))
        self.service = self.pool.FindServiceByName(name)

    def message(self, name):
        return GetMessageClass(self.pool.FindMessageTypeByName(name))

    def call(self, method, request, kind="unary_unary"):
        """`request`: fields as a dict, or for a stream an iterator of dicts."""
        about = self.service.FindMethodByName(method)
        question, answer = GetMessageClass(about.input_type), GetMessageClass(about.output_type)
        stub = getattr(self.channel, kind)(
            f"/{self.service.full_name}/{method}",
            request_serializer=question.SerializeToString,
            response_deserializer=answer.FromString,
        )
        if kind.startswith("stream"):
            return stub((question(**fields) for fields in request), timeout=60)
        return stub(question(**request), timeout=60)


def messages_of(run):
    """(seq, client_id, content_type, payload) of each message of a run: WIRE.md, sections 2 and 3."""
    magic, version, _flags, length = struct.unpack_from(">2sBBI", run)
    assert (magic, version, length) == (b"GR", 1, len(run)), "a run's first bytes"
    (base_seq,) = struct.unpack_from(">Q", run, 36)
    count, author_count = struct.unpack_from(">HH", run, 52)
    at = 56
    authors = [run[at + 32 * i:at + 32 * (i + 1)] for i in range(author_count)]
    at += 32 * author_count
    for i in range(count):
        author, content_type, _flags, _client_seq, _sent_at, size = struct.unpack_from(">HBBQII", run, at)
        at += 20
        yield base_seq + i, authors[author][16:], content_type, run[at:at + size]
        at += size
    assert at == len(run), "a run ends with its last message"


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
