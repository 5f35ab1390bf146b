# SPDX-License-Identifier: Apache-2.0
"""`o3 serve` beside `o3 sim`, publishing to a ConfigMap of a real API server with a Role of get and patch on one name."""

import threading

import pytest
import yaml

import harness
from cluster import Client
from harness import Simulator
from publishing import DOCUMENT, MODEL, STEM, annotations, data, wait_written


def test_presets_reach_the_configmap(simulator, attach, place):
    sidecar = attach(simulator)
    wait_written(place)
    stored = place.stored()
    document = yaml.safe_load(stored["data"][DOCUMENT])
    assert document["model"] == MODEL and document["presets"]
    for name, preset in document["presets"].items():
        for prefix in (f"{STEM}.", ""):  # the model's flat keys, and those of the primary model
            assert stored["data"][f"{prefix}{name}.num_ctx"] == str(preset["num_ctx"])
            assert stored["data"][f"{prefix}{name}.batch"] == str(preset["batch"])
    about = stored["metadata"]["annotations"]
    assert {f"o3-sidecar/{n}" for n in ("reason", "generation", "checksum", "writer")} <= set(about)
    assert sidecar.config["kubernetes.pod_uid"] in about["o3-sidecar/writer"]
    assert {f["manager"] for f in stored["metadata"]["managedFields"]} == {"helm", "o3-sidecar"}
    sidecar.wait_metric("o3_preset_writes_total", lambda v: v and v >= 1, target="configmap", result="written")
    sidecar.wait_metric("o3_preset_writer", lambda v: v == 1)
    token = (sidecar.account.folder / "token").read_text()
    assert token not in sidecar.log + sidecar.metrics().text + sidecar.get("/config").text + sidecar.get("/api/v1/events").text


def test_the_server_is_where_the_environment_says(simulator, attach, place):
    """As Kubernetes tells every pod; the namespace stands beside the token."""
    host, port = place.cluster.url.removeprefix("https://").split(":")
    attach(simulator, env={"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}, kubernetes__url="")
    wait_written(place)


@pytest.mark.timeout(600)
def test_drift_is_written(start, attach, place):
    attach(start(Simulator, events=["at 45s decode -40 %"]))
    before = wait_written(place)
    generation = int(annotations(place)["o3-sidecar/generation"])

    def is_slower():
        presets = yaml.safe_load(data(place)[DOCUMENT])["presets"].values()
        return all("previous" in p and p["performance"]["tokens_per_sec"] < p["previous"]["tokens_per_sec"] for p in presets)

    harness.wait_for("slower presets", is_slower, 250, 0.5)
    assert data(place)[DOCUMENT] != before[DOCUMENT]
    assert int(annotations(place)["o3-sidecar/generation"]) > generation


def test_what_belongs_to_others_stays(simulator, attach, place):
    place.put_by_other(**{"notes.txt": "of a person"})
    attach(simulator)
    assert wait_written(place)["notes.txt"] == "of a person"
    assert place.stored()["metadata"]["labels"] == {"app.kubernetes.io/name": "o3-sidecar"}


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


def test_too_large(simulator, attach, place):
    """What others keep in the object leaves no room: named, nothing is damaged."""
    place.put_by_other(**{"big.bin": "x" * ((1 << 20) - 100)})
    sidecar = attach(simulator)
    harness.wait_for("a refusal", lambda: sidecar.metrics().sum("o3_preset_write_errors_total", target="configmap") >= 1, 180, 0.5)
    reasons = {s.labels["reason"] for s in sidecar.metrics().all("o3_preset_write_errors_total", target="configmap") if s.value}
    assert reasons <= {"too_large", "invalid"}
    assert set(data(place)) == {"big.bin"}


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
