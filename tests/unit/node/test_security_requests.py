"""The security context of pods and containers as CRI is asked for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sampan.node import cri_pb2 as cri
from sampan.node.container_config import check_non_root, container_config
from sampan.node.environment import ConfigError
from sampan.node.pod_config import sandbox_config
from sampan.node.pod_dns import DnsSettings
from sampan.node.user_namespaces import user_namespace
from sampan.schema.objects import Object
from sampan.security.host import ANY, Host

DNS = DnsSettings("10.96.0.10", "cluster.local")


def pod(**spec: Any) -> Object:
    metadata = {"name": "web", "namespace": "shop", "uid": "u-1"}
    return {"metadata": metadata, "spec": {"containers": [{"name": "main", "image": "busybox:1"}], **spec}}


IMAGE = cri.Image(id="sha256:x", uid=cri.Int64Value(value=5))


def security(
    made: Object, own: Object, image: cri.Image = IMAGE, host: Host = ANY
) -> cri.LinuxContainerSecurityContext:
    """Return what CRI is told of a container with that securityContext."""
    container = {**made["spec"]["containers"][0], "command": ["echo", "$(A)"], "securityContext": own}
    config = container_config(made, container, 0, image, {"A": "1"}, [], host)
    assert config.command == ["echo", "1"]
    return config.linux.security_context


def test_security_settings_of_pod_and_container_are_merged() -> None:
    made = pod(securityContext={"runAsUser": 1000, "runAsGroup": 5, "seccompProfile": {"type": "RuntimeDefault"}})
    own = {"runAsUser": 7, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"], "add": ["CHOWN"]}}
    context = security(made, own)
    assert (context.run_as_user.value, context.run_as_group.value, context.no_new_privs) == (7, 5, True)
    assert context.capabilities.drop_capabilities == ["ALL"] and context.capabilities.add_capabilities == ["CHOWN"]
    assert context.seccomp.profile_type == cri.SecurityProfile.RuntimeDefault
    assert "/proc/kcore" in context.masked_paths and "/proc/sys" in context.readonly_paths


def test_privileged_has_everything_and_no_seccomp() -> None:
    made = pod(securityContext={"seccompProfile": {"type": "RuntimeDefault"}})
    context = security(made, {"privileged": True})
    assert context.privileged and context.seccomp.profile_type == cri.SecurityProfile.Unconfined
    assert not context.masked_paths and not context.no_new_privs


@pytest.mark.parametrize(
    ("image", "uid", "name"),
    [
        (cri.Image(), 0, ""),
        (cri.Image(uid=cri.Int64Value(value=5)), 5, ""),
        (cri.Image(username="web"), 0, "web"),
    ],
)
def test_without_a_user_of_its_own_a_pod_has_the_images(image: cri.Image, uid: int, name: str) -> None:
    context = security(pod(), {}, image)
    assert (context.run_as_user.value, context.run_as_username) == (uid, name)
    assert context.HasField("run_as_user") is not bool(name)


def test_profiles_of_the_node_are_files_and_names() -> None:
    profiles = {"seccompProfile": {"type": "Localhost", "localhostProfile": "team/web.json"}}
    profiles["appArmorProfile"] = {"type": "Localhost", "localhostProfile": "web"}
    context = security(pod(), profiles, host=Host(seccomp_profiles="/node/seccomp"))
    assert context.seccomp.localhost_ref == "/node/seccomp/team/web.json"
    assert context.apparmor.localhost_ref == "web"
    assert not security(pod(), {}).HasField("apparmor"), "unset is the runtime's default"


def test_selinux_options_only_where_the_kernel_has_it() -> None:
    own = {"seLinuxOptions": {"level": "s0:c1"}}
    assert security(pod(), own).selinux_options.level == "s0:c1"
    assert not security(pod(), own, host=Host(se_linux=False)).HasField("selinux_options")


def test_user_namespaces_of_pods_have_no_id_in_common(tmp_path: Path) -> None:
    first, second = (user_namespace(tmp_path / name) for name in "ab")
    assert (first.uids[0].host_id, second.uids[0].host_id) == (65536, 131072)
    assert user_namespace(tmp_path / "a") == first
    made = pod(hostUsers=False)
    config = sandbox_config(made, 0, Path("/logs"), "/x", DNS, ANY, first)
    assert config.linux.security_context.namespace_options.userns_options == first
    mounts = [cri.Mount(host_path="/x", container_path="/x")]
    whole = container_config(made, made["spec"]["containers"][0], 0, IMAGE, {}, mounts, ANY, first)
    assert list(whole.mounts[0].uidMappings) == list(first.uids)


def test_groups_and_their_policy_reach_the_runtime() -> None:
    made = pod(securityContext={"supplementalGroups": [7], "fsGroup": 8, "supplementalGroupsPolicy": "Strict"})
    context = security(made, {})
    assert list(context.supplemental_groups) == [7, 8] and context.supplemental_groups_policy == cri.Strict
    sandbox = sandbox_config(made, 0, Path("/logs"), "/x", DNS).linux.security_context
    assert list(sandbox.supplemental_groups) == [7, 8]


def test_root_is_refused_where_non_root_is_asked_for() -> None:
    made = pod(securityContext={"runAsNonRoot": True})
    container = made["spec"]["containers"][0]
    where = rf'\(pod: "web_shop\(u-1\)", container: {container["name"]}\)'
    with pytest.raises(ConfigError, match=f"container has runAsNonRoot and image will run as root {where}"):
        check_non_root(made, container, cri.Image())
    with pytest.raises(ConfigError, match=r"non-numeric user \(web\), cannot verify user is non-root"):
        check_non_root(made, container, cri.Image(username="web"))
    with pytest.raises(ConfigError, match=f"container's runAsUser breaks non-root policy {where}"):
        check_non_root(made, {**container, "securityContext": {"runAsUser": 0}}, IMAGE)
    check_non_root(made, container, IMAGE)
    check_non_root(made, {**container, "securityContext": {"runAsNonRoot": False}}, cri.Image())
