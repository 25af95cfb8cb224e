"""Protobuf bytes by the table of messages."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.gateway.xds.encode import EncodingError, decode, encode
from sampan.gateway.xds.messages import MESSAGES

SCALARS = {"string", "bytes", "bool", "enum", "uint32", "uint64", "int32", "int64", "double"}


def test_every_type_of_the_table_is_a_scalar_or_a_message_of_it() -> None:
    known = SCALARS | set(MESSAGES) | {"google.protobuf.Any"}
    used = {kind.split(" ")[-1] for fields in MESSAGES.values() for _, kind in fields.values()}
    # messages that are only named so that their field can be seen to be there
    assert used - known <= {
        "envoy.config.route.v3.Decorator",
        "envoy.config.route.v3.RouteAction.HashPolicy",
        "envoy.extensions.filters.network.http_connection_manager.v3.LocalReplyConfig",
    }


def test_a_field_that_a_message_does_not_have_is_an_error() -> None:
    with pytest.raises(EncodingError, match=r"Address has no field nope"):
        encode("envoy.config.core.v3.Address", {"nope": 1})


headers = st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=5)


@given(
    name=st.text(max_size=30), version=st.text(max_size=10), nonce=st.text(max_size=5), code=st.integers(0, 2**31 - 1)
)
def test_messages_survive_the_wire(name: str, version: str, nonce: str, code: int) -> None:
    request = {
        "type_url": name,
        "resource_names_subscribe": [name, version],
        "response_nonce": nonce,
        "error_detail": {"code": code, "message": version},
    }
    assert (
        decode(
            "envoy.service.discovery.v3.DeltaDiscoveryRequest",
            encode("envoy.service.discovery.v3.DeltaDiscoveryRequest", request),
        )
        == request
    )


def test_encoded_parts_may_stand_where_messages_do() -> None:
    address = {"socket_address": {"address": "10.0.0.1", "port_value": 80}}
    part = encode("envoy.config.core.v3.Address", address)
    endpoint = "envoy.config.endpoint.v3.Endpoint"
    assert encode(endpoint, {"address": part}) == encode(endpoint, {"address": address})


@given(values=headers)
def test_maps_survive_the_wire(values: dict[str, str]) -> None:
    request = {"request": {"http": {"method": "GET", "headers": values}}}
    message = "envoy.service.auth.v3.AttributeContext"
    decoded = decode(message, encode(message, request))
    assert decoded["request"]["http"].get("headers", {}) == values


@given(data=st.binary(max_size=60))
def test_any_bytes_are_a_message_or_an_error(data: bytes) -> None:
    with contextlib.suppress(EncodingError):
        assert isinstance(decode("envoy.service.discovery.v3.DeltaDiscoveryRequest", data), dict)
