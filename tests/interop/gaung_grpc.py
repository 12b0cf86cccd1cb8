"""What a client of Gaung's gRPC services needs besides grpcio: calls made from reflection, and runs taken apart."""
import struct

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

    def call(self, method, request, kind="unary_unary", timeout=60):
        """`request`: fields as a dict, or for a stream an iterator of dicts. `timeout`: seconds, or None."""
        about = self.service.FindMethodByName(method)
        question, answer = GetMessageClass(about.input_type), GetMessageClass(about.output_type)
        stub = getattr(self.channel, kind)(
            f"/{self.service.full_name}/{method}",
            request_serializer=question.SerializeToString,
            response_deserializer=answer.FromString,
        )
        if kind.startswith("stream"):
            return stub((question(**fields) for fields in request), timeout=timeout)
        return stub(question(**request), timeout=timeout)


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
