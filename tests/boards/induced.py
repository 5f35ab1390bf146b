# SPDX-License-Identifier: Apache-2.0
"""Sidecars beside simulated servers to which everything happens that the dashboards are about, and a real Prometheus.

The first server slows down and its model is loaded with another context, which makes other presets; the second loses its GPU, is away
for a while and comes back as another version; nothing happens to the third. Waiting is for facts; the times of the events only have to
leave room for baselines.
"""

import concurrent.futures
import contextlib
import dataclasses
import subprocess
import time

import requests
import yaml

import harness
from harness import FAST, Process, Sidecar, Simulator

JOB = "o3"
MODEL = Simulator.MODEL
USER, PASSWORD = "prometheus", "correct horse"
PASSWORD_HASH = "$2b$04$vUFsxiFFR6/T0XuZ7JCjxuHIU7Fc6vHPwXtxk6CJcU8Mik9b1ETfi"  # of PASSWORD, at the lowest cost
QUICK = {
    **FAST,
    "drift.baseline_samples": 8,
    "drift.confirm_samples": 3,
    "drift.false_alarms": "1 per 1h",
    "probe.prefill_interval": "1h",
    "probe.decode_tokens": 8,
    "probe.suspect_interval": "1s",
    "ollama.memory_bandwidth": 400,
}
DECODE_FALLS_S, GPU_LOST_S, AWAY_S = 45, 45, 4
CONTEXT = 8192
GPU = ["--gpu", "24GiB"]


def guard(folder):
    """A certificate of its own and a password, which the web configuration names; the path of that."""
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "server.key", "-out", "server.pem",
            "-days", "30", "-subj", "/CN=o3", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(argv, cwd=folder, check=True, capture_output=True)
    web = {"tls_server_config": {"cert_file": "server.pem", "key_file": "server.key"}, "basic_auth_users": {USER: PASSWORD_HASH}}
    (folder / "web.yml").write_text(yaml.safe_dump(web))
    return folder / "web.yml"


class Prometheus(Process):
    """Debian's Prometheus, which scrapes the given targets every second, and one over TLS with a password."""

    def __init__(self, folder, targets, guarded, name="prometheus", rules=()):
        self.port = harness.free_port()
        tls = {"job_name": f"{JOB}-tls", "scheme": "https", "tls_config": {"ca_file": str(guarded.folder / "server.pem")},
               "basic_auth": {"username": USER, "password": PASSWORD}, "static_configs": [{"targets": [f"127.0.0.1:{guarded.port}"]}]}
        config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
                  "rule_files": [str(r) for r in rules],
                  "scrape_configs": [{"job_name": JOB, "static_configs": [{"targets": list(targets)}]}, tls]}
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        super().__init__(["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
                          f"--web.listen-address=127.0.0.1:{self.port}"], folder, name)
        self.url = f"http://127.0.0.1:{self.port}"
        harness.wait_for("Prometheus", self.is_ready)

    def is_ready(self):
        assert self.is_running(), self.log
        with contextlib.suppress(requests.RequestException):
            return requests.get(self.url + "/-/ready", timeout=10).status_code == 200

    def get(self, path, **params):
        """The whole answer, also that of a refused query."""
        return requests.post(f"{self.url}/api/v1/{path}", data=params, timeout=harness.LIMIT_S).json()

    def series(self, matcher, start, end):
        return requests.get(f"{self.url}/api/v1/series", params={"match[]": matcher, "start": start, "end": end}, timeout=harness.LIMIT_S).json()


@dataclasses.dataclass
class Induced:
    prometheus: Prometheus
    start: float
    end: float
    instances: list  # as Prometheus calls them: the slow one, the one that was away, the one without trouble


def slower_and_released(sidecar, simulator):
    """Drift with a cause, other presets, a compared release."""
    signal = {"model": MODEL, "signal": "decode_rate"}
    sidecar.wait_metric("o3_drift_detected", lambda v: v == 1, 120, **signal)
    before = sidecar.metrics().get("o3_preset_context_tokens", model=MODEL, preset="max_context")
    harness.load_for_good(simulator, sidecar, num_ctx=2 * CONTEXT)
    sidecar.wait_metric("o3_preset_context_tokens", lambda v: v not in (None, before), 120, model=MODEL, preset="max_context")
    sidecar.wait_metric("o3_release_change_ratio", limit_s=120, **signal)


def lost_gpu_and_outage(sidecar, simulator, restart):
    sidecar.wait_sum("o3_model_reloads_total", 1, 120, model=MODEL)
    sidecar.write_config({**sidecar.config, "ollama.poll_interval": "500ms"})
    sidecar.reload()
    sidecar.wait_metric("o3_drift_detected", lambda v: v == 1, 120, model=MODEL, signal="gpu_ratio")
    simulator.kill()
    sidecar.wait_metric("o3_ollama_up", lambda v: v == 0)
    time.sleep(AWAY_S)  # long enough to be scraped and to pause probing
    restart()
    # A model that a probe made Ollama load is probed again under another version.
    sidecar.wait_metric("o3_release_change_ratio", limit_s=120, model=MODEL, signal="decode_rate")


@contextlib.contextmanager
def induced(folder):
    with contextlib.ExitStack() as stack:

        def run(factory, name, *args, **more):
            """What is callable among the arguments is given the folder."""
            own = folder / name
            own.mkdir(parents=True)
            return stack.enter_context(harness.started(factory, own, *(a(own) if callable(a) else a for a in args), **more))

        idle = run(Simulator, "sim5", seed=5, load=None)
        guarded = run(Sidecar, "guarded", idle.url, lambda f: {"web.config_file": str(guard(f))})
        first = run(Simulator, "sim1", seed=1, events=[f"at {DECODE_FALLS_S}s decode -40 %"], flags=GPU, load=None)
        second = run(Simulator, "sim2", seed=2, port=harness.free_port(), events=[f"at {GPU_LOST_S}s gpu lost"], flags=GPU, load=None)
        third = run(Simulator, "sim4", seed=4, flags=GPU, load=None)
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda simulator: simulator.load(num_ctx=CONTEXT), (first, second, third)))
        one = run(Sidecar, "one", first.url, {**QUICK, "probe.prefill_interval": "6s", "publish.folder": str(folder / "mounted-of-one")})
        # Looks at the list of models rarely at first, so that a probe is the one that meets the dead runner and waits for the load.
        two = run(Sidecar, "two", second.url, {**QUICK, "ollama.poll_interval": "60s"})
        # Publishes to a folder that looks like a mounted ConfigMap, and to a file whose folder is not there.
        publish = {"publish.folder": str(folder / "mounted"), "publish.file": str(folder / "no-such" / "presets.yaml")}
        steady = run(Sidecar, "steady", third.url, {**QUICK, **publish, "probe.prefill_interval": "2s"})
        start = time.time()
        instances = [f"127.0.0.1:{s.port}" for s in (one, two, steady)]
        prometheus = run(Prometheus, "prometheus", instances, guarded)
        newer = lambda: run(Simulator, "sim3", seed=3, port=second.port, flags=[*GPU, "--version", "0.33.0"])
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            stories = [pool.submit(slower_and_released, one, first), pool.submit(lost_gpu_and_outage, two, second, newer)]
            for story in stories:
                story.result()
        steady.wait_metric("o3_baseline_value", limit_s=120, model=MODEL, signal="prefill_rate")
        time.sleep(3)  # the last facts are scraped
        yield Induced(prometheus, start, time.time(), instances)
