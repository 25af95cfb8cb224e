"""Secrets of namespaces that a gateway was told not to read: who names one is told so, and not that it does not exist."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sampan.gateway.plugins.manifest import PluginError
from sampan.gateway.plugins.sources import source_of

from .situation import GROUP, Situation, gateway, grant, obj, path_rule, route

OPEN = frozenset({"open", "here"})
TOLD = "Secret shop/x: this gateway reads no Secrets of that namespace, only of here, open"


@pytest.mark.parametrize(
    "settings",
    [
        {"basicAuth": {"secret": "x"}},
        {"digestAuth": {"secret": "x"}},
        {"apiKeyAuth": {"secret": "x"}},
        {
            "oauth2": {
                "authorizationEndpoint": "https://a.example/a",
                "tokenEndpoint": "https://a.example/t",
                "scopes": ["a"],
                "clientID": "c",
                "secret": "x",
            }
        },
    ],
)
def test_a_middleware_that_names_one(settings: dict[str, Any]) -> None:
    reference = {"group": "gateway.sampan.dev", "kind": "Middleware", "name": "m"}
    rule = path_rule("PathPrefix", "/", filters=[{"type": "ExtensionRef", "extensionRef": reference}])
    objects = obj("Middleware", "m", settings), route("r", rule)
    assert TOLD in Situation(*objects, secret_namespaces=OPEN).conditions("HTTPRoute", "r")["ResolvedRefs"]["message"]
    everywhere = Situation(*objects).conditions("HTTPRoute", "r")["ResolvedRefs"]["message"]
    assert "Secret shop/x does not exist" in everywhere


def test_a_listener_and_a_policy_that_name_one() -> None:
    there = Situation(
        gateway({"name": "https", "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "x"}]}}),
        grant("Gateway", "Secret", "open"),
        obj(
            "BackendTLSPolicy",
            "p",
            {
                "targetRefs": [{"group": "", "kind": "Service", "name": "web"}],
                "validation": {"hostname": "web", "caCertificateRefs": [{"group": "", "kind": "Secret", "name": "x"}]},
            },
        ),
        route("r", path_rule("PathPrefix", "/")),
        secret_namespaces=OPEN,
    )
    (listener,) = there.status("Gateway", "gw")["listeners"]
    conditions = {one["type"]: one for one in listener["conditions"]}
    assert conditions["ResolvedRefs"]["message"] == TOLD
    assert TOLD in str(there.status("BackendTLSPolicy", "p"))
    elsewhere = gateway(
        {
            "name": "https",
            "port": 443,
            "protocol": "HTTPS",
            "tls": {"certificateRefs": [{"name": "x", "namespace": "open"}]},
        }
    )
    there.put(elsewhere)
    assert "Secret open/x does not exist" in str(there.status("Gateway", "gw")["listeners"])
    assert GROUP in str(there.status("BackendTLSPolicy", "p"))


@pytest.mark.parametrize("spec", [{"image": {"reference": "a.example/b:c"}}, {"git": {"url": "https://a.example"}}])
async def test_a_plugin_that_names_one(spec: dict[str, Any], tmp_path: Path) -> None:
    ((field, settings),) = spec.items()
    source = source_of({field: {**settings, "secretRef": {"name": "x"}}}, tmp_path, TOLD)
    assert source is not None
    with pytest.raises(PluginError, match=rf"^spec\.{field}\.secretRef\.name: {TOLD}$"):
        await source.fetch()
