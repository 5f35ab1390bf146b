# SPDX-License-Identifier: Apache-2.0
"""Several who write one ConfigMap of a real API server: people, and sidecars of which one at a time may."""

import datetime
import itertools
import threading

import pytest

import harness
from cluster import Client
from harness import Simulator
from publishing import MODEL, annotations, data, wait_written
from relay import Relay


def test_conflicts(simulator, attach, place):
    """Somebody else writes before each piece of what the sidecar says arrives, so also between its read and its patch."""
    admin, count, is_over = Client(place.cluster.url, place.admin.token, place.cluster.ca, "kubectl"), itertools.count(1), threading.Event()
    written = []

    def write():
        if not is_over.is_set():
            number = str(next(count))
            assert admin.patch(place.path, {"data": {"count": number}}).status_code == 200
            written.append(number)

    host, port = place.cluster.url.removeprefix("https://").split(":")
    relay = Relay(host, int(port), write)
    try:
        attach(simulator, kubernetes__url=relay.url, kubernetes__timeout="20s")
        harness.wait_for("a conflict", lambda: ("patch", "configmaps", place.CONFIGMAP, 409) in place.audited(), 180, 0.5)
        is_over.set()
        wait_written(place)
    finally:
        relay.close()
    assert data(place)["count"] == written[-1]  # no write of theirs was lost


def writer_of(stored):
    """The pod in the annotation; "" nobody."""
    return stored["metadata"].get("annotations", {}).get("o3-sidecar/writer", "").partition(" ")[0]


def uid_of(sidecar):
    return sidecar.config["kubernetes.pod_uid"]


def presets_of(stored):
    return {k: v for k, v in stored.get("data", {}).items() if k != "o3-state.json"}


def result(sidecar, name):
    return sidecar.metrics().sum("o3_preset_writes_total", target="configmap", result=name)


def set_writer(place, uid, age_s):
    then = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=age_s)
    about = {"o3-sidecar/writer": f"{uid} {then:%Y-%m-%dT%H:%M:%SZ}"}
    assert place.admin.patch(place.path, {"metadata": {"annotations": about}}).status_code == 200


@pytest.mark.timeout(800)
def test_three_sidecars_on_one_object(start, attach, place):
    """Three pods, each with an Ollama of its own. One writes, all the time; by what the server stored, not by what they say."""
    simulators = [start(Simulator, seed=i) for i in (1, 2, 3)]
    version = place.stored()["metadata"]["resourceVersion"]
    sidecars = [attach(simulator) for simulator in simulators]
    before = presets_of({"data": wait_written(place)})
    for sidecar in sidecars:
        sidecar.wait_sum("o3_preset_writes_total", 1, 300, target="configmap")
    (writer,) = [s for s in sidecars if s.metrics().get("o3_preset_writer") == 1]
    others = [s for s in sidecars if s is not writer]
    assert writer_of(place.stored()) == uid_of(writer)
    for simulator in simulators:
        simulator.load(MODEL, num_ctx=16384)  # all three decide other presets
    harness.wait_for("the later presets", lambda: result(writer, "written") >= 2, 180, 0.5)
    for sidecar in others:
        sidecar.wait_sum("o3_preset_writes_total", 2, 180, target="configmap", result="not_writer")
        assert result(sidecar, "written") == 0 and sidecar.metrics().get("o3_preset_writer") == 0
        assert uid_of(writer) in sidecar.wait_log(r".*preset_not_writer.*")[0]
    seen = place.versions_since(version)
    assert {writer_of(v) for v in seen} == {uid_of(writer)}
    assert presets_of(seen[-1]) != before and int(annotations(place)["o3-sidecar/generation"]) == result(writer, "written")

    # It gives its place back when it ends, and the next pod or one of those that wait takes it.
    last = presets_of(place.stored())
    assert writer.stop() == 0
    assert writer_of(place.stored()) == "" and presets_of(place.stored()) == last
    heirs = [*others, attach(simulators[0])]
    harness.wait_for("another writer", lambda: [s.metrics().get("o3_preset_writer") for s in heirs].count(1) == 1, 180, 0.5)
    names = [writer_of(v) for v in place.versions_since(seen[-1]["metadata"]["resourceVersion"])]
    assert len([name for name, _ in itertools.groupby(names)]) <= 3 and names[-1] in map(uid_of, heirs)  # it, nobody, the heir


@pytest.mark.timeout(800)
def test_a_killed_writer_is_followed_after_two_hours(simulator, attach, place):
    """It gives nothing back. Its word stands while it may be alive; then the pod that waited takes the place, by itself."""
    first = attach(simulator)
    wait_written(place)
    first.wait_metric("o3_preset_writer", lambda v: v == 1)
    first.kill()
    set_writer(place, uid_of(first), 2 * 3600 - 120)
    version = place.stored()["metadata"]["resourceVersion"]
    second = attach(simulator)
    second.wait_sum("o3_preset_writes_total", 1, 180, target="configmap", result="not_writer")
    second.wait_metric("o3_preset_writer", lambda v: v == 1, 300)
    told = second.wait_log(r".*preset_writer_taken.*")[0]
    assert uid_of(first) in told
    assert writer_of(place.stored()) == uid_of(second)
    names = [writer_of(v) for v in place.versions_since(version)]
    assert set(names) == {uid_of(second)}


def test_a_living_writer_is_left_alone(simulator, attach, place):
    """Its last word is old, but not old enough; and a pod that has no place writes nothing at all."""
    set_writer(place, "of-another-pod", 2 * 3600 - 600)
    version = place.stored()["metadata"]["resourceVersion"]
    sidecar = attach(simulator)
    sidecar.wait_sum("o3_preset_writes_total", 1, 180, target="configmap", result="not_writer")
    assert place.versions_since(version) == [] and sidecar.metrics().get("o3_preset_writer") == 0
    assert sidecar.stop() == 0
    assert place.versions_since(version) == []  # nor when it ends
