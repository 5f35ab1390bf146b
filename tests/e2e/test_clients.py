# SPDX-License-Identifier: Apache-2.0
"""A preset reaches clients in each way that the README tells: the programs of tests/clients, as they stand there, against the simulator.
What proves it is what Ollama has loaded afterwards: the context of the preset, not that of a request without options."""

import json
import subprocess
import sys

import ollama
import pytest
import requests

import harness
from harness import FAST, ROOT

MODEL = harness.Simulator.MODEL
CONTEXT = 6144  # not what the server takes by itself


class World:
    """A model loaded with our context, the sidecar with a preset of it, and the server that the clients ask: one that runs faster."""

    def __init__(self, start, folder):
        self.file = folder / "presets.yaml"
        loaded = start(harness.Simulator, flags=["--preload", f"sim-small:{CONTEXT}"], load=None)
        self.server = start(harness.Simulator, flags=["--speed", "50", "--keep-alive", "-1"], load=None)
        self.sidecar = start(harness.Sidecar, loaded.url, {**FAST, "drift.baseline_samples": 8, "publish.file": str(self.file)})
        self.sidecar.wait_metric("o3_preset_context_tokens", lambda v: v == CONTEXT, model=MODEL, preset="balanced")
        harness.wait_for("the published file", lambda: self.file.exists() and f"num_ctx: {CONTEXT}" in self.file.read_text())

    def run(self, example, *args):
        """Unloads everything and runs an example: what it asks for decides how the model is loaded."""
        for model in self.loaded():
            requests.post(self.server.url + "/api/generate", json={"model": model, "keep_alive": 0}, timeout=harness.LIMIT_S)
        harness.wait_for("nothing loaded", lambda: not self.loaded())
        done = subprocess.run([sys.executable, ROOT / "tests/clients" / example, *args], capture_output=True, text=True,
                              timeout=harness.LIMIT_S, env=harness.clean_environment())
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.split()) > 3, done.stdout

    def loaded(self):
        models = requests.get(self.server.url + "/api/ps", timeout=harness.LIMIT_S).json()["models"]
        return {m["model"]: m["context_length"] for m in models}


@pytest.fixture
def world(start, tmp_path):
    return World(start, tmp_path)


def test_each_way_reaches_the_client(world):
    world.run("ollama_options.py", world.server.url, world.sidecar.url, "sim-small")
    assert world.loaded() == {MODEL: CONTEXT}

    world.run("langchain_file.py", world.server.url, world.file)
    assert world.loaded() == {MODEL: CONTEXT}

    # An OpenAI client alone gets what the server takes by itself; with a derived model it gets the preset.
    world.run("openai_derived.py", world.server.url, MODEL)
    assert world.loaded()[MODEL] != CONTEXT
    printed = harness.run_o3("preset", "get", "balanced", "--model", MODEL, "--format", "ollama-options", "--results",
                             world.sidecar.results)
    assert printed.returncode == 0, printed
    ollama.Client(host=world.server.url).create("small-balanced", from_=MODEL, parameters=json.loads(printed.stdout))
    world.run("openai_derived.py", world.server.url, "small-balanced")
    assert world.loaded() == {"small-balanced:latest": CONTEXT}
