# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus that scrapes every second, of whatever release, and what must hold of its scrapes of a sidecar."""

import contextlib
import json
import re

import requests

import harness
from harness import Process

FAST_SCRAPES = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
# Series that no scrape may exceed: 300 of a model, of the one that is loaded and one that was, and the rest.
SERIES_MAX = 300 * 2 + 200
REFUSED_SAMPLES = ("duplicate_timestamp", "out_of_order", "out_of_bounds")


def job(name, *ports, **more):
    """A scrape job for targets on loopback."""
    return {"job_name": name, "static_configs": [{"targets": [f"127.0.0.1:{p}" for p in ports]}], **more}


class Prometheus(Process):
    """With the given scrape jobs, and one named self that tells of Prometheus itself."""

    def __init__(self, folder, jobs, program="prometheus", rules=(), config=None, name="prometheus"):
        self.port = harness.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        config = {"global": FAST_SCRAPES, "rule_files": [str(r) for r in rules], "scrape_configs": [*jobs, job("self", self.port)], **(config or {})}
        (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
        super().__init__([program, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
                          f"--web.listen-address=127.0.0.1:{self.port}"], folder, name)
        harness.wait_for("Prometheus", self.is_ready)

    def is_ready(self):
        assert self.is_running(), self.log
        with contextlib.suppress(requests.RequestException):
            return requests.get(self.url + "/-/ready", timeout=10).status_code == 200

    def answer(self, path, **params):
        """All of it, also that of a refused query."""
        return requests.get(f"{self.url}/api/v1/{path}", params=params, timeout=harness.LIMIT_S).json()

    def get(self, path, **params):
        """The data of an answer that must be a success."""
        reply = self.answer(path, **params)
        assert reply["status"] == "success", (path, params, reply)
        return reply["data"]

    def query(self, expression):
        """[(labels, value)]"""
        return [(r["metric"], float(r["value"][1])) for r in self.get("query", query=expression)["result"]]

    def by_job(self, expression):
        return {labels.get("job"): value for labels, value in self.query(expression)}

    def wait_scrapes(self, jobs, n=5):
        """Until each of the jobs was tried that often."""
        harness.wait_for(f"{n} scrapes of {jobs}", lambda: set(jobs) <= set(self.by_job(f"count_over_time(up[10m]) >= {n}")))


# Those that did not merely run out of their second, which they may on a machine that does something else for a second.
FAILED_SCRAPES = "count_over_time((up == 0 and scrape_duration_seconds < 0.9)[10m:500ms])"


def check_scrapes(prometheus, jobs):
    """P4 of jobs with one sidecar each: always up, within the budget of series, and no sample that Prometheus had to refuse or to complain of."""
    harness.wait_for(f"good scrapes of {jobs}", lambda: set(jobs) <= set(prometheus.by_job("sum_over_time(up[10m]) >= 5")))
    failed, samples = prometheus.by_job(FAILED_SCRAPES), prometheus.by_job("max_over_time(scrape_samples_scraped[10m])")
    for one in jobs:
        assert one not in failed, (one, prometheus.log[-3000:])
        assert 0 < samples[one] <= SERIES_MAX, (one, samples)
        assert prometheus.by_job(f'last_over_time(o3_ollama_up{{job="{one}"}}[10m])') == {one: 1}
    for name in REFUSED_SAMPLES:
        counter = f"prometheus_target_scrapes_sample_{name}_total"
        harness.wait_for("Prometheus' own metrics", lambda: prometheus.query(counter))
        assert [value for _, value in prometheus.query(counter)] == [0.0], name
    complaints = [l for l in prometheus.log.splitlines() if re.search(r"level=(warn|error)", l, re.I) and re.search("o3|scrape", l)]
    assert complaints == []
    return samples
