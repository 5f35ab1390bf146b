# SPDX-License-Identifier: Apache-2.0
"""What can be said of the dashboards without a server: completeness, places, units, names of metrics and their kinds."""

import importlib.util
import itertools
import json
import pathlib
import re
import shutil
import subprocess
import tarfile
import tempfile

import pytest

import expand
import harness
from expand import FILES, all_panels, load

HERE = harness.ROOT / "tests/boards"
GRAFANA = "13.2.3"
BY_PROMETHEUS = {"up", "scrape_duration_seconds"}  # made by Prometheus itself for every target
# Exported and explained in src/doc/metrics.md, without a panel.
WITHOUT_PANEL = set()
KINDS = {"stat", "timeseries", "table", "state-timeline", "heatmap"}
PARAGRAPHS = re.compile(r"\A[^\n]{15,}\n\nGood: [^\n]+\.\n\nOtherwise: [^\n]+[.?]\Z")

boards = pytest.mark.parametrize("name", FILES)


@pytest.fixture(scope="module")
def metrics():
    done = harness.run_o3("tables", "--json")
    assert done.returncode == 0, done
    return {m["name"]: m for m in json.loads(done.stdout)["metrics"]}


def run_npm(*args, cwd):
    if not shutil.which("npm") or not shutil.which("node"):
        pytest.fail("node and npm are missing; ./dev test installs them")
    done = subprocess.run(["npm", *args], cwd=cwd, capture_output=True, text=True, timeout=240,
                          env=harness.clean_environment(harness.PROXIES))
    assert done.returncode == 0, done.stdout + done.stderr


def row_of(name, metrics):
    """The row of the table behind a sample's name."""
    return metrics.get(name) or next((metrics[name.removesuffix(s)] for s in ("_bucket", "_sum", "_count")
                                      if name.endswith(s) and metrics.get(name.removesuffix(s), {}).get("kind") == "histogram"), None)


def selectors(expression):
    """(metric, text between its braces) of each selector; every one of ours has braces."""
    return re.findall(r"\b((?:o3|process|scrape)_\w+|up)\{([^}]*)\}", expression)


def names(expression):
    """Every metric that is named, with braces or without (a typo of one of ours has no other shape)."""
    return set(re.findall(r"\b(?:o3|process|scrape)_\w+\b|\bup\b(?=\{)", expression))


# ---- D1 -------------------------------------------------------------------------------------------------------------


def test_files_are_what_their_source_makes():
    spec = importlib.util.spec_from_file_location("make_boards", expand.FOLDER / "src/make_boards.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.boards()
    assert sorted(made) == sorted(FILES) == sorted(p.name for p in expand.FOLDER.glob("*.json"))
    for name, text in made.items():
        assert (expand.FOLDER / name).read_text() == text, f"dashboards/{name} is stale: python3 dashboards/src/make_boards.py"


def test_identity_is_unique():
    uids = [load(name)["uid"] for name in FILES]
    assert uids == [name.removesuffix(".json") for name in FILES]
    assert len(set(load(name)["title"] for name in FILES)) == len(FILES)


@boards
def test_frame(name):
    board = load(name)
    assert "id" not in board and "__inputs" not in board and len(board["uid"]) <= 40
    assert 39 <= board["schemaVersion"] <= 42 and board["editable"] is False
    assert {"o3", "ollama"} <= set(board["tags"]) and board["graphTooltip"] == 1
    assert int(board["refresh"].removesuffix("s")) >= 30 and board["time"] == {"from": "now-6h", "to": "now"}
    assert board["description"]


def overlap(a, b):
    return a["x"] < b["x"] + b["w"] and b["x"] < a["x"] + a["w"] and a["y"] < b["y"] + b["h"] and b["y"] < a["y"] + a["h"]


@boards
def test_places(name):
    board = load(name)
    ids = [p["id"] for p in board["panels"]] + [q["id"] for p in board["panels"] for q in p.get("panels", ())]
    assert len(ids) == len(set(ids))
    for level in (board["panels"], *(p["panels"] for p in board["panels"] if p.get("collapsed"))):
        for panel in level:
            g = panel["gridPos"]
            assert 0 <= g["x"] and g["w"] >= 1 and g["x"] + g["w"] <= 24 and g["h"] >= 1 and g["y"] >= 0, panel["title"]
        for a, b in itertools.combinations(level, 2):
            assert not overlap(a["gridPos"], b["gridPos"]), (a["title"], b["title"])
    assert board["panels"][0]["type"] == "row" and board["panels"][0]["title"] == "Verdict"
    titles = [p["title"] for p in all_panels(board)]
    assert len(titles) == len(set(titles)) or name == "o3-model.json", [t for t in titles if titles.count(t) > 1]


# ---- D2 -------------------------------------------------------------------------------------------------------------


@boards
def test_variables(name):
    listed = load(name)["templating"]["list"]
    sources = [v for v in listed if v["type"] == "datasource"]
    assert [(v["name"], v["label"], v["query"]) for v in sources] == [("datasource", "Data Source", "prometheus")]
    asked = {v["name"]: v for v in expand.query_variables(load(name))}
    assert set(asked) >= {"job", "instance", "model"}
    for v in asked.values():
        assert v["multi"] and v["includeAll"] and v["allValue"] == ".+" and v["refresh"] == 2 and v["label"]
        assert v["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


@boards
def test_every_panel_is_complete(name):
    for panel in all_panels(load(name)):
        title, defaults = panel["title"], panel["fieldConfig"]["defaults"]
        assert panel["type"] in KINDS, title
        assert title and title[0].isupper() and not title.endswith("."), title
        assert PARAGRAPHS.match(panel["description"]), (title, panel["description"])
        assert defaults["unit"], title
        first = defaults["thresholds"]["steps"][0]
        assert first["value"] is None and first["color"], title
        values = [s["value"] for s in defaults["thresholds"]["steps"][1:]]
        assert values == sorted(values), title
        assert panel["type"] != "stat" or values or defaults.get("mappings") or defaults["unit"] == "s", f"{title}: no limit"
        assert panel["datasource"]["uid"] == "${datasource}" and panel["targets"], title
        assert [t["refId"] for t in panel["targets"]] == list("ABCDEFGH"[: len(panel["targets"])]), title
        assert all(t["datasource"]["uid"] == "${datasource}" and t["legendFormat"] for t in panel["targets"]), title


def data_sources(node):
    """Of panels, targets, variables and annotations, but for the annotations that Grafana keeps itself."""
    if isinstance(node, dict):
        if "datasource" in node and "builtIn" not in node:
            yield node["datasource"]
        node = list(node.values())
    if isinstance(node, list):
        for one in node:
            yield from data_sources(one)


@boards
def test_one_data_source(name):
    found = list(data_sources(load(name)))
    assert len(found) > 100 and all(d == {"type": "prometheus", "uid": "${datasource}"} for d in found)


@boards
def test_every_selector_is_of_the_chosen_ones(name):
    for where, expression in expand.expressions(load(name)):
        if where in ("variable job", "variable instance"):
            continue
        found = selectors(expression)
        assert found and {m for m, _ in found} == names(expression), (where, expression)
        for metric, inside in found:
            assert 'job=~"$job"' in inside and 'instance=~"$instance"' in inside, (where, metric)


@boards
def test_rates_follow_the_range(name):
    for panel, target in expand.targets(load(name)):
        for function, window in re.findall(r"\b(rate|increase|changes|last_over_time)\([^\[\]]*\[([^\]]+)\]", target["expr"]):
            # Probes are a minute or more apart: ten minutes hold what a quantile needs.
            fixed = {"10m", "1h"} if function == "rate" and "_seconds_" in target["expr"] else set()
            assert window in {"$__rate_interval", "$__range"} | fixed, (panel["title"], function, window)


@boards
def test_stats_and_tables_ask_for_now(name):
    for panel, target in expand.targets(load(name)):
        wanted = panel["type"] in ("stat", "table")
        assert bool(target.get("instant")) == wanted and target["range"] != wanted, panel["title"]


def units_of(board):
    for panel in all_panels(board):
        yield panel["fieldConfig"]["defaults"]["unit"]
        for o in panel["fieldConfig"]["overrides"]:
            yield from (p["value"] for p in o["properties"] if p["id"] == "unit")


@pytest.fixture(scope="module")
def grafana_units():
    """The ids in the file of @grafana/data that lists them."""
    folder = harness.ROOT / "build/js-units"
    package = folder / f"grafana-data-{GRAFANA}.tgz"
    if not package.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as work:
            run_npm("pack", "--silent", f"@grafana/data@{GRAFANA}", cwd=work)
            (pathlib.Path(work) / package.name).rename(package)
    with tarfile.open(package) as archive:
        text = archive.extractfile("package/dist/esm/valueFormats/categories.mjs").read().decode()
    ids = re.findall(r'\bid: "([^"]*)"', text)
    assert len(ids) == len(set(ids)) == 273
    return set(ids)


def test_units_are_grafanas(grafana_units):
    for name in FILES:
        for unit in units_of(load(name)):
            assert unit in grafana_units or re.fullmatch(r"suffix: (tok(/[sd])?|cores)", unit), (name, unit)


# ---- D3 -------------------------------------------------------------------------------------------------------------


def install(folder):
    source = HERE / "js"
    pins = (source / "package-lock.json").read_text()
    stamp = folder / "o3-installed"
    if stamp.exists() and stamp.read_text() == pins:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(source / name, folder)
    run_npm("ci", "--no-audit", "--no-fund", "--ignore-scripts", cwd=folder)
    stamp.write_text(pins)


# JSON has the values of an enumeration, not its names.
PLAIN_TYPES = """import type { Dashboard } from '@grafana/schema';
type Plain<T> = T extends string ? `${T}` : T extends (infer U)[] ? Plain<U>[] : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;
"""


def compile_board(folder, board):
    """Annotations carry what the Prometheus data source reads of them, which Grafana's type of an annotation does not know."""
    foreign = {"expr", "step", "titleFormat", "textFormat", "tagKeys", "useValueForTime", "target"}
    checked = {**board, "annotations": {"list": [{k: v for k, v in a.items() if k not in foreign} for a in board["annotations"]["list"]]}}
    (folder / "board.ts").write_text(
        PLAIN_TYPES + "export const board = " + json.dumps(checked) + " satisfies Plain<Dashboard>;\n")
    argv = [folder / "node_modules/.bin/tsc", "--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext", "board.ts"]
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=120)


def test_types_are_grafanas():
    folder = harness.ROOT / "build/js-boards"
    install(folder)
    for name in FILES:
        done = compile_board(folder, load(name))
        assert done.returncode == 0, (name, done.stdout[:3000])
    wrong = compile_board(folder, {**load(FILES[0]), "schemaVersion": "41"})
    assert wrong.returncode != 0 and "Type 'string' is not assignable to type 'number'" in wrong.stdout


# ---- D5 -------------------------------------------------------------------------------------------------------------


@boards
def test_metrics_exist_with_their_labels_and_kinds(name, metrics):
    for where, expression in expand.expressions(load(name)):
        for metric, inside in selectors(expression):
            if metric in BY_PROMETHEUS:
                continue
            row = row_of(metric, metrics)
            assert row, f"{where}: no such metric {metric}"
            assert row["scope"] == "now", f"{where}: {metric} is not filled by this version"
            allowed = {label["name"]: label["values"] for label in row["labels"]}
            for label, value in re.findall(r"(\w+)=~?\"([^\"]*)\"", inside):
                if label in ("job", "instance"):
                    continue
                assert label in allowed, f"{where}: {metric} has no label {label}"
                assert value.startswith("$") or allowed[label] is None or value in allowed[label], f"{where}: {metric} {label}={value}"
            # Each time that the name stands there, not only the first.
            callers = re.findall(rf"(?:\b(\w+)\()?(?<!\w){metric}\{{", expression)
            if row["kind"] in ("counter", "histogram"):
                # The mean of what happens once a day is that of all times, sum over count.
                allowed = {"rate", "increase"} | ({"last_over_time"} if metric.endswith(("_sum", "_count")) else set())
                assert set(callers) <= allowed, f"{where}: {metric} is a counter and needs a rate: {callers}"
            else:
                assert not {"rate", "increase"} & set(callers), f"{where}: {metric} is no counter"


def test_every_exported_metric_is_on_a_dashboard(metrics):
    used = {row_of(n, metrics)["name"] for name in FILES for _, e in expand.expressions(load(name)) for n in names(e) - BY_PROMETHEUS}
    missing = [n for n, m in metrics.items() if m["scope"] == "now" and n not in used | WITHOUT_PANEL]
    assert missing == []


def test_links_lead_to_dashboards_that_exist():
    for name in FILES:
        for uid in re.findall(r"/d/([\w-]+)", (expand.FOLDER / name).read_text()):
            assert f"{uid}.json" in FILES
        assert all("o3" in link["tags"] for link in load(name)["links"])
