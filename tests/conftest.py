# SPDX-License-Identifier: Apache-2.0
import contextlib
import os
import shutil

import pytest

import harness
from fakes.broken_server import BrokenServer

# Loopback only, whatever the caller's environment says about proxies; what installs packages may still need them.
for name in [n for n in os.environ if n.upper().endswith("_PROXY")]:
    harness.PROXIES[name] = os.environ.pop(name)


@pytest.fixture
def start(tmp_path):
    """start(Simulator, ...) or start(Sidecar, url, ...): a process in the test's folder, ended after the test."""
    with contextlib.ExitStack() as stack:
        count = iter(range(1000))

        def run(factory, *args, **more):
            folder = tmp_path / f"{factory.__name__.lower()}{next(count)}"
            folder.mkdir()
            return stack.enter_context(harness.started(factory, folder, *args, **more))

        yield run


@pytest.fixture
def simulator(start):
    return start(harness.Simulator)


@pytest.fixture
def sidecar(start, simulator):
    return start(harness.Sidecar, simulator.url, harness.FAST)


@pytest.fixture
def broken():
    """broken(mode, ...): a server of broken bytes, ended after the test."""
    with contextlib.ExitStack() as stack:
        yield lambda *args, **more: stack.enter_context(BrokenServer(*args, **more))


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """The results folder of a sidecar that has measured and decided, and stopped in order: what is learned once is known in
    all tests, which publish it from the moment they start."""
    folder = tmp_path_factory.mktemp("learned")
    with harness.started(harness.Simulator, folder) as simulator, harness.started(harness.Sidecar, folder, simulator.url, harness.QUICK) as sidecar:
        sidecar.wait_log("preset_written", 300)
        assert sidecar.stop() == 0
        return sidecar.results


@pytest.fixture(scope="module")
def ollama(tmp_path_factory):
    """A server on which nothing is loaded: nothing new is measured."""
    with harness.started(harness.Simulator, tmp_path_factory.mktemp("ollama"), load=None) as simulator:
        yield simulator


@pytest.fixture
def knowing(tmp_path, learned):
    """knowing(config): the same with a results folder of its own in which everything is known."""
    count = iter(range(100))

    def copy(config):
        results = tmp_path / f"known{next(count)}"
        shutil.copytree(learned, results)
        return {**config, "results.path": str(results)}

    return copy
