"""What a pod may say, in Kubernetes' own messages: one change of a good pod, one complaint."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import causes, changed, declared

POD = declared("Pod")
C = "spec.containers.0"
P = "spec.containers[0]"
LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
GOOD: dict[str, Any] = {
    "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"}},
    "spec": {
        "volumes": [{"name": "data", "emptyDir": {}}, {"name": "disk", "persistentVolumeClaim": {"claimName": "c"}}],
        "containers": [
            {
                "name": "web",
                "image": "nginx",
                "ports": [{"containerPort": 80, "name": "http"}],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                "readinessProbe": {"httpGet": {"port": "http"}},
                "resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "200m", "memory": "1Gi"}},
            }
        ],
        "tolerations": [{"key": "a", "operator": "Exists"}],
    },
}
ZONES = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}}
TERM = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"a": "b"}}}
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
NODE = "spec.affinity.nodeAffinity"


def test_a_good_pod_has_no_complaint() -> None:
    assert causes(POD, GOOD) == {}


CONTAINERS = [
    ("spec.containers", [], "spec.containers", "Required value"),
    (f"{C}.name", None, f"{P}.name", "Required value"),
    (f"{C}.name", "Web", f"{P}.name", f'Invalid value: "Web": {LABEL}'),
    (f"{C}.image", None, f"{P}.image", "Required value"),
    (f"{C}.image", " nginx", f"{P}.image", 'Invalid value: " nginx": must not have leading or trailing whitespace'),
    (
        f"{C}.terminationMessagePolicy",
        "Socket",
        f"{P}.terminationMessagePolicy",
        'Unsupported value: "Socket": supported values: "File", "FallbackToLogsOnError"',
    ),
    (
        f"{C}.imagePullPolicy",
        "Sometimes",
        f"{P}.imagePullPolicy",
        'Unsupported value: "Sometimes": supported values: "Always", "IfNotPresent", "Never"',
    ),
    (f"{C}.ports.0.containerPort", None, f"{P}.ports[0].containerPort", "Required value"),
    (
        f"{C}.ports.0.containerPort",
        70000,
        f"{P}.ports[0].containerPort",
        "Invalid value: 70000: must be between 1 and 65535, inclusive",
    ),
    (
        f"{C}.ports.0.name",
        "averyveryverylongname",
        f"{P}.ports[0].name",
        'Invalid value: "averyveryverylongname": must be no more than 15 characters',
    ),
    (
        f"{C}.ports.0.protocol",
        "HTTP",
        f"{P}.ports[0].protocol",
        'Unsupported value: "HTTP": supported values: "SCTP", "TCP", "UDP"',
    ),
    (f"{C}.restartPolicyRules", [{"action": "Restart"}], f"{P}.restartPolicy", REQUIRED),
    (
        f"{C}.resizePolicy",
        [{"resourceName": "gpu", "restartPolicy": "NotRequired"}],
        f"{P}.resizePolicy",
        'Unsupported value: "gpu": supported values: "cpu", "memory"',
    ),
]
CONTAINERS[-2] = (
    f"{C}.restartPolicyRules",
    [{"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}}],
    f"{P}.restartPolicy",
    "Required value: must specify restartPolicy when restart rules are used",
)
ENVIRONMENT = [
    (f"{C}.env", [{"value": "x"}], f"{P}.env[0].name", "Required value"),
    (
        f"{C}.env",
        [{"name": "a=b"}],
        f"{P}.env[0].name",
        'Invalid value: "a=b": a valid environment variable name must consist only of printable ASCII characters other '
        "than '='",
    ),
    (
        f"{C}.env",
        [{"name": "A", "valueFrom": {}}],
        f"{P}.env[0].valueFrom",
        'Invalid value: "": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or '
        "`fileKeyRef`",
    ),
    (
        f"{C}.env",
        [{"name": "A", "value": "x", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}],
        f"{P}.env[0].valueFrom",
        'Invalid value: "": may not be specified when `value` is not empty',
    ),
    (
        f"{C}.env",
        [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.volumes"}}}],
        f"{P}.env[0].valueFrom.fieldRef.fieldPath",
        'Invalid value: "spec.volumes": error converting fieldPath: field label not supported: spec.volumes',
    ),
    (
        f"{C}.env",
        [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.phase"}}}],
        f"{P}.env[0].valueFrom.fieldRef.fieldPath",
        'Unsupported value: "status.phase": supported values: "metadata.name", "metadata.namespace", "metadata.uid", '
        '"spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"',
    ),
    (
        f"{C}.env",
        [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "2"}}}],
        f"{P}.env[0].valueFrom.resourceFieldRef.divisor",
        'Invalid value: "limits.cpu": only divisor\'s values 1m and 1 are supported with the cpu resource',
    ),
    (f"{C}.env", [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s"}}}], f"{P}.env[0].valueFrom.secretKeyRef.key",
     "Required value"),
    (
        f"{C}.envFrom",
        [{"prefix": "X"}],
        f"{P}.envFrom",
        'Invalid value: "": must specify one of: `configMapRef` or `secretRef`',
    ),
]  # fmt: skip
MOUNTS = [
    (f"{C}.volumeMounts.0.name", "nope", f"{P}.volumeMounts[0].name", 'Not found: "nope"'),
    (f"{C}.volumeMounts.0.mountPath", None, f"{P}.volumeMounts[0].mountPath", "Required value"),
    (
        f"{C}.volumeMounts.0.subPath",
        "../x",
        f"{P}.volumeMounts.subPath",
        "Invalid value: \"../x\": must not contain '..'",
    ),
    (
        f"{C}.volumeMounts.0.mountPropagation",
        "Bidirectional",
        f"{P}.volumeMounts.mountPropagation",
        "Forbidden: Bidirectional mount propagation is available only to privileged containers",
    ),
    (
        f"{C}.volumeMounts.0.recursiveReadOnly",
        "Enabled",
        f"{P}.volumeMounts.recursiveReadOnly",
        "Forbidden: may only be specified when readOnly is true",
    ),
    (
        f"{C}.volumeDevices",
        [{"name": "data", "devicePath": "/dev/x"}],
        f"{P}.volumeDevices[0].name",
        'Invalid value: "data": can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode | '
        'Invalid value: "data": must not already exist in volumeMounts',
    ),
]
PROBES = [
    (f"{C}.readinessProbe", {"periodSeconds": 1}, f"{P}.readinessProbe", "Required value: must specify a handler type"),
    (
        f"{C}.readinessProbe.exec",
        {"command": ["true"]},
        f"{P}.readinessProbe.httpGet",
        "Forbidden: may not specify more than 1 handler type",
    ),
    (
        f"{C}.readinessProbe.timeoutSeconds",
        -1,
        f"{P}.readinessProbe.timeoutSeconds",
        "Invalid value: -1: must be greater than or equal to 0",
    ),
    (
        f"{C}.readinessProbe.terminationGracePeriodSeconds",
        5,
        f"{P}.readinessProbe.terminationGracePeriodSeconds",
        "Invalid value: 5: must not be set for readinessProbes",
    ),
    (
        f"{C}.livenessProbe",
        {"tcpSocket": {"port": 1}, "successThreshold": 2},
        f"{P}.livenessProbe.successThreshold",
        "Invalid value: 2: must be 1",
    ),
    (
        f"{C}.lifecycle",
        {"preStop": {"sleep": {"seconds": 31}}},
        f"{P}.lifecycle.preStop.sleep",
        "Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)",
    ),
    (
        f"{C}.readinessProbe.httpGet.scheme",
        "FTP",
        f"{P}.readinessProbe.httpGet.scheme",
        'Unsupported value: "FTP": supported values: "HTTP", "HTTPS"',
    ),
]
RESOURCES = [
    (
        f"{C}.resources.requests.cpu",
        "1",
        f"{P}.resources.requests",
        'Invalid value: "1": must be less than or equal to cpu limit of 200m',
    ),
    (
        f"{C}.resources.limits.cpu",
        "-1",
        f"{P}.resources.limits[cpu]",
        'Invalid value: "-1": must be greater than or equal to 0',
    ),
    (
        f"{C}.resources.limits.gpu",
        "1",
        f"{P}.resources.limits[gpu]",
        'Invalid value: "gpu": must be a standard resource type or fully qualified | '
        'Invalid value: "gpu": must be a standard resource for containers',
    ),
    (
        f"{C}.resources.limits",
        {"example.com/gpu": "500m"},
        f"{P}.resources.limits[example.com/gpu]",
        'Invalid value: "500m": must be an integer',
    ),
    (
        f"{C}.resources",
        {"limits": {"hugepages-2Mi": "4Mi"}},
        f"{P}.resources",
        "Forbidden: HugePages require cpu or memory",
    ),
    (
        f"{C}.resources.claims",
        [{"name": "gpu"}],
        f"{P}.resources.claims[0]",
        'Not found: "gpu": must be one of the names in pod.spec.resourceClaims which is empty',
    ),
    (
        "spec.resources",
        {"requests": {"cpu": "50m"}},
        "spec.resources.requests[cpu]",
        'Invalid value: "50m": must be greater than or equal to aggregate container requests of 100m',
    ),
    (
        "spec.resourceClaims",
        [{"name": "gpu"}],
        "spec.resourceClaims[0]",
        'Invalid value: {"Name":"gpu","ResourceClaimName":null,"ResourceClaimTemplateName":null}: must specify one '
        "of: `resourceClaimName`, `resourceClaimTemplateName`",
    ),
]
SECURITY = [
    (
        f"{C}.securityContext",
        {"runAsUser": -1},
        f"{P}.securityContext.runAsUser",
        "Invalid value: -1: must be between 0 and 2147483647, inclusive",
    ),
    (
        f"{C}.securityContext",
        {"privileged": True, "allowPrivilegeEscalation": False},
        f"{P}.securityContext",
        'Invalid value: {"privileged":true,"allowPrivilegeEscalation":false}: cannot set `allowPrivilegeEscalation` to '
        "false and `privileged` to true",
    ),
    (
        f"{C}.securityContext",
        {"seccompProfile": {"type": "Localhost"}},
        f"{P}.securityContext.seccompProfile.localhostProfile",
        "Required value: must be set when seccomp type is Localhost",
    ),
    (
        f"{C}.securityContext",
        {"procMount": "Unmasked"},
        f"{P}.securityContext.procMount",
        'Invalid value: "Unmasked": `hostUsers` must be false to use `Unmasked`',
    ),
    (
        "spec.securityContext",
        {"sysctls": [{"name": "net.ipv4.ip_forward", "value": "1"}, {"name": "net.ipv4.ip_forward", "value": "0"}]},
        "spec.securityContext.sysctls[1].name",
        'Duplicate value: "net.ipv4.ip_forward"',
    ),
    (
        "spec.securityContext",
        {"appArmorProfile": {"type": "Localhost"}},
        "spec.securityContext.appArmorProfile.localhostProfile",
        "Required value: must be set when AppArmor type is Localhost",
    ),
    (
        "spec.securityContext",
        {"fsGroupChangePolicy": "Never"},
        "spec.securityContext.fsGroupChangePolicy",
        'Unsupported value: "Never": supported values: "Always", "OnRootMismatch"',
    ),
]
SCHEDULING = [
    (
        "spec.tolerations",
        [{"operator": "Equal", "value": "x"}],
        "spec.tolerations[0].operator",
        'Invalid value: "Equal": operator must be Exists when `key` is empty, which means "match all values and all keys"',
    ),
    (
        "spec.tolerations",
        [{"key": "a", "operator": "Exists", "value": "x"}],
        "spec.tolerations[0].operator",
        "Invalid value: \"x\": value must be empty when `operator` is 'Exists'",
    ),
    (
        "spec.tolerations",
        [{"key": "a", "operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": 1}],
        "spec.tolerations[0].effect",
        "Invalid value: \"NoSchedule\": effect must be 'NoExecute' when `tolerationSeconds` is set",
    ),
    (
        "spec.topologySpreadConstraints",
        [{**ZONES, "maxSkew": 0}],
        "spec.topologySpreadConstraints[0].maxSkew",
        "Invalid value: 0: must be greater than zero",
    ),
    (
        "spec.topologySpreadConstraints",
        [ZONES, ZONES],
        "spec.topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}",
        'Duplicate value: "{zone, DoNotSchedule}"',
    ),
    (
        "spec.topologySpreadConstraints",
        [{**ZONES, "whenUnsatisfiable": "ScheduleAnyway", "minDomains": 2}],
        "spec.topologySpreadConstraints[0].minDomains",
        "Invalid value: 2: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway",
    ),
    (
        f"{NODE}.{REQUIRED}",
        {"nodeSelectorTerms": []},
        f"{NODE}.{REQUIRED}.nodeSelectorTerms",
        "Required value: must have at least one node selector term",
    ),
    (
        f"{NODE}.{REQUIRED}",
        {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Like"}]}]},
        f"{NODE}.{REQUIRED}.nodeSelectorTerms[0].matchExpressions[0].operator",
        'Invalid value: "Like": not a valid selector operator',
    ),
    (
        f"{NODE}.{PREFERRED}",
        [{"weight": 101, "preference": {}}],
        f"{NODE}.{PREFERRED}[0].weight",
        "Invalid value: 101: must be in the range 1-100",
    ),
    (
        f"spec.affinity.podAffinity.{REQUIRED}",
        [{**TERM, "topologyKey": "a b"}],
        f"spec.affinity.podAffinity.{REQUIRED}[0].topologyKey",
        "Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start "
        "and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation "
        "is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
    ),
    (
        "spec.schedulingGates",
        [{"name": "a/b"}, {"name": "a/b"}],
        "spec.schedulingGates[1]",
        'Duplicate value: "a/b"',
    ),
]
VOLUMES = [
    ("spec.volumes.0", {"name": "data", "emptyDir": {}, "hostPath": {"path": "/x"}}, "spec.volumes[0].hostPath",
     "Forbidden: may not specify more than 1 volume type"),
    ("spec.volumes.0", {"name": "data", "hostPath": {"path": "/x/../y"}}, "spec.volumes[0].hostPath.path",
     'Invalid value: "/x/../y": must not contain \'..\''),
    ("spec.volumes.0", {"name": "data", "hostPath": {}}, "spec.volumes[0].hostPath.path", "Required value"),
    ("spec.volumes.0", {"name": "data", "nfs": {"server": "s", "path": "x"}}, "spec.volumes[0].nfs.path",
     'Invalid value: "x": must be an absolute path'),
    ("spec.volumes.0", {"name": "data", "configMap": {"name": "c", "items": [{"key": "k", "path": "/p"}]}},
     "spec.volumes[0].configMap.items[0].path", 'Invalid value: "/p": must be a relative path'),
    ("spec.volumes.0", {"name": "data", "secret": {"secretName": "s", "defaultMode": 512}},
     "spec.volumes[0].secret.defaultMode",
     "Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive"),
    ("spec.volumes.0", {"name": "data", "projected": {"sources": [{"secret": {"name": "s"}, "configMap": {"name": "c"}}]}},
     "spec.volumes[0].projected.sources[0]", "Forbidden: may not specify more than 1 volume type per source"),
    ("spec.volumes.0", {"name": "data", "csi": {"driver": "A_b"}}, "spec.volumes[0].csi.driver", None),
    ("spec.volumes.0", {"name": "data", "iscsi": {"targetPortal": "p", "iqn": "x", "lun": 0}}, "spec.volumes[0].iscsi.iqn",
     'Invalid value: "x": must be valid format starting with iqn, eui, or naa'),
    ("spec.volumes.0", {"name": "data", "downwardAPI": {"items": [{"path": "p"}]}}, "spec.volumes[0].downwardAPI",
     "Required value: one of fieldRef and resourceFieldRef is required"),
    ("spec.volumes.0", {"name": "data", "ephemeral": {"volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"]}}}},
     "spec.volumes[0].ephemeral.volumeClaimTemplate.spec.resources[storage]", "Required value"),
    ("spec.volumes.1.name", "data", "spec.volumes[1].name", 'Duplicate value: "data"'),
]  # fmt: skip
PODS = [
    ("spec.restartPolicy", "Maybe", "spec.restartPolicy",
     'Unsupported value: "Maybe": supported values: "Always", "OnFailure", "Never"'),
    ("spec.dnsPolicy", "None", "spec.dnsConfig", "Required value: must provide `dnsConfig` when `dnsPolicy` is None"),
    ("spec.dnsConfig", {"nameservers": ["x"]}, "spec.dnsConfig.nameservers[0]", f'Invalid value: "x": {IP}'),
    ("spec.hostAliases", [{"ip": "1.2.3"}], "spec.hostAliases[0].ip", f'Invalid value: "1.2.3": {IP}'),
    ("spec.hostname", "A", "spec.hostname", f'Invalid value: "A": {LABEL}'),
    ("spec.activeDeadlineSeconds", -1, "spec.activeDeadlineSeconds",
     "Invalid value: -1: must be between 1 and 2147483647, inclusive"),
    ("spec.os", {"name": "plan9"}, "spec.os", 'Unsupported value: "plan9": supported values: "linux", "windows"'),
    ("spec.preemptionPolicy", "Always", "spec.preemptionPolicy",
     'Unsupported value: "Always": supported values: "PreemptLowerPriority", "Never"'),
    ("spec.ephemeralContainers", [{"name": "d", "image": "i"}], "spec.ephemeralContainers",
     "Forbidden: cannot be set on create"),
    ("metadata.annotations", {"controller.kubernetes.io/pod-deletion-cost": "01"},
     "metadata.annotations[controller.kubernetes.io/pod-deletion-cost]", 'Invalid value: "01": must be a 32bit integer'),
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "value", "field", "message"),
    [*CONTAINERS, *ENVIRONMENT, *MOUNTS, *PROBES, *RESOURCES, *SECURITY, *SCHEDULING, *VOLUMES, *PODS],
)
def test_one_wrong_thing(path: str, value: Any, field: str, message: str | None) -> None:
    found = causes(POD, changed(GOOD, path, value))
    assert field in found, found
    if message is not None:
        assert found[field] == message


def test_host_ports_are_taken_once() -> None:
    other = {"name": "b", "image": "i", "ports": [{"containerPort": 1, "hostPort": 8080}]}
    pod = changed(changed(GOOD, "spec.containers.0.ports.0.hostPort", 8080), "spec.initContainers", [other])
    assert causes(POD, pod) == {}
    pod["spec"]["containers"].append(other | {"name": "c"})
    assert causes(POD, pod) == {"spec.containers[1].ports[0].hostPort": 'Duplicate value: "TCP//8080"'}


def test_only_sidecars_have_probes_among_init_containers() -> None:
    first = {"name": "first", "image": "i", "readinessProbe": {"tcpSocket": {"port": 1}}}
    pod = changed(GOOD, "spec.initContainers", [first])
    why = "Forbidden: may not be set for init containers without restartPolicy=Always"
    assert causes(POD, pod) == {"spec.initContainers[0].readinessProbe": why}
    assert causes(POD, changed(pod, "spec.initContainers.0.restartPolicy", "Always")) == {}


def test_names_of_variables_are_looser_in_newer_versions() -> None:
    pod = changed(GOOD, "spec.containers.0.env", [{"name": "1 b", "value": "x"}])
    assert causes(POD, pod) == {}
    (message,) = causes(declared("Pod", minor=28), pod).values()
    assert message.startswith('Invalid value: "1 b": a valid environment variable name must consist of alphabetic')


def test_a_windows_pod_has_no_linux_settings() -> None:
    pod = changed(changed(GOOD, "spec.os", {"name": "windows"}), "spec.containers.0.securityContext", {"runAsUser": 1})
    pod["spec"]["hostPID"] = True
    why = "Forbidden: cannot be set for a windows pod"
    assert causes(POD, pod) == {"spec.containers[0].securityContext.runAsUser": why, "spec.hostPID": why}


def test_a_template_is_checked_under_its_own_path() -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": changed(GOOD, "spec.containers.0.name", "X")["spec"]}
    found = causes(declared("PodTemplate"), {"metadata": {"name": "t"}, "template": template})
    assert found == {"template.spec.containers[0].name": f'Invalid value: "X": {LABEL}'}
