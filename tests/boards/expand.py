# SPDX-License-Identifier: Apache-2.0
"""What Grafana does with a dashboard before it asks Prometheus: panels, targets, variables, annotations with their variables filled in."""

import json
import re

import harness

FOLDER = harness.ROOT / "dashboards"
FILES = ("o3-fleet.json", "o3-model.json", "o3-explorer.json")
# Grafana's $__rate_interval at a scrape interval of 1 s would be 4 s or more; probes of this world come every second.
RATE_INTERVAL_S = 15


def load(name):
    return json.loads((FOLDER / name).read_text())


def all_panels(board):
    """Panels that show something, those of collapsed rows, too."""
    for panel in board["panels"]:
        if panel["type"] != "row":
            yield panel
        yield from panel.get("panels", ())


def targets(board):
    for panel in all_panels(board):
        for target in panel["targets"]:
            yield panel, target


def prometheus_annotations(board):
    return [a for a in board["annotations"]["list"] if "builtIn" not in a]


def query_variables(board):
    return [v for v in board["templating"]["list"] if v["type"] == "query"]


def expressions(board):
    """(where, expression) of everything that is asked."""
    for panel, target in targets(board):
        yield f"{panel['title']} {target['refId']}", target["expr"]
    for a in prometheus_annotations(board):
        yield f"annotation {a['name']}", a["target"]["expr"]
    for v in query_variables(board):
        yield f"variable {v['name']}", v["query"]["query"]


def fill(text, range_s, values=None):
    """Variables as Grafana fills them in: `All` is the allValue."""
    known = {"job": ".+", "instance": ".+", "model": ".+", "signal": ".+", "__rate_interval": f"{RATE_INTERVAL_S}s", "__range": f"{round(range_s)}s",
             "__interval": "5s", **(values or {})}
    filled = re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda m: known.get(m[1] or m[2], m[0]), text)
    # What the expression itself escapes as $1 belongs to label_replace.
    left = [v for v in re.findall(r"\$\{?\w+", filled) if not re.fullmatch(r"\$\{?\d+", v)]
    assert not left, f"unknown variables {left} in {text}"
    return filled


def label_values(ask):
    """(matcher or "", label) of label_values(matcher, label)."""
    found = re.fullmatch(r"label_values\((?:(.*),\s*)?(\w+)\)", ask)
    assert found, ask
    return found[1] or "", found[2]
