"""KubeSchedulerConfiguration: profiles, plugins, arguments; what is not known or has no effect is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sampan.cli.main import main
from sampan.client.resources import PODS
from sampan.scheduler.configuration import Configuration, embedded, parse, profiles_of, read
from sampan.scheduler.profile import Profile
from sampan.scheduler.reading import ConfigurationError
from sampan.schema.objects import Object
from tests.unit.scheduler.conftest import Start
from tests.unit.scheduler.made import node

EXAMPLE = Path("examples/scheduler/scheduler.yaml")


def configuration(**fields: Any) -> Configuration:
    kind = {"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration"}
    return parse({**kind, **fields}, EXAMPLE.parent)


def profile(**fields: Any) -> Profile:
    return profiles_of(configuration(profiles=[fields]))[0]


def names(found: Profile, point: str) -> list[str]:
    return [plugin.name for plugin in found.enabled[point]]


def test_the_default_is_kube_schedulers() -> None:
    found = profile()
    assert found.name == "default-scheduler"
    assert names(found, "filter")[:4] == ["NodeUnschedulable", "NodeName", "TaintToleration", "NodeAffinity"]
    weights = {name: found.weights[name] for name in names(found, "score")}
    assert weights == {
        "TaintToleration": 3, "NodeAffinity": 2, "NodeResourcesFit": 1, "PodTopologySpread": 2, "InterPodAffinity": 2,
        "NodeResourcesBalancedAllocation": 1, "ImageLocality": 1,
    } | {name: 1 for name in weights if name.startswith("Volume")}  # fmt: skip


def test_points_and_weights_are_changed() -> None:
    plugins = {
        "score": {
            "disabled": [{"name": "ImageLocality"}, {"name": "PodTopologySpread"}],
            "enabled": [{"name": "NodeResourcesFit", "weight": 7}],
        },
        "multiPoint": {"disabled": [{"name": "NodePorts"}]},
    }
    found = profile(plugins=plugins)
    assert "ImageLocality" not in names(found, "score") and "PodTopologySpread" in names(found, "filter")
    assert "NodePorts" not in names(found, "filter") and "NodePorts" not in names(found, "pre_filter")
    assert found.weights["NodeResourcesFit"] == 7


def test_everything_off_but_what_is_named() -> None:
    plugins = {
        "multiPoint": {"disabled": [{"name": "*"}], "enabled": [{"name": "NodeName"}, {"name": "DefaultBinder"}]}
    }
    found = profile(plugins=plugins)
    assert list(found.plugins) == ["NodeName", "DefaultBinder"]


EXTENDER = {"urlPrefix": "http://127.0.0.1:1"}


def of_extenders(**fields: Any) -> Object:
    return {"extenders": [{**EXTENDER, **fields}]}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"parallelism": 4}, 'unknown field "parallelism": it would have no effect: cycles run one after another'),
        ({"extenders": [{}]}, 'extenders[0].urlPrefix: Invalid value: ""'),
        (of_extenders(prioritizeVerb="p"), "extenders[0].weight: Invalid value: 0: must have a positive weight"),
        (of_extenders(httpTimeout="soon"), "extenders[0].httpTimeout"),
        (of_extenders(tlsConfig={"x": 1}), 'unknown field "extenders[0].tlsConfig.x"'),
        (of_extenders(managedResources=[{"name": "cpu"}]), "cpu is an invalid extended resource name"),
        ({"extenders": [{**EXTENDER, "bindVerb": "b"}] * 2}, "found 2 extenders implementing bind"),
        ({"extenders": [{**EXTENDER, "managedResources": [{"name": "a/b"}]}] * 2}, 'resource name "a/b"'),
        ({"wrong": 1}, 'unknown field "wrong"'),
        ({"percentageOfNodesToScore": 101}, "percentageOfNodesToScore: Invalid value: 101"),
        ({"podInitialBackoffSeconds": 5, "podMaxBackoffSeconds": 2}, "podMaxBackoffSeconds: Invalid value: 2"),
        ({"profiles": [{}, {}]}, 'profiles: Duplicate value: "default-scheduler"'),
        ({"leaderElection": {"resourceLock": "endpoints"}}, 'must be "leases"'),
        ({"profiles": [{"plugins": {"filter": {"enabled": [{"name": "Nope"}]}}}]}, 'plugin "Nope" does not exist'),
        ({"profiles": [{"plugins": {"filters": {}}}]}, 'unknown field "profiles[0].plugins.filters"'),
        (
            {"profiles": [{"plugins": {"filter": {"enabled": [{"name": "ImageLocality"}]}}}]},
            'plugin "ImageLocality" does not extend filter',
        ),
        (
            {"profiles": [{"plugins": {"bind": {"disabled": [{"name": "*"}]}}}]},
            "at least one bind plugin is needed",
        ),
        (
            {"profiles": [{"plugins": {"queueSort": {"enabled": [{"name": "Mine"}]}}}]},
            "only PrioritySort can sort the queue",
        ),
        (
            {"profiles": [{"pluginConfig": [{"name": "NodeResourcesFit", "args": {"strategy": {}}}]}]},
            'unknown field "profile default-scheduler: args of plugin "NodeResourcesFit": strategy"',
        ),
        (
            {
                "profiles": [
                    {"pluginConfig": [{"name": "NodeResourcesFit", "args": {"scoringStrategy": {"type": "X"}}}]}
                ]
            },
            'scoringStrategy.type: Unsupported value: "X"',
        ),
        (
            {"profiles": [{"plugins": {"filter": {"enabled": [{"name": "no_such_module:Thing"}]}}}]},
            'plugin "no_such_module:Thing" cannot be imported',
        ),
        (
            {"profiles": [{"plugins": {"filter": {"enabled": [{"name": "pathlib:Path"}]}}}]},
            "is no named subclass of sampan.scheduler.framework.Plugin",
        ),
    ],
)
def test_what_is_wrong_is_said(fields: Object, message: str) -> None:
    with pytest.raises(ConfigurationError) as found:
        profiles_of(configuration(**fields))
    assert message in str(found.value)


def test_what_the_cluster_settles_is_refused_there() -> None:
    with pytest.raises(ConfigurationError, match="leaderElection"):
        embedded(configuration(leaderElection={"leaderElect": False}))
    with pytest.raises(ConfigurationError, match="kubeconfig"):
        embedded(configuration(clientConnection={"kubeconfig": "x"}))
    other = configuration(leaderElection={"leaseDuration": "1m", "renewDeadline": "40s", "resourceName": "mine"})
    assert (other.election.lease_seconds, other.election.renew_seconds, other.election.name) == (60, 40, "mine")


def test_the_command_prints_the_plugins(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scheduler", "check", str(EXAMPLE)]) == 0
    printed = capsys.readouterr().out
    assert "profile teams" in printed
    assert "OwnTeam 10" in printed.partition("profile teams")[2]
    assert "OwnTeam" not in printed.partition("profile teams")[0]


def test_the_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("apiVersion: v1\nkind: ConfigMap\n")
    assert main(["scheduler", "check", str(file)]) == 2
    assert "v1, ConfigMap is not kubescheduler.config.k8s.io/v1" in capsys.readouterr().err


def pod(name: str, scheduler: str, **labels: str) -> Object:
    metadata = {"name": name, "namespace": "default", "labels": labels}
    spec = {"schedulerName": scheduler, "containers": [{"name": "c", "image": "i"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


async def test_a_plugin_of_ones_own_decides_for_its_profile(start: Start) -> None:
    setting = start(read(EXAMPLE))
    for team in ("red", "blue"):
        await setting.add_node(node(team, labels={"team": team}))
    for team in ("red", "blue"):
        await setting.client.create(PODS, pod(f"of-{team}", "teams", team=team))
        found = await setting.until(f"of-{team}", lambda p: p["spec"].get("nodeName"))
        assert found["spec"]["nodeName"] == team
    await setting.client.create(PODS, pod("of-green", "teams", team="green"))
    refused = await setting.until("of-green", lambda p: (p["status"].get("conditions") or [{}])[0].get("message"))
    assert refused["status"]["conditions"][0]["message"] == (
        "0/2 nodes are available: 2 node(s) belonged to another team. preemption: 0/2 nodes are available: "
        "2 Preemption is not helpful for scheduling."
    )
    await setting.client.create(PODS, pod("anywhere", "default-scheduler", team="green"))
    await setting.until("anywhere", lambda p: p["spec"].get("nodeName"))
    # the plugin has not said what it waits for: any change of a node is worth a try
    await setting.add_node(node("green", labels={"team": "green"}))
    found = await setting.until("of-green", lambda p: p["spec"].get("nodeName"))
    assert found["spec"]["nodeName"] == "green"
