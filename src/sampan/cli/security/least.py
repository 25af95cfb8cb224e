"""``sampan security least``: the tightest security context with which a workload still works, proven on copies of it.

The running pod is looked at (users, files written, low ports); then copies of it run with fewer and fewer rights: each must
become ready, stay so, complain of nothing new in its logs and pass ``--check``. What is printed is a strategic merge patch of
the pod, or of the workload that makes it, and it is what the last working copy ran with. The copies answer no Service, and
volumes that hold more than the pod's own are empty in them; but they do what the program does, beside the original.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

from sampan.cli import reaching

if TYPE_CHECKING:
    from sampan.client.http import HttpClient
    from sampan.node.least_search import Proposal
    from sampan.node.trials import Trials
    from sampan.security.least import Evidence

SUMMARY = "the tightest context with which a pod still works, proven on copies"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pod", metavar="POD")
    parser.add_argument(
        "--for",
        dest="hold",
        type=float,
        default=2.0,
        metavar="SECONDS",
        help="how long a copy must stay ready (%(default)s)",
    )
    parser.add_argument(
        "--check",
        default="",
        metavar="COMMAND",
        help="must succeed for each copy; $POD, $POD_IP and $NAMESPACE name it",
    )
    parser.add_argument(
        "--seccomp", metavar="NAME", help="record its system calls; write the profile NAME.json into the node's folder"
    )
    parser.add_argument("-o", "--output", choices=("yaml", "json"), default="yaml")
    reaching.arguments(parser)


def run(options: argparse.Namespace) -> int:
    return asyncio.run(least(options))


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def least(options: argparse.Namespace) -> int:
    from sampan.client.resources import PODS
    from sampan.cluster.lifecycle import ClusterError
    from sampan.node.least_search import NoComparison, search
    from sampan.node.trials import Trials
    from sampan.security.shadow import losses

    name = options.pod.rpartition("/")[2]
    async with reaching.api(options) as client:
        pod = await client.get(PODS, name, options.namespace)
        seen = {} if options.kubeconfig else await evidence(options, pod)
        for container, one in seen.items():
            tell(f"{container}: {described(one)}")
        for loss in losses(pod["spec"]):
            tell(loss)
        try:
            async with Trials(client, pod, hold_seconds=options.hold, check=options.check) as trials:
                found = await search(trials, pod["spec"], seen, tell)
                if options.seccomp:
                    found = await with_profile(trials, found, options)
        except NoComparison as error:
            why = f"an unchanged copy of pod {name!r} does not work: {error}"
            raise ClusterError(why, "so nothing can be told of others") from error
        target, path = await maker(client, pod)
    report(found, pod)
    show(found, pod, target, path, options)
    return 0


async def with_profile(trials: Trials, found: Proposal, options: argparse.Namespace) -> Proposal:
    """Return the proposal with a seccomp profile of the calls that a copy made, proven by a copy that may make no other."""
    from sampan.cluster.lifecycle import ClusterError
    from sampan.node.syscalls import NoSeccomp, Recorder, profile_of

    settings = reaching.running(options.name)
    folder, name = settings.kubelet_dir / "seccomp", f"{options.seccomp}.json"
    folder.mkdir(parents=True, exist_ok=True)
    watching = folder / f"recording-{name}"
    try:
        with Recorder(settings.run_dir / "seccomp.sock") as recorder:
            watching.write_text(json.dumps(recorder.profile))
            outcome = await trials.run(profiled(found.spec, watching.name))
            calls = recorder.calls
    except NoSeccomp as error:
        raise ClusterError(str(error)) from error
    finally:
        watching.unlink(missing_ok=True)
    if not outcome.works:
        tell(f"no profile: a copy whose calls are recorded does not work: {outcome.why}")
        return found
    (folder / name).write_text(json.dumps(profile_of(calls), indent=2))
    proof = await trials.run(profiled(found.spec, name))
    if not proof.works:
        (folder / name).unlink()
        tell(f"no profile: with the {len(calls)} calls that were recorded a copy does not work: {proof.why}")
        return found
    tell(f"a copy works with {len(calls)} system calls: {folder / name}")
    return found._replace(spec=profiled(found.spec, name), proof=proof)


def profiled(spec: Any, name: str) -> Any:
    """Return the spec with one profile of the node for the whole pod."""
    profile = {"type": "Localhost", "localhostProfile": name}
    made = {**spec, "securityContext": {**(spec.get("securityContext") or {}), "seccompProfile": profile}}
    for kind in ("initContainers", "containers"):
        if spec.get(kind):
            made[kind] = [without_profile(one) for one in spec[kind]]
    return made


def without_profile(container: Any) -> Any:
    own = {key: value for key, value in (container.get("securityContext") or {}).items() if key != "seccompProfile"}
    return {**container, "securityContext": own} if own or container.get("securityContext") else container


async def evidence(options: argparse.Namespace, pod: Any) -> dict[str, Evidence]:
    """Return what is seen of the pod's containers, by their names."""
    from sampan.node.evidence import evidence_of

    async with reaching.node(options) as node:
        here = await node.pod(pod["metadata"]["uid"])
        return {one.name: evidence_of(one) for one in here.containers if one.pid} if here is not None else {}


def described(one: Evidence) -> str:
    from sampan.security.capabilities import shown
    from sampan.security.least import folders

    users = ", ".join(map(str, sorted(one.uids)))
    told = [f"runs as {users or 'nobody'}", f"holds {shown(one.effective)} capabilities"]
    if one.ports:
        told.append(f"listens on {', '.join(map(str, one.ports))}")
    where = folders(one.written)
    return "; ".join([*told, f"has written to {', '.join(where)}" if where else "has written no files"])


async def maker(client: HttpClient, pod: Any) -> tuple[str, tuple[str, ...]]:
    """Return what a person would change instead of the pod, and where in it the pod's spec is."""
    from sampan.client.resources import BY_TEMPLATE
    from sampan.security.templates import TEMPLATES

    at, namespace = pod, pod["metadata"]["namespace"]
    found: tuple[str, tuple[str, ...]] = (f"pod/{pod['metadata']['name']}", ("spec",))
    while True:
        owners = (one for one in at["metadata"].get("ownerReferences") or () if one.get("controller"))
        owner = next(owners, None)
        resource = BY_TEMPLATE.get(owner["kind"].lower()) if owner else None
        if owner is None or resource is None:
            return found
        path = TEMPLATES[resource.group, resource.kind]
        found = (f"{resource.kind.lower()}/{owner['name']}", (*path, "spec"))
        at = await client.get(resource, owner["name"], namespace)


def report(found: Proposal, pod: Any) -> None:
    from sampan.security.levels import LATEST
    from sampan.security.standards import Evaluator

    for finding in found.findings:
        tell(f"{'yes' if finding.works else 'no ':3}  {finding.step}{'' if finding.works else f': {finding.why}'}")
    evaluator, metadata = Evaluator(), pod["metadata"]
    before, after = (evaluator.strictest(LATEST, metadata, spec) for spec in (pod["spec"], found.spec))
    tell(f"Pod Security: {before} now, {after} then; the last copy with it was ready after {found.proof.seconds:.1f} s")


def show(found: Proposal, pod: Any, target: str, path: tuple[str, ...], options: argparse.Namespace) -> None:
    from sampan.security.least import changes

    patch: Any = changes(pod["spec"], found.spec)
    for key in reversed(path):
        patch = {key: patch}
    if options.output == "json":
        print(json.dumps(patch))
        return
    import yaml

    print(f"# of {target}, in namespace {pod['metadata']['namespace']}")
    print(yaml.safe_dump(patch, sort_keys=False, default_flow_style=False), end="")
