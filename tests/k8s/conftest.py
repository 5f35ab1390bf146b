# SPDX-License-Identifier: Apache-2.0
import itertools
import os
import re
import signal
import sys
import uuid

import pytest

import harness

sys.path.append(str(harness.ROOT / "tests/helm"))  # charts.py

from cluster import SERVERS, Cluster, Place  # noqa: E402
from harness import Sidecar  # noqa: E402
from kubelet import Account  # noqa: E402
from publishing import configuration  # noqa: E402


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    assert (SERVERS / "kube-apiserver").exists(), "no API server to test against: run these tests by ./dev test k8s"
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        yield cluster
    finally:
        cluster.close()


NUMBERS = itertools.count(1)
FAILED = pytest.StashKey()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


@pytest.fixture
def namespace(request):
    """A name of this test alone."""
    name = re.sub("[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:40].strip("-")
    return f"{name}-{next(NUMBERS)}"


@pytest.fixture
def place(cluster, namespace):
    """A namespace with the sidecar's ConfigMap, ServiceAccount and Role."""
    return Place(cluster, namespace)


@pytest.fixture
def narrow(tmp_path):
    """A server of its own that serves one request at a time and gives each 5 s."""
    folder = tmp_path / "narrow"
    folder.mkdir()
    cluster = Cluster(folder, ["--enable-priority-and-fairness=false", "--max-requests-inflight=1",
                               "--max-mutating-requests-inflight=1", "--request-timeout=5s"])
    try:
        yield cluster
    finally:
        if cluster.etcd.is_running():
            cluster.etcd.send(signal.SIGCONT)
        cluster.close()


@pytest.fixture
def is_recording():
    """Whether conversations are written anew rather than compared: ./dev record"""
    return os.environ.get("O3_RECORD") == "1"


@pytest.fixture
def attach(start, tmp_path, place):
    """attach(simulator, **configuration): a sidecar with an account of its own, as in a pod."""
    def run(simulator, token=None, env=None, **config):
        account = Account(tmp_path / f"account-{uuid.uuid4().hex}", place, token)
        sidecar = start(Sidecar, simulator.url, configuration(place, account, **config), env=env)
        sidecar.account = account
        return sidecar

    yield run
    # Whatever happened: nothing but reading and patching this one object was ever asked for.
    asked = {request[:3] for request in place.audited()}
    assert asked <= {(verb, "configmaps", place.CONFIGMAP) for verb in ("get", "patch")}, asked
