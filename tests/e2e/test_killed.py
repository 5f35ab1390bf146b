# SPDX-License-Identifier: Apache-2.0
"""What the sidecar knows survives kill -9, wherever it comes."""

import json
import os
import re
import sqlite3

import pytest

import harness
from harness import Sidecar, Simulator
from judged import QUICK, replayed, slow_down, steady_server, stored, untimed, wait_event


@pytest.mark.timeout(900)
def test_killed_in_the_middle_of_a_suspicion(start, tmp_path):
    """The verdict comes with the same sample as if nothing had happened, and nothing is told twice."""
    # A young baseline asks for a dozen samples before it suspects.
    slow = {**QUICK, "drift.confirm_samples": 25}
    simulator = steady_server(start)
    folder = tmp_path / "sidecar"
    with harness.started(Sidecar, folder, simulator.url, slow) as sidecar:
        simulator = slow_down(start, simulator, sidecar)
        wait_event(sidecar, "drift_suspected")
        sidecar.kill()
        assert not [e for e in stored(sidecar.results, "drift_confirmed") if e["signal"] == "decode_rate"]
    with harness.started(Sidecar, folder, simulator.url, slow, name="again") as sidecar:
        wait_event(sidecar, "drift_confirmed")
        n = len(sidecar.samples())
        harness.wait_for("samples since the last state", lambda: len(sidecar.samples()) >= n + 3, 60, 0.2)
        sidecar.kill()
        assert "judge_state_dropped" not in sidecar.log
    with harness.started(Sidecar, folder, simulator.url, slow, name="third") as sidecar:
        assert re.search(r"samples_judged_again.* samples=[1-9]", sidecar.log), sidecar.log
        harness.replace(start, simulator, harness.STEADY_TTFT)
        wait_event(sidecar, "incident_closed", None, 300)
        sidecar.kill()
    with harness.started(Sidecar, folder, simulator.url, {**slow, "models.exclude": ["*"]}, name="last") as sidecar:
        assert not [i for i in sidecar.json("/api/v1/incidents")["incidents"] if i["open"]]
        assert sidecar.stop() == 0
    live = stored(sidecar.results)
    assert {"baseline_set", "drift_suspected", "drift_confirmed", "drift_recovered", "incident_opened", "incident_closed"} <= {e["event"] for e in live}
    # One judge that was never disturbed, with the samples and the keys of the log alone.
    assert untimed(replayed(sidecar.results)) == untimed(live)


def test_killed_between_the_store_and_the_log(start, tmp_path):
    simulator = start(Simulator)
    folder = tmp_path / "sidecar"
    with harness.started(Sidecar, folder, simulator.url, QUICK) as sidecar:
        log = harness.wait_for("a log", lambda: next(iter((sidecar.results / "logs").glob("*.jsonl")), None))
        harness.wait_for("samples", lambda: len(log.read_text().splitlines()) > 5)
        sidecar.kill()
    still = {**QUICK, "models.exclude": ["*"]}
    with harness.started(Sidecar, folder, simulator.url, still, name="again") as sidecar:  # a kill may have come there by itself
        sidecar.kill()
    whole = log.read_text()
    log.write_text("".join(whole.splitlines(keepends=True)[:-1]))
    with harness.started(Sidecar, folder, simulator.url, still, name="third") as sidecar:
        assert log.read_text() == whole
        assert re.search(r"sample_log_completed.* samples=1\b", sidecar.log), sidecar.log
        sidecar.kill()
    with harness.started(Sidecar, folder, simulator.url, still, name="last") as sidecar:
        assert log.read_text() == whole and "sample_log_completed" not in sidecar.log
        assert sidecar.stop() == 0


def log_lines(log):
    """The last one may be there by half while it is written."""
    return [json.loads(line) for line in log.read_text().splitlines(keepends=True) if line.startswith("{") and line.endswith("\n")]


def test_a_store_that_is_locked_for_a_while_misses_nothing(start):
    simulator = steady_server(start)
    sidecar = start(Sidecar, simulator.url, QUICK)
    for signal in ("decode_rate", "ttft"):
        wait_event(sidecar, "baseline_set", signal)
    shell = sqlite3.connect(sidecar.results / "o3.db", isolation_level=None)
    shell.execute("BEGIN EXCLUSIVE")
    slow_down(start, simulator, sidecar)
    sidecar.wait_log("incident_opened", 200)
    sidecar.wait_metric("o3_store_up", lambda v: v == 0)
    shell.close()
    wait_event(sidecar, "incident_opened", None)
    sidecar.wait_metric("o3_store_up", lambda v: v == 1)
    assert sidecar.stop() == 0
    with sqlite3.connect(sidecar.results / "o3.db") as db:
        times = [row[0] for row in db.execute("SELECT wall_ms FROM sample ORDER BY id")]
    assert times == [s["wall_ms"] for s in sidecar.samples()] == sorted(times)
    told = re.findall(r"event=(drift_\w+|incident_\w+) ", sidecar.log)
    assert [e["event"] for e in stored(sidecar.results, *set(told))] == told


def test_a_log_that_could_not_be_written_tells_its_keys_again(start):
    """What is behind the gap is not read with the keys of before it."""
    simulator = start(Simulator)
    sidecar = start(Sidecar, simulator.url, QUICK)
    log = harness.wait_for("a log", lambda: next(iter((sidecar.results / "logs").glob("*.jsonl")), None))
    # In one step each: in between there would be a file of its own.
    kept, full = log.with_name("kept"), log.with_name("full")
    os.link(log, kept)
    full.symlink_to("/dev/full")
    os.replace(full, log)
    sidecar.write_config({**sidecar.config, "drift.min_effect": 0.3})
    sidecar.reload()
    sidecar.wait_log("file_failed.*file=logs")
    n = len(kept.read_text().splitlines())
    os.replace(kept, log)
    harness.wait_for("a sample behind the gap", lambda: len(log_lines(log)) > n + 1)
    behind = log_lines(log)[n:]
    assert behind[0].get("record") == "config" and behind[0]["keys"]["drift.min_effect"] == "0.3", behind[0]
    assert all("record" not in line for line in behind[1:])


def test_a_log_that_went_on_without_the_store_is_left_alone(start, tmp_path):
    simulator = start(Simulator)
    folder = tmp_path / "sidecar"
    with harness.started(Sidecar, folder, simulator.url, QUICK) as sidecar:
        log = harness.wait_for("a log", lambda: next(iter((sidecar.results / "logs").glob("*.jsonl")), None))
        assert sidecar.stop() == 0
    n = len(log.read_text().splitlines())
    elsewhere = {**QUICK, "store.path": str(tmp_path / "another.db")}
    with harness.started(Sidecar, folder, simulator.url, elsewhere, name="elsewhere") as sidecar:
        harness.wait_for("more in the log", lambda: len(log.read_text().splitlines()) > n + 3)
        assert sidecar.stop() == 0
    # So long ago that the last batch of the first store is out of sight.
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[n + 1:]))
    whole = log.read_text()
    with harness.started(Sidecar, folder, simulator.url, {**QUICK, "models.exclude": ["*"]}, name="again") as sidecar:
        assert sidecar.stop() == 0 and "sample_log_completed" not in sidecar.log
    assert log.read_text() == whole
