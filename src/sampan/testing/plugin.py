"""The pytest plugin: a fresh cluster for every test that asks for one, and what was wrong with it when the test fails.

In an async test the fixtures' calls are awaited, in a plain one they block; ``.aio`` and ``.blocking`` give the other form.
The plugin imports nothing of Sampan until a test uses it. Fixtures: ``cluster``, ``cluster_factory``, ``kubectl``, ``apply``,
``wait_for``, ``kopf_runner``, ``kubernetes_version``; ``lab``, ``lab_factory`` for network laboratories.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from kopf.testing import KopfRunner

    from sampan.lab.handle import Lab
    from sampan.testing.cluster import BlockingCluster
    from sampan.testing.handle import AsyncCluster

    AnyCluster = BlockingCluster | AsyncCluster

NEWEST = "1.37"
OPTIONS = ("pods", "nodes", "controllers", "crds", "manifests")
STARTED = pytest.StashKey[list[Any]]()
LABS = pytest.StashKey[list[Any]]()
FIXTURES = {"cluster", "cluster_factory"}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("sampan", "clusters for tests (sampan)")
    group.addoption(
        "--kubernetes-version",
        metavar="1.N[,1.N…]",
        help="the Kubernetes of clusters whose test names none; several run every such test for each",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "kubernetes(*versions, pods='simulated', nodes=1, controllers=True, crds=(), manifests=()): "
        "run the test for each Kubernetes version, on a cluster made so",
    )
    config.addinivalue_line(
        "markers",
        "lab(file=None, /, **topology): the network laboratory of the fixture `lab`, by its file (from the test's folder) or "
        "by nodes=…, subnets=…, links=…",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kubernetes_version" not in metafunc.fixturenames:
        return
    versions = [version for mark in metafunc.definition.iter_markers("kubernetes") for version in mark.args]
    if not versions and (asked := metafunc.config.getoption("--kubernetes-version")):
        versions = [version.strip() for version in asked.split(",")]
    if versions:
        metafunc.parametrize("kubernetes_version", list(dict.fromkeys(versions)), ids=lambda version: f"v{version}")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Warm up while the first tests that need no cluster run."""
    distributes = session.config.getoption("numprocesses", None) and not hasattr(session.config, "workerinput")
    if session.config.option.collectonly or distributes:
        return
    if any(FIXTURES & set(getattr(item, "fixturenames", ())) for item in session.items):
        from sampan.testing.pool import pool

        pool().begin()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    if report.when == "call" and report.failed:
        for running in item.stash.get(STARTED, []):
            report.sections.append((f"sampan: cluster {running.url}", state_of(running)))
        for lab in item.stash.get(LABS, []):
            report.sections.append((f"sampan: laboratory {lab.name}", state_of_lab(lab)))
    return report


def state_of(running: Any) -> str:
    """Return what a failing test should show of a cluster. Never fails itself."""
    from sampan.testing.cluster import BlockingCluster

    cluster = BlockingCluster(running)
    try:
        text = cluster.not_ready() or "everything is ready"
    except Exception as error:
        text = f"the cluster could not be asked: {type(error).__name__}: {error}"
    finally:
        cluster.close()
    try:
        log = running.log.read_text(errors="replace").splitlines()
    except OSError:
        log = []
    wrong = [line for line in log if " ERROR " in line or " WARNING " in line or line.startswith("Traceback")]
    return "\n".join([text, *(f"api log    {line}" for line in wrong[-20:])])


def state_of_lab(lab: Lab) -> str:
    """Return what a failing test should show of a laboratory: its links, its faults, what its services wrote. Never fails."""
    try:
        lines = [lab.graph()]
        for node in lab.status()["nodes"]:
            lines += [f"{node['name']}: ended: {ended}" for ended in node["ended"]]
            lines += [f"{node['name']}: {line}" for line in lab.logs(node["name"]).splitlines()[-10:]]
    except Exception as error:
        return f"the laboratory could not be asked: {type(error).__name__}: {error}"
    return "\n".join(lines)


@pytest.fixture
def kubernetes_version(request: pytest.FixtureRequest) -> str:
    """The Kubernetes version of the test's cluster (``"1.37"``)."""
    return str(getattr(request, "param", NEWEST))


@pytest.fixture
def cluster_factory(request: pytest.FixtureRequest, kubernetes_version: str) -> Iterator[Callable[..., AnyCluster]]:
    """Make clusters: ``cluster_factory(kubernetes_version="1.30", pods="none", crds=[…], manifests=[…], …)``.

    What is not given is as the mark ``kubernetes`` of the test says. All end with the test."""
    from sampan.testing.cluster import Cluster

    runnings = request.node.stash.setdefault(STARTED, [])
    marked = options_of(request.node)

    def make(kubernetes_version: str = kubernetes_version, **options: Any) -> AnyCluster:
        blocking = started.enter_context(Cluster(kubernetes_version, **{**marked, **options}))
        runnings.append(blocking.running)
        return blocking.aio if is_async(request) else blocking

    with contextlib.ExitStack() as started:  # one that cannot be ended holds up no other
        yield make


def options_of(node: Any) -> dict[str, Any]:
    """Return the options of the marks, the nearest first."""
    options: dict[str, Any] = {}
    for mark in node.iter_markers("kubernetes"):
        unknown = set(mark.kwargs) - set(OPTIONS)
        if unknown:
            raise pytest.UsageError(f"mark kubernetes has no {', '.join(sorted(unknown))}; it has {', '.join(OPTIONS)}")
        options = {**mark.kwargs, **options}
    return options


def is_async(request: pytest.FixtureRequest) -> bool:
    """Whether the test is a coroutine."""
    return inspect.iscoroutinefunction(getattr(request.node, "obj", None))


@pytest.fixture
def cluster(cluster_factory: Callable[..., AnyCluster]) -> AnyCluster:
    """A fresh cluster of the test's own."""
    return cluster_factory()


@pytest.fixture
def kubectl(cluster: AnyCluster) -> Callable[..., Any]:
    """Run the packaged kubectl on ``cluster``: ``kubectl("get", "pods").out``."""
    return cluster.kubectl


@pytest.fixture
def apply(cluster: AnyCluster) -> Callable[..., Any]:
    """Apply manifests to ``cluster``: objects, YAML, files, folders."""
    return cluster.apply


@pytest.fixture
def wait_for(cluster: AnyCluster) -> Callable[..., Any]:
    """Wait for an object of ``cluster``: ``wait_for("deployment/web", "Available", timeout=10)``."""
    return cluster.wait_for


@pytest.fixture
def kopf_runner(cluster: AnyCluster) -> Callable[..., KopfRunner]:
    """Run a kopf operator on ``cluster`` for a block: ``with kopf_runner("operator.py", "--namespace=default") as r:``.

    It is kopf's own ``KopfRunner`` with a registry of its own, so that an operator of another test is not run along, and
    with the cluster's credentials. ``--standalone`` is given, and ``--all-namespaces`` where no ``--namespace`` is."""

    def run(*arguments: str, **options: Any) -> KopfRunner:
        from kopf.testing import KopfRunner

        words = [str(argument) for argument in arguments]
        scoped = any(word in ("-A", "--all-namespaces", "-n") or word.startswith("--namespace") for word in words)
        extra = [] if scoped else ["--all-namespaces"]
        options.setdefault("registry", registry_of(cluster))
        options.setdefault("env", {"KUBECONFIG": str(cluster.kubeconfig)})
        return KopfRunner(["run", "--standalone", *extra, *words], **options)

    return run


def registry_of(cluster: AnyCluster) -> Any:
    """Return a kopf registry with one handler: the login to the cluster. The client libraries that kopf would ask remember
    the kubeconfig of their first import."""
    import kopf

    from sampan.client.kubeconfig import load

    connection = load(cluster.kubeconfig)
    registry = kopf.OperatorRegistry()
    folder = cluster.kubeconfig.parent
    for name, pem in (("ca", connection.ca), ("client", connection.certificate), ("client-key", connection.key)):
        (folder / f"{name}.pem").write_bytes(pem or b"")

    @kopf.on.login(registry=registry)
    def sampan(**_: Any) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(
            server=connection.server,
            ca_path=str(folder / "ca.pem"),
            certificate_path=str(folder / "client.pem"),
            private_key_path=str(folder / "client-key.pem"),
            default_namespace="default",
        )

    return registry


@pytest.fixture
def lab_factory(request: pytest.FixtureRequest) -> Iterator[Callable[..., Lab]]:
    """Make network laboratories: ``lab_factory("file.yaml")`` or ``lab_factory(nodes=[…], subnets=[…], links=[…])``.

    All end with the test, and with the test's process, however that ends."""
    from sampan.lab.handle import Lab

    started = request.node.stash.setdefault(LABS, [])

    def make(source: Any = None, /, **topology: Any) -> Lab:
        if isinstance(source, str):
            source = request.path.parent / source
        lab = Lab(source, **topology).up()
        started.append(lab)
        return lab

    yield make
    for lab in reversed(started):
        lab.down()


@pytest.fixture
def lab(request: pytest.FixtureRequest, lab_factory: Callable[..., Lab]) -> Lab:
    """The network laboratory that the test's mark ``lab`` describes, up and checked."""
    mark = request.node.get_closest_marker("lab")
    if mark is None:
        raise pytest.UsageError("the fixture lab needs to know which: @pytest.mark.lab('file.yaml') or (nodes=[…], …)")
    return lab_factory(*mark.args, **mark.kwargs)
