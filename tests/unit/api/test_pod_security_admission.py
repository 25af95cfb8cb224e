"""Pod Security admission in a whole API: refusals, warnings, changes of a namespace's labels, exemptions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from sampan.api.flags import FlagError, Flags
from sampan.security.exemptions import CRD, KIND

P = "pod-security.kubernetes.io/"
HARD = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
    "capabilities": {"drop": ["ALL"]},
}
WOULD = (
    'would violate PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "c" must set '
    'securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "c" must set '
    'securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or container "c" must set '
    'securityContext.runAsNonRoot=true), seccompProfile (pod or container "c" must set '
    'securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'
)


async def namespace(call: Any, name: str, **labels: str) -> None:
    given = {P + key.replace("_", "-"): value for key, value in labels.items()}
    code, made = await call("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": given}})
    assert code == 201, made
    code, made = await call("POST", f"/api/v1/namespaces/{name}/serviceaccounts", {"metadata": {"name": "default"}})
    assert code == 201, made


def pod(name: str = "p", context: Any = None, **spec: Any) -> dict[str, Any]:
    container = {"name": "c", "image": "i", "securityContext": context or {}}
    return {"metadata": {"name": name}, "spec": {"containers": [container], **spec}}


async def relabel(call: Any, name: str, **labels: str | None) -> tuple[int, Any]:
    patch = {"metadata": {"labels": {P + key.replace("_", "-"): value for key, value in labels.items()}}}
    return await call("PATCH", f"/api/v1/namespaces/{name}", patch, {"content-type": "application/merge-patch+json"})  # type: ignore[no-any-return]


async def test_enforce_refuses_with_every_reason(whole: Any) -> None:
    await namespace(whole, "b", enforce="baseline")
    code, status = await whole("POST", "/api/v1/namespaces/b/pods", pod(context={"privileged": True}, hostPID=True))
    assert code == 403
    assert status["message"] == (
        'pods "p" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostPID=true), privileged '
        '(container "c" must not set securityContext.privileged=true)'
    )
    assert status["reason"] == "Forbidden"
    assert status["details"] == {"name": "p", "kind": "pods"}
    assert (await whole("POST", "/api/v1/namespaces/b/pods", pod()))[0] == 201
    assert whole.warnings == []


async def test_warn_lets_in_and_tells(whole: Any) -> None:
    await namespace(whole, "w", warn="restricted", audit="restricted")
    assert (await whole("POST", "/api/v1/namespaces/w/pods", pod()))[0] == 201
    assert whole.warnings == [WOULD]
    assert (await whole("POST", "/api/v1/namespaces/w/pods", pod("hard", HARD)))[0] == 201
    assert whole.warnings == []


async def test_what_makes_pods_is_warned_of_and_never_refused(whole: Any) -> None:
    await namespace(whole, "r", enforce="restricted")
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod()["spec"]}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    code, _ = await whole("POST", "/apis/apps/v1/namespaces/r/deployments", {"metadata": {"name": "d"}, "spec": spec})
    assert code == 201
    assert whole.warnings == [WOULD]
    job = {"metadata": {"name": "j"}, "spec": {"template": {"spec": {**pod()["spec"], "restartPolicy": "Never"}}}}
    cron = {"metadata": {"name": "j"}, "spec": {"schedule": "@daily", "jobTemplate": {"spec": job["spec"]}}}
    assert (await whole("POST", "/apis/batch/v1/namespaces/r/cronjobs", cron))[0] == 201
    assert whole.warnings == [WOULD]


async def test_updates_matter_only_where_they_change_images_or_containers(whole: Any) -> None:
    await namespace(whole, "u")
    code, made = await whole("POST", "/api/v1/namespaces/u/pods", pod(hostNetwork=True))
    assert code == 201
    code, _ = await relabel(whole, "u", enforce="baseline")
    assert code == 200
    path, merge = "/api/v1/namespaces/u/pods/p", {"content-type": "application/merge-patch+json"}
    assert (await whole("PATCH", path, {"metadata": {"labels": {"x": "y"}}}, merge))[0] == 200
    made["spec"]["containers"][0]["image"] = "other"
    code, status = await whole("PATCH", path, {"spec": {"containers": made["spec"]["containers"]}}, merge)
    assert code == 403
    assert status["message"].startswith(
        'pods "p" is forbidden: violates PodSecurity "baseline:latest": host namespaces'
    )
    assert (await whole("PATCH", f"{path}/status", {"status": {"phase": "Running"}}, merge))[0] == 200


async def test_stricter_labels_tell_of_the_pods_that_are_there(whole: Any) -> None:
    await namespace(whole, "e")
    for name, spec in (("b", {"hostPID": True}), ("a", {"hostPID": True}), ("c", {"hostNetwork": True}), ("d", {})):
        assert (await whole("POST", "/api/v1/namespaces/e/pods", pod(name, **spec)))[0] == 201
    assert (await relabel(whole, "e", enforce="baseline", enforce_version="v1.30"))[0] == 200
    assert whole.warnings == [
        'existing pods in namespace "e" violate the new PodSecurity enforce level "baseline:v1.30"',
        "a (and 2 other pods): host namespaces",
    ]
    assert (await relabel(whole, "e", enforce="privileged"))[0] == 200
    assert whole.warnings == []


async def test_labels_that_say_nothing_are_refused(whole: Any) -> None:
    body = {"metadata": {"name": "x", "labels": {f"{P}enforce": "strict"}}}
    code, status = await whole("POST", "/api/v1/namespaces", body)
    assert code == 422
    assert status["message"] == (
        f'Namespace "x" is invalid: metadata.labels[{P}enforce]: Invalid value: "strict": must be one of privileged, '
        "baseline, restricted"
    )
    await namespace(whole, "y")
    assert (await relabel(whole, "y", warn_version="30"))[0] == 422
    assert (await relabel(whole, "y", unrelated="30"))[0] == 200


def told(folder: Path, configuration: Any, **plugin: Any) -> Flags:
    """Flags with an AdmissionConfiguration for PodSecurity."""
    file = folder / "admission.yaml"
    plugins = [{"name": "PodSecurity", **({"configuration": configuration} if configuration else {}), **plugin}]
    file.write_bytes(
        orjson.dumps({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration", "plugins": plugins})
    )
    return Flags(admission_control_config_file=file)


async def test_exemptions_and_defaults_by_configuration(open_whole: Any, tmp_path: Path) -> None:
    configuration = {
        "defaults": {"enforce": "restricted", "enforce-version": "v1.30"},
        "exemptions": {"usernames": ["root"], "namespaces": ["kube-system", "z"], "runtimeClasses": ["vm"]},
    }
    (tmp_path / "pss.yaml").write_bytes(orjson.dumps(configuration))
    call = await open_whole(flags=told(tmp_path, None, path="pss.yaml"))
    await namespace(call, "n")
    code, status = await call("POST", "/api/v1/namespaces/n/pods", pod())
    assert code == 403
    assert 'violates PodSecurity "restricted:v1.30"' in status["message"]
    root = call.as_user("root", "system:masters")
    assert (await root("POST", "/api/v1/namespaces/n/pods", pod()))[0] == 201
    await namespace(call, "z", enforce="baseline")
    assert (await call("POST", "/api/v1/namespaces/z/pods", pod(hostPID=True)))[0] == 201
    assert (await relabel(call, "z", enforce="restricted", enforce_version="v1.2"))[0] == 200
    assert call.warnings == [
        'namespace "z" is exempt from Pod Security, and the policy (enforce=restricted:v1.2) will be ignored'
    ]
    handler = {"metadata": {"name": "vm"}, "handler": "vm"}
    assert (await call("POST", "/apis/node.k8s.io/v1/runtimeclasses", handler))[0] == 201
    assert (await call("POST", "/api/v1/namespaces/n/pods", pod("vm", runtimeClassName="vm")))[0] == 201


async def test_a_default_that_is_none_stops_the_start(open_whole: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be one of privileged, baseline, restricted"):
        await open_whole(flags=told(tmp_path, {"defaults": {"enforce": "strict"}}))
    with pytest.raises(FlagError, match="unable to read admission control configuration"):
        await open_whole(flags=Flags(admission_control_config_file=tmp_path / "missing"))


async def test_switched_off_it_judges_nothing(open_whole: Any) -> None:
    call = await open_whole(flags=Flags(disable_admission_plugins=("PodSecurity",)))
    await namespace(call, "b", enforce="restricted")
    assert (await call("POST", "/api/v1/namespaces/b/pods", pod()))[0] == 201


async def test_unknown_plugins_are_named(open_whole: Any) -> None:
    with pytest.raises(FlagError, match='enable-admission-plugins plugin "Nope" is unknown'):
        await open_whole(flags=Flags(enable_admission_plugins=("Nope",)))


async def test_the_audit_log_hears_of_it(whole: Any) -> None:
    seen = []

    class Listener:
        async def validate(self, admission: Any) -> None:
            seen.append(admission.audit_annotations)

    await namespace(whole, "a", audit="baseline", enforce="privileged")
    whole.api.admission = (*whole.api.admission, Listener())
    assert (await whole("POST", "/api/v1/namespaces/a/pods", pod(hostPID=True)))[0] == 201
    assert seen == [
        {
            f"{P}enforce-policy": "privileged:latest",
            f"{P}audit-violations": 'would violate PodSecurity "baseline:latest": host namespaces (hostPID=true)',
        }
    ]
    assert whole.warnings == []


async def test_exemptions_of_single_checks_are_objects(whole: Any) -> None:
    await namespace(whole, "x", enforce="baseline")
    group = "/apis/security.sampan.dev/v1/namespaces/x/podsecurityexemptions"
    code, made = await whole("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", CRD)
    assert code == 201, made
    assert (await whole("POST", "/api/v1/namespaces/x/pods", pod(hostPID=True)))[0] == 403
    spec = {"checks": ["hostNamespaces"], "reason": "looks at the node"}
    exemption = {"apiVersion": "security.sampan.dev/v1", "kind": KIND, "metadata": {"name": "e"}, "spec": spec}
    code, made = await whole("POST", group, exemption)
    assert code == 201, made
    assert (await whole("POST", "/api/v1/namespaces/x/pods", pod(hostPID=True)))[0] == 201
    code, status = await whole("POST", "/api/v1/namespaces/x/pods", pod("q", {"privileged": True}, hostPID=True))
    assert code == 403 and "host namespaces" not in status["message"] and "privileged" in status["message"]
