# SPDX-License-Identifier: Apache-2.0
"""The main job on a machine with no Ollama: `o3 demo` finds the induced drift and rewrites the preset file."""

import re
import urllib.parse

import requests
import yaml

import harness
from harness import BINARY, Metrics, Process


def test_demo_reaches_the_verdict(tmp_path):
    with harness.started(Process, [BINARY, "demo", "--web.listen=127.0.0.1:0"], tmp_path, "demo") as demo:
        metrics_url = demo.wait_log(r"(http://127\.0\.0\.1:\d+)/metrics")[0]

        def scrape():
            assert demo.is_running(), demo.log
            try:
                return Metrics(requests.get(metrics_url, timeout=10).text)
            except requests.ConnectionError:
                return None

        harness.wait_for("a first probe", lambda: (m := scrape()) and m.sum("o3_probes_total", result="ok") > 0)
        verdict = harness.wait_for(
            "the verdict", lambda: (m := scrape()) and [s for s in m.all("o3_drift_detected", signal="decode_rate") if s.value == 1], 240)
        model = verdict[0].labels["model"]
        change = scrape().get("o3_drift_change_ratio", model=model, signal="decode_rate")
        assert -0.9 < change < -0.05, change
        demo.wait_log(r"drift_confirmed")

        def rewritten():
            for path in tmp_path.rglob("defaults/*.yaml"):
                document = yaml.safe_load(path.read_text())
                if document["model"] == model and any("previous" in p for p in document["presets"].values()):
                    return document
            return None

        document = harness.wait_for("the preset file", rewritten)
        for preset in document["presets"].values():
            assert preset["num_ctx"] > 0 and preset["batch"] > 0
        assert urllib.parse.urlsplit(metrics_url).hostname == "127.0.0.1"
        assert re.search(r"http://127\.0\.0\.1:\d+", demo.log)
        assert demo.stop() == 0
