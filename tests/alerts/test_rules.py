# SPDX-License-Identifier: Apache-2.0
"""The rules as files: promtool's word, what each alert must carry, that each is tested, and where it is routed."""

import json
import re
import subprocess

import pytest
import yaml

from alerts.live import ALERTS, program
from harness import ROOT, run_o3

RULES = yaml.safe_load((ALERTS / "o3.rules.yaml").read_text())
ALL = [r for g in RULES["groups"] for r in g["rules"]]
BY_NAME = {r["alert"]: r for r in ALL if "alert" in r}
RECORDED = {r["record"] for r in ALL if "record" in r}
TESTS = sorted((ALERTS / "tests").glob("*.yaml"))
RUNBOOKS = (ALERTS / "RUNBOOKS.md").read_text()
RECEIVERS = {"critical": "pager", "warning": "tickets", "info": "notes"}


def run(*argv):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def entries():
    return [t for path in TESTS for t in yaml.safe_load(path.read_text())["tests"]]


def test_promtool_accepts_the_rules():
    run(program("promtool"), "check", "rules", "--lint=all", "--lint-fatal", ALERTS / "o3.rules.yaml")


@pytest.mark.parametrize("path", TESTS, ids=lambda p: p.name)
def test_promtool_passes_the_tests(path):
    run(program("promtool"), "test", "rules", path)


@pytest.mark.parametrize("name", BY_NAME)
def test_each_alert_is_tested(name):
    """It fires and ends, is silent just under its limit and over a scrape gap."""
    mine = {t["name"].removeprefix(name + ": "): t for t in entries() if t["name"].startswith(name + ": ")}
    checks = lambda case: [bool(c["exp_alerts"]) for c in mine[case]["alert_rule_test"] if c["alertname"] == name]
    fires = checks("fires and resolves")
    assert fires[0] is False and True in fires and fires[-1] is False, "silent, firing, silent"
    for case in ("silent just under", "silent over a scrape gap"):
        assert checks(case) and not any(checks(case)), case
    gap = mine["silent over a scrape gap"]["input_series"]
    # Of a target that does not answer every series ends but `up`.
    assert any("stale" in s["values"] for s in gap)
    for t in mine.values():
        assert t["alert_rule_test"], t["name"]


@pytest.mark.parametrize("expr, cases", [("vector(0) > 1", ("fires and resolves",)), ("vector(1)", ("silent just under", "silent over a scrape gap"))],
                         ids=["an alert that never fires", "an alert that always fires"])
def test_each_case_can_fail(tmp_path, expr, cases):
    """With rules that are wrong for certain every case of every alert fails."""
    spoiled = lambda r: {"alert": r["alert"], "expr": expr, "labels": r["labels"]}
    wrong = {"groups": [{**g, "rules": [spoiled(r) for r in g["rules"] if "alert" in r]} for g in RULES["groups"]]}
    (tmp_path / "o3.rules.yaml").write_text(yaml.safe_dump(wrong))
    (tmp_path / "tests").mkdir()
    said = ""
    for path in TESTS:
        copy = tmp_path / "tests" / path.name
        copy.write_text(path.read_text())
        done = subprocess.run([program("promtool"), "test", "rules", copy], capture_output=True, text=True, timeout=120)
        assert done.returncode == 1, path
        said += done.stdout + done.stderr
    assert [f"{name}: {case}" for name in BY_NAME for case in cases if f"{name}: {case}," not in said] == []


def test_expectations_are_whole():
    for t in entries():
        for check in t["alert_rule_test"]:
            assert check["alertname"] in BY_NAME, t["name"]
            for expected in check["exp_alerts"]:
                assert set(expected["exp_annotations"]) == set(BY_NAME[check["alertname"]]["annotations"]), t["name"]
                assert not re.search(r"<error|<no value>|%!|\{\{", str(expected["exp_annotations"])), t["name"]


def test_stale_probes_are_silent_for_every_reason_of_a_pause():
    tables = json.loads(run_o3("tables", "--json").stdout)
    metric = next(m for m in tables["metrics"] if m["name"] == "o3_probe_paused")
    reasons = next(l["values"] for l in metric["labels"] if l["name"] == "reason")
    tested = {t["name"].removeprefix("O3ProbeStale: silent while paused, ") for t in entries() if "silent while paused" in t["name"]}
    assert tested == set(reasons)


@pytest.mark.parametrize("name", BY_NAME)
def test_annotations(name):
    rule = BY_NAME[name]
    a = rule["annotations"]
    assert set(rule["labels"]) == {"severity"} and rule["labels"]["severity"] in RECEIVERS
    assert set(a) == {"summary", "description", "runbook_url", "dashboard_url"}
    assert "{{" not in a["summary"], "a summary has no changing parts"
    assert "{{ $labels." in a["description"] and not re.search(r"\{\{ \$value \}\}", a["description"])
    assert a["runbook_url"] == f"alerts/RUNBOOKS.md#{name.lower()}"
    uid = re.match(r"/d/(o3-\w+)\?", a["dashboard_url"])[1]
    boards = {json.loads(p.read_text())["uid"] for p in (ROOT / "dashboards").glob("*.json")}
    assert uid in (boards or {"o3-fleet", "o3-model", "o3-explorer"})


def test_each_alert_has_a_runbook():
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", RUNBOOKS, re.M | re.S))
    assert set(sections) == set(BY_NAME)
    for name, text in sections.items():
        parts = re.findall(r"^\*\*(\w+)\.\*\*", text, re.M)
        assert parts == ["Meaning", "Impact", "Diagnosis", "Mitigation"], name
        assert re.search(r"\*\*Diagnosis\.\*\*\n\n```\n\S", text), f"{name}: no commands"
    anchors = {name.lower() for name in sections}
    assert set(re.findall(r"\]\(#(\w+)\)", RUNBOOKS)) <= anchors
    assert {m for m in re.findall(r"\[(O3\w+)\]", RUNBOOKS)} <= set(BY_NAME)


def test_runbooks_name_the_severities():
    for line in re.findall(r"^\| \[O3.*$", RUNBOOKS, re.M):
        cells = [c.strip() for c in line.strip("|").split("|")]
        for name in re.findall(r"\[(\w+)\]", cells[0]):
            assert BY_NAME[name]["labels"]["severity"] == cells[1], name
    assert set(re.findall(r"\[(O3\w+)\]\(#\w+\)(?=[^\n]*\| (?:critical|warning|info) )", RUNBOOKS)) == set(BY_NAME)


def test_only_exported_metrics():
    tables = json.loads(run_o3("tables", "--json").stdout)
    metrics = {m["name"]: m for m in tables["metrics"]}
    for rule in ALL:
        text = rule["expr"]
        for recorded in re.findall(r"instance_\w+:\w+:\w+", text):
            assert recorded in RECORDED
        for name, matchers in re.findall(r"\b(?<![:\w])(o3_\w+|process_\w+)(?!\w*:)(\{[^}]*\})?", text):
            metric = metrics.get(name) or metrics[re.sub("_(bucket|sum|count)$", "", name)]
            assert metric["scope"] == "now", name
            if metric["kind"] == "counter":
                assert f"increase({name}" in text, f"{name} is read by itself"
            closed = {l["name"]: l["values"] for l in metric["labels"]}
            for label, value in re.findall(r'(\w+)[=!]~?"([^"]*)"', matchers):
                for one in re.split(r"[|]", re.sub(r"[()?]", "", value)) if closed.get(label) else []:
                    assert one in closed[label], f"{name}: {label}={one}"
    for recorded in RECORDED:
        assert any(recorded in r["expr"] for r in BY_NAME.values()), f"{recorded} is not used"


def test_alertmanager_example():
    amtool, config = program("amtool"), ALERTS / "alertmanager.yaml"
    run(amtool, "check-config", config)
    for name, rule in BY_NAME.items():
        severity = rule["labels"]["severity"]
        out = run(amtool, "config", "routes", "test", f"--config.file={config}", f"--verify.receivers={RECEIVERS[severity]}",
                  f"alertname={name}", f"severity={severity}", "job=o3", "instance=a:21434")
        assert out.strip() == RECEIVERS[severity]
        wrong = subprocess.run([amtool, "config", "routes", "test", f"--config.file={config}", "--verify.receivers=nobody", f"alertname={name}"],
                               capture_output=True, timeout=120)
        assert wrong.returncode != 0, "another receiver would be noticed"
    # An alert of somebody else is a ticket.
    assert run(amtool, "config", "routes", "test", f"--config.file={config}", "alertname=Other", "severity=critical").strip() == "tickets"


def test_inhibitions_name_alerts():
    rules = yaml.safe_load((ALERTS / "alertmanager.yaml").read_text())["inhibit_rules"]
    for rule in rules:
        for side in ("source_matchers", "target_matchers"):
            pattern = re.fullmatch(r'alertname =~? "(.*)"', rule[side][0])[1]
            names = [n for n in BY_NAME if re.fullmatch(pattern, n)]
            assert len(names) >= (2 if "|" in pattern else 1), pattern
            stem, alternatives = re.match(r"(O3)\(?([^)]*)\)?", pattern).groups()
            for one in alternatives.split("|"):
                assert any(re.fullmatch(stem + one, n) for n in BY_NAME), f"{stem + one} is no alert"
            if "model" in rule["equal"]:
                assert all("var-model" in BY_NAME[n]["annotations"]["dashboard_url"] for n in names), "each has the label"
