# SPDX-License-Identifier: Apache-2.0
"""The program's tables against everything that repeats them: documents, help, the example file, a live /metrics."""

import contextlib
import importlib.util
import json
import re
import subprocess
import sys

import pytest
import yaml

import harness
from harness import BINARY, FAST, ROOT, Sidecar, run_o3

MODEL = harness.Simulator.MODEL


@pytest.fixture(scope="module")
def tables():
    done = run_o3("tables", "--json")
    assert done.returncode == 0, done
    return json.loads(done.stdout)


def make_tables():
    spec = importlib.util.spec_from_file_location("make_tables", ROOT / "src/doc/make_tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def known_metrics(tables):
    """Every sample name that the table allows, with the name of its row."""
    names = {}
    for m in tables["metrics"]:
        suffixes = ("_bucket", "_sum", "_count") if m["kind"] == "histogram" else ("",)
        for suffix in suffixes:
            names[m["name"] + suffix] = m
    return names


def test_reference_pages_are_as_the_program_says():
    for name, text in make_tables().pages(BINARY).items():
        path = ROOT / "src/doc" / name
        assert path.exists() and path.read_text() == text, f"src/doc/{name} is stale: run ./dev docs"


def test_rehearsal_in_the_readme_is_what_comes_out():
    assert (ROOT / "README.md").read_text() == make_tables().readme(BINARY), "the README is stale: run ./dev docs"


def test_names_and_helps_are_unique(tables):
    for group, key in (("config", "key"), ("metrics", "name"), ("events", "name"), ("errors", "name")):
        names = [r[key] for r in tables[group]]
        assert len(names) == len(set(names)), group
    for group, key in (("config", "help"), ("metrics", "help"), ("events", "text"), ("errors", "meaning")):
        texts = [r[key] for r in tables[group]]
        doubles = {t for t in texts if texts.count(t) > 1}
        assert not doubles, (group, doubles)
        assert not [t for t in texts if not t or t.endswith(".") or t != t.strip()], group


def test_metric_names_follow_the_conventions(tables):
    for m in tables["metrics"]:
        name, unit = m["name"], m["unit"]
        assert re.fullmatch(r"(o3|process)_[a-z0-9_]+", name), name
        assert (m["kind"] == "counter") == name.endswith("_total"), name
        assert (m["kind"] == "info") == name.endswith("_info"), name
        base = name.removesuffix("_total")
        if unit:
            assert base.endswith("_" + unit), (name, unit)
        for suffix in ("seconds", "bytes", "ratio", "celsius", "hertz", "watts"):
            if base.endswith("_" + suffix):
                assert unit == suffix, (name, unit)
        assert not re.search(r"_(ms|milliseconds|mb|kb|percent|gb|mhz)(_|$)", name), name
        assert not {"le", "quantile", "job", "instance", "__name__"} & {l["name"] for l in m["labels"]}, name


def test_readme_names_only_what_exists(tables):
    readme = (ROOT / "README.md").read_text()
    names = set(known_metrics(tables)) | {m["name"] for m in tables["metrics"]}
    used = set(re.findall(r"\b(o3_[a-z0-9_]+|process_[a-z0-9_]+_(?:total|bytes|seconds|fds))\b", readme)) - {"o3_results"}
    unknown = {u for u in used if u not in names}
    assert unknown == set()
    keys = {r["key"] for r in tables["config"]}
    groups = {k.split(".")[0] for k in keys}
    written = {w for w in re.findall(r"`(?:--)?([a-z_]+\.[a-z_.]+)(?:[:=][^`]*)?`", readme) if w.split(".")[0] in groups}
    assert written - keys == set()
    variables = set(re.findall(r"\bO3_[A-Z_]+\b", readme)) - {"O3_TEST_OLLAMA"}
    assert variables - {r["env"] for r in tables["config"]} == set()
    defaults = {r["key"]: r["default"] for r in tables["config"]}
    example = re.search(r"```yaml\n(.*?)```", readme, re.S)[1]
    for key, value in flatten(yaml.safe_load(example)):
        assert key in keys, key
        if key != "publish.file":
            assert str(value) == defaults[key], (key, value, defaults[key])


def test_readme_and_dev_help_name_the_same_commands():
    readme = (ROOT / "README.md").read_text()
    shown = subprocess.run([ROOT / "dev", "help"], capture_output=True, text=True, check=True).stdout
    commands = set(re.findall(r"^  ([a-z]+(?: [a-z][a-z0-9-]*)?)(?= |$)", shown, re.M))
    assert {"run", "test", "test k8s", "study drift", "help"} <= commands
    # `./dev test` stands above the table, with its groups.
    assert set(re.findall(r"^\| `\./dev ([a-z0-9 -]+)` \|", readme, re.M)) | {"test"} == commands
    listed = re.search(r"`\./dev test GROUP \.\.\.` runs some groups: `([a-z0-9 ]+)`", readme)[1]
    assert re.search(rf"^ +{listed}$", shown, re.M)
    assert sorted(listed.split()) == sorted(run_all().GROUPS)


def run_all():
    spec = importlib.util.spec_from_file_location("run_all", ROOT / "tests/run_all.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["run_all"] = module  # its dataclass asks for it
    spec.loader.exec_module(module)
    return module


def test_links_of_the_readme_lead_somewhere():
    for link in re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / link).exists(), link


def flatten(tree, prefix=""):
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def test_example_file_holds_every_key_and_is_accepted(tables, tmp_path):
    example = ROOT / "src/doc/o3.yaml"
    # A key that this version does not use stands behind a # in the first column.
    whole = re.sub(r"^#(?=  |\S+:)", "", example.read_text(), flags=re.M)
    assert {k for k, _ in flatten(yaml.safe_load(whole))} == {r["key"] for r in tables["config"]}
    (tmp_path / "whole.yaml").write_text(whole)
    assert run_o3("check-config", "--config.file", "whole.yaml", cwd=tmp_path).returncode == 0
    done = run_o3("check-config", "--config.file", example, cwd=tmp_path)
    assert done.returncode == 0, done


def test_defaults_lie_within_their_own_limits(tables, tmp_path):
    for r in tables["config"]:
        done = run_o3("check-config", f"--{r['key']}={r['default']}", cwd=tmp_path) if r["default"] else None
        assert done is None or done.returncode == 0, (r["key"], done)


def test_help_leads_to_every_key(tables):
    assert "o3 config dump --origin" in run_o3("serve", "--help").stdout
    dump = yaml.safe_load(run_o3("config", "dump", "--origin").stdout)
    assert {k for k, _ in flatten(dump)} == {r["key"] for r in tables["config"]}
    example = run_o3("config", "example").stdout
    assert not [r["key"] for r in tables["config"] if r["help"] not in example]


def test_live_metrics_are_in_the_table(start, simulator, tables):
    sidecar = start(Sidecar, simulator.url, {**FAST, "drift.baseline_samples": 8, "probe.prefill_interval": "2s"})
    sidecar.wait_metric("o3_baseline_value", model=MODEL, signal="decode_rate")
    wanted = {"o3_ollama_up", "o3_ollama_info", "o3_model_loaded", "o3_model_info", "o3_model_context_tokens", "o3_probe_success",
              "o3_probe_decode_tokens_per_second", "o3_probe_prefill_tokens_per_second", "o3_probe_busy_seconds_total",
              "o3_probe_interval_seconds", "o3_baseline_value", "o3_drift_detected", "o3_stability_ratio", "o3_preset_context_tokens",
              "o3_preset_writes_total", "o3_build_info", "o3_config_last_reload_successful", "o3_store_up", "process_open_fds"}
    missing = lambda metrics: wanted - {s.name for s in metrics.samples}
    with contextlib.suppress(AssertionError):  # what is missing for good is named below
        harness.wait_for("what needs no incident", lambda: not missing(sidecar.metrics()))
    metrics, known = sidecar.metrics(), known_metrics(tables)
    assert not missing(metrics)
    for f in metrics.families:
        for s in f.samples:
            assert s.name in known, s.name
            row = known[s.name]
            assert row["scope"] == "now", f"{s.name} is filled but its row says it is not"
            labels = {k: v for k, v in s.labels.items() if k != "le"}
            allowed = {l["name"]: l["values"] for l in row["labels"]}
            assert set(labels) == set(allowed), s
            for label, value in labels.items():
                assert allowed[label] is None or value in allowed[label], (s.name, label, value)
            assert f.documentation == row["help"], s.name
    per_model = [s for s in metrics.samples if s.labels.get("model") == MODEL]
    assert len(per_model) <= 300


def test_log_lines_name_known_events_with_their_fields(start, simulator, tables):
    sidecar = start(Sidecar, simulator.url, {**FAST, "log.format": "json", "drift.baseline_samples": 8})
    sidecar.wait_metric("o3_baseline_value", model=MODEL, signal="decode_rate")
    assert sidecar.stop() == 0
    known = {e["name"]: e for e in tables["events"]}
    lines = [json.loads(line) for line in sidecar.log.splitlines()]
    assert {"started", "ollama_up", "model_loaded", "probe_done", "baseline_set", "stopped"} <= {l["event"] for l in lines}
    for line in lines:
        row = known[line["event"]]
        assert line["level"] == row["level"], line
        assert set(row["fields"]) <= set(line), line
