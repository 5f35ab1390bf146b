# SPDX-License-Identifier: Apache-2.0
import contextlib
import os

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
