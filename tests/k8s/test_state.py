# SPDX-License-Identifier: Apache-2.0
"""A pod without a volume on a real API server: what it knows stays in its ConfigMap, and the pod after it goes on from there."""

import base64
import gzip
import json

import pytest

from harness import Simulator, wait_for
from publishing import MODEL, annotations, data, wait_written

KEY = "o3-state.json"
LIMIT_BYTES = 32 * 1024
SIGNAL = {"model": MODEL, "signal": "decode_rate"}


@pytest.fixture
def attach_pod(attach, place):
    """attach_pod(simulator, name): a sidecar in a pod of its own: the pod's UID, a token bound to it, an empty state folder."""
    def run(simulator, name, **more):
        pod = place.pod(name)
        sidecar = attach(simulator, token=place.token(pod), publish__state=True, kubernetes__pod_uid=pod["metadata"]["uid"], **more)
        assert not [p for p in sidecar.results.rglob("*") if p.is_file() and p.suffix == ".yaml"]
        return sidecar

    return run


def states(place):
    """What the summary holds, unpacked."""
    text = data(place)[KEY]
    assert len(text.encode()) <= LIMIT_BYTES
    return json.loads(gzip.decompress(base64.b64decode(json.loads(text)["states"])))


def learn(place, sidecar, model=MODEL):
    """Waits for a whole baseline and its preset, which may wait for the end of a suspicion; the level."""
    wait_written(place)
    sidecar.wait_metric("o3_baseline_samples", lambda v: v and v >= 8, model=model, signal="decode_rate")
    sidecar.wait_metric("o3_preset_context_tokens", lambda v: v, 120, model=model, preset="balanced")
    return sidecar.metrics().get("o3_baseline_value", model=model, signal="decode_rate")


def events(sidecar, name):
    return [e for e in sidecar.json("/api/v1/events")["events"] if e["event"] == name]


def end_pod(place, sidecar, name):
    assert sidecar.stop() == 0
    place.delete_pod(name)


def test_an_upgrade_is_compared_with_what_the_old_pod_knew(start, attach_pod, place):
    """The new image of the server comes with a new pod: its speed is compared with the old one's, in the old one's words."""
    simulator = start(Simulator)
    old = attach_pod(simulator, "ollama-0")
    assert "the ConfigMap holds none" in old.wait_log(r".*state_not_taken_over.*")[0]
    learn(place, old)
    end_pod(place, old, "ollama-0")
    kept = states(place)
    assert f"preset/{MODEL}" in kept and any(k.startswith("judge/series/") and "/decode_rate/" in k for k in kept)
    assert simulator.stop() == 0

    upgraded = start(Simulator, port=simulator.port, flags=["--version", "0.33.0"], events=["at 1s decode -30 %"])
    new = attach_pod(upgraded, "ollama-1")
    new.wait_log(r"state_taken_over.*states")
    new.wait_log(r"epoch_changed.*server_version")
    ratio = new.wait_metric("o3_release_change_ratio", limit_s=120, **SIGNAL)
    assert -0.4 < ratio < -0.2  # the 30 %: only the old pod's baseline can tell
    (told,) = [e for e in wait_for("the comparison", lambda: events(new, "release_compared")) if SIGNAL.items() <= e.items()]
    assert (told["from"], told["to"], told["reason"]) == ("0.32.15", "0.33.0", "server_version") and told["change_ratio"] == ratio
    assert not events(new, "drift_confirmed")


def test_a_new_pod_goes_on(start, attach_pod, place):
    """The same server, another pod: the baseline is there at once and nothing is learned anew."""
    simulator = start(Simulator)
    old = attach_pod(simulator, "ollama-0")
    level = learn(place, old)
    end_pod(place, old, "ollama-0")
    version, writes = place.stored()["metadata"]["resourceVersion"], annotations(place)["o3-sidecar/generation"]

    new = attach_pod(simulator, "ollama-1")
    new.wait_log(r"state_taken_over.*states")
    new.wait_metric("o3_preset_writes_total", lambda v: v == 1, limit_s=120, target="configmap", result="unchanged")
    assert new.metrics().get("o3_baseline_value", **SIGNAL) == pytest.approx(level, rel=0.05)
    assert not events(new, "epoch_changed") and not events(new, "baseline_set")
    assert annotations(place)["o3-sidecar/generation"] == writes
    for seen in place.versions_since(version):
        assert seen["data"] == {**data(place), KEY: seen["data"][KEY]}  # readers saw no preset change


def test_a_killed_pod_leaves_what_it_wrote_first(start, attach_pod, place):
    simulator = start(Simulator)
    old = attach_pod(simulator, "ollama-0")
    learn(place, old)
    old.kill()
    place.delete_pod("ollama-0")
    assert f"preset/{MODEL}" in states(place)
    new = attach_pod(simulator, "ollama-1")
    new.wait_log(r"state_taken_over.*states")
    new.wait_sum("o3_preset_writes_total", 1, 120, target="configmap", result="not_writer")  # its place was not given back
    assert new.metrics().get("o3_preset_context_tokens", model=MODEL, preset="balanced") > 0


def test_several_models_fit(start, attach_pod, place):
    simulator = start(Simulator, flags=["--keep-alive", "-1"])
    models = [MODEL, "sim-code:latest", "sim-think:latest"]  # as many as the server keeps loaded
    for model in models[1:]:
        simulator.load(model)
    sidecar = attach_pod(simulator, "ollama-0")
    for model in models:
        learn(place, sidecar, model)
    end_pod(place, sidecar, "ollama-0")
    kept = states(place)
    print(f"measured: {len(data(place)[KEY])} bytes of summary for {len(models)} models")
    assert {k for k in kept if k.startswith("preset/")} == {f"preset/{model}" for model in models}
    for signal in ("decode_rate", "ttft"):
        assert len({k.split("/")[2] for k in kept if f"/{signal}/" in k}) == len(models), kept.keys()


@pytest.mark.parametrize("text", ['{"version":1,"states":"H4sI', '{"version":99,"states":""}', "x" * (200 * 1024)],
                         ids=["cut off", "of another version", "too long"])
def test_a_state_that_is_none(simulator, attach_pod, place, text):
    """Somebody put something else there: told, not used, and replaced by the next summary."""
    place.put_by_other(**{KEY: text})
    sidecar = attach_pod(simulator, "ollama-0")
    sidecar.wait_log(r"state_not_taken_over")
    learn(place, sidecar)
    end_pod(place, sidecar, "ollama-0")
    assert f"preset/{MODEL}" in states(place)
