"""certificates.k8s.io: signing requests and trust bundles. What pods ask for: ``pod_certificate_requests.py``.

What a certificate or a request says is read with ``cryptography``, which is imported when the first one comes.
Source: kubernetes pkg/apis/certificates/validation, pkg/registry/certificates, KEP-3257 (trust bundles).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from typing import Any

from sampan.api.metadata import now
from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources.checking import collect, immutable
from sampan.api.resources.columns import AGE, NAME, field
from sampan.api.resources.reading import dig, items, mapping, text
from sampan.schema.causes import NO_MAP, duplicate, forbidden, invalid, not_supported, required, too_long
from sampan.schema.durations import human_duration
from sampan.schema.names import dns1123_label, dns1123_subdomain
from sampan.schema.objects import Object

GROUP = "certificates.k8s.io"
LEGACY_SIGNER = "kubernetes.io/legacy-unknown"
APPROVED, DENIED, FAILED = "Approved", "Denied", "Failed"
USAGES = (
    "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment",
    "decipher only", "digital signature", "email protection", "encipher only", "ipsec end system", "ipsec tunnel",
    "ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime",
    "server auth", "signing", "timestamping",
)  # fmt: skip
MAX_TRUST_BUNDLE_BYTES = 1 << 20
LONGEST_DOMAIN = 253
PEM_BLOCK = re.compile(r"-----BEGIN ([^-]+)-----\r?\n(.*?)-----END \1-----", re.DOTALL)
OMITTED = "<value omitted>"


def signer_name(path: str, name: str) -> Iterator[Cause]:
    """``ValidateSignerName``: a domain, a slash and a path. Only the first wrong part of each is told."""
    if not name:
        yield required(path)
        return
    domain, slash, rest = name.partition("/")
    if not slash or "/" in rest:
        yield invalid(path, name, "must be a fully qualified domain and path of the form 'example.com/signer-name'")
        return
    if len(domain.encode()) > LONGEST_DOMAIN:
        yield too_long(path, LONGEST_DOMAIN)
    yield from first_wrong_label(path, domain, dns1123_label)
    if "." not in domain:
        yield invalid(path, domain, "should be a domain with at least two segments separated by dots")
    yield from first_wrong_label(path, rest, dns1123_subdomain)
    longest = LONGEST_DOMAIN + 1 + LONGEST_DOMAIN + 1 + 63
    if len(name.encode()) > longest:
        yield too_long(path, longest)


def first_wrong_label(path: str, dotted: str, check: Callable[[str], list[str]]) -> Iterator[Cause]:
    for part in dotted.split("."):
        messages = check(part)
        if messages:
            yield from (invalid(path, dotted, f'validating label "{part}": {message}') for message in messages)
            return


def pem_blocks(pem: str) -> list[tuple[str, bytes | None, bool]]:
    """Return type, content (None where it is no base64) and whether there are headers, of each block."""
    found: list[tuple[str, bytes | None, bool]] = []
    for kind, body in PEM_BLOCK.findall(pem):
        headers = ":" in body
        try:
            found.append((kind, base64.b64decode("".join(body.split()), validate=True), headers))
        except binascii.Error:
            found.append((kind, None, headers))
    return found


def decoded(value: Any) -> str:
    """Return base64 bytes of an object as text, "" where they are none."""
    try:
        return base64.b64decode(value or "", validate=True).decode("latin-1")
    except (binascii.Error, TypeError, ValueError):
        return ""


# signing requests


def request_problem(encoded: Any) -> str:
    """Return what is wrong with a PKCS#10 request in PEM, "" where it is right and signed by its own key."""
    blocks = pem_blocks(decoded(encoded))
    if not blocks or blocks[0][0] != "CERTIFICATE REQUEST":
        return "PEM block type must be CERTIFICATE REQUEST"
    from cryptography import x509

    try:
        found = x509.load_der_x509_csr(blocks[0][1] or b"")
        return "" if found.is_signature_valid else "x509: invalid signature: the request is not signed by its key"
    except Exception as error:
        return f"asn1: structure error: {error}"


def certificate_problem(encoded: Any) -> str:
    pem = decoded(encoded)
    if not encoded:
        return ""
    blocks = pem_blocks(pem)
    if not blocks:
        return "must contain at least one CERTIFICATE PEM block"
    for kind, content, headers in blocks:
        if kind != "CERTIFICATE":
            return f'only CERTIFICATE PEM blocks are allowed, found "{kind}"'
        if headers:
            return "no PEM block headers are permitted"
        if load_certificate(content) is None:
            return "x509: malformed certificate"
    return ""


def load_certificate(content: bytes | None) -> Any:
    from cryptography import x509

    try:
        return x509.load_der_x509_certificate(content or b"")
    except Exception:  # of several libraries' kinds
        return None


def prepare_request(new: Object, old: Object | None) -> None:
    if old is None:
        new["status"] = {}
    else:
        new["spec"] = old["spec"]


def prepare_approval(new: Object, old: Object | None) -> None:
    """Approval writes the conditions and nothing else of the status."""
    if old is None:
        return
    new["spec"] = old["spec"]
    conditions = items(new, "status", "conditions")
    new["status"] = {**mapping(old, "status"), **({"conditions": conditions} if conditions else {})}
    if not conditions:
        new["status"].pop("conditions", None)
    date_conditions(new, old)


def date_conditions(new: Object, old: Object | None) -> None:
    """Date the conditions that are not, those that stayed as they were with when they became so."""
    at = now()
    for condition in items(new, "status", "conditions"):
        condition.setdefault("lastUpdateTime", at)
        if "lastTransitionTime" not in condition:
            same = [
                one
                for one in of_type(old or {}, str(condition.get("type")))
                if one.get("status") == condition.get("status")
            ]
            condition["lastTransitionTime"] = next(filter(None, (one.get("lastTransitionTime") for one in same)), at)


def validate_request(new: Object, old: Object | None) -> Iterator[Cause]:
    if old is None:
        yield from request_spec(mapping(new, "spec"))
        return
    yield from kept_conditions(new, old)
    yield from untouched_approval(new, old)
    if dig(new, "status", "certificate") != dig(old, "status", "certificate"):
        yield forbidden("status.certificate", "updates may not set certificate content")


def validate_request_status(new: Object, old: Object | None) -> Iterator[Cause]:
    assert old is not None
    yield from conditions(new, old)
    yield from kept_conditions(new, old)
    yield from untouched_approval(new, old)
    certificate, before = dig(new, "status", "certificate"), dig(old, "status", "certificate")
    if certificate != before:
        problem = certificate_problem(certificate)
        if problem:
            yield invalid("status.certificate", "<certificate data>", problem)
        if before:
            yield forbidden("status.certificate", "updates may not modify existing certificate content")


def validate_approval(new: Object, old: Object | None) -> Iterator[Cause]:
    assert old is not None
    yield from conditions(new, old)
    yield from kept_conditions(new, old)


def request_spec(spec: Object) -> Iterator[Cause]:
    problem = request_problem(spec.get("request"))
    if problem:
        yield invalid("spec.request", spec.get("request", NO_MAP), problem)
    usages = items(spec, "usages")
    if not usages:
        yield required("spec.usages")
    for index, usage in enumerate(usages):
        if usage not in USAGES:
            yield not_supported(f"spec.usages[{index}]", usage, USAGES)
        if usage in usages[:index]:
            yield duplicate(f"spec.usages[{index}]", usage)
    name = text(spec, "signerName")
    if name == LEGACY_SIGNER:
        yield invalid("spec.signerName", name, "the legacy signerName is not allowed via this API version")
    else:
        yield from signer_name("spec.signerName", name)
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < 600:
        yield invalid(
            "spec.expirationSeconds", seconds, "may not specify a duration less than 600 seconds (10 minutes)"
        )


def conditions(new: Object, old: Object) -> Iterator[Cause]:
    seen: list[str] = []
    before = {one.get("type") for one in items(old, "status", "conditions")}
    for index, condition in enumerate(items(new, "status", "conditions")):
        path, kind = f"status.conditions[{index}]", condition.get("type") or ""
        if not kind:
            yield required(f"{path}.type")
        allowed = ("True",) if kind in (APPROVED, DENIED, FAILED) else ("False", "True", "Unknown")
        if not condition.get("status"):
            yield required(f"{path}.status")
        elif condition["status"] not in allowed:
            yield not_supported(f"{path}.status", condition["status"], allowed)
        other = {APPROVED: DENIED, DENIED: APPROVED}.get(kind)
        if other in seen and not {APPROVED, DENIED} <= before:
            yield invalid(f"{path}.type", kind, "Approved and Denied conditions are mutually exclusive")
        if kind in seen:
            yield duplicate(f"{path}.type", kind)
        seen.append(kind)


def of_type(request: Object, kind: str) -> list[Object]:
    return [one for one in items(request, "status", "conditions") if one.get("type") == kind]


def kept_conditions(new: Object, old: Object) -> Iterator[Cause]:
    for kind in (APPROVED, DENIED, FAILED):
        if len(of_type(new, kind)) < len(of_type(old, kind)):
            yield forbidden("status.conditions", f'updates may not remove a condition of type "{kind}"')


def untouched_approval(new: Object, old: Object) -> Iterator[Cause]:
    for kind in (APPROVED, DENIED):
        now, before = of_type(new, kind), of_type(old, kind)
        if len(now) > len(before):
            yield forbidden("status.conditions", f'updates may not add a condition of type "{kind}"')
        elif len(now) == len(before) and now != before:
            yield forbidden("status.conditions", f'updates may not modify a condition of type "{kind}"')


def signing_condition(request: Object) -> str:
    kinds = [condition.get("type") for condition in items(request, "status", "conditions")]
    words = [next((word for word in (DENIED, APPROVED) if word in kinds), "Pending")]
    if FAILED in kinds:
        words = [*words, FAILED] if words != ["Pending"] else [FAILED]
    if text(request, "status", "certificate"):
        words.append("Issued")
    return ",".join(words)


def expiration(request: Object) -> str:
    seconds = dig(request, "spec", "expirationSeconds")
    return "<none>" if seconds is None else human_duration(seconds)


CERTIFICATE_SIGNING_REQUEST = Resource(
    group=GROUP,
    version="v1",
    kind="CertificateSigningRequest",
    plural="certificatesigningrequests",
    namespaced=False,
    short_names=("csr",),
    status=True,
    generation=False,
    name_is="path",
    prepare=prepare_request,
    prepares={"approval": prepare_approval, "status": date_conditions},
    validate=collect(validate_request),
    validates={"status": collect(validate_request_status), "approval": collect(validate_approval)},
    trusts_definition=False,
    columns=(
        NAME,
        AGE,
        Column("SignerName", ".spec.signerName"),
        Column("Requestor", field("spec", "username", missing="")),
        Column("RequestedDuration", expiration),
        Column("Condition", signing_condition),
    ),
    field_selectors={"spec.signerName": lambda request: text(request, "spec", "signerName")},
)

# trust bundles


def validate_bundle(new: Object, old: Object | None) -> Iterator[Cause]:
    name, signer = text(new, "metadata", "name"), text(new, "spec", "signerName")
    prefix = signer.replace("/", ":") + ":"
    if signer:
        if not name.startswith(prefix):
            why = f"ClusterTrustBundle for signerName {signer} must be named with prefix {prefix}"
            yield invalid("metadata.name", name, why)
        else:
            for message in dns1123_subdomain(name.removeprefix(prefix)):
                yield invalid("metadata.name", name, message)
        yield from signer_name("spec.signerName", signer)
    elif ":" in name:
        yield invalid("metadata.name", name, 'ClusterTrustBundle without signer name must not have ":" in its name')
    else:
        for message in dns1123_subdomain(name):
            yield invalid("metadata.name", name, message)
    bundle = text(new, "spec", "trustBundle")
    if old is None or bundle != text(old, "spec", "trustBundle"):
        yield from trust_anchors("spec.trustBundle", bundle)
    if old is not None:
        yield from immutable("spec.signerName", signer, text(old, "spec", "signerName"))


def trust_anchors(path: str, bundle: str) -> Iterator[Cause]:
    if len(bundle.encode()) > MAX_TRUST_BUNDLE_BYTES:
        yield too_long(path, MAX_TRUST_BUNDLE_BYTES)
        return
    anchors: dict[bytes, list[int]] = {}
    problems = []
    for index, (kind, content, headers) in enumerate(pem_blocks(bundle)):
        problem = anchor_problem(kind, content, headers)
        if problem:
            problems.append(f"entry {index} {problem}")
        else:
            anchors.setdefault(content or b"", []).append(index)
    if not problems and not anchors:
        problems.append("at least one trust anchor must be provided")
    elif not problems:
        twins = [found for found in anchors.values() if len(found) > 1]
        problems += [f"duplicate trust anchor (indices [{' '.join(map(str, found))}])" for found in twins]
    for problem in problems:
        yield invalid(path, OMITTED, problem)


def anchor_problem(kind: str, content: bytes | None, headers: bool) -> str:
    if kind != "CERTIFICATE":
        return f"has bad block type: {kind}"
    if headers:
        return "has PEM block headers"
    certificate = load_certificate(content)
    if certificate is None:
        return "does not parse as X.509"
    from cryptography import x509

    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except Exception:  # no such extension, or extensions that do not parse
        return "does not have the CA bit set"
    return "" if constraints.ca else "does not have the CA bit set"


def bundle(version: str) -> Resource:
    return Resource(
        group=GROUP,
        version=version,
        kind="ClusterTrustBundle",
        plural="clustertrustbundles",
        namespaced=False,
        generation=False,
        name_is="path",
        validate=collect(validate_bundle),
        trusts_definition=False,
        columns=(NAME, Column("SignerName", field("spec", "signerName", missing=""))),
        field_selectors={"spec.signerName": lambda one: text(one, "spec", "signerName")},
    )


RESOURCES = (
    CERTIFICATE_SIGNING_REQUEST,
    *(bundle(version) for version in ("v1", "v1beta1", "v1alpha1")),
)
