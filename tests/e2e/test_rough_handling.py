# SPDX-License-Identifier: Apache-2.0
"""What a careless or hostile environment does to the program: pipes for files, closed descriptors, full disks, locks."""

import os
import signal
import sqlite3
import subprocess
import threading
import time

import pytest
import requests
import yaml

import harness
from harness import FAST, Sidecar, Simulator

NOBODY = "http://127.0.0.1:9"  # discard port: nothing listens there


def cpu_ticks(pid):
    fields = harness.pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def interval_in_force(sidecar):
    return str(yaml.safe_load(sidecar.get("/config").text)["probe"]["interval"])


def reload_succeeded(sidecar):
    return sidecar.metrics().get("o3_config_last_reload_successful")


# ---- configuration ---------------------------------------------------------------------------------------------------


def test_configuration_from_a_pipe_is_kept(start, tmp_path):
    """A pipe can be read once. Reading it again finds nothing, which is no reason to fall back to the built-in values."""
    text = f"probe: {{interval: 3h}}\nollama: {{url: '{NOBODY}'}}\nweb: {{listen: '127.0.0.1:0'}}\nresults: {{path: {tmp_path}/r}}\n"
    fifo = tmp_path / "config.fifo"
    os.mkfifo(fifo)
    threading.Thread(target=lambda: fifo.write_text(text), daemon=True).start()
    sidecar = start(Sidecar, NOBODY, flags=["--config.file", str(fifo)])
    assert interval_in_force(sidecar) == "3h"
    reply = sidecar.request("POST", "/-/reload")
    assert reply.status_code == 500 and "pipe" in reply.json()["error"]
    assert interval_in_force(sidecar) == "3h"
    assert sidecar.stop() == 0


def test_configuration_file_becomes_a_pipe(start):
    sidecar = start(Sidecar, NOBODY, {"probe.interval": "3h"})
    sidecar.config_path.unlink()
    os.mkfifo(sidecar.config_path)
    sidecar.wait_metric("o3_config_last_reload_successful", lambda v: v == 0)
    assert sidecar.request("POST", "/-/reload").status_code == 500
    assert interval_in_force(sidecar) == "3h"
    assert sidecar.stop() == 0


def test_restored_configuration_is_good_again(start):
    """Deleted, then put back as it was: nothing changed, and yet the last reload must not stay a failure."""
    sidecar = start(Sidecar, NOBODY)
    text = sidecar.config_path.read_text()
    sidecar.config_path.unlink()
    sidecar.wait_metric("o3_config_last_reload_successful", lambda v: v == 0)
    sidecar.config_path.write_text("probe: {no_such_key: 1}\n")
    sidecar.wait_log("no_such_key")  # another fault is told too
    sidecar.config_path.write_text(text)
    sidecar.wait_metric("o3_config_last_reload_successful", lambda v: v == 1)


def test_reload_in_a_folder_that_never_rests(start):
    sidecar = start(Sidecar, NOBODY, {"probe.interval": "3h"})
    is_over = threading.Event()

    def disturb():
        while not is_over.wait(0.02):
            (sidecar.config_path.parent / "noise").write_text("x")

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        sidecar.write_config({**sidecar.config, "probe.interval": "4h"})
        harness.wait_for("the new interval", lambda: interval_in_force(sidecar) == "4h")
    finally:
        is_over.set()
        thread.join()


def test_reload_without_ollama_does_not_spin(start):
    sidecar = start(Sidecar, NOBODY)
    sidecar.wait_metric("o3_ollama_up", lambda v: v == 0)
    assert sidecar.request("POST", "/-/reload").status_code == 200
    time.sleep(0.5)
    before = cpu_ticks(sidecar.pid)
    time.sleep(2)
    assert cpu_ticks(sidecar.pid) - before < 50  # of the 200 that a busy loop takes


def test_storm_of_signals(start):
    sidecar = start(Sidecar, NOBODY, {"probe.interval": "3h"})
    sidecar.write_config({**sidecar.config, "probe.interval": "4h"})
    for _ in range(1000):
        sidecar.reload()
    harness.wait_for("the new interval", lambda: interval_in_force(sidecar) == "4h")
    assert reload_succeeded(sidecar) == 1
    assert sidecar.stop() == 0


# ---- descriptors -----------------------------------------------------------------------------------------------------


def test_closed_standard_descriptors(tmp_path):
    """The database must not become file 2, or the log would be written into it."""
    port = harness.free_port()
    script = 'exec "$@" <&- >&- 2>&-'
    argv = ["sh", "-c", script, "sh", harness.BINARY, "serve", "--ollama.url", NOBODY, "--web.listen", f"127.0.0.1:{port}", "--results.path",
            str(tmp_path / "r")]
    process = subprocess.Popen(argv, env=harness.clean_environment(), cwd=tmp_path)
    try:
        def ready():
            try:
                return requests.get(f"http://127.0.0.1:{port}/-/ready", timeout=5).status_code == 200
            except requests.RequestException:
                return False

        harness.wait_for("the sidecar", ready)
        assert [os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in range(3)] == ["/dev/null"] * 3
    finally:
        process.terminate()
    assert process.wait(harness.LIMIT_S) == 0
    assert sqlite3.connect(tmp_path / "r" / "o3.db").execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("args", [["tables"], ["tables", "--json"], ["version"], ["config", "dump"], ["config", "example"], ["check-config"], ["--help"],
                                  ["serve", "--help"], ["preset", "list", "--json"]], ids=" ".join)
@pytest.mark.parametrize("redirect", ["> /dev/full", ">&-"])
def test_output_that_cannot_be_written(tmp_path, args, redirect):
    done = subprocess.run(["sh", "-c", f'exec "$@" {redirect}', "sh", harness.BINARY, *args], env=harness.clean_environment(), cwd=tmp_path, text=True,
                          stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 75, done
    assert "output" in done.stderr, done.stderr


def test_probe_ends_when_nobody_reads(simulator):
    argv = [harness.BINARY, "probe", Simulator.MODEL, "-n", "1000", "-i", "100ms", "--ollama.url", simulator.url]
    probe = subprocess.Popen(argv, env=harness.clean_environment(), stdout=subprocess.PIPE)
    try:
        assert probe.stdout.readline()
        probe.stdout.close()
        assert probe.wait(harness.LIMIT_S) == 75
    finally:
        probe.kill()
        probe.wait()


# ---- the end ---------------------------------------------------------------------------------------------------------


def test_sigterm_while_somebody_holds_the_database(start, simulator):
    sidecar = start(Sidecar, simulator.url, FAST)
    sidecar.wait_sum("o3_probes_total", 2, result="ok")
    shell = sqlite3.connect(sidecar.results / "o3.db", isolation_level=None)
    shell.execute("BEGIN EXCLUSIVE")
    began = time.monotonic()
    status = sidecar.stop()
    print(f"SIGTERM while the database is locked: exit {status} after {time.monotonic() - began:.2f} s")
    assert status == 0
    shell.close()
    lines = sidecar.samples(Simulator.MODEL)
    assert len(lines) >= 2  # nothing measured is lost: the other record of it


def test_second_signal(start):
    sidecar = start(Sidecar, NOBODY)
    for _ in range(5):
        sidecar.send(signal.SIGTERM)
        sidecar.send(signal.SIGINT)
    assert sidecar.wait() == 0


# ---- places that are no plain file -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_preset_file_is_no_plain_file(start, simulator, tmp_path, kind):
    """/dev/null or a pipe as the preset file must not be replaced by a file of ours."""
    target = tmp_path / "published"
    os.mkfifo(target) if kind == "pipe" else target.mkdir()
    mode = target.stat().st_mode
    sidecar = start(Sidecar, simulator.url, {**FAST, "drift.baseline_samples": 8, "publish.file": str(target)})
    sidecar.wait_log("preset_write_failed.*not a plain file", 120)
    assert target.stat().st_mode == mode
    assert list(tmp_path.glob(".o3-tmp-*")) == []


# ---- requests --------------------------------------------------------------------------------------------------------


def test_an_escaped_nul_ends_no_name(start):
    sidecar = start(Sidecar, NOBODY)
    for path, status in {"/-/healthy%00x": 404, "/config%00": 404, "/api/v1/preset?model=a&name=balanced%00": 400, "/%2Fmetrics": 404, "/%6detrics?%zz%": 200}.items():
        assert requests.get(sidecar.url + "/-/healthy").status_code == 200
        with harness.socket.create_connection(("127.0.0.1", sidecar.port), harness.LIMIT_S) as s:
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            head = s.recv(64)
        assert head.startswith(b"HTTP/1.1 %d " % status), (path, head)


# ---- words on the command line ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("args", [["serve", "--nonsense", "--help"], ["demo", "extra", "--help"], ["probe", "a", "b", "--help"], ["version", "--json", "--help"],
                                  ["healthcheck", "--probe.intervall", "1s", "--help"], ["config", "dump", "--help"], ["sim", "--help", "extra"]], ids=" ".join)
def test_help_counts_wherever_it_stands(args):
    done = harness.run_o3(*args)
    assert done.returncode == 0 and done.stdout.lower().startswith("usage: o3 " + args[0]) and not done.stderr, done


@pytest.mark.parametrize("args", [["demo", "--nonsense"], ["serve", "--nonsense"], ["healthcheck", "--nonsense"], ["probe", "--nonsense"], ["sim", "--nonsense"],
                                  ["tables", "--nonsense"], ["preset", "--nonsense"]], ids=" ".join)
def test_unknown_options_are_named(args):
    done = harness.run_o3(*args)
    assert done.returncode == 2 and "--nonsense" in done.stderr and f"o3 {args[0]}" in done.stderr, done
    assert len(done.stderr.splitlines()) <= 3, done.stderr


def test_probe_says_why_a_model_is_not_there(start, simulator):
    for name, words in {"sim-medium": ["not loaded", 'ollama run sim-medium'], "sim-mediun": ["no model", "did you mean sim-medium:latest"],
                        "something-else": ["no model", "ollama list"], "sim-remote:cloud": ["elsewhere"]}.items():
        done = harness.run_o3("probe", name, "--ollama.url", simulator.url)
        assert done.returncode == 1 and all(w in done.stderr for w in words), done
    assert harness.run_o3("probe", "", "--ollama.url", simulator.url).returncode == 2


# ---- a full disk from the start --------------------------------------------------------------------------------------


def test_store_on_a_full_disk_is_opened_when_there_is_room(start, simulator, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    wrap = harness.private_mount(disk, "size=256k", f"head -c 1000000 /dev/zero > {disk}/filler 2>/dev/null; true")
    if wrap is None:
        pytest.skip("no mount namespace can be made here, so there is no full disk to test with")
    sidecar = start(Sidecar, simulator.url, {**FAST, "results.path": f"{disk}/o3_results"}, wrap=wrap)
    sidecar.wait_sum("o3_probes_total", 2, result="ok")
    assert sidecar.metrics().get("o3_store_up") == 0 and "store_failed" in sidecar.log
    assert sidecar.get("/api/v1/samples").status_code == 503
    harness.inside(sidecar.pid, disk / "filler").unlink()
    sidecar.wait_metric("o3_store_up", lambda v: v == 1)
    harness.wait_for("stored samples", lambda: sidecar.json("/api/v1/samples")["samples"])
    assert sidecar.stop() == 0
