# SPDX-License-Identifier: Apache-2.0
"""Two releases in one namespace, and what helm asks of the cluster before it installs."""

import pytest

import charts
from cases import BUNDLED, STANDALONE
from stand_in import api_server, presets_of


def template(url, name, values, major):
    return charts.helm("template", name, charts.CHART, "-n", "ollama", "--dry-run=server", "--disable-openapi-validation",
                       "--kube-apiserver", url, major=major,
                       values=values, check=False)


@pytest.mark.parametrize("major", charts.HELMS)
def test_second_release_is_told_to_take_another_name(major):
    with api_server(presets_of("first")) as url:
        done = template(url, "second", {}, major)
        assert done.returncode != 0
        assert "the ConfigMap o3-ai-configs belongs to the release first" in done.stderr
        assert "presets.configMap.name" in done.stderr and "presets.configMap.create=false" in done.stderr
        for values in ({"presets": {"configMap": {"name": "second-presets"}}}, {"presets": {"configMap": {"create": False}}}):
            assert template(url, "second", values, major).returncode == 0, values


@pytest.mark.parametrize("major", charts.HELMS)
def test_a_release_adopts_its_own_presets(major):
    """After an upgrade, or a new installation under the same name."""
    with api_server(presets_of("first")) as url:
        done = template(url, "first", {}, major)
        assert done.returncode == 0, done.stderr
        assert "data" not in charts.objects_of(done.stdout)["ConfigMap", "o3-ai-configs"]


@pytest.mark.parametrize("major", charts.HELMS)
def test_presets_that_nobody_owns_can_be_used(major):
    with api_server(presets_of(None)) as url:
        done = template(url, "first", {"presets": {"configMap": {"create": False}}}, major)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("values", [{}, BUNDLED, STANDALONE], ids=["attach", "bundled", "standalone"])
def test_names_of_two_releases_are_disjoint(values):
    whole = charts.merged(values, {"persistence": {"type": "pvc"}, "bundled": {"models": {"persistence": "pvc"}},
                                   "presets": {"starting": {"m.yaml": "model: m\n"}}, "podMonitor": {"enabled": True},
                                   "networkPolicy": {"enabled": True}, "prometheusRule": {"enabled": True},
                                   "grafanaDashboard": {"enabled": True}})
    first = charts.render(whole, name="first")
    second = charts.render(charts.merged(whole, {"presets": {"configMap": {"name": "second-presets"}}}), name="second")
    assert not set(first) & set(second)


def notes(url, values, major):
    """helm 3 asks the cluster for its version before it shows them."""
    done = charts.helm("install", "o3", charts.CHART, "-n", "ollama", "--dry-run=client", "--disable-openapi-validation", "--kube-apiserver", url, major=major, values=values)
    return done.stdout.split("\nNOTES:\n")[1]


@pytest.mark.parametrize("major", charts.HELMS)
def test_notes_say_what_to_do_next(major):
    with api_server() as url:
        attach = notes(url, {}, major)
        assert """get configmap o3-o3-sidecar-attach -o go-template='{{index .data "values.yaml"}}' > o3-values.yaml""" in attach
        assert "port-forward svc/o3-o3-sidecar 21434" in attach and "get configmap o3-ai-configs" in attach
        assert "WARNING: nothing tells Prometheus" in attach and "adopts it" in attach
        assert "able to pull o3-sidecar:" in attach
        assert "port-forward deploy/ollama" in notes(url, {"service": {"enabled": False}}, major)
        assert "ollama pull" in notes(url, BUNDLED, major)
        bare = {"service": {"enabled": False}, "presets": {"configMap": {"keep": False}}}
        alone = notes(url, {**STANDALONE, **bare}, major)
        assert "watches http://ollama.ollama.svc:11434" in alone and "port-forward deploy/o3-o3-sidecar" in alone
        assert "adopts" not in alone
