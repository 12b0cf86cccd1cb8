"""A chat over gRPC: lines of stdin are published to a group, its messages are printed as they become durable.

usage: grpc_chat.py REGISTRY GROUP NAME        such as: grpc_chat.py 192.168.1.10:7400 everyone Lina

Needs grpcio and grpcio-reflection, and no generated code: the services describe themselves. It proves neither a device nor
a service, so the server has to run with --plaintext any.
"""
import itertools
import os
import sys
import threading

from gaung_grpc import Service, messages_of

TEXT, REPLY = 1, 2  # gaung.message.v1.ContentType


def say(line):
    """Prints a line whole, for two threads print."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def relay_of(registry, group, registry_host):
    """Connects to the relay that orders the group, where the registry says it is."""
    services = registry.call("ListServices", {}).services
    relay = next(service for service in services if service.service_id == group.relay_id)
    # A relay that advertises nothing is reached where the registry is.
    return Service(f"{relay.advertise or registry_host}:{relay.grpc_port}", "gaung.relay.v1.RelayService")


def follow(group):
    """Requests of one Follow stream: the group from now on, then nothing. The stream ends with its requests."""
    yield {"add": {"group_id": group.id, "log_id": group.log_id, "from_seq": 0}}
    threading.Event().wait()


def listen(relay, group):
    """Prints everything from now on. After a break, follow again from the seq after the last one received."""
    content = relay.message("gaung.message.v1.Content")
    for answer in relay.call("Follow", follow(group), "stream_stream", timeout=None):
        event = answer.WhichOneof("event")
        if event == "started":
            say("listening")
        elif event == "ended":
            raise RuntimeError(f"the relay ended the stream: {answer.ended.message}")
        elif event == "run":
            for seq, _client, kind, payload in messages_of(answer.run):
                if kind in (TEXT, REPLY):
                    said = content.FromString(payload)
                    body = said.text.body if kind == TEXT else said.reply.body
                    say(f"{seq} {said.author_name}: {body.decode(errors='replace')}")


def main(registry_target, group_name, author):
    registry = Service(registry_target, "gaung.registry.v1.RegistryService")
    group = registry.call("GetGroup", {"name": group_name}).group
    relay = relay_of(registry, group, registry_target.rsplit(":", 1)[0])
    content = relay.message("gaung.message.v1.Content")
    text = relay.message("gaung.message.v1.Text")
    threading.Thread(target=listen, args=(relay, group), daemon=True).start()

    # The client id belongs to whoever publishes under it first. A request that failed is sent again with the same
    # client_seq, so that it is logged once.
    client_id, stream_key = os.urandom(16), os.urandom(16)
    for client_seq, line in zip(itertools.count(1), sys.stdin):
        message = content(author_name=author, text=text(body=line.rstrip("\n").encode()))
        entry = {"client_seq": client_seq, "content_type": TEXT, "payload": message.SerializeToString()}
        published = relay.call("Publish", {
            "group_id": group.id, "client_id": client_id, "stream_key": stream_key, "device_id": bytes(16),
            "entries": [entry],
        })
        say(f"logged {published.acks[0].first_seq}")


if __name__ == "__main__":
    main(*sys.argv[1:4])
