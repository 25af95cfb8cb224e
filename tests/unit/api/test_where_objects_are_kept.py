"""Every built-in kind of Kubernetes 1.25 to 1.37 has Kubernetes' own key, as its test/integration/etcd/data.go expects."""

from __future__ import annotations

import pytest

from sampan.api.catalog import Served
from sampan.api.resource import Resource
from sampan.api.resources import declarations
from sampan.store.layout import BUILT_IN, resource_of

from .conftest import Asgi, make_api

FACTS = {
    "": """configmaps/N/cm1 services/specs/N/service1 podtemplates/N/pt1name pods/N/pod1 services/endpoints/N/ep1name
        resourcequotas/N/rq1name limitranges/N/lr1name namespaces/namespace1 minions/node1 persistentvolumes/pv1name
        events/N/event1 persistentvolumeclaims/N/pvc1 serviceaccounts/N/sa1name secrets/N/secret1 controllers/N/rc1""",
    "admissionregistration.k8s.io": """validatingwebhookconfigurations/hook2 mutatingwebhookconfigurations/hook2
        validatingadmissionpolicies/vap1 validatingadmissionpolicybindings/pb1 mutatingadmissionpolicies/map1v1
        mutatingadmissionpolicybindings/mpb1v1""",
    "apiextensions.k8s.io": "apiextensions.k8s.io/customresourcedefinitions/foos.cr.bar.com",
    "apiregistration.k8s.io": "apiregistration.k8s.io/apiservices/as2.foo.com",
    "apps": """daemonsets/N/ds6 deployments/N/deployment4 statefulsets/N/ss3 replicasets/N/rs3
        controllerrevisions/N/crs3""",
    "autoscaling": "horizontalpodautoscalers/N/hpa2",
    "batch": "jobs/N/job1 cronjobs/N/cjv1",
    "certificates.k8s.io": """certificatesigningrequests/csr2 clustertrustbundles/example.com:signer:abcd
        podcertificaterequests/N/req-1""",
    "coordination.k8s.io": "leases/N/leasev1 leasecandidates/N/leasecandidatev1beta1",
    "discovery.k8s.io": "endpointslices/N/slicev1",
    "events.k8s.io": "events/N/event3",
    "flowcontrol.apiserver.k8s.io": "flowschemas/fs-3 prioritylevelconfigurations/conf5",
    "internal.apiserver.k8s.io": "storageversions/sv1.test",
    "networking.k8s.io": """ingress/N/ingress3 ingressclasses/ingressclass3 networkpolicies/N/np2 ipaddresses/192.168.2.3
        servicecidrs/range-b2""",
    "node.k8s.io": "runtimeclasses/rc3",
    "policy": "poddisruptionbudgets/N/pdbv1",
    "rbac.authorization.k8s.io": "roles/N/role3 clusterroles/crole3 rolebindings/N/roleb3 clusterrolebindings/croleb3",
    "resource.k8s.io": """devicetaintrules/taint1name resourcepoolstatusrequests/rpsr1name deviceclasses/class2name
        resourceclaims/N/claim2name resourceclaimtemplates/N/claimtemplate2name resourceslices/node2slice
        podschedulingcontexts/N/pod1name""",
    "scheduling.k8s.io": "priorityclasses/pc3 workloads/N/w1 podgroups/N/pg1",
    "storage.k8s.io": """volumeattachments/va3 volumeattributesclasses/vac2 storageclasses/sc2
        csistoragecapacities/N/csc-12345-3 csinodes/csini2 csidrivers/csid2""",
    "storagemigration.k8s.io": "storageversionmigrations/test-migration",
}
"""Group → the paths below /registry that data.go expects, ``N`` for the namespace."""
NAMED_OTHERWISE = {
    ("", "services"): "services/specs",
    ("", "endpoints"): "services/endpoints",
    ("", "nodes"): "minions",
    ("", "replicationcontrollers"): "controllers",
    ("networking.k8s.io", "ingresses"): "ingress",
}
"""SpecialDefaultResourcePrefixes of pkg/kubeapiserver/default_storage_factory_builder.go."""
BY_THE_RULE = {
    ("lifecycle.k8s.io", "evictionrequests"),
    ("lifecycle.k8s.io", "evictions"),
    ("networking.k8s.io", "clustercidrs"),
    ("resource.k8s.io", "podschedulings"),
    ("resource.k8s.io", "resourceclaimparameters"),
    ("resource.k8s.io", "resourceclasses"),
    ("resource.k8s.io", "resourceclassparameters"),
    ("scheduling.k8s.io", "compositepodgroups"),
}
"""What the data.go that was read is too new or too old for: the storage factory puts it under its plural."""

STORED = {(r.group, r.plural): r for r in declarations() if "create" in r.verbs and "get" in r.verbs}


def expected(group: str, plural: str) -> tuple[str, bool]:
    """Return the prefix that Kubernetes has, and whether a namespace follows."""
    segment = NAMED_OTHERWISE.get((group, plural), plural)
    if group in ("apiextensions.k8s.io", "apiregistration.k8s.io"):
        segment = f"{group}/{plural}"
    (path,) = (path for path in FACTS[group].split() if path.startswith(f"{segment}/"))
    return f"/registry/{segment}/", path[len(segment) + 1 :].startswith("N/")


@pytest.mark.parametrize("at", sorted(STORED), ids=lambda at: ".".join(reversed(at)).strip("."))
def test_a_kind_has_kubernetes_own_key(at: tuple[str, str]) -> None:
    resource = STORED[at]
    group, plural = at
    prefix, namespaced = (f"/registry/{plural}/", resource.namespaced) if at in BY_THE_RULE else expected(group, plural)
    key = Served(resource, None).key("N", "x")
    assert key == prefix + ("N/" if namespaced else "") + "x"
    assert resource_of(key) == ((plural, group) if group != "events.k8s.io" else ("events", ""))


def test_every_fact_is_held_against_a_kind() -> None:
    """A kind that is left out of the table would be stored with its group."""
    assert {group for group, _ in STORED} | {"internal.apiserver.k8s.io"} >= set(FACTS)
    assert {(group, plural) for group, plurals in BUILT_IN.items() for plural in plurals} >= {
        at for at in STORED if at[0] not in ("apiextensions.k8s.io", "apiregistration.k8s.io")
    }


def test_a_custom_resource_keeps_its_group_whatever_its_name() -> None:
    made = Resource("scheduling.k8s.io", "v1", "Workload", "workloads", custom=True)
    assert Served(made, None).key("N", "x") == "/registry/scheduling.k8s.io/workloads/N/x"


async def test_a_deployment_is_where_kubernetes_has_it() -> None:
    http = Asgi(make_api())
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    made = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}
    assert (await http("POST", "/apis/apps/v1/namespaces/default/deployments", made)).status == 201
    assert http.api.store.get("/registry/deployments/default/web") is not None
