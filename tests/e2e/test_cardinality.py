# SPDX-License-Identifier: Apache-2.0
"""However many models come and go, /metrics stays within the number of series that the chart's sampleLimit allows."""

import contextlib
import http.server
import json
import random
import threading

import pytest
import requests
import yaml

import harness
from harness import FAST, Sidecar, Simulator

MODELS_MAX = 64  # models.max
SERIES_PER_MODEL = 300
REST = 200
BATCHES, IN_A_BATCH = 10, 100
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789-_./:\"\\{}, =é中"


def random_name(r):
    return "m" + "".join(r.choice(LETTERS) for _ in range(r.randrange(4, 60))) + ":latest"


class Renamer(http.server.ThreadingHTTPServer):
    """A simulator whose one model is loaded under many names at once: what is asked of any of them is asked of it."""

    daemon_threads = True

    def __init__(self, upstream):
        self.upstream, self.names = upstream, []
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    def pass_on(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if body:
            body = json.dumps({**json.loads(body), "model": Simulator.MODEL})
        reply = requests.request(self.command, self.server.upstream + self.path, data=body, timeout=harness.LIMIT_S)
        content = reply.content
        if self.path == "/api/ps" and reply.ok and reply.json()["models"]:
            one = reply.json()["models"][0]
            content = json.dumps({"models": [{**one, "name": n, "model": n} for n in self.server.names]}).encode()
        self.send_response(reply.status_code)
        self.send_header("Content-Type", reply.headers.get("Content-Type", "text/plain"))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(content)

    do_GET = do_POST = pass_on

    def log_message(self, *_):
        pass


def chart_limit():
    values = yaml.safe_load((harness.ROOT / "helm/o3-sidecar/values.yaml").read_text())
    return min(values[monitor]["sampleLimit"] for monitor in ("podMonitor", "serviceMonitor"))


@pytest.mark.timeout(300)
def test_a_thousand_names_stay_within_the_limit(start):
    assert MODELS_MAX * SERIES_PER_MODEL + REST <= chart_limit()
    r = random.Random(1)
    renamer = Renamer(start(Simulator, flags=["--keep-alive", "-1"], speed=100).url)
    renamer.names = sorted({random_name(r) for _ in range(2)})
    sidecar = start(Sidecar, renamer.url, FAST)
    seen, most = set(), 0
    for _ in range(BATCHES):
        renamer.names = sorted({random_name(r) for _ in range(IN_A_BATCH)})
        loaded = lambda m: {s.labels["model"] for s in m.all("o3_model_loaded") if s.value == 1}
        metrics = harness.wait_for("the batch", lambda: (lambda m: len(loaded(m)) == MODELS_MAX and not loaded(m) & seen and m)(sidecar.metrics()))
        assert metrics.get("o3_models_over_limit") == len(renamer.names) - MODELS_MAX
        harness.wait_for("a probe of the batch", lambda: [s for s in sidecar.metrics().all("o3_probes_total") if s.labels["model"] in loaded(metrics)])
        metrics = sidecar.metrics()
        assert len({s.labels["model"] for s in metrics.samples if "model" in s.labels}) <= MODELS_MAX
        seen |= loaded(metrics)
        most = max(most, len(metrics.samples))
    assert len(seen) == BATCHES * MODELS_MAX
    print(f"measured: at most {most} series after {BATCHES * IN_A_BATCH} model names, of {MODELS_MAX * SERIES_PER_MODEL + REST} allowed")
    assert most <= MODELS_MAX * SERIES_PER_MODEL + REST
    renamer.shutdown()
    renamer.server_close()
