"""A web application firewall: ModSecurity's engine (the package ``libmodsecurity``) decides by the rules that it is given.

``rules`` are files, with wildcards, in order: the OWASP Core Rule Set of Debian's ``modsecurity-crs`` is
``/etc/modsecurity/crs/crs-setup.conf`` and ``/usr/share/modsecurity-crs/rules/*.conf``. ``without`` leaves some out by their
names: those of REQUEST-910 need a database of places that the package has no reader for. ``directives`` stand before them.
Requests are looked at, with their bodies; answers are not.
"""

from pathlib import Path

from libmodsecurity import ModSecurity, RulesSet

FIRST = r"""
SecRuleEngine On
SecRequestBodyAccess On
SecResponseBodyAccess Off
SecAuditEngine Off
SecRule REQUEST_HEADERS:Content-Type "^(?:application(?:/soap\+|/)|text/)xml" \
    "id:200000,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=XML"
SecRule REQUEST_HEADERS:Content-Type "^application/json" \
    "id:200001,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=JSON"
SecRule REQBODY_ERROR "!@eq 0" "id:200002,phase:2,t:none,log,deny,status:400,msg:'the body cannot be read'"
"""
"""What ModSecurity recommends to begin with."""


class Firewall:
    def __init__(self, app, *, directives, rules, without, maxBodyBytes):
        self.app, self.most = app, maxBodyBytes
        self.engine, self.rules = ModSecurity(), RulesSet()
        self.engine.set_log_callback(lambda line: None)
        self.load(self.rules.load(FIRST + directives), "directives")
        for pattern in rules:
            files = sorted(Path("/").glob(pattern.lstrip("/")))
            if not files:
                raise ValueError(f"rules: there is no {pattern}")
            for file in files:
                if not any(file.match(name) for name in without):
                    self.load(self.rules.load_from_uri(str(file)), file)

    def load(self, count, where):
        if count < 0:
            raise ValueError(f"{where}: {self.rules.get_parser_error()}")

    async def __call__(self, scope, receive, send):
        with self.engine.transaction(self.rules) as transaction:
            denied = self.headers(transaction, scope)
            body = b""
            while denied is None:
                message = await receive()
                if message["type"] != "http.request":
                    return
                body += message.get("body", b"")
                if len(body) > self.most:
                    denied = 413, "", "the body is longer than is looked at"
                elif not message.get("more_body"):
                    denied = self.body(transaction, body)
                    break
            transaction.process_logging()
        if denied is not None:
            await self.deny(scope, send, *denied)
            return
        given = [{"type": "http.request", "body": body, "more_body": False}]

        async def again():
            return given.pop() if given else await receive()

        await self.app(scope, again, send)

    def headers(self, transaction, scope):
        client, server = scope.get("client") or ("0.0.0.0", 0), scope.get("server") or ("0.0.0.0", 0)
        transaction.process_connection(client[0], client[1] or 0, server[0], server[1] or 0)
        query = b"?" + scope["query_string"] if scope["query_string"] else b""
        uri = (scope["raw_path"] + query).decode("latin-1")
        transaction.process_uri(uri, scope["method"], scope.get("http_version", "1.1"))
        for name, value in scope["headers"]:
            transaction.add_request_header(name.decode("latin-1"), value.decode("latin-1"))
        transaction.process_request_headers()
        return self.denied(transaction)

    def body(self, transaction, body):
        if body:
            transaction.append_request_body(body)
        transaction.process_request_body()
        return self.denied(transaction)

    def denied(self, transaction):
        found = transaction.intervention()
        if found is None or not found.disruptive:
            return None
        return (found.status if found.status >= 300 else 403), found.url or "", found.log or ""

    async def deny(self, scope, send, status, url, why):
        print(f"{scope['method']} {scope['path']}: {status}: {why}", flush=True)
        headers = [(b"content-type", b"text/plain"), *([(b"location", url.encode())] if url else [])]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"the request was refused\n"})
