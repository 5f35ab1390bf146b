# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus 3: its scrapes in every format and every way to spell names that it asks for, over TLS with a password, its
promtool, and our rules in it. `./dev test prom3` compiles both."""

import http.server
import os
import pathlib
import subprocess
import threading

import pytest
import yaml

import harness
from alerts.live import ALERTS
from boards.induced import PASSWORD, USER, guard
from harness import FAST, Sidecar, Simulator, started
from scraping import Prometheus, check_scrapes, job

PROGRAMS = pathlib.Path(os.environ.get("O3_TEST_PROM3", "/nonexistent"))
TEXT, OPENMETRICS = "PrometheusText0.0.4", "OpenMetricsText1.0.0"
# Each is a job of its own; what 3.x asks for by default comes first.
FORMATS = {
    "default": {},
    "text": {"scrape_protocols": [TEXT]},
    "text-1.0": {"scrape_protocols": ["PrometheusText1.0.0"], "fallback_scrape_protocol": TEXT},
    "openmetrics": {"scrape_protocols": [OPENMETRICS]},
    "openmetrics-0.0.1": {"scrape_protocols": ["OpenMetricsText0.0.1"], "fallback_scrape_protocol": TEXT},
    "protobuf-first": {"scrape_protocols": ["PrometheusProto", OPENMETRICS], "scrape_native_histograms": True},
    "plain": {"enable_compression": False},
    "legacy-names": {"metric_name_validation_scheme": "legacy", "metric_name_escaping_scheme": "underscores"},
    "dots": {"metric_name_escaping_scheme": "dots"},
    "values": {"metric_name_escaping_scheme": "values"},
    "utf-8": {"metric_name_validation_scheme": "utf8", "metric_name_escaping_scheme": "allow-utf-8"},
}


def program(name):
    assert (PROGRAMS / name).exists(), f"no {name} 3 to test with: run these tests by ./dev test prom3"
    return PROGRAMS / name


def promtool(*argv, stdin=None):
    done = subprocess.run([str(a) for a in (program("promtool"), *argv)], input=stdin, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def ollama(tmp_path_factory):
    with started(Simulator, tmp_path_factory.mktemp("sim")) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def full(tmp_path_factory, ollama):
    """A sidecar that has probed and judged for a while, so that most series exist."""
    config = {**FAST, "drift.baseline_samples": 8, "probe.prefill_interval": "3s"}
    with started(Sidecar, tmp_path_factory.mktemp("sidecar"), ollama.url, config) as sidecar:
        sidecar.wait_metric("o3_baseline_value", model=Simulator.MODEL, signal="decode_rate")
        yield sidecar


def series_of(prometheus, one):
    found = prometheus.get("series", **{"match[]": f'{{__name__=~"(o3|process)_.+", job="{one}"}}'})
    return {tuple(sorted((k, v) for k, v in s.items() if k not in ("job", "instance"))) for s in found if not s["__name__"].endswith("_created")}


def test_scrapes_in_every_format(start, full):
    prometheus = start(Prometheus, [job(name, full.port, **more) for name, more in FORMATS.items()], program("prometheus"))
    version = prometheus.get("status/buildinfo")["version"]
    assert version.startswith("3."), version
    samples = check_scrapes(prometheus, list(FORMATS))
    print(f"measured: Prometheus {version}: scrape_samples_scraped {samples['default']:.0f}, as text {samples['text']:.0f}")
    # The same series whatever the format and the spelling, and no name had to be spelled in another way.
    for name in FORMATS:
        harness.wait_for(f"the same series in {name}", lambda: series_of(prometheus, "default") == series_of(prometheus, name))
    names = prometheus.get("label/__name__/values")
    assert "o3_ollama_up" in names and not [n for n in names if n.startswith("U__") or '"' in n or "." in n]
    # Native histograms were asked for: classic ones are an answer to that.
    assert prometheus.query('o3_probe_duration_seconds_bucket{job="protobuf-first", le="+Inf"}')


class Recorder:
    """A target that remembers how it was asked, by path."""

    def __init__(self):
        self.asked = {}
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked[self.path.strip("/")] = dict(self.headers)
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def test_answers_to_what_it_asks_for(start, full):
    """The headers that each way of scraping really sends, and the format that the sidecar says it answers with."""
    recorder = Recorder()
    jobs = [job(name, recorder.port, **more, metrics_path="/" + name) for name, more in FORMATS.items()]
    start(Prometheus, jobs, program("prometheus"))
    harness.wait_for("every way to ask", lambda: set(recorder.asked) == set(FORMATS))
    recorder.server.shutdown()
    kept = ("Accept", "Accept-Encoding", "X-Prometheus-Scrape-Timeout-Seconds", "User-Agent")
    answers = {name: full.get("/metrics", headers={k: asked[k] for k in kept if k in asked}) for name, asked in recorder.asked.items()}
    assert {a.status_code for a in answers.values()} == {200}
    kinds = {name: a.headers["Content-Type"].split(";")[0] for name, a in answers.items()}
    is_text = {"text", "text-1.0"}  # the draft of OpenMetrics is a subset of it
    assert kinds == {name: "text/plain" if name in is_text else "application/openmetrics-text" for name in FORMATS}
    for name, a in answers.items():
        assert a.text.rstrip().endswith("# EOF") == (name not in is_text), name
        # Names of letters and underscores are right in every spelling; what was asked for makes no difference.
        assert a.headers["Content-Type"].endswith("escaping=underscores"), (name, a.headers["Content-Type"])
    assert "escaping=allow-utf-8" in recorder.asked["default"]["Accept"], recorder.asked["default"]
    assert "escaping=values" in recorder.asked["values"]["Accept"]


def test_tls_and_a_password(start, tmp_path, ollama):
    folder = tmp_path / "web"
    folder.mkdir()
    guarded = start(Sidecar, ollama.url, {**FAST, "web.config_file": str(guard(folder))})
    tls = {"scheme": "https", "tls_config": {"ca_file": str(folder / "server.pem")}}
    user = lambda password: {"basic_auth": {"username": USER, "password": password}}
    jobs = [job("guarded", guarded.port, **tls, **user(PASSWORD)), job("guarded-text", guarded.port, **tls, **user(PASSWORD), **FORMATS["text"]),
            job("wrong", guarded.port, **tls, **user("wrong")), job("nobody", guarded.port, **tls), job("unencrypted", guarded.port, **user(PASSWORD)),
            job("stranger", guarded.port, scheme="https", **user(PASSWORD))]
    prometheus = start(Prometheus, jobs, program("prometheus"))
    prometheus.wait_scrapes([j["job_name"] for j in jobs])
    check_scrapes(prometheus, ["guarded", "guarded-text"])
    refused = {"wrong": "401", "nobody": "401", "unencrypted": "400", "stranger": "certificate"}
    assert prometheus.by_job('max_over_time(up{job!="self"}[10m])') == {"guarded": 1, "guarded-text": 1, **dict.fromkeys(refused, 0)}
    errors = {t["labels"]["job"]: t["lastError"] for t in prometheus.get("targets")["activeTargets"]}
    for name, why in refused.items():
        assert why in errors[name], errors


def test_rules_are_loaded_and_evaluated(start, full):
    prometheus = start(Prometheus, [job("o3", full.port)], program("prometheus"), rules=[ALERTS / "o3.rules.yaml"])
    prometheus.wait_scrapes(["o3"])
    loaded = lambda: [r for g in prometheus.get("rules")["groups"] for r in g["rules"]]
    harness.wait_for("every rule to be evaluated", lambda: all(r["health"] != "unknown" for r in loaded()))
    wanted = [r.get("alert") or r["record"] for g in yaml.safe_load((ALERTS / "o3.rules.yaml").read_text())["groups"] for r in g["rules"]]
    assert sorted(r["name"] for r in loaded()) == sorted(wanted)
    assert [r for r in loaded() if r["health"] != "ok" or r.get("lastError")] == []
    assert {v for _, v in prometheus.query("prometheus_rule_evaluation_failures_total")} == {0}
    # A query that Prometheus only warns of would pass unseen.
    for r in loaded():
        if r["type"] == "alerting":
            assert not {"warnings", "infos"} & set(prometheus.answer("query", query=r["query"])), r["name"]


def test_promtool_accepts_the_rules():
    promtool("check", "rules", "--lint=all", "--lint-fatal", ALERTS / "o3.rules.yaml")


@pytest.mark.parametrize("path", sorted((ALERTS / "tests").glob("*.yaml")), ids=lambda p: p.name)
def test_promtool_passes_the_tests(path):
    promtool("test", "rules", path)


def test_promtool_has_no_complaint_of_the_metrics(full):
    assert promtool("check", "metrics", stdin=full.get("/metrics").text) == ""
    extended = promtool("check", "metrics", "--extended", stdin=full.get("/metrics").text)
    assert "o3_probe_duration_seconds" in extended
