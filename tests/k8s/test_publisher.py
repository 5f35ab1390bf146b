# SPDX-License-Identifier: Apache-2.0
"""`o3 serve` beside `o3 sim`, publishing to a ConfigMap of a real API server with a Role of get and patch on one name."""

import threading
import uuid

import pytest
import yaml

import harness
from cluster import Account, Client, Cluster, Place, make_certificates
from harness import FAST, Sidecar, Simulator

MODEL = Simulator.MODEL
STEM = "sim-small_latest"
DOCUMENT = f"{STEM}.yaml"


@pytest.fixture
def attach(start, tmp_path, place):
    """attach(simulator, **configuration): a sidecar with an account of its own, as in a pod."""
    def run(simulator, token=None, **config):
        account = Account(tmp_path / f"account-{uuid.uuid4().hex}", place, token)
        sidecar = start(Sidecar, simulator.url, configuration(place, account, **config))
        sidecar.account = account
        return sidecar

    yield run
    # Whatever happened: nothing but reading and patching this one object was ever asked for.
    asked = {request[:3] for request in place.audited()}
    assert asked <= {(verb, "configmaps", place.CONFIGMAP) for verb in ("get", "patch")}, asked


def configuration(place, account, **more):
    return {**FAST, "publish.configmap": place.CONFIGMAP, "publish.primary_model": MODEL, "publish.writes_per_hour": 60,
            "kubernetes.url": place.cluster.url, "kubernetes.pod_uid": str(uuid.uuid4()), "kubernetes.timeout": "3s",
            "kubernetes.token_file": str(account.folder / "token"), "kubernetes.ca_file": str(account.folder / "ca.crt"),
            **{k.replace("__", "."): v for k, v in more.items()}}


def data(place):
    return place.stored().get("data", {})


def wait_written(place, limit_s=180):
    """The data once the model's presets are in it."""
    return harness.wait_for("presets in the ConfigMap", lambda: data(place) if DOCUMENT in data(place) else None, limit_s, 0.5)


def wait_refused(sidecar, reason):
    sidecar.wait_sum("o3_preset_write_errors_total", 1, 180, target="configmap", reason=reason)


def annotations(place):
    return place.stored()["metadata"].get("annotations", {})


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


def test_lost_permission_and_back(simulator, attach, place):
    place.allow("get")
    sidecar = attach(simulator)
    wait_refused(sidecar, "forbidden")
    assert data(place) == {} and sidecar.get("/-/ready").status_code == 200
    place.allow()
    place.allow("get", "patch")
    wait_written(place)


def test_expired_token_is_read_again(simulator, attach, place):
    """The token in the file is refused; the kubelet writes a new one, and it is taken without a restart."""
    sidecar = attach(simulator, token=place.expiring_token(-1))
    wait_refused(sidecar, "unauthorized")
    sidecar.account.write(place.token())
    wait_written(place)


def test_token_of_a_deleted_pod(simulator, attach, place):
    token = place.token(place.pod())
    place.delete_pod()
    sidecar = attach(simulator, token=token)
    wait_refused(sidecar, "unauthorized")
    assert sidecar.is_running() and sidecar.get("/-/healthy").status_code == 200


def test_no_token_yet(simulator, attach, place):
    sidecar = attach(simulator, kubernetes__token_file=str(place.cluster.folder / "not-there"))
    wait_refused(sidecar, "no_token")


def test_another_ca(simulator, attach, place, tmp_path):
    """A server that the pod's CA does not vouch for gets no token."""
    other = tmp_path / "other-ca"
    other.mkdir()
    make_certificates(other)
    sidecar = attach(simulator, kubernetes__ca_file=str(other / "ca.crt"))
    wait_refused(sidecar, "unreachable")
    assert data(place) == {}


@pytest.mark.timeout(600)
def test_deleted_and_restored(start, attach, place):
    """An object that went away is not made; once somebody made it anew, everything is in it again."""
    sidecar = attach(start(Simulator, events=["at 60s decode -40 %"]))
    before = wait_written(place)
    assert place.admin.send("DELETE", place.path).status_code == 200
    wait_refused(sidecar, "not_found")
    assert place.admin.get(place.path).status_code == 404
    place.make_configmap()
    assert set(wait_written(place)) >= set(before)
    sidecar.wait_metric("o3_preset_writer", lambda v: v == 1)


def test_too_large(simulator, attach, place):
    """What others keep in the object leaves no room: named, nothing is damaged."""
    place.put_by_other(**{"big.bin": "x" * ((1 << 20) - 100)})
    sidecar = attach(simulator)
    harness.wait_for("a refusal", lambda: sidecar.metrics().sum("o3_preset_write_errors_total", target="configmap") >= 1, 180, 0.5)
    reasons = {s.labels["reason"] for s in sidecar.metrics().all("o3_preset_write_errors_total", target="configmap") if s.value}
    assert reasons <= {"too_large", "invalid"}
    assert set(data(place)) == {"big.bin"}


@pytest.mark.timeout(800)
def test_api_server_restarts(tmp_path, start):
    """Away before the first write, and killed in the middle: what is wanted is kept until it is there."""
    folder = tmp_path / "own"
    folder.mkdir()
    cluster = Cluster(folder)
    try:
        place = Place(cluster, "restart")
        account = Account(tmp_path / "account", place)
        cluster.stop_api()
        sidecar = start(Sidecar, start(Simulator, events=["at 60s decode -40 %"]).url, configuration(place, account))
        wait_refused(sidecar, "unreachable")
        cluster.start_api()
        wait_written(place)
        cluster.stop_api()
        harness.wait_for("a preset to publish", lambda: "drift_confirmed" in sidecar.log, 250)
        cluster.start_api()
        harness.wait_for("the later preset", lambda: "previous" in data(place)[DOCUMENT], 180, 0.5)
    finally:
        cluster.close()


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
    # It gives its place back when it ends, and the next pod takes it.
    writers[0].stop()
    assert writers[0].config["kubernetes.pod_uid"] not in annotations(place).get("o3-sidecar/writer", "")
    heir = attach(simulator)
    heir.wait_metric("o3_preset_writer", lambda v: v == 1, 180)
