# SPDX-License-Identifier: Apache-2.0
"""The chart and what it renders against the tools and schemas that others check with: lint, Kubernetes from the oldest to the newest,
the Prometheus operator; and the values' own schema."""

import copy
import json
import shutil
import subprocess
import tarfile

import kubernetes_validate
import pytest
import yaml

import charts
import harness
from cases import CASES, STANDALONE
from charts import CHART, HELMS, paths, tree

OPERATOR_KINDS = ("PodMonitor", "ServiceMonitor", "PrometheusRule")
OLDEST, NEWEST = "1.29", "1.37"
CI = charts.ci_values()


# ---- lint, and values that are refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("major", HELMS)
@pytest.mark.parametrize("name", CI)
def test_lint(name, major):
    done = charts.helm("lint", "--strict", CHART, major=major, values=CI[name], check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout and "[ERROR]" not in done.stdout


@pytest.mark.parametrize("major", HELMS)
@pytest.mark.parametrize("set_", [
    "podMonitr.enabled=true", "podMonitor.enable=true", "presets.configMap.nam=x", "mode=sidecar", "web.port=0", "web.port=http",
    "image.pullPolicy=Sometimes", "image.digest=latest", "presets.configMap.name=O3", "persistence.type=yes", "service.type=Headless",
    "nameOverride=a.b", "fullnameOverride=2nd", "attach.podSelector=null", "config.probe.intervall=3s", "config.probe.interval=3 s", "config.probe.max_busy_ratio=2", "config.tune.mode=on",
    "config.probes.interval=3s", "prometheusRule.overrides.A.for=soon", "prometheusRule.overrides.A.severity=page",
    "networkPolicy.apiServerPorts={0}", "podMonitor.interval=fast", "ollama.url=ollama:11434"])
def test_a_wrong_value_is_refused(set_, major):
    # null takes a key out, which is right for a key of many and wrong for the last one.
    args = ["--set", set_] if not set_.endswith("null") else ["--set-json", "attach.podSelector={\"app.kubernetes.io/name\":null}"]
    done = charts.helm("template", "o3", CHART, "--set", "prometheusRule.enabled=false", *args, major=major, check=False)
    assert done.returncode != 0, done.stdout[:500]
    assert "values don't meet the specifications of the schema" in done.stderr


def test_every_map_of_the_schema_is_closed_or_open_on_purpose():
    schema = json.loads((CHART / "values.schema.json").read_text())
    # Handed on as they are: their form is Kubernetes' or the operator's business, which the API server checks.
    handed_on = {"resources", "containerSecurityContext", "podSecurityContext", "affinity", "tlsConfig", "basicAuth", "global"}

    def check(node, name):
        if node.get("type") == "object" and name not in handed_on:
            assert "additionalProperties" in node, name
            if "properties" in node:
                assert node["additionalProperties"] is False, name
        for key, child in node.get("properties", {}).items():
            check(child, key)

    check(schema, "")
    for name, node in schema["definitions"].items():
        check(node, name)


def test_schema_knows_exactly_the_values():
    schema = json.loads((CHART / "values.schema.json").read_text())

    def known(node, above=()):
        if "$ref" in node:
            node = schema["definitions"][node["$ref"].split("/")[-1]]
        for key, child in node.get("properties", {}).items():
            yield (*above, key)
            yield from known(child, (*above, key))

    values = charts.defaults()
    ours = {p for p in known(schema) if p[0] not in ("config", "global")}
    # Below these the defaults are examples of an open map.
    open_maps = [("resources",), ("containerSecurityContext",), ("podSecurityContext",), ("bundled", "resources"), ("attach", "podSelector"),
                 ("networkPolicy", "monitoringNamespaceSelector")]
    given = {p for p in paths(values) if not any(p[:len(o)] == o and len(p) > len(o) for o in open_maps)} - {("config",)}
    assert given == ours - {("config",)}


# ---- Kubernetes and the Prometheus operator -------------------------------------------------------------------------


def everything():
    """(name, objects) of all cases and example values."""
    for name, values in {**CASES, **{f"ci/{n}": v for n, v in CI.items()}}.items():
        if "rules" not in name:  # those of the cases belong to the fixture's alerts
            yield name, charts.render(values)
    example = yaml.safe_load((charts.EXAMPLES / "attach-values.yaml").read_text())
    yield "attach-values.yaml", charts.render(example)


@pytest.fixture(scope="module")
def rendered():
    return dict(everything())


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_objects_are_valid_in_kubernetes(rendered, version):
    wrong, seen = [], {}
    for case, objects in rendered.items():
        attached = [yaml.safe_load(o["data"]["values.yaml"]) for (_, n), o in objects.items() if n.endswith("-attach")]
        pods = [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {
            "containers": [{"name": "ollama", "image": "ollama"}], "initContainers": a["initContainers"], "volumes": a["volumes"]}}
            for a in attached]
        for o in [*objects.values(), *pods]:
            text = json.dumps(o, sort_keys=True)
            if o["kind"] in OPERATOR_KINDS or text in seen:
                continue
            seen[text] = True
            try:
                kubernetes_validate.validate(o, version, strict=True)
            except kubernetes_validate.ValidationError as e:
                wrong.append(f"{case}: {o['kind']} {o['metadata']['name']}: {'.'.join(map(str, e.path))}: {e.message}")
    print(f"measured: {len(seen)} objects valid in Kubernetes {version}")
    assert not wrong, "\n" + "\n".join(wrong)
    assert len(seen) > 50


def test_validation_can_fail(rendered):
    wrong = copy.deepcopy(rendered["bundled"]["Deployment", "o3-o3-sidecar"])
    wrong["spec"]["template"]["spec"]["initContainers"][0]["restartPolici"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, NEWEST, strict=True)


@pytest.fixture(scope="module")
def operator():
    """operator(objects): what the schemas of the Prometheus operator have against them."""
    source, folder = charts.ROOT / "tests/helm/js", charts.ROOT / "build/js-operator"
    pins = (source / "package.json").read_text() + (source / "package-lock.json").read_text()
    stamp = folder / "o3-installed"
    if not stamp.exists() or stamp.read_text() != pins:
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(source / name, folder)
        done = subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=folder, capture_output=True, text=True,
                              timeout=240, env=harness.clean_environment(harness.PROXIES))
        assert done.returncode == 0, done.stdout + done.stderr
        stamp.write_text(pins)
    shutil.copy(source / "check.mjs", folder)  # beside node_modules, where node looks for packages

    def check(objects):
        done = subprocess.run(["node", "check.mjs"], cwd=folder, input=json.dumps(objects), capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return check


def test_objects_of_the_operator_are_valid(rendered, operator):
    found = [o for objects in rendered.values() for (kind, _), o in objects.items() if kind in OPERATOR_KINDS]
    assert {o["kind"] for o in found} == set(OPERATOR_KINDS)
    assert operator(found) == []
    rule = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "metadata": {"name": "x"},
            "spec": {"groups": [{"name": "g", "rules": [{"alert": "A", "expr": "1", "for": "soon"}]}]}}
    (complaint,) = operator([rule])
    assert "for must match pattern" in complaint


# ---- upgrades with the values of an older version -------------------------------------------------------------------

SETTINGS = {"attach": {}, "standalone": STANDALONE, "bundled": {"mode": "bundled"}}
GROUPS = ("podMonitor", "grafanaDashboard", "networkPolicy", "prometheusRule")


@pytest.mark.parametrize("path", [p for p in paths(charts.defaults()) if p[0] != "mode" and p[-1] != "app.kubernetes.io/name"],
                         ids=".".join)
def test_renders_without_a_key_that_an_older_version_did_not_have(path):
    charts.render(charts.merged({"mode": "bundled", **{group: {"enabled": True} for group in GROUPS}}, tree(path, None)))


@pytest.mark.parametrize("top", charts.defaults())
@pytest.mark.parametrize("mode", SETTINGS)
def test_renders_without_a_whole_group(top, mode):
    if top in SETTINGS[mode]:
        return
    charts.render({**SETTINGS[mode], top: None})


def test_a_missing_key_means_its_default():
    assert charts.render({"mode": "bundled", "web": None, "presets": None, "persistence": None}) == charts.render({"mode": "bundled"})


# ---- the package ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("major", HELMS)
def test_package_holds_the_rules_and_dashboards_themselves(tmp_path, major):
    charts.helm("package", CHART, "-d", tmp_path, major=major)
    (package,) = tmp_path.glob("*.tgz")
    with tarfile.open(package) as archive:
        held = {m.name: archive.extractfile(m).read() for m in archive.getmembers() if m.isfile()}
        assert not [m.name for m in archive.getmembers() if not m.isfile()]
    sources = [charts.ROOT / "alerts/RUNBOOKS.md", *(charts.ROOT / "alerts").glob("*.rules.yaml"), *(charts.ROOT / "dashboards").glob("*.json")]
    expected = {f"o3-sidecar/files/{p.parent.name}/{p.name}": p.read_bytes() for p in sources}
    files = {n: b for n, b in held.items() if n.startswith("o3-sidecar/files/") and not n.endswith("/values.yaml")}
    assert files == expected
    assert held["o3-sidecar/files/values.yaml"] == held["o3-sidecar/values.yaml"]
    assert {"o3-sidecar/README.md", "o3-sidecar/values.schema.json"} <= set(held) and not [n for n in held if "/ci/" in n]
    # helm keeps the chart in a Secret of at most 1 MiB, as base64.
    assert package.stat().st_size < 500_000
    assert charts.render(CI["monitoring"], chart=package, major=major) == charts.render(CI["monitoring"], major=major)


def test_rules_and_dashboards_are_the_projects_own():
    objects = charts.render(CI["monitoring"])
    sources = [yaml.safe_load(p.read_text()) for p in sorted((charts.ROOT / "alerts").glob("*.rules.yaml"))]
    assert charts.only(objects, "PrometheusRule")["spec"]["groups"] == [g for s in sources for g in s["groups"]]
    dashboards = {p.name: p.read_text().rstrip("\n") for p in (charts.ROOT / "dashboards").glob("*.json")}
    given = {k: v for (kind, _), o in objects.items() if kind == "ConfigMap" and "grafana_dashboard" in o["metadata"]["labels"]
             for k, v in o["data"].items()}
    assert given == dashboards and sources and dashboards
