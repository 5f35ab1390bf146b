# SPDX-License-Identifier: Apache-2.0
"""Every panel, variable and annotation asked of a real Prometheus that scraped sidecars through everything that happens to them."""

import math
import re
import shutil

import pytest

import expand
from expand import FILES, fill, load
from induced import MODEL, induced

STEP_S = 1


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    if not shutil.which("prometheus"):
        pytest.fail("prometheus is missing; ./dev test installs it")
    with induced(tmp_path_factory.mktemp("induced")) as world:
        yield world


def ask(world, expression, is_instant):
    """The series of an answer, each as its list of numbers; anything but a clean success fails."""
    filled = fill(expression, world.end - world.start)
    if is_instant:
        reply = world.prometheus.get("query", query=filled, time=world.end)
    else:
        reply = world.prometheus.get("query_range", query=filled, start=world.start, end=world.end, step=STEP_S)
    assert reply["status"] == "success", (filled, reply)
    assert not reply.get("warnings") and not reply.get("infos"), (filled, reply)
    return [(r["metric"], [float(v) for _, v in ([r["value"]] if is_instant else r["values"])]) for r in reply["data"]["result"]]


def complaint(world, expression, is_instant):
    """Why an answer shows nothing; None when it shows something."""
    series = ask(world, expression, is_instant)
    if not series:
        return "no series"
    empty = [labels for labels, values in series if all(math.isnan(v) for v in values)]
    return f"only NaN: {empty}" if empty else None


@pytest.mark.timeout(600)
def test_what_shows_nothing_is_seen(world):
    assert complaint(world, 'o3_no_such_metric{job=~"$job"}', True) == "no series"
    assert complaint(world, 'o3_ollama_up{job=~"$job", instance="nobody"}', False) == "no series"
    assert complaint(world, 'o3_ollama_up{job=~"$job"} * NaN', True).startswith("only NaN")
    with pytest.raises(AssertionError):
        complaint(world, "rate(o3_ollama_up", True)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", FILES)
def test_every_target_returns_data(world, name):
    """What asks for the last moment answers then, or where that is right to be empty (a baseline begun anew) earlier in the run."""
    asked, earlier, wrong = 0, 0, []
    for panel, target in expand.targets(load(name)):
        asked += 1
        why = complaint(world, target["expr"], target.get("instant", False))
        if why and target.get("instant"):
            why = complaint(world, target["expr"], False)
            earlier += not why
        if why:
            wrong.append(f"{panel['title']} {target['refId']}: {why}\n    {target['expr']}")
    print(f"measured: {name}: {asked - len(wrong)} of {asked} targets in {len(list(expand.all_panels(load(name))))} panels return data, {earlier} of them not at the end")
    assert not wrong, "\n".join(wrong)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", FILES)
def test_every_variable_has_values(world, name):
    for v in expand.query_variables(load(name)):
        matcher, label = expand.label_values(v["query"]["query"])
        reply = world.prometheus.series(fill(matcher, 1), world.start, world.end)
        assert reply["status"] == "success", reply
        values = {s[label] for s in reply["data"] if label in s}
        wanted = {"job": 2, "instance": 4, "model": 1}.get(v["name"], 3)
        assert len(values) >= wanted, (v["name"], values)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", FILES)
def test_every_annotation_has_events(world, name):
    for a in expand.prometheus_annotations(load(name)):
        series = ask(world, a["target"]["expr"], False)
        points = [v for _, values in series for v in values]
        if a["useValueForTime"]:
            marks = {v for v in points if 1000 * (world.start - 60) <= v <= 1000 * world.end}
        else:
            marks = [v for v in points if v > 0]
        assert marks, (a["name"], series)
        # What title and text name is there to be filled in.
        for label in re.findall(r"\{\{(\w+)\}\}", a["titleFormat"] + a["textFormat"]):
            assert all(label in labels for labels, _ in series), (a["name"], label)


@pytest.mark.timeout(600)
def test_the_verdict_tells_what_happened(world):
    """The first panel of the fleet saw the change and the outage; the tables name the model that changed."""
    fleet = load("o3-fleet.json")
    verdict = next(t for p, t in expand.targets(fleet) if p["title"] == "Verdict")
    seen = {v for _, values in ask(world, verdict["expr"], False) for v in values}
    assert {0, 2, 4} <= seen and max(seen) == 4, seen
    lowest = next(t for p, t in expand.targets(fleet) if p["title"] == "Lowest share on the GPU")
    assert {v for _, values in ask(world, lowest["expr"], False) for v in values} == {0, 1}
    decode = next(t for p, t in expand.targets(fleet) if p["title"] == "Decode rate against normal")
    assert min(v for _, values in ask(world, decode["expr"], False) for v in values) < -0.3
    models = next(t for p, t in expand.targets(fleet) if p["title"] == "Models")
    assert {labels["model"] for labels, _ in ask(world, models["expr"], True)} == {MODEL}
