# SPDX-License-Identifier: Apache-2.0
"""API servers in trouble, each a real one of its own: away, hanging, overloaded."""

import contextlib
import signal
import threading

import pytest
import requests

import harness
from cluster import Cluster, Place
from harness import Sidecar, Simulator
from kubelet import Account
from publishing import DOCUMENT, configuration, data, wait_refused, wait_written


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


@pytest.fixture
def small(narrow):
    """A place on the server that serves one request at a time."""
    return Place(narrow, "small")


@pytest.fixture
def attach_small(start, small, simulator, tmp_path):
    account = Account(tmp_path / "account", small)
    return lambda **config: start(Sidecar, simulator.url, configuration(small, account, **config))


@contextlib.contextmanager
def halted(process):
    process.send(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send(signal.SIGCONT)


def test_a_server_that_hangs(narrow, small, attach_small):
    """The kernel takes the connection for it, and nothing more comes: as good as away."""
    with halted(narrow.api):
        sidecar = attach_small()
        wait_refused(sidecar, "unreachable")
        assert "timed out" in sidecar.log and sidecar.get("/-/ready").status_code == 200
    wait_written(small)


def test_no_answer_in_time(narrow, small, attach_small):
    """The server is there and its store hangs; we wait less long than the server does."""
    with halted(narrow.etcd):
        sidecar = attach_small(kubernetes__timeout="1s")
        wait_refused(sidecar, "timeout")
    wait_written(small)


@pytest.mark.timeout(600)
def test_overloaded(narrow, small, attach_small):
    """Its only place is taken by one who waits for the store: 429. What is wanted comes when there is room again."""
    over, other = threading.Event(), small.client()

    def occupy():
        while not over.is_set():
            with contextlib.suppress(requests.ConnectionError):
                other.get(small.path)

    occupant = threading.Thread(target=occupy, daemon=True)
    with halted(narrow.etcd):
        occupant.start()
        try:
            sidecar = attach_small(kubernetes__timeout="20s")
            wait_refused(sidecar, "throttled")
        finally:
            over.set()
    occupant.join()
    wait_written(small)
    # The server gives one who waited too long 504, or closes the connection.
    reasons = {s.labels["reason"] for s in sidecar.metrics().all("o3_preset_write_errors_total", target="configmap") if s.value}
    assert reasons <= {"throttled", "server_error", "unreachable"}
