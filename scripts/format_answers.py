"""Record what a generic Kubernetes API server says of values with a string format: the golden file of
``tests/unit/schema/test_formats.py``.

    python scripts/format_answers.py            # needs etcd and Go; writes tests/unit/schema/format_answers.json
"""

from __future__ import annotations

import json
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bench.peers.etcd_apiserver import running  # noqa: E402

OUT = ROOT / "tests/unit/schema/format_answers.json"
GROUP = "formats.example.org"
VALUES: dict[str, list[str]] = {
    "bsonobjectid": [
        "507f1f77bcf86cd799439011",
        "507F1F77BCF86CD799439011",
        "507f1f77bcf86cd79943901",
        "507f1f77bcf86cd79943901g",
        "",
        "507f1f77bcf86cd7994390111",
    ],
    "isbn10": [
        "0321751043",
        "0-321-75104-3",
        "0321751044",
        "032175104X",
        "080442957X",
        "080442957x",
        "978-0321751041",
        "0 321 75104 3",
        "03217510431",
        "",
    ],
    "isbn13": [
        "978-0321751041",
        "9780321751041",
        "9780321751042",
        "978 0321751041",
        "979-0321751040",
        "0321751043",
        "9770321751041",
        "978032175104",
    ],
    "isbn": ["0321751043", "978-0321751041", "x", "", "9780321751042"],
    "creditcard": [
        "4111111111111111",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "4111111111111112",
        "5500000000000004",
        "340000000000009",
        "30000000000004",
        "6011000000000004",
        "3530111333300000",
        "4111a1111b1111c1111",
        "201400000000009",
        "411111111111",
        "4012888888881881",
        "4222222222222",
        "",
        "6510000000000000",
        "6500000000000002",
    ],
    "rgbcolor": [
        "rgb(255,255,255)",
        "rgb(0,0,0)",
        "rgb( 1 , 2 , 3 )",
        "rgb(256,0,0)",
        "RGB(1,2,3)",
        "rgb(1,2)",
        "rgb(10%,1,1)",
        "rgb(01,1,1)",
        "rgb(1,1,1);",
        " rgb(1,1,1)",
        "rgb (1,1,1)",
        "rgba(1,1,1,1)",
    ],
    "hexcolor": ["#fff", "fff", "#FFFFFF", "#ffff", "#ggg", "", "#FFFFF"],
    "ssn": ["111-11-1111", "111111111", "111 11 1111", "111-111111", "11-111-1111", "000-00-0000", ""],
    "mac": [
        "01:02:03:04:05:06",
        "01-02-03-04-05-06",
        "0102.0304.0506",
        "01:02:03:04:05",
        "01:02:03:04:05:06:07:08",
        "01:02:03:04:05:06:07",
        "010203040506",
        "0102.0304.0506.0708",
        "01:02:03:04:05:06:07:08:09:0a:0b:0c:0d:0e:0f:10:11:12:13:14",
        "AA:bb:cc:dd:ee:ff",
        "1:2:3:4:5:6",
    ],
    "uuid": [
        "7bf5d1c2-7d6b-11e6-ae22-56b6b6499611",
        "7BF5D1C27D6B11E6AE2256B6B6499611",
        "7bf5d1c2-7d6b-11e6-ae22-56b6b649961",
        "",
    ],
    "uuid3": [
        "bcd02e22-68f0-3046-a512-327cca9def8f",
        "bcd02e22-68f0-4046-a512-327cca9def8f",
        "bcd02e22-68f0-3046-0512-327cca9def8f",
    ],
    "uuid4": [
        "025b0d74-00a2-4048-bf57-227c5111bb34",
        "025b0d74-00a2-4048-0f57-227c5111bb34",
        "025b0d74-00a2-3048-bf57-227c5111bb34",
    ],
    "uuid5": ["886313e1-3b8a-5372-9b90-0c9aee199e5d", "886313e1-3b8a-4372-9b90-0c9aee199e5d"],
    "cidr": [
        "10.0.0.0/8",
        "10.0.0.1/8",
        "::/0",
        "10.0.0.0",
        "10.0.0.0/33",
        "2001:db8::/32",
        "010.0.0.0/8",
        "10.0.0.0/08",
        "1.2.3.4/-1",
        "fe80::1%eth0/64",
        "::ffff:1.2.3.4/96",
        "1.2.3.4/ 8",
    ],
    "ipv4": ["1.2.3.4", "01.2.3.4", "1.2.3", "::1", "1.2.3.4.5", "256.1.1.1", "::ffff:1.2.3.4"],
    "ipv6": ["::1", "1.2.3.4", "fe80::1%eth0", "2001:db8::", "::ffff:1.2.3.4", "1::2::3", "[::1]"],
    "hostname": [
        "a",
        "a.b",
        "a.b.",
        "-a",
        "a_b",
        "A.com",
        "a..b",
        "1.2.3.4",
        "x" * 64,
        "xn--80ak6aa92e.com",
        "é.com",
        "",
        "a.",
        "localhost",
        "a-.b",
        "_a.b",
        "*.a.b",
        "1a.b2",
        "a-b",
        "a--b",
        "a--b.com",
        "a$b",
        "a.b-c",
        "a.bc",
        "é",
        "ab.é",
        "ab.éé",
        "a-",
        "foo.c-om",
        "x.y.zz",
        "a b",
        "1",
        "12",
        "a1-2b.com",
        "ab-c",
        "a-bc-d",
        "-",
        "ab-c.com",
    ],
    "email": [
        "a@b",
        "a@b.c",
        "x",
        "A <a@b.c>",
        "a@",
        "@b",
        "a b@c",
        '"a b"@c.d',
        "a@b.c (comment)",
        "a@[1.2.3.4]",
        "é@b.c",
        "a@b..c",
        "a..b@c",
        "a@b.",
        "a b <c@d>",
        '"x y" <c@d>',
        "a.b <c@d>",
        "a@b,c@d",
        "a@[IPv6:::1]",
        "a@[x]",
        "a@b (c) ",
        "(c) a@b",
        "a @b",
        "a@ b",
        "@",
        " a@b.c ",
        "<a@b.c>",
    ],
    "uri": [
        "http://a",
        "/a",
        "a",
        "http:a",
        "a b",
        "http://a b",
        "mailto:a@b",
        "//a",
        "http://[::1]/",
        "%zz",
        "/%zz",
        "http://a:b",
        "x:y",
        "/é",
        "*",
        "",
        "#a",
        "?a",
        "http://",
        "http://a%20b/",
        "http://u:p@h/",
        "http://[::1",
        "http://h:80/a%zz",
        "/a b",
        "x:",
        "1x:y",
        "http:///a",
        "http://h:/",
        " /a",
        "http://h^",
        "/a?%zz",
        "http://[fe80::1%25en0]/",
    ],
    "byte": ["YQ==", "YQ", "", "Y", "YQ=", "a-_b", "YWJj", "YW\nJj", "YR==", "YQ==YQ=="],
    "date": ["2020-01-01", "2020-1-1", "2020-02-30", "20200101", "2020-01-01T00:00:00Z", ""],
    "duration": [
        "1s",
        "1h30m",
        "1.5h",
        "22 ns",
        "1 day",
        "3 weeks",
        "1",
        "-1s",
        "1d",
        "1 D",
        "1sx",
        "",
        "1 s 2 m",
        "0",
        "1m2",
        "2 Hours",
        "+1s",
        "1ms1us",
        ".5s",
        "5.s",
        "1 h 1 m",
        "1h 1m",
    ],
    "datetime": [
        "2014-12-15T19:30:20.000Z",
        "2014-12-15T19:30:20Z",
        "2014-12-15 19:30:20Z",
        "2014-12-15T19:30:20",
        "2014-12-15T19:30:20+01:00",
        "2014-12-15t19:30:20z",
        "2014-12-15T24:00:00Z",
        "2014-12-15T19:30Z",
        "2014-12-15T23:59:60Z",
        "2014-12-15T19:30:20.123456789+0100",
    ],
    "k8s-short-name": ["a", "A", "a-b", "-a", "a.b", "a" * 63, "a" * 64, "", "1"],
    "k8s-long-name": ["a", "A", "a-b", "-a", "a.b", "a" * 64, "a." * 126 + "a", "a." * 127 + "a", "", "a..b"],
    "password": ["x", ""],
    "unknown": ["x"],
}


def asked(url: str, method: str, path: str, body: Any = None) -> int:
    """Return the status of a request."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data, {"content-type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, context=ssl._create_unverified_context()) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def definition() -> Any:
    properties = {name: {"type": "string", "format": name} for name in VALUES}
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "texts", "kind": "Text"}
    kind = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    spec = {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]}
    return {**kind, "metadata": {"name": f"texts.{GROUP}"}, "spec": spec}


def main() -> None:
    with running() as peer:
        asked(peer.url, "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition())
        while asked(peer.url, "GET", f"/apis/{GROUP}/v1") != 200:
            time.sleep(0.2)
        path = f"/apis/{GROUP}/v1/namespaces/default/texts?dryRun=All"
        answers: dict[str, dict[str, bool]] = {}
        for name, values in VALUES.items():
            for value in values:
                body = {"apiVersion": f"{GROUP}/v1", "kind": "Text", "metadata": {"name": "x"}, "spec": {name: value}}
                answers.setdefault(name, {})[value] = asked(peer.url, "POST", path, body) == 201
    OUT.write_text(json.dumps(answers, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
