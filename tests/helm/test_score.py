# SPDX-License-Identifier: Apache-2.0
"""What kube-score calls critical: by kube-score itself where Go could compile it, and by checks of our own everywhere. And selectors,
which must outlive an upgrade."""

import json
import os
import re
import subprocess

import pytest
import yaml

import charts
from cases import CASES
from charts import containers, pod_specs

STABLE = {"v1", "apps/v1", "rbac.authorization.k8s.io/v1", "networking.k8s.io/v1", "monitoring.coreos.com/v1"}
OPERATOR_KINDS = ("PodMonitor", "ServiceMonitor", "PrometheusRule")
# What a cluster must have as it was made: a change needs a new object.
CHANGING = ("helm.sh/chart", "app.kubernetes.io/version", "app.kubernetes.io/managed-by", "cost")
# What kube-score says that we do not follow.
SCORE_IGNORED = {
    "container-resources": "a processor limit would throttle what the sidecar measures",
    "container-ephemeral-storage-request-and-limit": "going over that limit would evict Ollama with the sidecar",
    "container-image-pull-policy": "a pinned tag need not be pulled again for each start",
    ("Pod", "pod-networkpolicy"): "the pod of `helm test` listens on nothing",
}
SCORED = {f"ci/{name}": values for name, values in charts.ci_values().items() if name in ("standalone", "bundled")}
SCORED |= {name: CASES[name] for name in ("standalone, a policy", "bundled, a policy")}


@pytest.fixture(scope="module")
def rendered():
    made = {}

    def get(case):
        if case not in made:
            made[case] = charts.render(SCORED.get(case) or CASES[case])
        return made[case]

    return get


def kube_score(objects, folder):
    """What it calls critical, less what we ignore."""
    path = folder / "objects.yaml"
    path.write_text(yaml.safe_dump_all([o for (kind, _), o in objects.items() if kind not in OPERATOR_KINDS]))
    ignored = [a for name in SCORE_IGNORED if isinstance(name, str) for a in ("--ignore-test", name)]
    done = subprocess.run([charts.TOOLS / "kube-score-1.20.0/kube-score", "score", "--output-format", "json", *ignored, path],
                          capture_output=True, text=True, timeout=120)
    return [f"{o['object_name']}: {c['check']['id']}: {c['comments']}" for o in json.loads(done.stdout) for c in o["checks"]
            if c["grade"] == 1 and not c["skipped"] and (o["type_meta"]["kind"], c["check"]["id"]) not in SCORE_IGNORED]


def labels_of_pods(objects):
    for (kind, _), o in objects.items():
        if kind == "Pod":
            yield o["metadata"]["labels"]
        elif kind == "Deployment":
            yield o["spec"]["template"]["metadata"]["labels"]


def of_container(container, is_served):
    """The same by hand: images, rights, resources, probes, environment."""
    context, resources = container.get("securityContext", {}), container.get("resources", {})
    image, _, tag = container["image"].rpartition(":")
    if not image or tag == "latest":
        yield "container-image-tag"
    if context.get("privileged") is not False:
        yield "container-security-context-privileged"
    if context.get("readOnlyRootFilesystem") is not True:
        yield "container-security-context-readonlyrootfilesystem"
    if min(context.get("runAsUser", 0), context.get("runAsGroup", 0)) < 10000:
        yield "container-security-context-user-group-id"
    if not {"cpu", "memory"} <= set(resources.get("requests", {})) or "memory" not in resources.get("limits", {}):
        yield "container-resources"
    if is_served and ("readinessProbe" not in container or container["readinessProbe"] == container.get("livenessProbe")):
        yield "pod-probes"
    names = [e["name"] for e in container.get("env", [])]
    if len(names) != len(set(names)):
        yield "environment-variable-key-duplication"


def by_hand(objects):
    for name, spec in pod_specs(objects):
        for container in containers(spec):
            yield from (f"{name}: {container['name']}: {why}" for why in of_container(container, "-test" not in name))
    pods = list(labels_of_pods(objects))
    policies = [o["spec"]["podSelector"]["matchLabels"] for (kind, _), o in objects.items() if kind == "NetworkPolicy"]
    for (kind, name), o in objects.items():
        if o["apiVersion"] not in STABLE:
            yield f"{name}: stable-version"
        for value in o["metadata"].get("labels", {}).values():
            if not re.fullmatch(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?", value):
                yield f"{name}: label-values"
        if kind == "Service" and not any(o["spec"]["selector"].items() <= labels.items() for labels in pods):
            yield f"{name}: service-targets-pod"
        if kind == "Deployment" and not any(p.items() <= o["spec"]["template"]["metadata"]["labels"].items() for p in policies):
            yield f"{name}: pod-networkpolicy"
    if not all(any(p.items() <= labels.items() for labels in pods) for p in policies):
        yield "networkpolicy-targets-pod"


@pytest.mark.parametrize("case", SCORED)
def test_nothing_critical_by_hand(rendered, case):
    assert not list(by_hand(rendered(case)))


@pytest.mark.parametrize("case", SCORED)
def test_nothing_critical_by_kube_score(rendered, case, tmp_path):
    if not os.access(charts.TOOLS / "kube-score-1.20.0/kube-score", os.X_OK):
        pytest.skip("kube-score is not there and no Go from 1.21 on to compile it")
    assert not kube_score(rendered(case), tmp_path)


def spoiled(objects):
    """(the check that should find it, objects) for one mistake each."""
    def changed(change):
        copy = json.loads(json.dumps(list(objects.items())))
        copy = {tuple(key): o for key, o in copy}
        change(copy)
        return copy

    own = charts.sidecar
    yield "container-image-tag", changed(lambda o: own(o).update(image="o3-sidecar:latest"))
    yield "container-security-context-privileged", changed(lambda o: own(o)["securityContext"].update(privileged=True))
    yield "container-security-context-readonlyrootfilesystem", changed(lambda o: own(o)["securityContext"].update(readOnlyRootFilesystem=False))
    yield "container-security-context-user-group-id", changed(lambda o: own(o)["securityContext"].update(runAsUser=1000))
    yield "environment-variable-key-duplication", changed(lambda o: own(o)["env"].extend([{"name": "A", "value": "1"}] * 2))
    yield "service-targets-pod", changed(lambda o: charts.only(o, "Service")["spec"]["selector"].update(a="b"))
    yield "networkpolicy-targets-pod", changed(lambda o: charts.only(o, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"].update(a="b"))
    yield "pod-networkpolicy", changed(lambda o: o.pop(next(key for key in o if key[0] == "NetworkPolicy")))
    yield "label-values", changed(lambda o: charts.only(o, "Service")["metadata"]["labels"].update(a="b c"))


def test_both_find_the_same_mistakes(rendered, tmp_path):
    has_score = os.access(charts.TOOLS / "kube-score-1.20.0/kube-score", os.X_OK)
    for check, objects in spoiled(rendered("standalone, a policy")):
        assert any(check in found for found in by_hand(objects)), check
        assert not has_score or any(check in found for found in kube_score(objects, tmp_path)), check


# ---- selectors ------------------------------------------------------------------------------------------------------


def selectors(node):
    """Every label selector, as its map."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "matchLabels" or key == "selector" and "matchLabels" not in value:
                yield value
            else:
                yield from selectors(value)
    elif isinstance(node, list):
        for one in node:
            yield from selectors(one)


@pytest.mark.parametrize("case", CASES)
def test_no_selector_changes_with_a_version(fixed_chart, case):
    values = charts.merged(CASES[case], {"commonLabels": {"cost": "7"}})
    objects = charts.render(values, chart=fixed_chart)
    chart = yaml.safe_load((charts.CHART / "Chart.yaml").read_text())
    found = [s for o in objects.values() for s in selectors(o.get("spec", {}))]
    assert found or {kind for kind, _ in objects}.isdisjoint({"Service", "Deployment", "PodMonitor", "ServiceMonitor", "NetworkPolicy"})
    for selector in found:
        assert not set(selector) & set(CHANGING), selector
        assert not {chart["version"], chart["appVersion"]} & set(selector.values()), selector
