# SPDX-License-Identifier: Apache-2.0
"""Every alert in a real Prometheus and a real Alertmanager: trouble is induced, the right alert is pending, fires, reaches the right
receiver, holds back what follows from it, and the cure resolves it. The stories play at the same time, a few at once."""

import concurrent.futures

import pytest
import yaml

from alerts import stories_drift, stories_ollama, stories_presets, stories_sidecar, stories_web
from alerts.live import ALERTS, CONTROL, Stage, Watch, broken_parts

# The longest first.
STORIES = [*stories_drift.ALL, *stories_ollama.ALL, *stories_web.ALL, *stories_sidecar.ALL, *stories_presets.ALL]
AT_ONCE = 12


def play(story, folder, watch):
    folder.mkdir()
    stage = Stage(folder, watch)
    with stage.processes:
        story(stage)


@pytest.fixture(scope="module")
def watch(tmp_path_factory):
    watch = Watch(tmp_path_factory.mktemp("watch"))
    yield watch
    watch.close()


@pytest.fixture(scope="module")
def played(watch, tmp_path_factory):
    """{story: its future}"""
    folder = tmp_path_factory.mktemp("stories")
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        yield {story: pool.submit(play, story, folder / story.__name__, watch) for story in STORIES}


def alert_names():
    rules = yaml.safe_load((ALERTS / "o3.rules.yaml").read_text())
    return {r["alert"] for g in rules["groups"] for r in g["rules"] if "alert" in r}


@pytest.mark.timeout(800)
@pytest.mark.parametrize("story", STORIES, ids=lambda s: s.__name__)
def test_story(played, story):
    played[story].result()


@pytest.mark.timeout(800)
def test_every_alert_went_all_the_way(played, watch):
    concurrent.futures.wait(played.values())
    names = alert_names()
    assert names - watch.told_of == set(), "never reached Alertmanager"
    assert names - watch.resolved == set(), "were never resolved"


@pytest.mark.timeout(800)
def test_templates_were_filled_in(played, watch):
    """In everything that the receivers got; the one alert that is made to fail shows that this would be seen."""
    concurrent.futures.wait(played.values())
    got = [(labels["alertname"], annotations) for _, _, labels, annotations in watch.receiver.got]
    assert any(broken_parts(a["description"]) for name, a in got if name == CONTROL["alert"])
    ours = [(name, a) for name, a in got if name in alert_names()]
    assert ours and [(name, text) for name, a in ours for text in a.values() if broken_parts(text)] == []
