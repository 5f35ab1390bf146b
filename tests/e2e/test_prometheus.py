# SPDX-License-Identifier: Apache-2.0
"""What a real Prometheus, its lint and the reference parser say about our exposition."""

import shutil
import signal
import subprocess

import pytest
from prometheus_client.openmetrics import parser as openmetrics

import harness
from harness import FAST, Sidecar, Simulator
from scraping import Prometheus, check_scrapes, job

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

    still, all_of_them = harness.wait_for("both formats saying the same", compared)
    print(f"measured: {still} of {all_of_them} series compared between both formats")


def test_real_prometheus_scrapes_it(start, full):
    need("prometheus")
    samples = check_scrapes(start(Prometheus, [job("o3", full.port)]), ["o3"])
    print(f"measured: scrape_samples_scraped {samples['o3']:.0f}")


def test_answers_while_ollama_is_stopped(full, simulator):
    simulator.send(signal.SIGSTOP)
    try:
        full.wait_metric("o3_ollama_up", lambda v: v == 0)
        assert of_text(full) and of_openmetrics(full)
    finally:
        simulator.send(signal.SIGCONT)
