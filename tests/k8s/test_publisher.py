# SPDX-License-Identifier: Apache-2.0
"""`o3 serve` beside `o3 sim`, publishing to a ConfigMap of a real API server with a Role of get and patch on one name."""

import contextlib
import socket

import pytest
import requests
import yaml

import harness
from cluster import Cluster, Place
from harness import Sidecar, Simulator
from kubelet import Account
from publishing import DOCUMENT, MODEL, STEM, annotations, configuration, data, wait_refused, wait_written


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


def has_ipv6():
    with socket.socket(socket.AF_INET6) as s, contextlib.suppress(OSError):
        s.bind(("::1", 0))
        return True
    return False


@pytest.mark.skipif(not has_ipv6(), reason="the loopback of this machine has no ::1")
def test_ipv6(start, simulator, tmp_path):
    """In a cluster of IPv6 the environment holds a bare address; the server listens there alone."""
    folder = tmp_path / "cluster6"
    folder.mkdir()
    cluster = Cluster(folder, host="::1")
    try:
        with pytest.raises(requests.ConnectionError):
            requests.get(cluster.url.replace("[::1]", "127.0.0.1"), timeout=harness.LIMIT_S)
        place = Place(cluster, "six")
        account = Account(tmp_path / "account", place)
        env = {"KUBERNETES_SERVICE_HOST": "::1", "KUBERNETES_SERVICE_PORT": str(cluster.port)}
        start(Sidecar, simulator.url, configuration(place, account, kubernetes__url=""), env=env)
        wait_written(place)
    finally:
        cluster.close()


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


@pytest.mark.timeout(600)
def test_too_large(start, attach, place):
    """What others keep in the object leaves no room: named, nothing is damaged; once there is room, it is used."""
    place.put_by_other(**{"big.bin": "x" * ((1 << 20) - 100)})
    simulator = start(Simulator)
    sidecar = attach(simulator)
    wait_refused(sidecar, "too_large")
    reasons = {s.labels["reason"] for s in sidecar.metrics().all("o3_preset_write_errors_total", target="configmap") if s.value}
    assert reasons == {"too_large"} and "1 MiB" in sidecar.log
    assert set(data(place)) == {"big.bin"} and sidecar.metrics().get("o3_preset_writer") == 0
    place.put_by_other(**{"big.bin": None})
    simulator.load(MODEL, num_ctx=16384)  # other presets: what was refused for its content is tried with the new one
    wait_written(place)
    assert "big.bin" not in data(place)
