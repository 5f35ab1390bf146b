# SPDX-License-Identifier: Apache-2.0
"""The main job on a machine with no Ollama: `o3 demo` finds the induced drift and rewrites the preset file."""

import pathlib
import signal

import requests
import yaml

import harness
from harness import BINARY, Metrics, Process


def test_demo_reaches_the_verdict(tmp_path):
    argv = [BINARY, "demo", "--web.listen=127.0.0.1:0"]
    with harness.started(Process, argv, tmp_path, "demo", env={"TMPDIR": str(tmp_path)}) as demo:
        metrics_url = demo.wait_log(r"http://127\.0\.0\.1:\d+/metrics")[0]
        preset_file = pathlib.Path(demo.wait_log(r"^preset file +(\S+)")[1])

        def scrape():
            assert demo.is_running(), demo.log
            return Metrics(requests.get(metrics_url, timeout=harness.LIMIT_S).text)

        demo.wait_log(r"VERDICT: decode_rate", 240)
        found = [s for s in scrape().all("o3_drift_detected", signal="decode_rate") if s.value == 1]
        assert len(found) == 1
        model = found[0].labels["model"]
        change = scrape().get("o3_drift_change_ratio", model=model, signal="decode_rate")
        assert -0.6 < change < -0.2, change

        def rewritten():
            document = yaml.safe_load(preset_file.read_text())
            return all("previous" in p for p in document["presets"].values()) and document

        document = harness.wait_for("the rewritten preset file", rewritten)
        assert document["model"] == model
        for preset in document["presets"].values():
            assert preset["num_ctx"] > 0 and preset["batch"] > 0
            assert preset["performance"]["tokens_per_sec"] < preset["previous"]["tokens_per_sec"]
        demo.wait_log(r"previous:")  # the new file is shown
        demo.send(signal.SIGINT)  # Ctrl-C
        assert demo.wait() == 0
    assert preset_file.exists()
