"""``make demo``: a cluster, the shop behind a gateway with a plugin, and a table of what runs where.

Every step is a command that could be typed; the times at the left are seconds since the start. Run again it finds the
cluster up and applies the same things anew.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SAMPAN = Path(sys.executable).parent / "sampan"
NAME = sys.argv[1] if len(sys.argv) > 1 else "demo"
SHOP = ("--namespace", "shop")
ANSWER_SECONDS = 20.0
begun = time.monotonic()
times: list[tuple[str, float]] = []


def main() -> int:
    global begun
    if os.geteuid() != 0:  # real pods are root's
        return subprocess.run(["sudo", "--preserve-env=KUBECONFIG", sys.executable, *sys.argv]).returncode
    with tempfile.TemporaryDirectory(prefix="sampan-demo-") as directory:
        archive = Path(directory) / "shop.tar"
        building = subprocess.Popen([sys.executable, str(HERE / "image.py"), str(archive)])
        begun = time.monotonic()
        run(SAMPAN, "up", "--name", NAME)
        done("cluster up")
        if building.wait() != 0:
            raise SystemExit("demo: the image could not be built")
        run(SAMPAN, "image", "load", "--name", NAME, archive, quiet=True)
        done("image of the shop built and loaded")
    kubectl("apply", "-f", HERE / "manifests")
    plugin = (HERE / "plugin" / "plugin.yaml").read_text().replace("SHOP/", f"{HERE}/")
    kubectl("apply", "-f", "-", text=plugin)
    done("manifests applied")
    kubectl("wait", "deployment", "--all", "--for=condition=Available", "--timeout=120s", *SHOP)
    done("all replicas are available")
    kubectl("wait", "gateway/shop", "--for=condition=Programmed", "--timeout=60s", *SHOP)
    done("gateway programmed")
    kubectl("wait", "job/fill-shelves", "--for=condition=Complete", "--timeout=120s", *SHOP)
    done("shelves filled by the Job")
    url = f"http://{get('gateway', 'shop')['status']['addresses'][0]['value']}/"
    await_answer(url)
    done("the shop answers through the gateway")
    show(url)
    return 0


def run(*words: object, quiet: bool = False, text: str = "") -> None:
    """Run a command; a failure ends the demo with the command's own words above."""
    command = [str(word) for word in words]
    finished = subprocess.run(command, stdout=subprocess.DEVNULL if quiet else None, input=text, text=True)
    if finished.returncode != 0:
        raise SystemExit(f"demo: `{' '.join(map(str, words))}` failed; `{SAMPAN} status --name {NAME}` may say why")


def kubectl(*words: object, text: str = "") -> None:
    run(SAMPAN, "kubectl", "--name", NAME, *words, quiet=True, text=text)


def get(*words: str) -> dict[str, Any]:
    """Return objects of the shop's namespace as kubectl prints them."""
    command = [str(SAMPAN), "kubectl", "--name", NAME, "get", *words, *SHOP, "-o", "json"]
    return dict(json.loads(subprocess.run(command, capture_output=True, check=True).stdout))


def done(step: str) -> None:
    seconds = time.monotonic() - begun
    times.append((step, seconds))
    print(f"{seconds:6.2f}s  {step}", flush=True)


def await_answer(url: str) -> None:
    """Return when the page is whole."""
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                answer.read()
            return
        except (urllib.error.URLError, OSError) as error:
            if time.monotonic() > deadline:
                raise SystemExit(f"demo: {url} does not answer: {error}") from error
            time.sleep(0.05)


def show(url: str) -> None:
    print("\nWhat runs, and where\n")
    rows = [("POD", "IMAGE", "NODE", "ADDRESS", "STATE")]
    for pod in get("pods")["items"]:
        status = pod["status"]
        container = pod["spec"]["containers"][0]["image"]
        node = pod["spec"].get("nodeName", "")
        rows.append((pod["metadata"]["name"], container, node, status.get("podIP", ""), status["phase"]))
    table(rows)
    print()
    rows = [("SERVICE", "TYPE", "ADDRESS", "OUTSIDE")]
    for service in get("services")["items"]:
        ingress = service.get("status", {}).get("loadBalancer", {}).get("ingress") or [{}]
        spec = service["spec"]
        rows.append((service["metadata"]["name"], spec["type"], spec["clusterIP"], ingress[0].get("ip", "")))
    table(rows)
    print(f"\n$ curl -si {url}")
    curl = subprocess.run(["curl", "-si", url], capture_output=True, text=True)
    head, _, body = curl.stdout.replace("\r", "").partition("\n\n")
    print("\n".join(f"  {line}" for line in [*head.splitlines(), "", *body.splitlines()[:3], "..."]))
    print("\nTimes, from `sampan up`\n")
    table([(f"{seconds:.2f} s", step) for step, seconds in times])
    command = os.path.relpath(SAMPAN)
    print(f"""
Look further
  {command} kubectl --name {NAME} get all,gateways,httproutes -A
  {command} kubectl --name {NAME} logs -n shop deploy/storefront
  {command} status --name {NAME}
Change the plugin: edit examples/shop/plugin/plugin.py, save, then
  curl -si {url}
Take it down
  {command} down --name {NAME}

The shop: {url}""")


def table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


if __name__ == "__main__":
    sys.exit(main())
