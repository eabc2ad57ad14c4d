"""A server tells what it offers: a client that has no proto files can call it."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from conftest import Server

reflection = pytest.importorskip("grpc_reflection.v1alpha.proto_reflection_descriptor_database")


@pytest.fixture
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.address, [("grpc.enable_http_proxy", 0)]) as connected:
        yield connected


def test_services_are_listed(channel: grpc.Channel) -> None:
    database = reflection.ProtoReflectionDescriptorDatabase(channel)
    assert {"reprise.v1.Cache", "reprise.v1.Inference",
            "grpc.health.v1.Health"} <= set(database.get_services())


def test_a_call_is_made_by_reflection_alone(channel: grpc.Channel) -> None:
    from google.protobuf import descriptor_pool, message_factory

    pool = descriptor_pool.DescriptorPool(reflection.ProtoReflectionDescriptorDatabase(channel))
    method = pool.FindServiceByName("reprise.v1.Inference").FindMethodByName("Tokenize")
    request = message_factory.GetMessageClass(method.input_type)(text="abc")
    call = channel.unary_unary(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=type(request).SerializeToString,
        response_deserializer=message_factory.GetMessageClass(method.output_type).FromString)
    assert len(getattr(call(request, timeout=30), "ids")) == 3
