"""URLs of webhooks, refused in the words of Go's net/url; each case was put to kube-apiserver 1.37."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api.resources.urls import Url, parsed

from .conftest import causes, declared


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("100%", 'parse "100%": invalid URL escape "%"'),
        ("::1", 'parse "::1": missing protocol scheme'),
        ("1:2", 'parse "1:2": first path segment in URL cannot contain colon'),
        ("https://x:y", 'parse "https://x:y": invalid port ":y" after host'),
        ("https://a:1:2", 'parse "https://a:1:2": invalid port ":1:2" after host'),
        ("https://[::1]:x", 'parse "https://[::1]:x": invalid port ":x" after host'),
        ("https://[::1", "parse \"https://[::1\": missing ']' in host"),
        ("https://a[::1]", 'parse "https://a[::1]": invalid IP-literal'),
        ("https://[1.2.3.4]", 'parse "https://[1.2.3.4]": invalid IP-literal'),
        ("https://a b", 'parse "https://a b": invalid character " " in host name'),
        ("https://%41", 'parse "https://%41": invalid URL escape "%41"'),
        ("https://a/%zz", 'parse "https://a/%zz": invalid URL escape "%zz"'),
        ("https://u^@a", 'parse "https://u^@a": net/url: invalid userinfo'),
        ("https://u%zz@a", 'parse "https://u%zz@a": invalid URL escape "%zz"'),
        ("https://a#%", 'parse "https://a#%": invalid URL escape "%"'),
        ("https://a\n", 'parse "https://a\\n": net/url: invalid control character in URL'),
    ],
)
def test_what_is_no_url(text: str, message: str) -> None:
    with pytest.raises(ValueError) as told:
        parsed(text)
    assert str(told.value) == message


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("", Url()),
        ("https://a.b:443/c%20d?e=f#g", Url("https", None, "a.b:443", "e=f", "g")),
        ("HTTPS://u:p@a", Url("https", "u:p", "a")),
        ("https://@a", Url("https", "", "a")),
        ("https://[fe80::1%25en0]:1", Url("https", None, "[fe80::1%25en0]:1")),
        ("a:b", Url("a")),
        ("//a/b", Url("", None, "a")),
        ("///a", Url()),
        ("https://é", Url("https", None, "é")),
    ],
)
def test_the_parts_of_a_url(text: str, url: Url) -> None:
    assert parsed(text) == url


def hook(client_config: dict[str, Any]) -> dict[str, str]:
    given = {
        "name": "a.b.c",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "clientConfig": client_config,
    }
    kind = declared("ValidatingWebhookConfiguration", "admissionregistration.k8s.io")
    return causes(kind, {"metadata": {"name": "x"}, "webhooks": [given]})


def test_the_url_of_a_webhook() -> None:
    assert hook({"url": "https://a/b"}) == {}
    assert hook({"url": "https://@a"}) == {
        "webhooks[0].clientConfig.url": 'Invalid value: "": user information is not permitted in the URL'
    }
    assert hook({"url": "https://a b"}) == {
        "webhooks[0].clientConfig.url": 'Required value: url must be a valid URL: parse "https://a b": '
        'invalid character " " in host name; desired format: https://host[/path]'
    }


def test_what_is_missing_of_a_service_is_told_at_the_other_as_in_kubernetes() -> None:
    assert list(hook({"service": {"name": "a"}})) == ["webhooks[0].clientConfig.service.name"]
    assert list(hook({"service": {"namespace": "a"}})) == ["webhooks[0].clientConfig.service.namespace"]
