"""Envoy's access log: its default line, and the JSON form with the operators' usual names; in the words of OpenTelemetry's
semantic conventions where they have one. The text stays the line.

Source: Envoy's documentation, "Access logging" (default format string); semantic-conventions, HTTP.
"""

from __future__ import annotations

import re

from sampan.logs.processing.draft import Draft
from sampan.logs.processing.parsing.lifting import Lift, number_or_text
from sampan.logs.resource import Value

LINE = re.compile(
    r'\[(?P<start_time>[^\]]+)\] "(?P<method>\S*) (?P<path>\S*) (?P<protocol>\S*)" (?P<response_code>\d+) '
    r"(?P<response_flags>\S+) (?:(?P<response_code_details>[^\s\"]*[a-z_][^\s\"]*) (?P<connection_termination_details>\S+) "
    r'"(?P<upstream_transport_failure_reason>[^"]*)" )?(?P<bytes_received>\d+) (?P<bytes_sent>\d+) (?P<duration>\d+|-) '
    r'(?P<upstream_service_time>\S+) "(?P<x_forwarded_for>[^"]*)" "(?P<user_agent>[^"]*)" "(?P<request_id>[^"]*)" '
    r'"(?P<authority>[^"]*)" "(?P<upstream_host>[^"]*)"'
)
"""The default, and Istio's, which has three fields more in its middle."""
START = re.compile(rb"\[\d{4}-\d\d-\d\dT[\d:.]+Z\] \"")
KNOWN_BY = frozenset(("response_code", "response_flags"))
NAMES = {
    "method": "http.request.method",
    "response_code": "http.response.status_code",
    "bytes_received": "http.request.body.size",
    "bytes_sent": "http.response.body.size",
    "user_agent": "user_agent.original",
    "duration": "envoy.duration_ms",
    "upstream_service_time": "envoy.upstream_service_time_ms",
}
NUMBERS = frozenset(("response_code", "bytes_received", "bytes_sent", "duration", "upstream_service_time"))


def parse(draft: Draft, lift: Lift) -> bool:
    found = LINE.match(draft.text.decode("utf-8", "replace"))
    if found is None:
        return False
    return from_json(draft, lift, {name: value for name, value in found.groupdict().items() if value is not None})


def from_json(draft: Draft, lift: Lift, values: dict[str, Value]) -> bool:
    """Take the fields of an access log by Envoy's names of them."""
    text = draft.text
    attributes: dict[str, Value] = {}
    kept: dict[str, Value] = {}
    for name, value in values.items():
        if value in ("-", "", None):
            continue
        if name in NUMBERS and isinstance(value, str):
            value = number_or_text(value)
        if name == "start_time" or name in lift.names.time:
            kept[name] = value
        elif name == "path" and isinstance(value, str):
            attributes["url.path"], question, query = value.partition("?")
            if question:
                attributes["url.query"] = query
        elif name == "protocol" and isinstance(value, str) and value.startswith("HTTP/"):
            attributes["network.protocol.name"], attributes["network.protocol.version"] = "http", value[5:]
        elif name == "authority" and isinstance(value, str):
            attributes |= server(value)
        elif name == "x_forwarded_for" and isinstance(value, str):
            attributes["client.address"] = value.partition(",")[0].strip()
            attributes["envoy.x_forwarded_for"] = value
        else:
            attributes[NAMES.get(name, f"envoy.{name}")] = value
    lift(draft, kept)
    draft.attributes |= attributes
    draft.text = text
    return True


def server(authority: str) -> dict[str, Value]:
    host, colon, port = authority.rpartition(":")
    if colon and port.isdigit() and (":" not in host or host.endswith("]")):
        return {"server.address": host, "server.port": number_or_text(port)}
    return {"server.address": authority}
