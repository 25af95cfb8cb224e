"""Jobs on the real in-process API: policies, indexes, replacement, adoption; and a controller that dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sampan.api.app import Api
from sampan.api.local import LocalClient
from sampan.api.request import User
from sampan.client.errors import ApiError
from sampan.client.events import EventRecorder
from sampan.client.resources import JOBS, PODS
from sampan.controllers import job_metrics, job_view
from sampan.controllers.builtin import Informers
from sampan.controllers.job import JobController
from sampan.controllers.job_indexes import FAILURES, INDEX
from sampan.controllers.job_view import TRACKING
from sampan.scheduler.scheduler import Scheduler
from sampan.schema.objects import Object
from sampan.simulation.simulation import Simulation, SimulationConfig

from .test_jobs_run import has, job

RUNS = {"sim.sampan.dev/run-seconds": "3600"}


@pytest.fixture(autouse=True)
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_view, "FIRST_BACKOFF_SECONDS", 0.0)


def condition(obj: Object, type: str) -> Object:
    return next(one for one in obj["status"]["conditions"] if one["type"] == type)


async def pods_of(cluster: Any, name: str) -> list[Object]:
    found: list[Object] = (await cluster.client.list(PODS, "default", label_selector=f"job-name={name}")).items
    return found


async def fails(cluster: Any, pod: Object, code: int = 1, conditions: list[Object] | None = None) -> None:
    """Let a running pod fail."""
    now = pod["status"]["startTime"]
    state = {"terminated": {"exitCode": code, "finishedAt": now, "startedAt": now, "reason": "Error"}}
    statuses = [{**status, "state": state, "ready": False} for status in pod["status"]["containerStatuses"]]
    told = {"phase": "Failed", "containerStatuses": statuses}
    if conditions:
        told["conditions"] = [*pod["status"]["conditions"], *conditions]
    await cluster.client.patch(PODS, pod["metadata"]["name"], {"status": told}, "default", subresource="status")


def all_running(count: int) -> Any:
    return lambda pods: sum(p.get("status", {}).get("phase") == "Running" for p in pods) == count


async def test_every_end_is_noted_before_its_finalizer_goes(cluster: Any) -> None:
    await cluster.client.create(JOBS, job("count", completions=3, parallelism=3))
    done = await cluster.until(JOBS, "count", has("Complete"))
    assert (done["status"]["succeeded"], done["status"]["uncountedTerminatedPods"]) == (3, {})
    assert condition(done, "SuccessCriteriaMet")["reason"] == "CompletionsReached"
    for pod in await pods_of(cluster, "count"):
        assert TRACKING not in pod["metadata"].get("finalizers", [])
    await cluster.event("Completed")
    page = "\n".join(family.name for family in job_metrics.families() if getattr(family, "samples", None))
    assert "job_controller_jobs_finished_total" in page


async def test_a_policy_fails_the_job_and_its_pods_go(cluster: Any) -> None:
    rules = [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]
    await cluster.client.create(
        JOBS, job("strict", RUNS, completions=3, parallelism=3, podFailurePolicy={"rules": rules})
    )
    pods = await cluster.until_all(PODS, all_running(3))
    await fails(cluster, pods[0], 42)
    failed = await cluster.until(JOBS, "strict", has("Failed"))
    assert condition(failed, "FailureTarget")["reason"] == condition(failed, "Failed")["reason"] == "PodFailurePolicy"
    assert "failed with exit code 42 matching FailJob rule at index 0" in condition(failed, "Failed")["message"]
    assert failed["status"]["failed"] == 3
    assert failed["status"]["terminating"] == 0
    await cluster.until_all(PODS, lambda pods: len(pods) == 1)


async def test_a_disruption_is_ignored_and_the_pod_replaced(cluster: Any) -> None:
    rules = [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
    policy = {"podFailurePolicy": {"rules": rules}}
    await cluster.client.create(JOBS, job("calm", RUNS, backoffLimit=0, **policy))
    (pod,) = await cluster.until_all(PODS, all_running(1))
    await fails(cluster, pod, 137, [{"type": "DisruptionTarget", "status": "True"}])
    await cluster.until_all(PODS, lambda pods: len(pods) == 2 and all_running(1)(pods))
    found = await cluster.client.get(JOBS, "calm", "default")
    assert not found["status"].get("failed")


async def test_indexes_fail_and_are_tried_again_by_themselves(cluster: Any) -> None:
    spec = {"completions": 3, "parallelism": 3, "completionMode": "Indexed", "backoffLimitPerIndex": 1}
    await cluster.client.create(JOBS, job("each", RUNS, **spec))
    pods = await cluster.until_all(PODS, all_running(3))
    first = next(pod for pod in pods if pod["metadata"]["annotations"][INDEX] == "1")
    await fails(cluster, first)
    pods = await cluster.until_all(PODS, lambda pods: len(pods) == 4 and all_running(3)(pods))
    second = next(
        pod for pod in pods if pod["metadata"]["annotations"][INDEX] == "1" and pod["status"]["phase"] == "Running"
    )
    assert second["metadata"]["annotations"][FAILURES] == "1"
    await fails(cluster, second)
    lost = await cluster.until(JOBS, "each", lambda obj: obj["status"].get("failedIndexes") == "1")
    assert not has("Failed")(lost)
    for pod in await pods_of(cluster, "each"):
        if pod["status"]["phase"] == "Running":
            await cluster.client.patch(
                PODS, pod["metadata"]["name"], {"status": {"phase": "Succeeded"}}, "default", subresource="status"
            )
    failed = await cluster.until(JOBS, "each", has("Failed"))
    assert condition(failed, "Failed")["reason"] == "FailedIndexes"
    assert (failed["status"]["completedIndexes"], failed["status"]["failed"]) == ("0,2", 2)


async def test_a_success_policy_ends_the_rest(cluster: Any) -> None:
    spec = {"completions": 3, "parallelism": 3, "completionMode": "Indexed"}
    policy = {"successPolicy": {"rules": [{"succeededIndexes": "0"}]}}
    await cluster.client.create(JOBS, job("leader", RUNS, **spec, **policy))
    pods = await cluster.until_all(PODS, all_running(3))
    leader = next(pod for pod in pods if pod["metadata"]["annotations"][INDEX] == "0")
    told = {"status": {"phase": "Succeeded"}}
    await cluster.client.patch(PODS, leader["metadata"]["name"], told, "default", subresource="status")
    done = await cluster.until(JOBS, "leader", has("Complete"))
    assert condition(done, "SuccessCriteriaMet")["reason"] == "SuccessPolicy"
    assert (done["status"]["succeeded"], done["status"].get("failed")) == (1, None), (
        "the others are not needed any more"
    )
    await cluster.until_all(PODS, lambda pods: len(pods) == 1)


async def test_replacement_waits_for_the_end_where_that_is_asked(cluster: Any) -> None:
    slow = {**RUNS, "sim.sampan.dev/stop-seconds": "0.2"}
    await cluster.client.create(JOBS, job("patient", slow, podReplacementPolicy="Failed"))
    (pod,) = await cluster.until_all(PODS, all_running(1))
    await cluster.client.delete(PODS, pod["metadata"]["name"], "default")
    going = await cluster.until(JOBS, "patient", lambda obj: obj["status"].get("terminating") == 1)
    assert not going["status"].get("active")
    both = {"active": 1, "failed": 1}
    await cluster.until(JOBS, "patient", lambda obj: both.items() <= obj["status"].items())


async def test_an_indexed_job_grows_and_shrinks(cluster: Any) -> None:
    await cluster.client.create(JOBS, job("elastic", RUNS, completions=2, parallelism=2, completionMode="Indexed"))
    await cluster.until_all(PODS, all_running(2))
    await cluster.client.patch(JOBS, "elastic", {"spec": {"completions": 4, "parallelism": 4}}, "default")
    await cluster.until_all(PODS, all_running(4))
    await cluster.client.patch(JOBS, "elastic", {"spec": {"completions": 1, "parallelism": 1}}, "default")
    (left,) = await cluster.until_all(PODS, lambda pods: len(pods) == 1)
    assert left["metadata"]["annotations"][INDEX] == "0"


async def test_who_resumes_begins_anew(cluster: Any) -> None:
    await cluster.client.create(JOBS, job("later", RUNS))
    await cluster.until_all(PODS, all_running(1))
    old = "2001-01-01T00:00:00Z"
    await cluster.client.patch(JOBS, "later", {"spec": {"suspend": True}}, "default")
    suspended = await cluster.until(JOBS, "later", has("Suspended"))
    assert "startTime" not in suspended["status"]
    await cluster.until_all(PODS, lambda pods: not pods)
    await cluster.client.patch(JOBS, "later", {"status": {"startTime": old}}, "default", subresource="status")
    await cluster.client.patch(JOBS, "later", {"spec": {"suspend": False}}, "default")
    resumed = await cluster.until(JOBS, "later", lambda obj: obj["status"].get("active") == 1)
    assert condition(resumed, "Suspended")["reason"] == "JobResumed"
    assert resumed["status"]["startTime"] > old


async def test_jobs_of_others_are_left_alone(cluster: Any) -> None:
    await cluster.client.create(JOBS, job("theirs", managedBy="queue.example.com/runner"))
    await cluster.client.create(JOBS, job("ours"))
    await cluster.until(JOBS, "ours", has("Complete"))
    theirs = await cluster.client.get(JOBS, "theirs", "default")
    assert not await pods_of(cluster, "theirs")
    assert not theirs.get("status")


async def test_pods_are_let_go_and_adopted(cluster: Any) -> None:
    await cluster.client.create(JOBS, job("host", RUNS))
    (pod,) = await cluster.until_all(PODS, all_running(1))
    name, labels = pod["metadata"]["name"], pod["metadata"]["labels"]
    strange = dict.fromkeys(labels)
    await cluster.client.patch(PODS, name, {"metadata": {"labels": strange}}, "default")
    free = await cluster.until(PODS, name, lambda obj: not obj["metadata"].get("ownerReferences"))
    assert TRACKING not in free["metadata"].get("finalizers", [])
    await cluster.until_all(PODS, all_running(2))
    await cluster.client.patch(PODS, name, {"metadata": {"labels": labels}}, "default")
    both = await cluster.until_all(PODS, lambda pods: len(pods) == 1)  # one of the two is too many, the other stays
    assert both[0]["metadata"]["ownerReferences"][0]["name"] == "host"
    assert TRACKING in both[0]["metadata"]["finalizers"]


@pytest.mark.parametrize("policy", ["Background", "Foreground", "Orphan"])
async def test_pods_of_a_job_that_is_deleted_lose_their_finalizer(cluster: Any, policy: str) -> None:
    await cluster.client.create(JOBS, job("gone", RUNS, completions=2, parallelism=2))
    await cluster.until_all(PODS, all_running(2))
    await cluster.client.delete(JOBS, "gone", "default", propagation_policy=policy)
    await cluster.gone(JOBS, "gone")
    if policy == "Orphan":
        free = lambda pod: TRACKING not in pod["metadata"].get("finalizers", [])  # noqa: E731
        await cluster.until_all(PODS, lambda pods: len(pods) == 2 and all(map(free, pods)))
    else:
        await cluster.until_all(PODS, lambda pods: not pods)


# a controller that dies


class Crash(BaseException):
    """The controller's process is gone."""


class Mortal(LocalClient):
    """A client whose process dies right after its n-th write."""

    def __init__(self, api: Api, left: int) -> None:
        super().__init__(api, User("system:job-controller", ("system:masters", "system:authenticated")))
        self.left = left

    async def _object(self, method: str, *rest: Any, **more: Any) -> Object:
        if self.left <= 0 and method != "GET":
            raise Crash
        found = await super()._object(method, *rest, **more)
        if method != "GET":
            self.left -= 1
        if self.left <= 0 and method != "GET":
            raise Crash
        return found


async def run_job_controller(client: LocalClient) -> None:
    async with asyncio.TaskGroup() as group:
        informers = Informers(client, group)
        controller = JobController(client, informers.of(JOBS), informers.of(PODS), EventRecorder(client, "job"))
        group.create_task(controller.run())


@pytest.fixture
async def nodes(local_api: Api) -> AsyncIterator[LocalClient]:
    """Simulated nodes with a scheduler, and nothing that runs Jobs."""
    client = LocalClient(local_api, User("admin", ("system:masters", "system:authenticated")))

    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            informers = Informers(client, group)
            events = EventRecorder(client, "test")
            simulation = Simulation(client, informers.of, events, SimulationConfig(("sim",)))
            group.create_task(Scheduler(client, informers.of, events).run())
            group.create_task(simulation.run())

    task = asyncio.create_task(run())
    yield client
    assert not task.done(), task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("writes", [1, 2, 3, 5])
async def test_each_pod_counts_once_although_the_controller_dies_after_a_few_writes(
    local_api: Api, nodes: LocalClient, writes: int
) -> None:
    """The story of KEP-2307: what a dead controller had half done is neither lost nor done twice."""
    mortal = job("mortal", completions=4, parallelism=2)
    mortal["spec"]["template"]["spec"]["tolerations"] = [{"operator": "Exists"}]  # nobody says that the node is ready
    await nodes.create(JOBS, mortal)
    lives = 0
    async with asyncio.timeout(60):
        while True:
            lives += 1
            client = Mortal(local_api, writes)
            task = asyncio.create_task(run_job_controller(client))
            watch = asyncio.create_task(finished(nodes))
            await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
            over = watch.done() and watch.exception() is None
            for one in (task, watch):
                one.cancel()
            await asyncio.gather(task, watch, return_exceptions=True)
            if over:
                break
    done = await nodes.get(JOBS, "mortal", "default")
    assert (done["status"]["succeeded"], done["status"].get("failed", 0)) == (4, 0)
    pods = (await nodes.list(PODS, "default")).items
    assert len(pods) == 4
    assert lives > 2


async def finished(client: LocalClient) -> None:
    start = (await client.list(JOBS, "default")).resource_version
    if has("Complete")(await client.get(JOBS, "mortal", "default")):
        return
    async for event in client.watch(JOBS, "default", resource_version=start):
        if has("Complete")(event.object):
            return


class Refused(LocalClient):
    """A client whose first deletions of pods are refused."""

    def __init__(self, api: Api, refusals: int) -> None:
        super().__init__(api, User("system:job-controller", ("system:masters", "system:authenticated")))
        self.refusals = refusals

    async def _object(self, method: str, *rest: Any, **more: Any) -> Object:
        if method == "DELETE" and self.refusals > 0:
            self.refusals -= 1
            raise ApiError(503, {"reason": "ServiceUnavailable", "message": "later"})
        return await super()._object(method, *rest, **more)


async def test_a_job_has_not_failed_while_its_pods_go_on(local_api: Api, nodes: LocalClient) -> None:
    late = job("late", RUNS, activeDeadlineSeconds=1)
    late["spec"]["template"]["spec"]["tolerations"] = [{"operator": "Exists"}]
    start = (await nodes.list(JOBS, "default")).resource_version
    await nodes.create(JOBS, late)
    client = Refused(local_api, 3)
    task = asyncio.create_task(run_job_controller(client))
    async with asyncio.timeout(60):
        async for event in nodes.watch(JOBS, "default", resource_version=start):
            if has("Failed")(event.object):
                break
    assert (client.refusals, (await nodes.list(PODS, "default")).items) == (0, [])
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
