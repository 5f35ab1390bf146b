# SPDX-License-Identifier: Apache-2.0
"""What stands between the sidecar and its ConfigMap on a real API server: permissions, tokens, certificates, the object."""

import threading

import pytest

import harness
from cluster import make_certificates
from harness import Simulator
from kubelet import Account
from publishing import MODEL, data, wait_refused, wait_written


def test_lost_permission_and_back(simulator, attach, place):
    """Lost while it was at work: named, in the metric, the event and the server's words; what is wanted comes when it is back."""
    sidecar = attach(simulator)
    before = wait_written(place)
    place.allow("get")
    simulator.load(MODEL, num_ctx=16384)
    wait_refused(sidecar, "forbidden")
    assert data(place) == before and sidecar.get("/-/ready").status_code == 200
    told = [e for e in sidecar.json("/api/v1/events?name=preset_write_failed")["events"] if e["reason"] == "forbidden"]
    assert told and "cannot patch resource" in told[0]["error"], told
    place.allow()  # not even the read
    place.allow("get", "patch")
    harness.wait_for("the later presets", lambda: data(place) != before, 180, 0.5)


def test_expired_token_is_read_again(simulator, attach, place):
    """The token in the file is refused; the kubelet writes a new one, and it is taken without a restart."""
    sidecar = attach(simulator, token=place.expiring_token(-1))
    wait_refused(sidecar, "unauthorized")
    sidecar.account.rotate(place.token())
    wait_written(place)


def test_a_token_that_expires_in_memory(simulator, attach, place, tmp_path):
    """The token that was good when it was read is refused later, before its minute is over; the file has a new one by then: it is
    read at once, and nobody hears of a failure."""
    place.allow("get")  # so that it asks again and again
    over = threading.Event()
    sidecar = attach(simulator, token=place.expiring_token(7))

    def rotate():
        while not over.wait(1):
            sidecar.account.rotate(place.expiring_token(7))

    thread = threading.Thread(target=rotate, daemon=True)
    thread.start()
    try:
        wait_refused(sidecar, "forbidden")
    finally:
        over.set()
        thread.join()
    sidecar.account.rotate(place.token())
    harness.wait_for("a 401", lambda: ("get", "configmaps", place.CONFIGMAP, 401) in place.audited(""), 120, 0.5)
    place.allow("get", "patch")
    wait_written(place)
    refused = {s.labels["reason"] for s in sidecar.metrics().all("o3_preset_write_errors_total", target="configmap") if s.value}
    assert refused == {"forbidden"}


def test_token_of_a_deleted_pod(simulator, attach, place):
    """The pod went, its process not yet: refused; a token of the pod that is there is good again."""
    token = place.token(place.pod())
    place.delete_pod()
    sidecar = attach(simulator, token=token)
    wait_refused(sidecar, "unauthorized")
    assert sidecar.is_running() and sidecar.get("/-/healthy").status_code == 200
    sidecar.account.rotate(place.token(place.pod("ollama-1")))
    wait_written(place)


def test_no_token_yet(simulator, attach, place, tmp_path):
    """Nothing is asked without one; it is found when it comes."""
    sidecar = attach(simulator, kubernetes__token_file=str(tmp_path / "later" / "token"))
    wait_refused(sidecar, "no_token")
    assert place.audited() == place.audited("") == place.audited("system:anonymous") == []
    Account(tmp_path / "later", place)
    wait_written(place)


def test_another_ca(simulator, attach, place, tmp_path):
    """A server that the pod's CA does not vouch for gets no token; the file is read again, as a new CA comes the same way."""
    other = tmp_path / "other-ca"
    other.mkdir()
    make_certificates(other)
    ca = tmp_path / "ca.crt"
    ca.write_text((other / "ca.crt").read_text())
    sidecar = attach(simulator, kubernetes__ca_file=str(ca))
    wait_refused(sidecar, "unreachable")
    assert data(place) == {} and place.audited() == place.audited("") == place.audited("system:anonymous") == []
    ca.write_text(place.cluster.ca.read_text())
    wait_written(place)


def test_an_immutable_object(simulator, attach, place):
    """Content that the server refuses: named, in its words; a new object takes it."""
    assert place.admin.patch(place.path, {"immutable": True}).status_code == 200
    sidecar = attach(simulator)
    wait_refused(sidecar, "invalid")
    told = [e for e in sidecar.json("/api/v1/events?name=preset_write_failed")["events"] if e["reason"] == "invalid"]
    assert "immutable" in told[0]["error"] and "status 422" in told[0]["error"]
    assert place.admin.send("DELETE", place.path).status_code == 200
    place.make_configmap()
    simulator.load(MODEL, num_ctx=16384)  # it is not asked again for the same content for ten minutes
    wait_written(place)


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
