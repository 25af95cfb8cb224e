"""An OpenID provider (OpenID Connect Core 1.0, Discovery 1.0, RP-Initiated Logout 1.0) for one client and one user.

It takes a code once, checks PKCE (RFC 7636, S256), and gives a new refresh token for each (RFC 6749, 6).
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import http.server
import ipaddress
import json
import secrets
import ssl
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

CLIENT, SECRET = "shop", "a secret of the client"


def unpadded(number: int | bytes) -> str:
    raw = number.to_bytes((number.bit_length() + 7) // 8, "big") if isinstance(number, int) else number
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Provider:
    """What it knows; ``url`` is the issuer."""

    def __init__(self, folder: Path) -> None:
        self.key = rsa.generate_private_key(65537, 2048)
        self.lives_seconds = 3600
        self.signing_key, self.audience = self.key, CLIENT
        self.asked: list[dict[str, str]] = []
        self.granted: list[str] = []
        self.id_tokens: list[str] = []
        self.ended: list[dict[str, str]] = []
        self.codes: dict[str, dict[str, str]] = {}
        self.refreshers: set[str] = set()
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path, query = urlsplit(self.path).path, dict(parse_qsl(urlsplit(self.path).query))
                if path == "/.well-known/openid-configuration":
                    self.tell(200, provider.configuration)
                elif path == "/keys":
                    self.tell(200, provider.keys)
                elif path == "/authorize":
                    self.send_response(302)
                    self.send_header("location", provider.authorized(query))
                    self.end_headers()
                elif path == "/end":
                    provider.ended.append(query)
                    self.tell(200, {})
                else:
                    self.tell(404, {})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
                form = {name: values[0] for name, values in parse_qs(body).items()}
                scheme, _, text = self.headers.get("authorization", "").partition(" ")
                if scheme == "Basic":
                    form["client_id"], _, form["client_secret"] = base64.b64decode(text).decode().partition(":")
                self.tell(*provider.token(form))

            def tell(self, status: int, content: Any) -> None:
                raw = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.certificate = self.sign(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def sign(self, folder: Path) -> str:
        """Make a certificate for this machine's own names; return its PEM."""
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "provider")])
        now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = x509.CertificateBuilder(
            name, name, self.key.public_key(), x509.random_serial_number(), now - day, now + day
        )
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        pem = builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM)
        (folder / "cert.pem").write_bytes(pem)
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / "key.pem").write_bytes(key)
        return pem.decode()

    @property
    def url(self) -> str:
        return f"https://localhost:{self.server.server_address[1]}"

    @property
    def configuration(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "end_session_endpoint": f"{self.url}/end",
            "code_challenge_methods_supported": ["S256"],
        }

    @property
    def keys(self) -> dict[str, Any]:
        numbers = self.key.public_key().public_numbers()
        key = {"kty": "RSA", "alg": "RS256", "kid": "1", "n": unpadded(numbers.n), "e": unpadded(numbers.e)}
        return {"keys": [key]}

    def authorized(self, query: dict[str, str]) -> str:
        """Return where the user is sent back to: logged in, as someone who has a session here."""
        self.asked.append(query)
        assert query["response_type"] == "code" and query["client_id"] == CLIENT, query
        assert query["code_challenge_method"] == "S256", query
        code = secrets.token_urlsafe()
        self.codes[code] = query
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def token(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT, SECRET):
            return 401, {"error": "invalid_client"}
        if form["grant_type"] == "refresh_token":
            if form["refresh_token"] not in self.refreshers:
                return 400, {"error": "invalid_grant"}
            self.refreshers.discard(form["refresh_token"])
        else:
            asked = self.codes.pop(form.get("code", ""), None)
            challenge = unpadded(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
            if asked is None or asked["code_challenge"] != challenge or asked["redirect_uri"] != form["redirect_uri"]:
                return 400, {"error": "invalid_grant"}
        self.granted.append(form["grant_type"])
        refresher = secrets.token_urlsafe()
        self.refreshers.add(refresher)
        self.id_tokens.append(self.token_of("ada"))
        answer = {
            "access_token": secrets.token_urlsafe(),
            "token_type": "Bearer",
            "expires_in": self.lives_seconds,
            "refresh_token": refresher,
            "id_token": self.id_tokens[-1],
        }
        return 200, answer

    def token_of(self, subject: str) -> str:
        """Return an ID token of somebody."""
        now = int(time.time())
        claims: dict[str, Any] = {"iss": self.url, "aud": self.audience, "sub": subject, "iat": now}
        claims |= {"exp": now + max(self.lives_seconds, 60), "email": f"{subject}@example", "email_verified": True}
        claims |= {"groups": ["staff", "night"], "shop": {"floor": 2}}
        return jwt.encode(claims, self.signing_key, "RS256", {"kid": "1"})

    def close(self) -> None:
        self.server.shutdown()
