# SPDX-License-Identifier: Apache-2.0
"""The sidecar beside a real Ollama with tiny made-up models, every exchange recorded by a relay. Run by `./dev test real`.

Loopback only: the server's models are written here, its folder is private, and nothing is pulled.
"""

import datetime
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import time

import pytest
import requests

import harness
from harness import FAST, Process, Sidecar

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from relay import Relay  # noqa: E402

OLLAMA = os.environ.get("O3_TEST_OLLAMA", "")
PROBING_S = int(os.environ.get("O3_TEST_REAL_SECONDS", "120"))
MODEL = "o3-tiny:latest"
pytestmark = [pytest.mark.skipif(not OLLAMA, reason="O3_TEST_OLLAMA names no ollama program"), pytest.mark.timeout(900)]


class Ollama(Process):
    """A server on a port and with models of its own. One thread: the machine's other work must not starve it."""

    def __init__(self, folder, models, port=0, name="ollama"):
        self.port = port or harness.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = {"OLLAMA_HOST": f"127.0.0.1:{self.port}", "OLLAMA_MODELS": str(models), "HOME": str(folder), "LLAMA_ARG_THREADS": "1",
                    "OLLAMA_DEBUG": "1"}
        super().__init__([OLLAMA, "serve"], folder, name, self.env)
        harness.wait_for("the server", lambda: self.answers())

    def answers(self):
        assert self.is_running(), self.log
        try:
            return requests.get(self.url + "/api/version", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def create(self, name, modelfile):
        done = subprocess.run([OLLAMA, "create", name, "-f", str(modelfile)], env=harness.clean_environment(self.env), capture_output=True, text=True)
        assert done.returncode == 0, done

    def generate(self, model=MODEL, tokens=8, **more):
        options = {"num_predict": tokens, "temperature": 0, **more.pop("options", {})}
        reply = requests.post(self.url + "/api/generate", timeout=120,
                              json={"model": model, "prompt": "hello world", "raw": True, "stream": False, "options": options, **more})
        assert reply.status_code == 200, reply.text
        return reply.json()

    def ps(self, model=MODEL):
        rows = requests.get(self.url + "/api/ps", timeout=10).json()["models"]
        return next((r for r in rows if r["name"] == model), None)

    def loads(self):
        """Runners started so far that have a model; the discovery processes of the start have none."""
        return len([l for l in self.log.splitlines() if "starting llama-server" in l and "--model" in l])

    def unload(self, model=MODEL):
        requests.post(self.url + "/api/generate", json={"model": model, "keep_alive": 0}, timeout=60)
        harness.wait_for("unloading", lambda: self.ps(model) is None)

    def close(self):
        # The runner is a child of the server: SIGTERM lets the server end it.
        if self.is_running():
            self.send(signal.SIGTERM)
            self.wait(30)
        super().close()


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """A folder of imported models, for all tests."""
    folder = tmp_path_factory.mktemp("library")
    subprocess.run([sys.executable, pathlib.Path(__file__).parent / "make_models.py", folder / "gguf"], check=True)
    models = folder / "models"
    with harness.started(Ollama, folder, models) as server:
        server.create("o3-tiny", folder / "gguf/o3-tiny.Modelfile")
        server.create("o3-embed", folder / "gguf/o3-embed.Modelfile")
    return models


@pytest.fixture
def server(start, library):
    return start(Ollama, library)


@pytest.fixture
def relay(server):
    relay = Relay(server.port)
    yield relay
    relay.close()


def seconds_until(when):
    """Ollama prints nine digits of a second; Python reads six."""
    text = re.sub(r"(\.\d{6})\d*", r"\1", when).replace("Z", "+00:00")
    return datetime.datetime.fromisoformat(text).timestamp() - time.time()


def test_minutes_of_probing_disturb_nothing_and_measure_the_truth(start, server, relay):
    first = server.generate(options={"num_ctx": 4096})
    assert first["load_duration"] > 50e6, "the first request loads the model"
    assert server.loads() == 1
    sidecar = start(Sidecar, relay.url, {**FAST, "probe.prefill_interval": "10s"})
    sidecar.wait_sum("o3_probes_total", 3, result="ok")
    time.sleep(PROBING_S)
    metrics = sidecar.metrics()
    expires = seconds_until(server.ps()["expires_at"])
    assert sidecar.stop() == 0  # which writes the last samples
    samples = sidecar.samples(MODEL)

    # 1. Nothing was loaded again, and the model still has the setting its user chose.
    assert server.loads() == 1
    assert metrics.sum("o3_probe_induced_reloads_total") == 0 and metrics.sum("o3_model_reloads_total") == 0
    assert server.ps()["context_length"] == 4096
    # 2. Expiry: a probe restarts the session's own five minutes and sets no other time.
    assert 240 < expires <= 301
    probes = [e for e in relay.exchanges("/api/generate") if e.asked.get("options", {}).get("num_predict")]
    assert len(probes) >= 10
    for e in probes:
        assert "keep_alive" not in e.asked and e.asked["options"]["num_predict"] >= 2
        assert e.asked["options"]["num_ctx"] == 4096
    # A decode probe repeats its prompt (it costs nothing then); a prefill probe must not hit the cache.
    prefill = [e.asked["prompt"] for e in probes if e.asked["options"]["num_predict"] == 2]
    assert len(prefill) > 1 and len(set(prefill)) == len(prefill)

    # 3. What is exported is what the record of the wire gives.
    finished = [e for e in probes if e.done]
    decode = [s for s in samples if s["kind"] == "decode" and s["success"]]
    assert decode
    rates = [(e.done["eval_count"] - 1) / e.done["eval_duration"] * 1e9 for e in finished]
    by_rate = sorted(rates)
    for s in decode:
        nearest = min(by_rate, key=lambda r: abs(r - s["tokens_per_sec"]))
        assert s["tokens_per_sec"] == pytest.approx(nearest, rel=1e-6), s
    gauge = metrics.get("o3_probe_decode_tokens_per_second", model=MODEL)
    assert any(gauge == pytest.approx(r, rel=1e-6) for r in rates)

    # 4. Time to first token: the sidecar's own stamp against the relay's.
    differences = []
    for s in decode:
        same = [e for e, r in zip(finished, rates) if r == pytest.approx(s["tokens_per_sec"], rel=1e-9)]
        if len(same) == 1:
            differences.append(s["ttft_ms"] - (same[0].first_token() - same[0].sent) * 1e3)
    assert differences
    worst, middle = max(differences, key=abs), statistics.median(differences)
    print(f"measured: time to first token, sidecar minus relay: median {middle:.3f} ms, worst {worst:.3f} ms, n {len(differences)}")
    assert abs(middle) < 20
    count = metrics.get("o3_probe_time_to_first_token_seconds_count", model=MODEL, kind="decode")
    assert count and count <= len(finished)
    busy = metrics.sum("o3_probe_busy_seconds_total", model=MODEL)
    recorded = sum(e.done["total_duration"] for e in finished) / 1e9
    print(f"measured: busy: exported {busy:.3f} s, recorded {recorded:.3f} s in {len(finished)} probes")
    assert 0 < busy <= recorded * 1.5 + 1


def test_model_of_the_default_setting_is_not_reloaded(start, server, relay):
    server.generate()
    sidecar = start(Sidecar, relay.url, FAST)
    sidecar.wait_sum("o3_probes_total", 5, result="ok")
    assert server.loads() == 1 and sidecar.metrics().sum("o3_probe_induced_reloads_total") == 0
    # The user comes back with the same request: nothing was changed behind the back.
    assert server.generate()["load_duration"] < 200e6 and server.loads() == 1


@pytest.mark.parametrize("options", [{"num_ctx": 8192}, {"num_ctx": 2000}, {"num_ctx": 4096}], ids=str)
def test_fact_a_probe_naming_only_the_context_does_not_reload(server, options):
    """The rule the sidecar relies on, on this server: automatic batch and the name of /api/ps."""
    server.generate(options=options)
    shown = server.ps()
    server.generate(model=shown["name"], options={"num_ctx": shown["context_length"]})
    assert server.loads() == 1


@pytest.mark.parametrize("options", [{"num_ctx": 4096, "num_batch": 64}, {"num_ctx": 4096, "num_thread": 2}], ids=str)
def test_hidden_options_cost_one_reload_at_most(start, server, relay, options):
    server.generate(options=options)
    probe_of_the_naive = server.loads()
    assert probe_of_the_naive == 1
    sidecar = start(Sidecar, relay.url, FAST)
    # Either the options were read from the runner's command line and probing works, or it has stopped by itself.
    harness.wait_for("probes or a pause", lambda: sidecar.metrics().sum("o3_probes_total", model=MODEL) > 0
                     or any(s.value for s in sidecar.metrics().all("o3_probe_paused", model=MODEL)))
    time.sleep(15)
    reloads = server.loads() - 1
    induced = sidecar.metrics().sum("o3_probe_induced_reloads_total", model=MODEL)
    print(f"measured: {options}: {reloads} reloads, {induced:.0f} counted as induced, {sidecar.metrics().sum('o3_probes_total', model=MODEL):.0f} probes")
    assert reloads <= 1 and induced == reloads


def test_fact_a_probe_without_the_hidden_options_reloads(server):
    for options in ({"num_ctx": 4096, "num_batch": 64}, {"num_ctx": 4096, "num_thread": 2}):
        server.unload()
        before = server.loads()
        server.generate(options=options)
        server.generate(options={"num_ctx": 4096})
        assert server.loads() - before == 2, options


def test_embedding_model(start, server, relay):
    requests.post(server.url + "/api/embed", json={"model": "o3-embed", "input": "hello"}, timeout=60).raise_for_status()
    sidecar = start(Sidecar, relay.url, FAST)
    sidecar.wait_sum("o3_probes_total", 3, result="ok", kind="embed")
    assert not [e for e in relay.exchanges("/api/generate") if e.asked.get("prompt")]
    assert server.loads() == 1 and sidecar.metrics().sum("o3_probe_induced_reloads_total") == 0


def test_two_models(start, server, relay):
    requests.post(server.url + "/api/embed", json={"model": "o3-embed", "input": "hello"}, timeout=60).raise_for_status()
    server.generate()
    sidecar = start(Sidecar, relay.url, FAST)
    for model in (MODEL, "o3-embed:latest"):
        sidecar.wait_sum("o3_probes_total", 3, result="ok", model=model)
    assert sidecar.metrics().get("o3_ollama_models_loaded") == 2 and server.loads() == 2


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_server_goes_and_comes_back(start, server, relay, library, how):
    server.generate()
    sidecar = start(Sidecar, relay.url, FAST)
    sidecar.wait_sum("o3_probes_total", 2, result="ok")
    runners = subprocess.run(["pgrep", "-P", str(server.pid)], capture_output=True, text=True).stdout.split()
    server.send(how)
    server.wait()
    for pid in runners:  # a killed server leaves its runner behind, which would keep the memory
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            pass
    sidecar.wait_metric("o3_ollama_up", lambda v: v == 0)
    assert sidecar.get("/-/ready").status_code == 200
    again = start(Ollama, library, port=server.port)
    sidecar.wait_metric("o3_ollama_up", lambda v: v == 1)
    # Probes never load a model by themselves.
    time.sleep(5)
    assert again.loads() == 0 and again.ps() is None
    before = sidecar.metrics().sum("o3_probes_total", result="ok")
    again.generate()
    sidecar.wait_sum("o3_probes_total", before + 2, result="ok")
    assert sidecar.stop() == 0


def test_runner_killed_in_the_middle(start, server, relay):
    server.generate()
    sidecar = start(Sidecar, relay.url, FAST)
    sidecar.wait_sum("o3_probes_total", 2, result="ok")
    for pid in subprocess.run(["pgrep", "-P", str(server.pid)], capture_output=True, text=True).stdout.split():
        os.kill(int(pid), signal.SIGKILL)
    time.sleep(5)
    assert sidecar.is_running() and sidecar.get("/-/healthy").status_code == 200
    server.generate()
    before = sidecar.metrics().sum("o3_probes_total", result="ok")
    sidecar.wait_sum("o3_probes_total", before + 2, result="ok")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give the sidecar a process namespace of its own")
def test_runner_that_died_unseen_is_probed_again(start, server, relay):
    """Another process namespace, as in a pod: the port that is gone tells of the death, and the reload is not ours."""
    server.generate()
    sidecar = start(Sidecar, relay.url, FAST, wrap=["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"])
    sidecar.wait_sum("o3_probes_total", 3, result="ok")
    for pid in subprocess.run(["pgrep", "-P", str(server.pid)], capture_output=True, text=True).stdout.split():
        os.kill(int(pid), signal.SIGKILL)
    before = sidecar.metrics().sum("o3_probes_total", result="ok")
    sidecar.wait_sum("o3_probes_total", before + 4, result="ok")
    metrics = sidecar.metrics()
    assert metrics.sum("o3_probe_induced_reloads_total") == 0
    assert metrics.sum("o3_model_reloads_total", reason="runner_lost") == 1
    assert server.loads() == 2


def test_fact_for_ever_moves_with_each_request(server):
    """By that the sidecar sees the users of a model that never unloads."""
    longest_s = (2**63 - 1) / 1e9
    for _ in range(2):
        server.generate(keep_alive=-1)
        ended = time.time()
        assert abs(seconds_until(server.ps()["expires_at"]) + time.time() - ended - longest_s) < 1
        time.sleep(2)


def test_linger_lets_the_model_go(start, server, relay):
    """Probing stops some time after the last user, so that the model unloads at its own time."""
    server.generate(keep_alive="40s")
    sidecar = start(Sidecar, relay.url, {**FAST, "probe.linger": "5s"})
    sidecar.wait_sum("o3_probes_total", 1, result="ok")
    sidecar.wait_metric("o3_probe_paused", model=MODEL, reason="idle")
    # The session time is still the user's: had a probe changed it, the model would stay for longer than that.
    assert seconds_until(server.ps()["expires_at"]) <= 41
    harness.wait_for("unloading", lambda: server.ps() is None, 120)
    assert server.loads() == 1
    time.sleep(5)
    assert server.ps() is None and server.loads() == 1


def test_probe_command(server):
    server.generate()
    done = harness.run_o3("probe", MODEL, "-n", "5", f"--ollama.url={server.url}")
    assert done.returncode == 0, done
    assert "tok" in done.stdout and server.loads() == 1
