# SPDX-License-Identifier: Apache-2.0
"""The status page: names of others are text and nothing else."""

import http.server
import json
import threading

import pytest
import requests

import harness
from harness import FAST, STEADY_TTFT, Sidecar, Simulator

NAME = "<script>alert('x')</script>&\"><img src=x onerror=alert(1)>:latest"


class Renaming(http.server.BaseHTTPRequestHandler):
    """In front of a simulator: its model has the hostile name."""

    protocol_version = "HTTP/1.1"
    upstream = ""

    def log_message(self, *args):
        pass

    def forward(self, method):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        quoted = json.dumps(NAME)[1:-1].encode()
        for written in (quoted, NAME.replace('"', '\\"').encode()):
            body = body.replace(written, Simulator.MODEL.encode())
        reply = requests.request(method, self.upstream + self.path, data=body or None, timeout=harness.LIMIT_S)
        text = reply.content.replace(Simulator.MODEL.encode(), quoted)
        self.send_response(reply.status_code)
        self.send_header("Content-Type", reply.headers.get("Content-Type", "application/json"))
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        self.forward("GET")

    def do_POST(self):
        self.forward("POST")


@pytest.fixture
def hostile(simulator):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Renaming,), {"upstream": simulator.url}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_hostile_name_is_text(start, hostile):
    sidecar = start(Sidecar, hostile, FAST)
    sidecar.wait_sum("o3_probes_total", 1)
    assert [m["model"] for m in sidecar.json("/api/v1/models")["models"]] == [NAME]
    page = sidecar.get("/")
    assert page.headers["Content-Type"].startswith("text/html")
    assert "<script" not in page.text and "<img" not in page.text
    assert "&lt;script&gt;alert(" in page.text and "&lt;img src=x onerror=alert(1)&gt;:latest" in page.text
    for signal in ("Decode rate", "Prefill rate", "Time to first token", "Load time", "Memory", "Share on the GPU", "Context", "Success"):
        assert signal in page.text
    assert "default-src 'none'" in page.text and page.text.count("<h2") == page.text.count("</h2>") == 1


@pytest.mark.timeout(900)
def test_what_a_new_setting_changed_is_said(start):
    simulator = start(Simulator)
    sidecar = start(Sidecar, simulator.url, {**FAST, "drift.baseline_samples": 10, "drift.confirm_samples": 5})
    series = lambda: next(iter(sidecar.json("/api/v1/models")["models"]), {}).get("signals", {}).get("decode_rate", {})
    harness.wait_for("a baseline", lambda: series().get("state") == "stable", 300, 0.5)
    assert "release" not in series() and "<p>Since " not in sidecar.get("/").text
    harness.load_for_good(simulator, sidecar, num_ctx=16384)
    release = harness.wait_for("the comparison", lambda: series().get("release"), 300, 0.5)
    assert release["reason"] == "num_ctx" and release["reasons"].startswith(f"num_ctx {release['from']} to 16384")
    assert release["in_force"] and not release["worse"] and f"with {release['reasons']}" in release["text"]
    assert f"<p>Since {release['reasons']} (<time>" in sidecar.get("/").text


def headline(sidecar):
    return sidecar.get("/").text.partition('<div class="verdict')[2].partition("</div>")[0]


@pytest.mark.timeout(900)
def test_a_release_that_cost_speed_is_the_headline(start):
    """Ollama restarts as another version, slower by a quarter: that is worse since a release, and no drift."""
    simulator = start(Simulator, port=harness.free_port(), events=[STEADY_TTFT])
    sidecar = start(Sidecar, simulator.url, {**FAST, "drift.baseline_samples": 10, "drift.confirm_samples": 5, "drift.min_effect": 0.15,
                                             "probe.decode_tokens": 8})
    series = lambda: next(iter(sidecar.json("/api/v1/models")["models"]), {}).get("signals", {}).get("decode_rate", {})
    harness.wait_for("a baseline", lambda: series().get("state") == "stable", 300, 0.5)
    assert "No change detected" in headline(sidecar)
    simulator = harness.replace(start, simulator, STEADY_TTFT, "at 0s decode -25 %", flags=["--version", "0.33.0"])
    sidecar.wait_metric("o3_ollama_info", lambda v: v == 1, version="0.33.0")
    release = harness.wait_for("the comparison", lambda: series().get("release"), 300, 0.5)
    assert release["worse"] and release["in_force"] and release["reason"] == "server_version"
    said = headline(sidecar)
    assert "1 model is worse since a release" in said and "and unchanged from then on" in said and "Ollama 0.33.0" in said
    assert '<b class="bad">decode_rate -2' in sidecar.get("/").text
    metrics = sidecar.metrics()
    assert -0.3 < metrics.get("o3_release_change_ratio", model=Simulator.MODEL, signal="decode_rate", reason="server_version") < -0.2
    assert metrics.get("o3_incidents_open") == 0 and metrics.sum("o3_drift_events_total") == 0
    harness.load_for_good(simulator, sidecar, num_ctx=16384)  # a setting of the users' own: the release that runs is the same
    harness.wait_for("the next comparison", lambda: series().get("release", {}).get("reason") == "num_ctx", 300, 0.5)
    upgrade = next(r for r in series()["releases"] if r["reason"] == "server_version")
    assert upgrade["worse"] and upgrade["in_force"]  # the headline tells of the context, which has changed, first
    assert -0.3 < sidecar.metrics().get("o3_release_change_ratio", model=Simulator.MODEL, signal="decode_rate", reason="server_version") < -0.2
    page = sidecar.get("/").text
    assert page.index("<p>Since num_ctx") < page.index("<p>Since server_version")
