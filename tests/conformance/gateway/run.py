"""``make conformance-gateway``: the official conformance suite of Gateway API against a cluster of its own, and its report.

    .venv/bin/python tests/conformance/gateway/run.py [--test NAME] [--no-mesh] [--keep] [--report FILE]

The suite, the servers that its pods run and CoreDNS are Go modules: they are built from the module proxy into
``$XDG_CACHE_HOME/sampan/gateway-conformance`` (the first time some minutes) and stay there. The definitions of the kinds come
with the suite's module and replace Sampan's own. Nothing needs a registry of images.
"""

from __future__ import annotations

import argparse
import datetime
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sampan.node.oci_image import ImageConfig, ImageFile, docker_archive

HERE = Path(__file__).resolve().parent
SAMPAN = Path(sys.executable).parent / "sampan"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sampan" / "gateway-conformance"
MODULE = "sigs.k8s.io/gateway-api"
PROFILES = ("GATEWAY-HTTP", "GATEWAY-GRPC", "GATEWAY-TLS", "GATEWAY-TCP", "GATEWAY-UDP")
MESH_PROFILES = ("MESH-HTTP", "MESH-GRPC")
ADVANCED = "registry.k8s.io/gateway-api/echo-advanced:v1.5.1"
ISTIO_ECHO = "istio.io/istio/pkg/test/echo/cmd"
ECHO = "registry.k8s.io/gateway-api/echo-basic"
ECHO_TAGS = ("v1.5.1", "v1.6.0-dev.2", "v1.6.0-dev.3")
COREDNS = "registry.k8s.io/coredns/coredns:v1.12.2"


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the conformance suite of Gateway API.")
    parser.add_argument("--test", default="", help="only the test of this short name")
    parser.add_argument("--features", default="", help="these features instead of those the GatewayClass names")
    parser.add_argument("--report", type=Path, default=CACHE / "report.yaml", help="where the report is written")
    parser.add_argument("--name", default="conformance-gw", help="of the cluster that is made for it")
    parser.add_argument("--no-mesh", action="store_true", help="leave the profiles of a mesh out (and Istio's modules)")
    parser.add_argument("--keep", action="store_true", help="leave the cluster up")
    options = parser.parse_args()
    if shutil.which("go") is None:
        raise SystemExit("error: the suite is written in Go, and `go` is not on the PATH: install Go 1.26 or later")
    CACHE.mkdir(parents=True, exist_ok=True)
    build(mesh=not options.no_mesh)
    environment = {**os.environ, "KUBECONFIG": str(CACHE / "kubeconfig")}
    try:
        cluster(options.name, environment)
        code = suite(options, environment)
    finally:
        if not options.keep:
            subprocess.run([SAMPAN, "down", "--name", options.name], env=environment, stdout=subprocess.DEVNULL)
    if options.report.exists() and not options.test:
        print(summary(yaml.safe_load(options.report.read_text())))
        print(f"report: {options.report}\nlog:    {CACHE / 'suite.log'}")
    return code


def go(*words: str, directory: Path = HERE, static: bool = False) -> str:
    environment = {**os.environ, **({"CGO_ENABLED": "0"} if static else {})}
    done = subprocess.run(["go", *words], cwd=directory, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"error: `go {' '.join(words)}` failed in {directory}")
    return done.stdout.strip()


def build(*, mesh: bool) -> None:
    """Build the suite and the images of its pods into the cache. Go knows what is up to date."""
    go("test", "-c", "-o", str(CACHE / "conformance.test"), ".")
    go("build", "-trimpath", "-o", str(CACHE / "echo-basic"), f"{MODULE}/conformance/echo-basic", static=True)
    go("build", "-trimpath", "-o", str(CACHE / "coredns"), ".", directory=HERE / "coredns", static=True)
    echo = ImageConfig(entrypoint=("/echo-basic",), user="65532:65532")
    image("echo-basic", [f"{ECHO}:{tag}" for tag in ECHO_TAGS], echo)
    image("coredns", [COREDNS], ImageConfig(entrypoint=("/coredns",)))
    (CACHE / "echo-advanced.tar").unlink(missing_ok=True)
    if mesh:
        for program in ("client", "server"):
            target = str(CACHE / f"advanced-{program}")
            go("build", "-trimpath", "-o", target, f"{ISTIO_ECHO}/{program}", directory=HERE / "echo", static=True)
        chain, key = certificate()
        programs = {
            f"bin/{program}": ImageFile((CACHE / f"advanced-{program}").read_bytes(), 0o755)
            for program in ("client", "server")
        }
        files = {**programs, "cert.crt": ImageFile(chain), "cert.key": ImageFile(key)}
        config = ImageConfig(entrypoint=("/bin/server",), environment={"PATH": "/bin"})
        docker_archive(CACHE / "echo-advanced.tar", [ADVANCED], files, config)


def certificate() -> tuple[bytes, bytes]:
    """Return a certificate that nobody checks, and its key: the server of the mesh's pods wants one."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "echo")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=30))
    signed = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    return signed, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def image(program: str, names: list[str], config: ImageConfig) -> None:
    files = {program: ImageFile((CACHE / program).read_bytes(), 0o755)}
    docker_archive(CACHE / f"{program}.tar", names, files, config)


def cluster(name: str, environment: dict[str, str]) -> None:
    """Start a cluster with the suite's images and the official definitions of the kinds."""

    def run(*words: str | Path, check: bool = True) -> bool:
        command = [str(SAMPAN), *map(str, words)]
        done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=None if check else -3)
        if check and done.returncode != 0:
            raise SystemExit(f"error: `{' '.join(command)}` failed")
        return done.returncode == 0

    run("up", "--name", name)
    for archive in sorted(CACHE.glob("*.tar")):
        run("image", "load", "--name", name, archive)
    definitions = Path(go("list", "-m", "-f", "{{.Dir}}", MODULE)) / "config" / "crd" / "experimental"
    for file in sorted(definitions.glob("gateway.networking*.yaml")):
        if not run("kubectl", "--name", name, "replace", "-f", file, check=False):
            run("kubectl", "--name", name, "create", "-f", file)


def suite(options: argparse.Namespace, environment: dict[str, str]) -> int:
    """Run the suite; its output goes to a file, the names of failed tests to the terminal."""
    where = "jsonpath={.items[0].status.addresses[0].address}"
    node = [SAMPAN, "kubectl", "--name", options.name, "get", "nodes", "-o", where]
    node_ip = subprocess.run(node, env=environment, capture_output=True, text=True, check=True).stdout
    first, second, *_ = node_ip.split(".")
    profiles = PROFILES if options.no_mesh else (*PROFILES, *MESH_PROFILES)
    command = [
        str(CACHE / "conformance.test"),
        *("-test.run", "TestConformance", "-test.v", "-test.timeout", "3h", "-gateway-class", "sampan"),
        f"-conformance-profiles={','.join(profiles)}",
        f"-report-output={options.report.resolve()}",
        *("-organization=sampan", "-project=sampan", "-url=https://sampan.dev", "-contact=https://sampan.dev"),
        "-version=0.1.0",
        # the end of the pool that LoadBalancer addresses are from, and an address that is nobody's (RFC 5737)
        *(f"-usable-address={first}.{second}.143.250", "-unusable-address=203.0.113.7"),
        *([] if options.no_mesh else ["-mesh-name=sampan"]),
        *([f"-run-test={options.test}"] if options.test else []),
        *([f"-supported-features={options.features}"] if options.features else []),
    ]
    with (CACHE / "suite.log").open("w") as log:
        code = subprocess.run(command, env=environment, stdout=log, stderr=log).returncode
    for line in (CACHE / "suite.log").read_text(errors="replace").splitlines():
        if line.lstrip().startswith("--- FAIL"):
            print(line)
    return code


def summary(report: dict[str, Any]) -> str:
    """Return the report's profiles as a table."""
    lines = [f"{'PROFILE':16}{'CORE':>12}{'EXTENDED':>12}{'FEATURES':>10}  (passed/failed/skipped)"]
    for profile in report["profiles"]:
        statistics = [profile.get(part, {}).get("statistics", {}) for part in ("core", "extended")]
        counts = ["/".join(str(part.get(word, 0)) for word in ("Passed", "Failed", "Skipped")) for part in statistics]
        features = len((profile.get("extended") or {}).get("supportedFeatures") or ())
        missing = len((profile.get("extended") or {}).get("unsupportedFeatures") or ())
        lines.append(f"{profile['name']:16}{counts[0]:>12}{counts[1]:>12}{f'{features}/{features + missing}':>10}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
