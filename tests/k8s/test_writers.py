# SPDX-License-Identifier: Apache-2.0
"""Several who write one ConfigMap of a real API server: people, and sidecars of which one at a time may."""

import threading

import pytest

import harness
from cluster import Client
from publishing import annotations, data, wait_written


def test_conflicts(simulator, attach, place):
    """Others write all the time, so that the version moves between the sidecar's read and its patch."""
    is_over, counts = threading.Event(), [0] * 4

    def write(i):
        admin = Client(place.cluster.url, place.admin.token, place.cluster.ca, "kubectl")
        while not is_over.is_set():
            reply = admin.patch(place.path, {"data": {f"count-{i}": str(counts[i] + 1)}})
            counts[i] += reply.status_code == 200

    threads = [threading.Thread(target=write, args=(i,), daemon=True) for i in range(len(counts))]
    for thread in threads:
        thread.start()
    try:
        attach(simulator)
        harness.wait_for("a conflict", lambda: ("patch", "configmaps", place.CONFIGMAP, 409) in place.audited(), 180, 0.5)
    finally:
        is_over.set()
    for thread in threads:
        thread.join()
    wait_written(place)
    assert [data(place)[f"count-{i}"] for i in range(len(counts))] == [str(c) for c in counts]  # no write of theirs was lost


@pytest.mark.timeout(800)
def test_three_sidecars_on_one_object(simulator, attach, place):
    sidecars = [attach(simulator) for _ in range(3)]
    wait_written(place)
    for sidecar in sidecars:
        sidecar.wait_sum("o3_preset_writes_total", 1, 180, target="configmap")
    writers = [s for s in sidecars if s.metrics().get("o3_preset_writer") == 1]
    others = [s for s in sidecars if s not in writers]
    assert len(writers) == 1 and len(others) == 2
    assert writers[0].config["kubernetes.pod_uid"] in annotations(place)["o3-sidecar/writer"]
    for sidecar in others:
        sidecar.wait_sum("o3_preset_writes_total", 1, target="configmap", result="not_writer")
        assert sidecar.metrics().sum("o3_preset_writes_total", target="configmap", result="written") == 0
    # It gives its place back when it ends, and the next pod or one of those that wait takes it.
    writers[0].stop()
    assert writers[0].config["kubernetes.pod_uid"] not in annotations(place).get("o3-sidecar/writer", "")
    heirs = [*others, attach(simulator)]
    harness.wait_for("another writer", lambda: [s.metrics().get("o3_preset_writer") for s in heirs].count(1) == 1, 180, 0.5)
