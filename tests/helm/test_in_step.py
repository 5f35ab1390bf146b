# SPDX-License-Identifier: Apache-2.0
"""What is said twice says the same: the chart's README, schema and example against what they are made from, its configuration against
the program, its versions against the project's."""

import importlib.util
import json
import re

import pytest
import yaml

import charts
import harness
from cases import CASES
from charts import CHART, ROOT


def make_chart():
    spec = importlib.util.spec_from_file_location("make_chart", ROOT / "src/doc/make_chart.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_made_files_are_as_they_would_be_made():
    made = make_chart().files(harness.BINARY, str(charts.TOOLS / "helm-4/helm"))
    assert len(made) == 3
    for path, text in made.items():
        assert path.read_text() == text, f"{path.relative_to(ROOT)} is stale: run ./dev docs"


def test_every_value_is_described():
    described = {key for key, _, _ in make_chart().described_values()}
    leaves = {".".join(p) for p in charts.paths(charts.defaults())}
    groups = {key.rsplit(".", n)[0] for key in described for n in range(1, key.count(".") + 1)}
    inside = {leaf for leaf in leaves if any(leaf.startswith(key + ".") for key in described)}
    assert described <= leaves
    assert not leaves - described - groups - inside


@pytest.mark.parametrize("case", ["attach", "standalone", "bundled", "attach, all of the pod", "ci/config", "a busy one"])
def test_program_takes_the_configuration(case, tmp_path):
    values = {
        **CASES, "ci/config": charts.ci_values()["config"],
        # Numbers that a careless template would write as 1e+09.
        "a busy one": {"config": {"probe": {"max_tokens_per_day": 1000000000, "max_busy_ratio": 0.001}, "models": {"max": 256},
                                  "concurrency": {"levels": [1, 2]}, "resource_headroom": {"vram_reserve_mb": 16777216, "ram_reserve_mb": "auto"}}},
    }[case]
    text = charts.render(values)["ConfigMap", "o3-o3-sidecar-config"]["data"]["o3.yaml"]
    # The files that it names stand in the pod.
    (tmp_path / "web-config.yaml").write_text("{}\n")
    path = tmp_path / "o3.yaml"
    path.write_text(text.replace("/etc/o3/web/", f"{tmp_path}/"))
    done = harness.run_o3("check-config", str(path))
    assert done.returncode == 0, (text, done.stdout, done.stderr)


def test_environment_of_the_container_is_the_programs():
    tables = json.loads(harness.run_o3("tables", "--json").stdout)
    known = {row["env"] for row in tables["config"]}
    values = CASES["bundled, all of the pod"]
    names = {e["name"] for e in charts.sidecar(charts.render(values))["env"] if e["name"].startswith("O3_")}
    assert names and names <= known


def test_defaults_of_the_schema_are_the_programs_keys():
    tables = json.loads(harness.run_o3("tables", "--json").stdout)
    config = json.loads((CHART / "values.schema.json").read_text())["definitions"]["config"]

    def leaves(node, above=()):
        for key, child in node["properties"].items():
            if "properties" in child:
                yield from leaves(child, (*above, key))
            else:
                yield ".".join((*above, key))

    assert set(leaves(config)) == {row["key"] for row in tables["config"]}


def test_versions():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = re.search(r"^project\(.*?VERSION\s+(\S+)", (ROOT / "CMakeLists.txt").read_text(), re.M | re.S)[1]
    assert chart["appVersion"] == version
    assert chart["kubeVersion"] == ">=1.29.0-0"


def test_test_pod_runs_what_the_program_has(start):
    """Its arguments, against a sidecar that runs."""
    sidecar = start(harness.Sidecar, start(harness.Simulator).url)
    (container,) = charts.render(CASES["bundled"])["Pod", "o3-o3-sidecar-test"]["spec"]["containers"]
    for host, status in ((sidecar.url.removeprefix("http://").replace("127.0.0.1", "localhost"), 0), ("localhost:1", 1)):
        arguments = [a.replace("o3-o3-sidecar:21434", host) for a in container["args"]]
        assert any(host in a for a in arguments)
        assert harness.run_o3(*arguments).returncode == status


def test_readme_names_only_values_that_exist():
    known = {".".join(p) for p in charts.paths(charts.defaults())}
    text = (CHART / "README.md").read_text() + (CHART / "templates/NOTES.txt").read_text()
    tops = "|".join(charts.defaults())
    named = set(re.findall(rf"`((?:{tops})(?:\.\w+)+)`", text)) | set(re.findall(rf"(?:--set |,)((?:{tops})(?:\.\w+)*)=", text))
    assert named and named <= known, named - known


TOLD = [ROOT / "alerts/RUNBOOKS.md", ROOT / "README.md", CHART / "README.md", CHART / "templates/NOTES.txt"]


@pytest.mark.parametrize("mode", ["attach", "bundled", "standalone"])
def test_commands_name_containers_that_exist(mode):
    """`-c NAME` of kubectl logs and exec: ours has one name in every mode."""
    named = {name for page in TOLD for name in re.findall(r"kubectl [^\n`|]* -c ([\w-]+)", page.read_text())}
    assert "o3" in named
    objects = charts.render(CASES[mode])
    if mode == "attach":
        ours = yaml.safe_load(objects["ConfigMap", "o3-o3-sidecar-attach"]["data"]["values.yaml"])["initContainers"]
    else:
        pod = objects["Deployment", "o3-o3-sidecar"]["spec"]["template"]["spec"]
        ours = pod.get("initContainers", []) + pod["containers"]
    assert named <= {c["name"] for c in ours} | {"ollama"}, named
    if mode == "bundled":
        assert named <= {c["name"] for c in ours}


def test_runbooks_find_the_pods_of_each_mode():
    """The selectors of kubectl in the runbook of a sidecar that is gone."""
    text = re.search(r"^## O3SidecarAbsent\n(.*?)(?=^## )", (ROOT / "alerts/RUNBOOKS.md").read_text(), re.M | re.S)[1]
    wanted = {what: dict(pair.split("=") for pair in given.split(",")) for what, given in re.findall(r"kubectl get (?:\w+,)?(\w+) -A -l (\S+)", text)}
    by_comment = {comment: dict([given.split("=")]) for given, comment in re.findall(r"kubectl get pods -A -l (\S+) +# modes? ([^:,]+)", text)}
    assert set(by_comment) == {"bundled and standalone", "attach"}
    for mode in ("bundled", "standalone"):
        labels = charts.render(CASES[mode])["Deployment", "o3-o3-sidecar"]["spec"]["template"]["metadata"]["labels"]
        assert by_comment["bundled and standalone"].items() <= labels.items()
    for values in (CASES["attach"], CASES["bundled"]):
        monitor = charts.render(charts.merged(values, {"podMonitor": {"enabled": True}}))["PodMonitor", "o3-o3-sidecar"]
        assert wanted["servicemonitor"].items() <= monitor["metadata"]["labels"].items()
        if values == CASES["attach"]:
            assert monitor["spec"]["selector"]["matchLabels"] == by_comment["attach"]
