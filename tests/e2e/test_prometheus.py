# SPDX-License-Identifier: Apache-2.0
"""What a real Prometheus, its lint and the reference parser say about our exposition."""

import re
import shutil
import signal
import subprocess

import pytest
import requests
import yaml
from prometheus_client.openmetrics import parser as openmetrics

import harness
from harness import FAST, Process, Sidecar, Simulator

OPENMETRICS = {"Accept": "application/openmetrics-text;version=1.0.0"}


def need(program):
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")


@pytest.fixture(scope="module")
def simulator(tmp_path_factory):
    with harness.started(Simulator, tmp_path_factory.mktemp("simulator")) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def full(simulator, tmp_path_factory):
    """A sidecar that has probed and judged for a while, so that most series exist."""
    config = {**FAST, "drift.baseline_samples": 8, "probe.prefill_interval": "3s"}
    with harness.started(Sidecar, tmp_path_factory.mktemp("sidecar"), simulator.url, config) as sidecar:
        sidecar.wait_metric("o3_baseline_value", model=Simulator.MODEL, signal="decode_rate")
        yield sidecar


def test_promtool_has_no_complaint(full):
    need("promtool")
    text = full.get("/metrics").text
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def of_text(sidecar):
    return values_of(sidecar.metrics().samples)


def of_openmetrics(sidecar):
    reply = sidecar.get("/metrics", headers=OPENMETRICS)
    return values_of(s for f in openmetrics.text_string_to_metric_families(reply.text) for s in f.samples if not s.name.endswith("_created"))


def values_of(samples):
    """{(name, labels): value}; no series stands there twice. A bound is 1 in one format and 1.0 in the other."""
    values = {}
    for s in samples:
        key = s.name, tuple(sorted((k, float(v) if k == "le" else v) for k, v in s.labels.items()))
        assert key not in values, f"twice: {key}"
        values[key] = s.value
    return values


def test_reference_parser_accepts_openmetrics_and_agrees_with_text(full):
    """What did not move between two scrapes as text has the same value in the scrape as OpenMetrics between them."""

    def compared():
        before, om, after = of_text(full), of_openmetrics(full), of_text(full)
        if not set(before) == set(om) == set(after):
            return None  # a probe brought a new series meanwhile; or the formats differ, and will the next time
        still = {key for key in om if before[key] == after[key]}
        return len(still) > 0.8 * len(om) and all(om[key] == before[key] for key in still) and (len(still), len(om))

    still, all_of_them = harness.wait_for("both formats saying the same", compared, 30)
    print(f"measured: {still} of {all_of_them} series compared between both formats")


def test_real_prometheus_scrapes_it(full, tmp_path):
    need("prometheus")
    port = harness.free_port()
    config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
              "scrape_configs": [{"job_name": "o3", "static_configs": [{"targets": [f"127.0.0.1:{full.port}"]}]},
                                 {"job_name": "self", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}]}
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    argv = ["prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data",
            f"--web.listen-address=127.0.0.1:{port}"]
    with harness.started(Process, argv, tmp_path, "prometheus") as prometheus:

        def query(expression):
            try:
                reply = requests.get(f"http://127.0.0.1:{port}/api/v1/query", params={"query": expression}, timeout=10).json()
            except requests.RequestException:
                assert prometheus.is_running(), prometheus.log
                return None
            return [float(r["value"][1]) for r in reply["data"]["result"]]

        harness.wait_for("up == 1", lambda: query('up{job="o3"}') == [1.0])
        harness.wait_for("five scrapes", lambda: (query('count_over_time(up{job="o3"}[5m])') or [0])[0] >= 5)
        assert query('min_over_time(up{job="o3"}[5m])') == [1.0]
        samples = query('scrape_samples_scraped{job="o3"}')[0]
        print(f"measured: scrape_samples_scraped {samples:.0f}")
        assert 0 < samples <= 300 * 2 + 200  # 300 series a model, one loaded, and the rest
        assert query('o3_ollama_up{job="o3"}') == [1.0]
        for name in ("duplicate_timestamp", "out_of_order", "out_of_bounds"):
            harness.wait_for("Prometheus' own metrics", lambda: query(f"prometheus_target_scrapes_sample_{name}_total"))
            assert query(f"prometheus_target_scrapes_sample_{name}_total") == [0.0], name
        complaints = [l for l in prometheus.log.splitlines() if re.search(r"level=(warn|error)", l) and "o3" in l]
        assert complaints == []


def test_answers_while_ollama_is_stopped(full, simulator):
    simulator.send(signal.SIGSTOP)
    try:
        full.wait_metric("o3_ollama_up", lambda v: v == 0)
        assert of_text(full) and of_openmetrics(full)
    finally:
        simulator.send(signal.SIGCONT)
