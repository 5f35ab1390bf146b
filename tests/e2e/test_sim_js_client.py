# SPDX-License-Identifier: Apache-2.0
"""The official JavaScript client of Ollama takes `o3 sim` for a server: each step of js/tour.mjs is a test here."""

import hashlib
import re
import shutil
import subprocess

import pytest

import harness

SOURCE = harness.ROOT / "tests/e2e/js"
STEPS = re.findall(r"^step\('([^']+)'", (SOURCE / "tour.mjs").read_text(), re.M)


def install(folder):
    """The pinned packages, outside of the source tree; again only when the pins have changed."""
    pins = hashlib.sha256(b"".join((SOURCE / name).read_bytes() for name in ("package.json", "package-lock.json"))).hexdigest()
    stamp = folder / "o3-installed"
    if stamp.exists() and stamp.read_text() == pins:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(SOURCE / name, folder)
    done = subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=folder, capture_output=True, text=True,
                          timeout=240, env=harness.clean_environment(harness.PROXIES))
    assert done.returncode == 0, done.stdout + done.stderr
    stamp.write_text(pins)


@pytest.fixture(scope="module")
def tour(tmp_path_factory):
    """{step: None, or why it failed}"""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.fail("node and npm are missing; ./dev test installs them")
    folder = harness.ROOT / "build/js"
    install(folder)
    shutil.copy(SOURCE / "tour.mjs", folder)  # beside node_modules, where node looks for packages
    with harness.started(harness.Simulator, tmp_path_factory.mktemp("sim"), flags=["--speed", "50"], load=None) as s:
        done = subprocess.run(["node", "tour.mjs", s.url], cwd=folder, capture_output=True, text=True, timeout=240,
                              env=harness.clean_environment())
    results = dict.fromkeys(re.findall(r"^ok (.+)$", done.stdout, re.M))
    results |= dict(re.findall(r"^not ok ([^:]+): (.+(?:\n    .*)*)", done.stdout, re.M))
    assert results, done.stdout + done.stderr
    return results


def test_the_packages_are_pinned_without_a_place():
    lock = (SOURCE / "package-lock.json").read_text()
    assert "http" not in lock and lock.count('"integrity"') == 2
    assert re.search(r'"ollama": "\d+\.\d+\.\d+"', (SOURCE / "package.json").read_text())


def test_the_tour_has_all_calls_of_the_client():
    text = (SOURCE / "tour.mjs").read_text()
    for call in ("generate", "chat", "embed", "embeddings", "list", "show", "ps", "create", "copy", "delete", "pull", "push", "version"):
        assert f"client.{call}(" in text, call


@pytest.mark.parametrize("step", STEPS)
def test_step(tour, step):
    assert step in tour, "the tour ended before it"
    assert tour[step] is None, tour[step]
