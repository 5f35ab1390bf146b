# SPDX-License-Identifier: Apache-2.0
"""What a real Prometheus, its lint and the reference parser say about our exposition."""

import shutil
import subprocess

import pytest
from prometheus_client.openmetrics import parser as openmetrics

from harness import FAST, Sidecar
from scraping import Prometheus, check_scrapes, job

OPENMETRICS = {"Accept": "application/openmetrics-text;version=1.0.0"}


def need(program):
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")


@pytest.fixture
def full(start, simulator):
    """A sidecar that has probed and judged for a while, so that most series exist."""
    sidecar = start(Sidecar, simulator.url, {**FAST, "drift.baseline_samples": 8, "probe.prefill_interval": "3s"})
    sidecar.wait_metric("o3_baseline_value", model="sim-small:latest", signal="decode_rate")
    return sidecar


def test_promtool_has_no_complaint(full):
    need("promtool")
    text = full.get("/metrics").text
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_reference_parser_accepts_openmetrics_and_agrees_with_text(full):
    # Two scrapes a moment apart differ in their values, not in their series. A bound is 1 here and 1.0 there.
    families = list(openmetrics.text_string_to_metric_families(full.get("/metrics", headers=OPENMETRICS).text))
    om = [series(s) for f in families for s in f.samples if not s.name.endswith("_created")]
    text = {series(s) for s in full.metrics().samples}
    assert om and len(om) == len(set(om))
    assert set(om) - text == set()


def series(s):
    return s.name, tuple(sorted((k, float(v) if k == "le" else v) for k, v in s.labels.items()))


def test_real_prometheus_scrapes_it(start, full):
    need("prometheus")
    samples = check_scrapes(start(Prometheus, [job("o3", full.port)]), ["o3"])
    print(f"measured: scrape_samples_scraped {samples['o3']:.0f}")
