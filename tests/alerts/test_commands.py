# SPDX-License-Identifier: Apache-2.0
"""The commands of the runbooks, the READMEs and the chart's notes are those that the program has: somebody types them in the night."""

import json
import re
import shlex
import subprocess

import pytest

import harness
from harness import FAST, ROOT, Sidecar, Simulator, run_o3

PAGES = {name: (ROOT / name).read_text() for name in ("alerts/RUNBOOKS.md", "README.md", "helm/o3-sidecar/README.md", "helm/o3-sidecar/templates/NOTES.txt")}
RUNBOOKS = PAGES["alerts/RUNBOOKS.md"]
MODEL = Simulator.MODEL
# Never in the store: what is told for each probe, and what only a log can tell.
UNSTORED = {"probe_failed", "probe_done", "store_failed"}


def code(text):
    """Lines of code blocks, without their comments, and what stands in backticks; of the notes, which are plain text, the indented ones."""
    if "```" not in text:
        return [re.sub(r"\{\{.*?\}\}", "X", line.strip()) for line in text.splitlines() if line.startswith("  ")]
    blocks = re.findall(r"^```\w*\n(.*?)^```$", text, re.M | re.S)
    lines = [re.sub(r"\s+# .*$", "", line) for block in blocks for line in block.splitlines()]
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    return [line for line in lines if line] + re.findall(r"`([^`\n]+)`", prose)


@pytest.fixture(scope="module")
def tables():
    return json.loads(run_o3("tables", "--json").stdout)


def names_of(tables):
    """Of the metrics, as they stand in the text format."""
    ends = {"histogram": ("_bucket", "_sum", "_count")}
    return {m["name"] + end for m in tables["metrics"] for end in ends.get(m["kind"], ("",))} | {m["name"] for m in tables["metrics"]}


def commands(text):
    """[command, argument ...] of each `o3 COMMAND ...`, also behind "--", a pipe or in a sub-shell."""
    found = []
    for line in code(text):
        for said in re.findall(r"(?:^|-- |\| |; |&& |\()(?:STATE_DIRECTORY=\S+ )?o3 ([a-z][^|;&()#]*)", line):
            found.append(shlex.split(said.replace("[", "").replace("]", ""), posix=True))
    return found


@pytest.mark.parametrize("page", PAGES)
def test_programs_and_flags_exist(page, tables):
    keys = {row["key"] for row in tables["config"]} | {"config.file", "web.config.file"}
    known = set(re.findall(r"^  ([a-z-]+)  ", run_o3("--help").stdout, re.M))
    found = [words for words in commands(PAGES[page]) if words[0] != "helm/o3-sidecar"]
    assert found or "helm" in page
    for words in found:
        assert words[0] in known, words
        told = run_o3(words[0], "--help").stdout
        for flag in (word for word in words[1:] if re.fullmatch(r"--?[a-z].*", word)):
            name = flag.lstrip("-").split("=")[0]
            assert name in keys if "." in name else re.search(rf"(?<![\w-]){re.escape(flag.split('=')[0])}(?![\w-])", told), (words, flag)


def asked(text):
    """(method, path, query) of the sidecar's own addresses; those of a Prometheus are not."""
    for line in code(text):
        if "PROMETHEUS" in line or "$OLLAMA" in line:
            continue
        for path, query in re.findall(r"(?<![\w.])(?:\$O3|\w+://127\.0\.0\.1:\w+)?(/api/v1/\w+|/-/\w+|/metrics|/config)\b(?:\?([\w=&$.]*))?(?![/\w])", line):
            yield "POST" if "POST" in line else "GET", path, query


def test_pages_exist(start):
    taken = set(re.findall(r'o3_request_query\(rq, "(\w+)"\)', "".join(p.read_text() for p in (ROOT / "src/app").glob("*.c"))))
    sidecar = start(Sidecar, "http://127.0.0.1:9", {"web.token": "token-of-the-test"})
    found = {(page, *what) for page, text in PAGES.items() for what in asked(text)}
    assert {path for page, _, path, _ in found if page == "alerts/RUNBOOKS.md"} >= {"/api/v1/events", "/api/v1/samples", "/api/v1/status", "/metrics", "/-/reload"}
    for page, method, path, query in sorted(found):
        reply = sidecar.request(method, path)
        assert reply.status_code != 405 and "no such page" not in reply.text, (page, method, path)
        assert set(re.findall(r"(\w+)=", query)) <= taken, (page, path, query)


def test_what_changes_something_names_the_token():
    for page, text in PAGES.items():
        for line in code(text):
            if "curl" in line and "-X POST" in line:
                assert "Authorization: Bearer" in line, (page, line)


def test_metrics_and_patterns_exist(tables):
    names = names_of(tables)
    patterns = [said.strip("\"'") for line in code(RUNBOOKS) for said in re.findall(r"/metrics \| grep (?:-E )?(\"[^\"]*\"|\S+)", line)]
    assert len(patterns) > 10
    for pattern in patterns:
        parts = [pattern] if "(" in pattern else pattern.split("|")
        group = re.search(r"\(([^()]*)\)(?!\?)", pattern)
        if group:  # each word of o3_probe_(a|b) by itself
            parts = [pattern.replace(group[0], word) for word in group[1].split("|")]
        for part in parts:
            assert [name for name in names if re.search(part, name)], (pattern, part)
    prose = re.sub(r"^```.*?^```$", "", RUNBOOKS, flags=re.M | re.S)
    named = set(re.findall(r"\bo3_[a-z0-9_]+\b", prose)) | {n for line in code(RUNBOOKS) if "promtool" in line for n in re.findall(r"\bo3_\w+", line)}
    assert named - names == {"o3_results"}


def test_events_exist_and_are_stored(tables):
    known = {event["name"]: event["level"] for event in tables["events"]}
    asked_for = {name for page in PAGES.values() for line in code(page) for name in re.findall(r"/api/v1/events\?name=(\w+)", line)}
    assert asked_for and asked_for <= set(known) - UNSTORED and not [n for n in asked_for if known[n] == "debug"]
    logged = {name for line in code(RUNBOOKS) if "logs POD -c o3 " in line for pattern in re.findall(r'grep -E "([^"]+)"', line) for name in pattern.split("|")}
    assert logged and logged <= set(known), logged - set(known)
    # The list is newest first and long: what is meant is asked for by name.
    assert not re.search(r"/api/v1/events[^|\n]*\| *(grep|tail)", RUNBOOKS)


def lines_of(alert):
    section = re.search(rf"^## {alert}\n(.*?)(?=^## |\Z)", RUNBOOKS, re.M | re.S)[1]
    return code(section)


def address(line, sidecar):
    said = re.search(r"\$O3(/[^\s\"|]*)", line)[1]
    return sidecar.get(said.replace("$MODEL", MODEL))


def test_failed_probes_are_told_as_the_runbook_says(start, simulator, broken):
    server = broken(paths={"/api/generate": "error_500"}, upstream_port=simulator.port)
    sidecar = start(Sidecar, server.url, FAST)
    sidecar.wait_sum("o3_probes_total", 2, result="http_error")
    (line,) = [line for line in lines_of("O3TokensStopped") if "/api/v1/samples" in line]
    samples = address(line, sidecar).json()["samples"]
    assert 2 <= len(samples) <= 5 and [s["wall_ms"] for s in samples] == sorted(s["wall_ms"] for s in samples) and "newest last" in RUNBOOKS
    assert sidecar.json(f"/api/v1/samples?model={MODEL}&limit=1")["samples"][0]["wall_ms"] >= samples[-1]["wall_ms"]
    failed = next(s for s in samples if s["outcome"] == "http_error")
    assert failed["http_status"] == 500 and "llama-server process has terminated" in failed["detail"]
    assert "outcome, http_status, detail" in RUNBOOKS
    events = sidecar.json("/api/v1/events")["events"]
    assert len(events) > 2 and [e["time"] for e in events] == sorted((e["time"] for e in events), reverse=True)
    assert not [e for e in events if e["event"] == "probe_failed"]


def test_the_rest_answers_as_the_runbooks_say(start, simulator):
    sidecar = start(Sidecar, simulator.url, {**FAST, "web.token": "token-of-the-test"})
    status = sidecar.json("/api/v1/status")
    assert {"ollama_error", "publishing", "probing"} <= set(status)
    (line,) = [line for line in lines_of("O3ProbeBudgetExhausted") if "/config" in line]
    shown = subprocess.run(["bash", "-c", line.split("|", 1)[1]], input=address(line, sidecar).text, capture_output=True, text=True, check=True).stdout
    assert "  max_tokens_per_day: 0 # file" in shown and "  interval: 1s # file" in shown
    (line,) = {line for line in code(RUNBOOKS) if "-X POST" in line and "/-/reload" in line}
    header = re.search(r'"Authorization: (Bearer) \$TOKEN"', line)[1]
    assert sidecar.request("POST", "/-/reload", headers={"Authorization": f"{header} token-of-the-test"}).status_code == 200
    # As it runs in a container and beside the package: by the configuration's folder, or named.
    for args in (["--config.file", sidecar.config_path], ["--results.path", sidecar.results]):
        harness.wait_for("history", lambda: MODEL in run_o3("history", MODEL, *args).stdout, 60, 0.5)
        assert run_o3("preset", "list", *args).returncode == 0
