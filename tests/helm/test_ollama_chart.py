# SPDX-License-Identifier: Apache-2.0
"""Attached to an Ollama that another chart installs: both ways, rendered together with a stand-in for that chart."""

import json
import re
import shlex
import subprocess

import kubernetes_validate
import pytest
import yaml

import charts
from charts import EXAMPLES, OLLAMA_CHART, containers, only

ATTACHED = yaml.safe_load((EXAMPLES / "attach-values.yaml").read_text())
OPERATOR = ("PodMonitor", "PrometheusRule")


def ollama(values, major, name="ollama"):
    return charts.render(values, name=name, chart=OLLAMA_CHART, major=major)


def by_release(major):
    """Our release in mode attach, and Ollama's with the values that ours hands out, as the notes say."""
    ours = charts.render(ATTACHED, major=major)
    handed_out = yaml.safe_load(ours["ConfigMap", "o3-o3-sidecar-attach"]["data"]["values.yaml"])
    return {**ours, **ollama(handed_out, major)}


def by_values(major):
    """Ollama's release alone."""
    return ollama(yaml.safe_load((EXAMPLES / "otwld-values.yaml").read_text()), major)


WAYS = pytest.mark.parametrize("way", [by_release, by_values])
MAJORS = pytest.mark.parametrize("major", charts.HELMS)


@WAYS
@MAJORS
def test_sidecar_stands_in_ollamas_pod(way, major):
    spec = only(way(major), "Deployment")["spec"]["template"]["spec"]
    (sidecar,) = spec["initContainers"]
    assert sidecar["name"] == "o3" and sidecar["restartPolicy"] == "Always"
    assert [c["name"] for c in spec["containers"]] == ["ollama"]
    mounted = {m["name"] for m in sidecar["volumeMounts"]}
    assert mounted <= {v["name"] for v in spec["volumes"]}


@WAYS
@MAJORS
def test_together_they_are_valid(way, major):
    objects = way(major)
    for version in ("1.29", "1.37"):
        for o in objects.values():
            if o["kind"] not in OPERATOR:
                kubernetes_validate.validate(o, version, strict=True)


@WAYS
@MAJORS
def test_all_that_the_pod_names_is_there(way, major):
    objects = way(major)
    spec = only(objects, "Deployment")["spec"]["template"]["spec"]
    for volume in spec["volumes"]:
        if "configMap" in volume:
            assert ("ConfigMap", volume["configMap"]["name"]) in objects
    (subject,) = only(objects, "RoleBinding")["subjects"]
    assert subject["name"] == spec["serviceAccountName"] and subject["namespace"] == "ollama"
    role = only(objects, "Role")
    assert only(objects, "RoleBinding")["roleRef"]["name"] == role["metadata"]["name"]
    (published,) = role["rules"][0]["resourceNames"]
    config = next(yaml.safe_load(o["data"]["o3.yaml"]) for o in objects.values() if "o3.yaml" in o.get("data", {}))
    assert config["publish"]["configmap"] == published
    assert set(objects["ConfigMap", published]) == {"apiVersion", "kind", "metadata"}
    assert objects["ConfigMap", published]["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


@WAYS
@MAJORS
def test_ollamas_container_gets_no_token(way, major):
    objects = way(major)
    assert only(objects, "ServiceAccount")["automountServiceAccountToken"] is False
    spec = only(objects, "Deployment")["spec"]["template"]["spec"]
    assert {c["name"] for c in containers(spec) for m in c["volumeMounts"] if m["name"] == "o3-token"} == {"o3"}


@WAYS
@MAJORS
def test_monitor_finds_the_sidecars_port(way, major):
    objects = way(major)
    template = only(objects, "Deployment")["spec"]["template"]
    monitor = only(objects, "PodMonitor")["spec"]
    assert monitor["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    ports = [p["name"] for c in containers(template["spec"]) for p in c["ports"]]
    assert ports.count(monitor["podMetricsEndpoints"][0]["port"]) == 1


@MAJORS
@pytest.mark.parametrize("readme", ["README.md", "helm/o3-sidecar/README.md"])
def test_the_five_lines_of_the_readme(readme, major):
    """Played as they stand there, up to what needs a cluster."""
    text = (charts.ROOT / readme).read_text()
    install, get, upgrade, forward, _ = re.search(r"```\n(helm install o3 helm/o3-sidecar -n ollama .*?)\n```", text, re.S)[1].split("\n")
    _, _, name, chart, *args = shlex.split(install)
    ours = charts.objects_of(charts.helm("template", name, charts.ROOT / chart, *args, major=major).stdout)
    values = yaml.safe_load(ours["ConfigMap", shlex.split(get)[5]]["data"][re.search(r'index .data "(.*?)"', get)[1]])
    assert get.endswith("> o3-values.yaml") and upgrade.endswith("-f o3-values.yaml")
    theirs = ollama(values, major, name=shlex.split(upgrade)[2])
    (sidecar,) = only(theirs, "Deployment")["spec"]["template"]["spec"]["initContainers"]
    assert sidecar["image"].startswith("REGISTRY/o3-sidecar:")
    assert only(theirs, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"] == only(ours, "RoleBinding")["subjects"][0]["name"]
    service, port = re.search(r"svc/(\S+) (\d+)$", forward).groups()
    assert int(port) in [p["port"] for p in ours["Service", service]["spec"]["ports"]]
    assert ("PodMonitor", "o3-o3-sidecar") in ours


def test_both_ways_bring_the_same_container():
    first, second = (only(way(4), "Deployment")["spec"]["template"]["spec"]["initContainers"] for way in (by_release, by_values))
    assert first == second


@pytest.mark.parametrize("name, account", [("ollama", "ollama"), ("llm", "llm-ollama")])
def test_values_follow_the_names_of_the_ollama_release(name, account):
    objects = ollama(yaml.safe_load((EXAMPLES / "otwld-values.yaml").read_text()), 4, name=name)
    assert only(objects, "RoleBinding")["subjects"][0]["name"] == account
    assert only(objects, "PodMonitor")["spec"]["selector"]["matchLabels"]["app.kubernetes.io/instance"] == name


def test_patch_puts_the_sidecar_into_a_deployment(tmp_path):
    """By kubectl's own strategic merge, without a cluster."""
    before = only(ollama({}, 4), "Deployment")
    before["spec"]["template"]["spec"]["initContainers"] = [{"name": "theirs", "image": "x"}]
    patch = charts.render(ATTACHED)["ConfigMap", "o3-o3-sidecar-attach"]["data"]["patch.yaml"]
    (tmp_path / "deployment.json").write_text(json.dumps(before))
    (tmp_path / "patch.yaml").write_text(patch)
    argv = [charts.TOOLS / "helm-4/kubectl", "patch", "--local", "-f", "deployment.json", "--patch-file", "patch.yaml", "-o", "json"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, env={"HOME": str(tmp_path), "KUBECONFIG": "/dev/null"}, timeout=60)
    assert done.returncode == 0, done.stderr
    spec = json.loads(done.stdout)["spec"]["template"]["spec"]
    assert {c["name"] for c in spec["initContainers"]} == {"o3", "theirs"}
    assert {"ollama-data", "o3-config", "o3-state"} <= {v["name"] for v in spec["volumes"]}
    assert spec["automountServiceAccountToken"] is False and [c["name"] for c in spec["containers"]] == ["ollama"]
