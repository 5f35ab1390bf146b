# SPDX-License-Identifier: Apache-2.0
"""The daemon by itself: pages, reload, and how it starts and ends."""

import contextlib
import gzip
import os
import re
import signal
import socket
import time

import pytest
import requests
import yaml

import harness
from harness import FAST, Metrics, Sidecar, Simulator

NOBODY = "http://127.0.0.1:9"  # discard port: nothing listens there


def test_probes_appear_in_the_metrics(sidecar):
    model = Simulator.MODEL
    sidecar.wait_metric("o3_probe_decode_tokens_per_second", lambda v: v and v > 0, model=model)
    metrics = sidecar.metrics()
    assert metrics.get("o3_ollama_up") == 1
    assert metrics.get("o3_model_loaded", model=model) == 1
    assert metrics.get("o3_probe_success", model=model) == 1
    assert metrics.get("o3_probe_induced_reloads_total", model=model) in (0, None)
    assert metrics.sum("o3_probes_total", model=model, result="ok") + metrics.sum("o3_probes_total", result="ok") > 0
    count = metrics.sum("o3_probe_time_to_first_token_seconds_count", model=model)
    assert count > 0 and metrics.sum("o3_probe_time_to_first_token_seconds_sum", model=model) > 0
    assert metrics.all("o3_build_info") and metrics.all("process_resident_memory_bytes")
    assert metrics.get("process_virtual_memory_bytes") > metrics.get("process_resident_memory_bytes")


def test_the_host_shows_in_the_metrics(start):
    metrics = start(Sidecar, NOBODY).metrics()
    assert metrics.get("o3_host_memory_available_bytes") > 0
    for resource in ("cpu", "memory", "io"):
        value = metrics.get("o3_host_pressure_ratio", resource=resource, stall="some")
        try:
            with open(f"/proc/pressure/{resource}") as file:
                is_there = file.read().startswith("some avg10=")
        except OSError:  # a kernel without PSI, or with PSI switched off
            is_there = False
        assert 0 <= value <= 1 if is_there else value is None
    # Limits are absent where there are none.
    for name in ("o3_container_memory_limit_bytes", "o3_container_cpu_quota_cores"):
        assert metrics.get(name) is None or metrics.get(name) > 0


def test_health_and_readiness_do_not_depend_on_ollama(start):
    sidecar = start(Sidecar, NOBODY)
    assert sidecar.get("/-/healthy").status_code == 200
    assert sidecar.get("/-/ready").status_code == 200
    assert sidecar.wait_metric("o3_ollama_up", lambda v: v == 0) == 0


def test_config_page_stars_secrets(start):
    sidecar = start(Sidecar, NOBODY, {"web.token": "quite-secret-word"})
    page = sidecar.get("/config")
    assert page.status_code == 200
    assert "quite-secret-word" not in page.text and "***" in page.text
    assert yaml.safe_load(page.text)["ollama"]["url"] == NOBODY
    assert "quite-secret-word" not in sidecar.log


def test_a_refused_value_takes_no_secret_with_it(start, tmp_path):
    """What is refused is told in the log, the store and the open API, for example an address with a password."""
    url, secret = "http://user:hunter2@127.0.0.1:1", "hunter2"
    sidecar = start(Sidecar, NOBODY, {"web.token": "tok-" + secret})
    good = sidecar.config

    def refused():
        return len(sidecar.json("/api/v1/events?name=config_rejected&limit=1000")["events"])

    for bad in ({**good, "ollama.url": url}, {**good, "web.listen": "user:hunter2@:80"}, {**good, "web.token": "hunter2 "}, {**good, "kubernetes.url": url},
                f"web: {{token:{secret}}}\n", f"web: {{token: tok,{secret}}}\n", f"web:\n  token: [{secret}\n", f"web:\n  token: \"{secret}\n",
                f"web:\n\ttoken: {secret}\n", f"web:\n  token: {secret}: x\n", f"{secret}\n", f"web: !{secret} x\n", f"web: *{secret}\n"):
        n = refused()
        sidecar.write_config(bad)
        sidecar.reload()
        harness.wait_for("the refusal", lambda: refused() > n)
    sidecar.write_config(good)
    sidecar.reload()
    sidecar.wait_log("config_reloaded")
    for path in ("/api/v1/events", "/api/v1/status", "/config", "/metrics", "/"):
        assert secret not in sidecar.get(path).text, path
    assert sidecar.json("/api/v1/events?name=config_rejected")["events"]
    assert sidecar.stop() == 0
    assert secret not in sidecar.log
    left = [path for path in sidecar.results.rglob("*") if path.is_file()]
    assert left and not [path for path in left if secret.encode() in path.read_bytes()]
    path = tmp_path / "bad.yaml"
    path.write_text(f"ollama: {{url: '{url}'}}\n")
    for args, env in ((["--config.file", path], {}), (["--ollama.url", url], {}), ([f"--ollama.url={url}"], {}), ([], {"O3_OLLAMA_URL": url}),
                      (["--web.token", "hunter2 "], {}), ([], {"O3_WEB_TOKEN": "hunter2 "}), (["--web.listen", "u:hunter2"], {})):
        for command in (["serve"], ["check-config"], ["config", "dump"], ["healthcheck"]):
            done = harness.run_o3(*command, *args, env=env, cwd=tmp_path)
            assert done.returncode not in (0, 1) and done.stderr and secret not in done.stdout + done.stderr, (command, args, done)


@pytest.mark.parametrize("path", ["/api/v1/status", "/api/v1/models", "/api/v1/samples", "/api/v1/events", "/api/v1/presets"])
def test_api_answers_json(start, path):
    sidecar = start(Sidecar, NOBODY)
    assert isinstance(sidecar.json(path), (dict, list))


def test_api_shows_samples_models_and_presets(start, simulator):
    model = Simulator.MODEL
    sidecar = start(Sidecar, simulator.url, {**FAST, "drift.baseline_samples": 8})
    sidecar.wait_sum("o3_probes_total", 3, result="ok")
    assert model in str(sidecar.json("/api/v1/models"))
    assert model in str(sidecar.json(f"/api/v1/samples?model={model}"))
    assert model in str(sidecar.json(f"/api/v1/samples?model={model.removesuffix(':latest')}"))
    assert model not in str(sidecar.json("/api/v1/samples?model=another"))
    harness.wait_for("a preset", lambda: sidecar.get(f"/api/v1/preset?model={model}&name=max_context").status_code == 200)
    preset = sidecar.json(f"/api/v1/preset?model={model}&name=max_context")
    assert preset["num_ctx"] > 0 and preset["batch"] > 0
    for query in (f"model={model}&name=no_such", "model=another&name=balanced", ""):
        reply = sidecar.get("/api/v1/preset?" + query)
        assert reply.status_code in (400, 404) and "error" in reply.json(), query
    assert all(e["event"] == "preset_written" for e in sidecar.json("/api/v1/events?name=preset_written")["events"])
    assert sidecar.json("/api/v1/events?name=drift_recovered")["events"] == []
    for name in ("no_such", "drift_confirmed,incident_opened"):
        reply = sidecar.get(f"/api/v1/events?name={name}")
        assert reply.status_code == 400 and "event" in reply.json()["error"], name


def test_landing_page_links_and_holds_no_script(sidecar):
    page = sidecar.get("/")
    assert page.status_code == 200 and page.headers["Content-Type"].startswith("text/html")
    for path in re.findall(r'href="(/[^"]*)"', page.text):
        assert sidecar.get(path).status_code == 200, path
    assert "/metrics" in page.text and "<script" not in page.text


def test_unknown_paths_and_methods(start):
    sidecar = start(Sidecar, NOBODY)
    reply = sidecar.get("/no/such/page")
    assert reply.status_code == 404 and "error" in reply.json()
    for method, path in (("POST", "/metrics"), ("DELETE", "/"), ("GET", "/-/reload"), ("PUT", "/api/v1/status")):
        reply = sidecar.request(method, path)
        assert reply.status_code == 405 and "error" in reply.json(), (method, path)
        assert reply.headers.get("Allow"), (method, path)
    head = sidecar.request("HEAD", "/metrics")
    assert head.status_code == 200 and head.content == b"" and int(head.headers["Content-Length"]) > 0


def test_writing_endpoints_are_off_without_a_token(start):
    sidecar = start(Sidecar, NOBODY)
    for path in ("/api/v1/tune", "/api/v1/presets/rollback"):
        assert sidecar.request("POST", path, json={}).status_code in (403, 404, 405, 501), path


TEXT = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"


@pytest.mark.parametrize("accept, kind", [
    (None, TEXT),
    ("", TEXT),
    ("*/*", TEXT),
    ("text/*", TEXT),
    ("text/plain", TEXT),
    ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", TEXT),
    ("application/json", TEXT),
    ("application/openmetrics-text", OPENMETRICS),
    ("APPLICATION/OpenMetrics-Text ; Version=1.0.0", OPENMETRICS),
    ("application/openmetrics-text;version=1.0.0", OPENMETRICS),
    ("application/openmetrics-text;version=1.0.0;q=0", TEXT),
    ("application/openmetrics-text;version=1.0.0;q=0,*/*", TEXT),
    ("application/openmetrics-text;version=1.0.0;q=0.2,text/plain;version=0.0.4;q=0.8", TEXT),
    # Prometheus 2.42
    ("application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
     "text/plain;version=0.0.4;q=0.5,*/*;q=0.1", OPENMETRICS),
    # Prometheus 3
    ("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,"
     "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2", OPENMETRICS),
    # Prometheus 3 that prefers protobuf, which is not spoken here
    ("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,"
     "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2", OPENMETRICS),
    (";;;q=q,,/", TEXT),
    ("q=1;q=1,application/openmetrics-text;q=abc", None),
    ("," * 4000, None),
])
def test_exposition_format_follows_accept(start, accept, kind):
    """None: whichever, but one of the two, and it says which."""
    sidecar = start(Sidecar, NOBODY)
    reply = sidecar.get("/metrics", headers={"Accept": accept})
    assert reply.status_code == 200
    assert reply.headers["Content-Type"] in ([kind] if kind else [TEXT, OPENMETRICS])
    assert reply.text.endswith("# EOF\n") == ("openmetrics" in reply.headers["Content-Type"])


def test_gzip_when_asked(start):
    sidecar = start(Sidecar, NOBODY)
    with requests.get(sidecar.url + "/metrics", headers={"Accept-Encoding": "gzip"}, stream=True, timeout=30) as reply:
        assert reply.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(reply.raw.read()).startswith(b"# ")
    plain = sidecar.get("/metrics", headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers


@pytest.mark.parametrize("request_bytes", [
    b"GET /metrics\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"X: " + b"b" * 100_000 + b"\r\n\r\n",
    b"POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n",
    b"POST /-/reload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzzzz\r\n",
    b"GET /api/v1/samples?model=%00%ff%&since=abc HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET /api/v1/preset?model=" + b"%41" * 2000 + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
], ids=["http09", "tls", "long-path", "long-header", "huge-length", "bad-chunk", "bad-query", "long-query"])
def test_bad_requests_hurt_nobody(start, request_bytes):
    sidecar = start(Sidecar, NOBODY, {"web.timeout": "1s"})
    with socket.create_connection(("127.0.0.1", sidecar.port), timeout=30) as s:
        try:
            s.sendall(request_bytes)
            while s.recv(65536):
                pass
        except ConnectionError:
            pass
    assert sidecar.get("/-/healthy").status_code == 200
    assert sidecar.is_running()


# ---- ending ----------------------------------------------------------------------------------------------------------


def ends_well(sidecar, state):
    began = time.monotonic()
    status = sidecar.stop()
    print(f"measured: SIGTERM while {state}: exit {status} after {time.monotonic() - began:.2f} s")
    assert status == 0, sidecar.log[-3000:]
    sidecar.wait_log(r"\bstopped\b", 1)


def test_sigterm_while_idle(start):
    ends_well(start(Sidecar, NOBODY), "idle")


def test_sigterm_while_a_probe_streams(start, simulator, broken):
    slow = broken(paths={"/api/generate": "drip"}, upstream_port=simulator.port)
    sidecar = start(Sidecar, slow.url, FAST)
    harness.wait_for("a probe", lambda: any(path == "/api/generate" for _, path, _ in slow.seen))
    time.sleep(0.5)
    ends_well(sidecar, "a probe streams")


@pytest.mark.parametrize("path", [None, "/api/ps", "/api/generate"])
def test_sigterm_while_ollama_hangs(start, simulator, broken, path):
    hanging = broken("hang") if path is None else broken(paths={path: "hang"}, upstream_port=simulator.port)
    sidecar = start(Sidecar, hanging.url, FAST)
    harness.wait_for("a request", lambda: any(path in (None, p) for _, p, _ in hanging.seen))
    time.sleep(0.5)
    ends_well(sidecar, f"Ollama hangs at {path or 'everything'}")


def test_sigint_ends_too(start):
    sidecar = start(Sidecar, NOBODY)
    sidecar.send(signal.SIGINT)
    assert sidecar.wait() == 0


def test_killed_and_started_again_keeps_its_samples(start, simulator, tmp_path):
    keep = {**FAST, "results.path": str(tmp_path / "kept")}
    sidecar = start(Sidecar, simulator.url, keep)
    sidecar.wait_sum("o3_probes_total", 3, result="ok")
    sidecar.stop()
    again = start(Sidecar, simulator.url, keep)
    again.wait_sum("o3_probes_total", 1, result="ok")
    again.kill()  # no chance to tidy up
    third = start(Sidecar, simulator.url, keep)
    assert len(str(third.json(f"/api/v1/samples?model={Simulator.MODEL}"))) > 100
    ends_well(third, "started after a kill")


# ---- reload ----------------------------------------------------------------------------------------------------------


def interval_in_force(sidecar):
    return yaml.safe_load(sidecar.get("/config").text)["probe"]["interval"]


def by_signal(sidecar):
    sidecar.reload()


def by_post(sidecar):
    assert sidecar.request("POST", "/-/reload").status_code == 200


@pytest.mark.parametrize("trigger", [by_signal, by_post])
def test_reload(start, trigger):
    sidecar = start(Sidecar, NOBODY, {"probe.interval": "1h"})
    assert str(interval_in_force(sidecar)) == "1h"
    sidecar.write_config({**sidecar.config, "probe.interval": "2h"})
    trigger(sidecar)
    harness.wait_for("the new interval", lambda: str(interval_in_force(sidecar)) == "2h")
    assert sidecar.metrics().get("o3_config_last_reload_successful") == 1


@pytest.mark.parametrize("trigger", [by_signal, lambda s: s.request("POST", "/-/reload")], ids=["signal", "post"])
def test_bad_reload_keeps_the_old_configuration(start, trigger):
    sidecar = start(Sidecar, NOBODY, {"probe.interval": "1h"})
    assert sidecar.metrics().get("o3_config_last_reload_successful") == 1
    good = sidecar.config
    sidecar.write_config("probe:\n  intervall: 2h\n")
    trigger(sidecar)
    sidecar.wait_metric("o3_config_last_reload_successful", lambda v: v == 0)
    assert str(interval_in_force(sidecar)) == "1h"
    assert "o3.yaml:2:3" in sidecar.log and "probe.interval" in sidecar.log
    sidecar.write_config(good)
    trigger(sidecar)
    sidecar.wait_metric("o3_config_last_reload_successful", lambda v: v == 1)


def test_a_detector_that_waits_for_a_restart_is_not_named_before(start, simulator):
    config = {**FAST, "drift.baseline_samples": 10}
    sidecar = start(Sidecar, simulator.url, config)
    statistics = lambda: {s.labels["detector"] for s in sidecar.metrics().all("o3_drift_statistic", signal="decode_rate")}
    harness.wait_for("a baseline", statistics)
    sidecar.write_config({**sidecar.config, "drift.detector": "rank"})
    sidecar.wait_log("config_needs_restart.*drift.detector")
    probes = sidecar.metrics().sum("o3_probes_total")
    sidecar.wait_sum("o3_probes_total", probes + 3)
    assert statistics() == {"cusum"}
    sidecar.stop()
    again = Sidecar(sidecar.folder, simulator.url, {**config, "drift.detector": "rank"}, name="again")
    with contextlib.closing(again):
        again.wait_metric("o3_baseline_samples", lambda v: v and v > 10, signal="decode_rate")
        again.wait_sum("o3_probes_total", 2)
        statistics = again.metrics().all("o3_drift_statistic")
        assert {s.labels["detector"] for s in statistics if s.labels["signal"] != "success"} == {"rank"}
        assert {s.labels["detector"] for s in statistics if s.labels["signal"] == "success"} == {"cusum"}


def test_bad_reload_by_post_says_why(start):
    sidecar = start(Sidecar, NOBODY)
    sidecar.write_config("probe: [1, 2\n")
    reply = sidecar.request("POST", "/-/reload")
    assert reply.status_code >= 400 and "o3.yaml" in reply.json()["error"]


def test_reload_by_symlink_swap_of_a_mounted_volume(start, tmp_path):
    """Kubernetes replaces a mounted ConfigMap by swapping the symlink ..data; the file's own link does not change."""
    volume = tmp_path / "volume"
    for version, interval in (("..1", "1h"), ("..2", "2h")):
        (volume / version).mkdir(parents=True)
        (volume / version / "o3.yaml").write_text(f"probe: {{interval: {interval}}}\n")
    (volume / "..data").symlink_to("..1")
    (volume / "o3.yaml").symlink_to("..data/o3.yaml")
    sidecar = start(Sidecar, NOBODY, flags=[f"--config.file={volume / 'o3.yaml'}", f"--ollama.url={NOBODY}", "--web.listen=127.0.0.1:0",
                                            f"--results.path={tmp_path / 'results'}"])
    assert str(interval_in_force(sidecar)) == "1h"
    (volume / "..data_tmp").symlink_to("..2")
    os.replace(volume / "..data_tmp", volume / "..data")
    harness.wait_for("the new interval", lambda: str(interval_in_force(sidecar)) == "2h", 90)


# ---- starts that must fail -------------------------------------------------------------------------------------------


def test_taken_port(start, tmp_path):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        address = "127.0.0.1:%d" % s.getsockname()[1]
        done = harness.run_o3("serve", f"--web.listen={address}", f"--ollama.url={NOBODY}", f"--results.path={tmp_path / 'r'}", cwd=tmp_path)
    assert done.returncode == 75, done
    assert address in done.stderr and "taken" in done.stderr


def test_second_sidecar_on_the_same_store(start, tmp_path):
    first = start(Sidecar, NOBODY)
    done = harness.run_o3("serve", "--config.file", first.config_path, cwd=tmp_path)
    assert done.returncode == 75, done
    assert "lock" in done.stderr or "another" in done.stderr
    assert first.get("/-/healthy").status_code == 200


@pytest.mark.parametrize("text, where, words", [
    ("probe:\n  intervall: 1s\n", "o3.yaml:2:3", ["probe.interval"]),
    ("probe:\n  interval: soon\n", "o3.yaml:2:13", ["probe.interval"]),
    ("probe:\n  interval: 10ms\n", "o3.yaml:2:13", ["1s"]),
    ("probe:\n  max_busy_ratio: 7\n", "o3.yaml:2:19", ["max_busy_ratio"]),
    ("prob:\n  interval: 1s\n", "o3.yaml:1:1", ["probe"]),
    ("probe: {interval: 1s\n", "o3.yaml:", []),
    ("a: &x [*x]\n", "o3.yaml:1:", []),
], ids=["unknown-key", "wrong-type", "out-of-range", "ratio", "unknown-group", "syntax", "alias"])
def test_wrong_configuration_names_file_line_and_column(tmp_path, text, where, words):
    (tmp_path / "o3.yaml").write_text(text)
    for command in ("serve", "check-config"):
        done = harness.run_o3(command, "--config.file", "o3.yaml", cwd=tmp_path)
        assert done.returncode == 2, (command, done)
        message = done.stderr + done.stdout
        assert where in message and all(w in message for w in words), (command, message)


def test_missing_configuration_file(tmp_path):
    done = harness.run_o3("serve", "--config.file", "no-such.yaml", cwd=tmp_path)
    assert done.returncode == 2 and "no-such.yaml" in done.stderr


def test_environment_and_flags_override_the_file(start, tmp_path):
    sidecar = start(Sidecar, NOBODY, {"probe.interval": "1h", "probe.linger": "1h"}, env={"O3_PROBE_INTERVAL": "2h", "O3_PROBE_LINGER": "2h",
                    "O3_NO_SUCH": "1", "O3_SERVICE_HOST": "10.0.0.1", "O3_PORT": "tcp://10.0.0.1:80"}, flags=["--probe.linger=3h"])
    config = yaml.safe_load(sidecar.get("/config").text)["probe"]
    assert str(config["interval"]) == "2h" and str(config["linger"]) == "3h"
    assert sidecar.log.count("O3_NO_SUCH") == 1
    assert "O3_SERVICE_HOST" not in sidecar.log and "O3_PORT" not in sidecar.log


def test_json_log(start):
    import json

    sidecar = start(Sidecar, NOBODY, {"log.format": "json"})
    sidecar.stop()
    lines = [json.loads(line) for line in sidecar.log.splitlines()]
    assert lines and all("event" in line and "level" in line for line in lines)


def test_metrics_stay_whole_while_scraped_by_many(sidecar):
    """Every scrape is complete and parses, also while probes change the values."""
    for _ in range(50):
        Metrics(sidecar.get("/metrics").text)
