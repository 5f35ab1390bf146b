# SPDX-License-Identifier: Apache-2.0
"""Whatever Ollama answers, the sidecar lives, tells the truth, and is well again when Ollama is."""

import time

import pytest

import harness
from harness import FAST, Sidecar, Simulator

IMPATIENT = {**FAST, "timeouts.control": "500ms", "timeouts.first_byte": "1s", "timeouts.base": "2s"}


def assert_well(sidecar):
    assert sidecar.is_running()
    assert sidecar.get("/-/healthy").status_code == 200 and sidecar.get("/-/ready").status_code == 200
    sidecar.metrics()


def test_absent_then_present(start):
    port = harness.free_port()
    sidecar = start(Sidecar, f"http://127.0.0.1:{port}", IMPATIENT)
    sidecar.wait_metric("o3_ollama_up", lambda v: v == 0)
    assert_well(sidecar)
    start(Simulator, port=port)
    sidecar.wait_metric("o3_ollama_up", lambda v: v == 1)
    sidecar.wait_sum("o3_probes_total", 2, result="ok")


@pytest.mark.parametrize("mode", ["html", "unavailable", "error_500", "hang", "garbage", "garbage_json", "odd_types", "huge", "half"])
def test_everything_broken(start, broken, mode):
    server = broken(mode)
    sidecar = start(Sidecar, server.url, IMPATIENT)
    harness.wait_for("three requests", lambda: len(server.seen) >= 3)
    sidecar.wait_metric("o3_ollama_up", lambda v: v == 0)
    assert_well(sidecar)
    assert not any(path == "/api/generate" for _, path, _ in server.seen)
    assert sidecar.stop() == 0


@pytest.mark.parametrize("path", ["/api/version", "/api/ps", "/api/show"])
@pytest.mark.parametrize("mode", ["html", "garbage_json", "odd_types", "huge", "unavailable"])
def test_one_control_path_broken(start, simulator, broken, path, mode):
    server = broken(paths={path: mode}, upstream_port=simulator.port)
    sidecar = start(Sidecar, server.url, IMPATIENT)
    harness.wait_for(f"requests to {path}", lambda: any(p == path for _, p, _ in server.seen))
    time.sleep(1.5)  # so that what follows the broken answer is exercised too
    assert_well(sidecar)
    assert sidecar.stop() == 0


@pytest.mark.parametrize("mode, results", [
    ("html", None),
    ("unavailable", {"busy"}),
    ("error_500", {"http_error"}),
    ("hang", {"timeout", "stuck"}),
    ("half", {"broken"}),
    ("error_line", {"stream_error"}),
    ("no_done", {"no_metrics"}),
    ("garbage", None),
    ("huge", None),
    ("drip", None),
])
def test_probe_answer_broken(start, simulator, broken, mode, results):
    """A bad answer is a sample with an outcome, and the sidecar recovers when the answers do."""
    server = broken(paths={"/api/generate": mode}, upstream_port=simulator.port)
    sidecar = start(Sidecar, server.url, IMPATIENT)
    harness.wait_for("a probe", lambda: any(p == "/api/generate" for _, p, _ in server.seen))

    def outcomes():
        return {s.labels["result"] for s in sidecar.metrics().all("o3_probes_total") if s.value > 0}

    harness.wait_for("an outcome", outcomes)
    if results:
        harness.wait_for(f"one of {results}", lambda: outcomes() & results)
    assert "ok" not in outcomes()
    assert_well(sidecar)
    server.broken_paths.clear()
    sidecar.wait_sum("o3_probes_total", 1, result="ok", limit_s=120)


def test_restart_in_the_middle_of_a_stream(start):
    simulator = start(Simulator, port=harness.free_port())
    sidecar = start(Sidecar, simulator.url, IMPATIENT)
    sidecar.wait_sum("o3_probes_total", 1, result="ok")
    simulator.kill()
    sidecar.wait_metric("o3_ollama_up", lambda v: v == 0)
    assert_well(sidecar)
    before = sidecar.metrics().sum("o3_probes_total", result="ok")
    start(Simulator, port=simulator.port)
    sidecar.wait_metric("o3_ollama_up", lambda v: v == 1)
    sidecar.wait_sum("o3_probes_total", before + 2, result="ok")


def test_values_disappear_when_ollama_does(start):
    """A last value must not look like a present one."""
    simulator = start(Simulator)
    sidecar = start(Sidecar, simulator.url, IMPATIENT)
    sidecar.wait_metric("o3_probe_decode_tokens_per_second", model=Simulator.MODEL)
    simulator.kill()
    sidecar.wait_metric("o3_probe_decode_tokens_per_second", lambda v: v is None, model=Simulator.MODEL)


def test_an_empty_answer_after_a_long_one_is_no_list(start, simulator, broken):
    """A list too long to be kept is nothing that a later answer could be equal to."""
    from fakes import broken_server

    def answer(body):
        return lambda send, server: send(broken_server.plain(b"200 OK", b"application/json", body))

    broken_server.MODES["long"] = answer(b'{"models": []}' + b" " * 100_000)
    broken_server.MODES["empty"] = answer(b"")
    server = broken(paths={"/api/ps": "long"}, upstream_port=simulator.port)
    sidecar = start(Sidecar, server.url, IMPATIENT)
    harness.wait_for("looks at the list", lambda: sum(p == "/api/ps" for _, p, _ in server.seen) >= 2)
    sidecar.wait_metric("o3_ollama_up", lambda v: v == 1)
    server.broken_paths["/api/ps"] = "empty"
    sidecar.wait_metric("o3_ollama_up", lambda v: v == 0)
    assert_well(sidecar)


def test_hostile_model_names(start, simulator, broken):
    """Names come from outside: nothing of them may break a line of the exposition, the log, or leave the results folder."""

    import json

    names = ['a"b\\c\nd:latest', "../../../../tmp/o3-escape:x", "{}#{}", "x" * 500, "caf\u00e9:1", "", ".", "..", "/etc/o3"]
    body = json.dumps({"models": [{"name": n, "model": n, "size": 5, "size_vram": 0, "digest": "0" * 64, "context_length": 4096,
                                   "expires_at": "2318-01-01T00:00:00Z", "details": {"family": 'q"\n', "parameter_size": "1B",
                                   "quantization_level": "Q"}} for n in names]}).encode()
    from fakes import broken_server

    broken_server.MODES["names"] = lambda send, server: send(broken_server.plain(b"200 OK", b"application/json", body))
    server = broken(paths={"/api/ps": "names"}, upstream_port=simulator.port)
    sidecar = start(Sidecar, server.url, IMPATIENT)
    harness.wait_for("looks at the list", lambda: sum(p == "/api/ps" for _, p, _ in server.seen) >= 3)
    time.sleep(2)
    assert_well(sidecar)
    for line in sidecar.log.splitlines():
        assert line.startswith(("ts=", "time=", "level=", "event=", "{")) or "=" in line, line
    outside = [p for p in sidecar.folder.rglob("*") if "escape" in p.name and sidecar.results not in p.parents]
    assert outside == []
