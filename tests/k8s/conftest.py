# SPDX-License-Identifier: Apache-2.0
import itertools
import os
import re

import pytest

from cluster import SERVERS, Cluster, Place


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    assert (SERVERS / "kube-apiserver").exists(), "no API server to test against: run these tests by ./dev test k8s"
    folder = tmp_path_factory.mktemp("cluster")
    cluster = Cluster(folder)
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
def place(cluster, request):
    """A namespace of this test alone, with the sidecar's ConfigMap, ServiceAccount and Role."""
    name = re.sub("[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:40].strip("-")
    return Place(cluster, f"{name}-{next(NUMBERS)}")


@pytest.fixture
def is_recording():
    """Whether conversations are written anew rather than compared: O3_RECORD=1 ./dev test k8s"""
    return os.environ.get("O3_RECORD") == "1"
