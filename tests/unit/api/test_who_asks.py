"""Authentication: bootstrap tokens, the front proxy, impersonation, anonymous callers; over TLS where TLS matters."""

from __future__ import annotations

import asyncio
import base64
import datetime
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from sampan.api import flags
from sampan.api.app import Api
from sampan.api.authn.bootstrap_tokens import allowed_groups
from sampan.api.authn.known import BadToken
from sampan.api.der import subject, validity
from sampan.api.local import LocalClient
from sampan.api.request import User
from sampan.client.resources import SECRETS

from .conftest import Asgi

ADMIN = User("admin", ("system:masters", "system:authenticated"))
SELF = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
REVIEW = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}


def secret(**data: str) -> dict[str, Any]:
    given = {"token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true", **data}
    encoded = {key.replace("_", "-"): base64.b64encode(value.encode()).decode() for key, value in given.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "bootstrap-token-abcdef"},
        "type": "bootstrap.kubernetes.io/token",
        "data": encoded,
    }


def soon(minutes: float) -> str:
    return (datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")


async def test_a_bootstrap_token_is_a_user_until_its_secret_goes(local_api: Api) -> None:
    admin = LocalClient(local_api, ADMIN)
    added = secret(auth_extra_groups="system:bootstrappers:workers", expiration=soon(5))
    await admin.create(SECRETS, added, "kube-system")
    http = Asgi(local_api, {"authorization": "Bearer abcdef.0123456789abcdef"})
    answer = await http("POST", SELF, REVIEW)
    assert answer.status == 201
    assert answer.json["status"]["userInfo"] == {
        "username": "system:bootstrap:abcdef",
        "groups": ["system:bootstrappers", "system:bootstrappers:workers", "system:authenticated"],
    }
    wrong = Asgi(local_api, {"authorization": "Bearer abcdef.0123456789abcdee"})
    assert (await wrong("POST", SELF, REVIEW)).status == 401
    await admin.delete(SECRETS, "bootstrap-token-abcdef", "kube-system")
    assert (await http("POST", SELF, REVIEW)).status == 401


@pytest.mark.parametrize(
    "changed",
    [
        {"usage_bootstrap_authentication": "false"},
        {"expiration": soon(-1)},
        {"expiration": "tomorrow"},
        {"auth_extra_groups": "system:masters"},
        {"token_id": "abcdee"},
    ],
)
def test_what_a_bootstrap_secret_does_not_allow(changed: dict[str, str]) -> None:
    with pytest.raises(BadToken):
        allowed_groups(secret(**changed), "abcdef", "0123456789abcdef")
    with pytest.raises(BadToken):
        allowed_groups({**secret(), "type": "Opaque"}, "abcdef", "0123456789abcdef")


async def test_impersonation_needs_each_permission(local_api: Api) -> None:
    http = Asgi(local_api)
    roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
    client = LocalClient(local_api, ADMIN)
    rules = [
        {"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"], "resourceNames": ["jane"]},
        {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"]},
        {"apiGroups": [""], "resources": ["groups"], "verbs": ["impersonate"], "resourceNames": ["a,b"]},
        {
            "apiGroups": ["authentication.k8s.io"],
            "resources": ["userextras/example.com/team"],
            "verbs": ["impersonate"],
            "resourceNames": ["blue"],
        },
        {"apiGroups": ["authentication.k8s.io"], "resources": ["uids"], "verbs": ["impersonate"]},
    ]
    await client.raw("POST", roles, body={"metadata": {"name": "actor"}, "rules": rules})
    subjects = [{"kind": "User", "name": "system:bootstrap:abcdef", "apiGroup": "rbac.authorization.k8s.io"}]
    reference = {"kind": "ClusterRole", "name": "actor", "apiGroup": "rbac.authorization.k8s.io"}
    binding = {"metadata": {"name": "actor"}, "subjects": subjects, "roleRef": reference}
    await client.raw("POST", roles.replace("roles", "rolebindings"), body=binding)
    await client.create(SECRETS, secret(), "kube-system")
    http.default_headers["authorization"] = "Bearer abcdef.0123456789abcdef"

    async def as_(**headers: str) -> Any:
        given = {f"impersonate-{name.replace('_', '-')}": value for name, value in headers.items()}
        return await http("POST", SELF, REVIEW, headers=given)

    answer = await as_(user="jane", group="a,b", uid="7", **{"extra_example.com%2fteam": "blue"})
    assert answer.json["status"]["userInfo"] == {
        "username": "jane",
        "uid": "7",
        "groups": ["a,b", "system:authenticated"],
        "extra": {"example.com/team": ["blue"]},
    }
    answer = await as_(user="system:serviceaccount:shop:web")
    groups = answer.json["status"]["userInfo"]["groups"]
    assert groups == ["system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"]
    answer = await as_(user="joe")
    assert answer.status == 403
    assert (
        'User "system:bootstrap:abcdef" cannot impersonate resource "users" in API group ""' in answer.json["message"]
    )
    assert (await as_(user="jane", **{"extra_example.com%2fteam": "red"})).status == 403
    answer = await as_(group="a,b")
    assert answer.status == 500 and "without impersonating a user" in answer.json["message"]


def call(
    server: Any, user: str = "", path: str = SELF, headers: Mapping[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    """POST a SelfSubjectReview with a client certificate; return code and body."""
    context = ssl.create_default_context(cafile=server.pki_dir / "ca.crt")
    if user:
        context.load_cert_chain(server.pki_dir / f"{user}.crt", server.pki_dir / f"{user}.key")
    sent = {"content-type": "application/json", **(headers or {})}
    request = urllib.request.Request(server.url + path, json.dumps(REVIEW).encode(), sent, method="POST")
    try:
        with urllib.request.urlopen(request, context=context, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


async def test_the_front_proxy_speaks_for_users_and_nobody_else_does(
    start_server: Callable[..., Any], tmp_path: Path, make_authority: Callable[..., Any]
) -> None:
    front = make_authority(tmp_path / "pki", "front-proxy-ca")
    front.write("proxy", "front-proxy-client")
    front.write("other", "somebody")
    given = {"requestheader-allowed-names": ["front-proxy-client"]}
    server = await asyncio.to_thread(start_server, tmp_path, store=False, flags=given)
    named = {"X-Remote-User": "jane", "X-Remote-Group": "shop", "X-Remote-Extra-Acme.com%2Fteam": "blue"}
    code, answer = await asyncio.to_thread(call, server, "proxy", headers=named)
    assert code == 201
    assert answer["status"]["userInfo"] == {
        "username": "jane",
        "groups": ["shop", "system:authenticated"],
        "extra": {"acme.com/team": ["blue"]},
    }
    # a certificate of the front proxies' authority is no user's, whatever name it bears
    for user in ("other", "proxy"):
        code, answer = await asyncio.to_thread(call, server, user, headers={} if user == "proxy" else named)
        assert code == 403 and "system:anonymous" in answer["message"]
    # and a user's certificate is no front proxy's
    code, answer = await asyncio.to_thread(call, server, "admin", headers=named)
    assert code == 201 and answer["status"]["userInfo"]["username"] == "admin"


async def test_certificates_expire_on_both_sides_while_the_server_runs(
    start_server: Callable[..., Any], tmp_path: Path
) -> None:
    server = await asyncio.to_thread(start_server, tmp_path, store=False)
    server.authority.write("late", "late", ("system:masters",), seconds=-1)
    code, answer = await asyncio.to_thread(call, server, "late")
    assert code == 401 and answer["reason"] == "Unauthorized"
    names = x509.SubjectAlternativeName([x509.DNSName("renewed.example"), x509.DNSName("localhost")])
    server.authority.write("apiserver", "kube-apiserver", extension=names)
    host, port = server.url.removeprefix("https://").split(":")

    def served() -> bytes:
        context = ssl.create_default_context(cafile=server.pki_dir / "ca.crt")
        context.check_hostname = False
        import socket

        with socket.create_connection((host, int(port))) as plain, context.wrap_socket(plain) as connection:
            return connection.getpeercert(binary_form=True) or b""

    found = x509.load_der_x509_certificate(await asyncio.to_thread(served))
    alternative = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "renewed.example" in alternative.get_values_for_type(x509.DNSName)


async def test_without_anonymous_access_everybody_says_who_he_is(local_api: Api) -> None:
    http = Asgi(local_api)
    assert (await http("GET", "/version")).status == 200
    assert (await http("GET", "/api/v1/pods", headers={"authorization": "Basic eDp5"})).status == 403
    local_api.anonymous = lambda path: False
    assert (await http("GET", "/version")).status == 401


def test_flags_have_kinds_and_unknown_ones_are_refused() -> None:
    made = flags.parse({"--anonymous-auth": "false", "requestheader-allowed-names": "a,b"})
    assert made.anonymous_auth is False and made.requestheader_allowed_names == ("a", "b")
    with pytest.raises(flags.FlagError, match="unknown flag: --no-such"):
        flags.parse({"no-such": 1})
    with pytest.raises(flags.FlagError, match="anonymous-auth"):
        flags.parse({"anonymous-auth": "maybe"})
    assert flags.duration("1h30m") == 5400 and flags.duration("1.5s") == 1.5
    for wrong in ("5", "s", "1 h", "", "1h-"):
        with pytest.raises(ValueError, match="duration"):
            flags.duration(wrong)


@given(st.binary(max_size=80))
def test_no_bytes_break_the_reader_of_certificates(data: bytes) -> None:
    subject(data), validity(data)


def test_certificate_times(make_authority: Callable[..., Any], tmp_path: Path) -> None:
    certificate = make_authority(tmp_path).certificate
    from cryptography.hazmat.primitives.serialization import Encoding

    begin, end = validity(certificate.public_bytes(Encoding.DER))
    assert begin == certificate.not_valid_before_utc.timestamp()
    assert end == certificate.not_valid_after_utc.timestamp()
