"""What a quick hook may call, and what comes of it: the tables of ``quick.py``. Each takes a time linear in what it gets."""

from __future__ import annotations

import base64
import binascii
import bisect
import hashlib
import hmac
import ipaddress
import json
import math
import random
import secrets
import time
import urllib.parse
import uuid
import zlib
from typing import Any

NUMBER, TEXT, VALUE, OWNED, TABLE = "number", "text", "value", "owned", "table"
"""What an expression can be: a value is any of numbers, text, and collections of values. One that is owned is the plugin's
own and small, a table large: no more is done with it than to look something up."""
SHORT, KEY, MIXED, LISTED = "short text", "key", "mixed", "listed headers"
"""Text of no more than some dozens of characters; text of which each part comes once in a loop, so that what is done with all
is linear; a value in which there may be owned ones; and headers as pairs, of which there are no more than a hundred."""
REQUEST, HEADERS, ANSWER, DIGEST = "request", "headers", "answer", "digest"
SELF, EXCHANGE, ASKED, RESPONSE, STATE = "self", "exchange", "processor's request", "response", "state"
"""A processor, and what its methods are given."""
PAIRS, OBJECT, BUILT, PAIR = "pairs", "object", "built", "pair"
"""An object of JSON as its hook gets it, and what a hook makes of it: a collection, an element of one."""
CHEAP = (NUMBER, SHORT, KEY, DIGEST)
"""What may be gone over in each turn of a loop."""
WORDS = (SHORT, KEY, TEXT)
PLAIN = (NUMBER, *WORDS, VALUE, MIXED, LISTED, OWNED)
OF_REQUEST = {
    **dict.fromkeys(("method", "path", "host", "scheme", "client", "certificate", "body"), TEXT),
    **dict.fromkeys(("response_headers", "response_cookies"), VALUE),
    "headers": HEADERS,
    "settings": OWNED,
}
OF_ASKED = {
    name: kind for name, kind in OF_REQUEST.items() if name not in ("response_headers", "response_cookies", "body")
}
ATTRIBUTES_OF = {
    REQUEST: OF_REQUEST,
    EXCHANGE: {"request": ASKED, "response": RESPONSE, "state": STATE, "settings": OWNED},
    ASKED: OF_ASKED,
    RESPONSE: {"status": NUMBER, "headers": HEADERS},
}
NUMBERS = {abs, bool, float, int, len, ord, round, hash, math.ceil, math.floor, math.log, math.sqrt, time.time}
NUMBERS |= {time.time_ns, time.monotonic, time.perf_counter, random.random, random.randint, random.uniform}
NUMBERS |= {random.getrandbits, zlib.crc32, zlib.adler32, int.from_bytes, bisect.bisect, bisect.bisect_left}
NUMBERS |= {bisect.bisect_right, hmac.compare_digest, secrets.compare_digest, isinstance, all, any, callable}
TEXTS = {str, repr, chr, hex, base64.b64encode, base64.b64decode, base64.urlsafe_b64encode, base64.urlsafe_b64decode}
TEXTS |= {base64.b32encode, base64.b32decode, binascii.hexlify, binascii.unhexlify, binascii.a2b_hex, binascii.b2a_hex}
TEXTS |= {hmac.digest, urllib.parse.quote, urllib.parse.unquote, urllib.parse.quote_plus, urllib.parse.unquote_plus}
TEXTS |= {urllib.parse.urlencode, json.dumps, bytes.fromhex}
VALUES = {dict, list, set, frozenset, tuple, sorted, reversed, enumerate, zip, min, max, sum, divmod, json.loads}
VALUES |= {urllib.parse.parse_qs, urllib.parse.parse_qsl, urllib.parse.urlsplit, urllib.parse.urlparse}
VALUES |= {ipaddress.ip_address, random.choice, random.choices, uuid.uuid4, next}
DIGESTS: set[Any] = {
    hmac.new,
    hashlib.md5,
    hashlib.sha1,
    hashlib.sha224,
    hashlib.sha256,
    hashlib.sha384,
    hashlib.sha512,
}
DIGESTS |= {hashlib.blake2b, hashlib.blake2s, hashlib.sha3_256, hashlib.sha3_512}
CALLED: dict[Any, str] = {
    **dict.fromkeys(NUMBERS, NUMBER),
    **dict.fromkeys(TEXTS, TEXT),
    **dict.fromkeys(VALUES, VALUE),
    **dict.fromkeys(DIGESTS, DIGEST),
}
"""Functions that take a time linear in what they get, and what they return. Expressions of ``re`` are not among them."""
METHODS = {
    **dict.fromkeys(("startswith", "endswith", "find", "rfind", "index", "rindex", "count", "isdecimal"), NUMBER),
    **dict.fromkeys(("isdigit", "isnumeric", "isalpha", "isalnum", "isascii", "isspace", "islower", "isupper"), NUMBER),
    **dict.fromkeys(("strip", "lstrip", "rstrip", "lower", "upper", "casefold", "title", "capitalize", "encode"), TEXT),
    **dict.fromkeys(("decode", "removeprefix", "removesuffix", "hex", "replace", "join"), TEXT),
    **dict.fromkeys(
        ("split", "rsplit", "partition", "rpartition", "splitlines", "get", "items", "keys", "values"), VALUE
    ),
    **dict.fromkeys(("copy", "setdefault", "pop", "append", "add", "discard", "update", "extend", "bit_length"), VALUE),
}
"""Methods of values. ``join`` is one of a separator in the source."""
FIXED = {"replace", "rfind", "rindex", "rsplit", "rpartition", "strip", "lstrip", "rstrip", "encode", "decode", "hex"}
"""Those of which the source has to say with what they are called: it decides how long they take."""
CODECS = {"utf-8", "utf8", "ascii", "latin-1", "iso-8859-1", "strict", "ignore", "replace", "backslashreplace"}
KEPT = {enumerate, zip, sorted, reversed, list, tuple, set, frozenset, dict, "items", "keys", "values", "get", "copy"}
"""What makes of something owned something owned."""
LOOKS_UP = {bisect.bisect, bisect.bisect_left, bisect.bisect_right, len}
CONSTANT = {len, isinstance, bool, callable}
"""What takes as long for a large value as for a small one."""
OF_DUMPS, OF_HOOKS = {"separators", "sort_keys", "ensure_ascii"}, {"object_hook": OBJECT, "object_pairs_hook": PAIRS}
"""What ``json.dumps`` may be told (an indent is repeated for each line of each depth), and ``json.loads``."""
OF_HEADERS = {
    "get": TEXT,
    "items": VALUE,
    "keys": VALUE,
    "values": VALUE,
    "pop": TEXT,
    "setdefault": TEXT,
    "update": VALUE,
}
OF_DIGEST = {"update": VALUE, "digest": SHORT, "hexdigest": SHORT}
GROW = {"append", "add", "extend", "update", "setdefault"}
ATTRIBUTES = {"version", "is_private", "is_loopback", "is_global", "is_multicast", "packed", "exploded", "compressed"}
ATTRIBUTES |= {"hostname", "port", "path", "query", "netloc", "scheme", "fragment", "username", "password"}
