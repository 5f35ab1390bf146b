# SPDX-License-Identifier: Apache-2.0
"""What the sidecar knows survives states of another version and damaged ones; the log alone tells it again."""

import json
import re
import sqlite3

import pytest

import harness
from harness import Sidecar, Simulator, run_o3
from judged import QUICK, TOKEN, replayed, slow_down, steady_server, stored, untimed, wait_event

MODEL = Simulator.MODEL

pytestmark = pytest.mark.timeout(900)


def incidents(sidecar):
    return sidecar.json("/api/v1/incidents")["incidents"]


def is_fit(sample):
    """Whether it tells of the decode rate."""
    return sample["kind"] == "decode" and sample["success"] and not {"warmup", "tainted", "incomplete", "implausible"} & set(sample["flags"])


def spoil(results, how):
    with sqlite3.connect(results / "o3.db") as db:
        rows = db.execute("SELECT key, CAST(value AS TEXT) FROM state WHERE key LIKE 'judge/%'").fetchall()
        for key, value in rows:
            if how == "another version":
                value = re.sub(r"^( ?\w+) \d+", r"\1 77", value, count=1)
            elif how == "damaged":
                value = value[: len(value) // 2] + "\x01 nonsense"
            elif "series/" in key:
                value = re.sub(r"^( ?\w+) \d+", r"\1 1", value, count=1)
            db.execute("UPDATE state SET value = ? WHERE key = ?", (value.encode(), key))
    assert any("series/" in key for key, _ in rows) and any("incident/" in key for key, _ in rows)


@pytest.mark.parametrize("how", ["another version", "damaged", "older series"])
def test_states_that_do_not_fit(start, tmp_path, how):
    simulator = steady_server(start)
    folder = tmp_path / "sidecar"
    with harness.started(Sidecar, folder, simulator.url, QUICK) as sidecar:
        slow_down(start, simulator, sidecar)
        wait_event(sidecar, "incident_opened", None)
        wait_event(sidecar, "drift_confirmed")
        before = [i for i in incidents(sidecar) if i["open"]]
        sidecar.kill()
    told = stored(sidecar.results)
    spoil(sidecar.results, how)
    with harness.started(Sidecar, folder, simulator.url, QUICK, name="again") as sidecar:
        line = next(line for line in sidecar.log.splitlines() if "judge_state_dropped" in line)
        assert "level=warn" in line and MODEL in line and "reason=" in line, line
        n = int(re.search(r"samples=(\d+)", line)[1])
        assert n >= 25 and "samples_judged_again" in sidecar.log
        after = [i for i in incidents(sidecar) if i["open"]]
        assert len(after) == len(before) == 1
        for key in ("id", "since"):
            assert [i[key] for i in after] == [i[key] for i in before]
        assert stored(sidecar.results)[: len(told)] == told
        sidecar.wait_metric("o3_drift_detected", lambda v: v == 1, model=MODEL, signal="decode_rate")
        # It is as real as before: a person can end it.
        done = run_o3("ack", MODEL, "--url", sidecar.url, env={"O3_WEB_TOKEN": TOKEN})
        assert done.returncode == 0, done
        harness.wait_for("the end of the incident", lambda: not [i for i in incidents(sidecar) if i["open"]], 60, 0.5)
        assert sidecar.stop() == 0
    events = stored(sidecar.results)
    assert len([e for e in events if e["event"] == "incident_opened"]) == 1
    assert len([e for e in events if e["event"] == "incident_closed"]) == 1
    assert len([e for e in events if e["event"] == "baseline_set" and e["signal"] == "decode_rate"]) == 1


def test_the_log_tells_the_keys_of_its_time(start, tmp_path):
    simulator = steady_server(start)
    sidecar = start(Sidecar, simulator.url, {**QUICK, "drift.false_alarms": "1 per 3d", "drift.confirm_samples": 400})
    slow_down(start, simulator, sidecar)
    wait_event(sidecar, "drift_suspected")
    sidecar.write_config({**sidecar.config, "drift.confirm_samples": 8, "drift.min_effect": 0.2})
    sidecar.reload()
    sidecar.wait_log("config_reloaded")
    assert sidecar.metrics().get("o3_loop_lag_seconds_sum") < 300  # the write at once is no late turn since the boot
    sidecar.wait_sum("o3_probes_total", sidecar.metrics().sum("o3_probes_total") + 20)
    harness.wait_for("enough for a longer baseline", lambda: len([s for s in sidecar.samples() if is_fit(s)]) > 60, 300, 0.5)
    assert sidecar.stop() == 0
    live = untimed(stored(sidecar.results))
    assert untimed(replayed(sidecar.results)) == live
    # The environment is that of now, and so is a file that nobody named; what was asked for counts.
    done = run_o3("replay", sidecar.results / "logs", "--json", env={"O3_DRIFT_BASELINE_SAMPLES": "60"})
    assert untimed(json.loads(line) for line in done.stdout.splitlines()) == live
    for given in (["--drift.baseline_samples", "50"], ["--config.file", tmp_path / "o3.yaml"]):
        (tmp_path / "o3.yaml").write_text("drift: {baseline_samples: 50}\n")
        sets = [e for e in replayed(sidecar.results, *given) if e["event"] == "baseline_set" and e["signal"] == "decode_rate"]
        assert [e["n"] for e in sets] == [50]
    records = [json.loads(line) for path in (sidecar.results / "logs").glob("*.jsonl") for line in path.read_text().splitlines() if '"record"' in line]
    assert len(records) == 2 and TOKEN not in json.dumps(records)
    assert records[0]["keys"]["drift.confirm_samples"] == "400" and records[1]["keys"]["drift.confirm_samples"] == "8"
    # A log of a version that had no records.
    log = next((sidecar.results / "logs").glob("*.jsonl"))
    old = "".join(line for line in log.read_text().splitlines(keepends=True) if '"record"' not in line)
    done = run_o3("replay", "--jsonl", "--json", "-", "--drift.baseline_samples=50", stdin=old)
    assert done.returncode in (0, 1) and '"baseline_set"' in done.stdout, done
    # What was not judged live is not judged now, unless it is asked for.
    off = '{"v": 1, "record": "config", "keys": {"drift.enabled": "false", "drift.of_later": "1"}}\n' + old
    done = run_o3("replay", "--jsonl", "--json", "-", stdin=off)
    assert done.returncode == 0 and not done.stdout and "drift.enabled was false" in done.stderr, done
    done = run_o3("replay", "--jsonl", "--json", "-", "--drift.enabled", stdin=off)
    assert '"baseline_set"' in done.stdout and not done.stderr, done
    bad = '{"v": 1, "record": "config", "keys": {"drift.min_effect": "nonsense"}}\n' + old
    assert run_o3("replay", "--jsonl", "-", stdin=bad).returncode == 2


def test_an_acknowledgement_that_no_sample_carries_yet(start, tmp_path):
    simulator = steady_server(start)
    folder = tmp_path / "sidecar"
    with harness.started(Sidecar, folder, simulator.url, QUICK) as sidecar:
        slow_down(start, simulator, sidecar)
        wait_event(sidecar, "incident_opened", None)
        sidecar.kill()
        with sqlite3.connect(sidecar.results / "o3.db") as db:  # as it is kept while a probe runs
            db.execute("INSERT INTO state VALUES (?, ?, 0)", (f"acknowledged/{MODEL}", b"1"))
    with harness.started(Sidecar, folder, simulator.url, QUICK, name="again") as sidecar:
        wait_event(sidecar, "drift_acknowledged")
        harness.wait_for("no such state", lambda: not [1 for _ in sqlite3.connect(f"file:{sidecar.results / 'o3.db'}?mode=ro", uri=True).execute(
            "SELECT 1 FROM state WHERE key LIKE 'acknowledged/%'")], 60, 0.2)
        assert len([s for s in harness.wait_for("the sample", lambda: [s for s in sidecar.samples() if s.get("acknowledged")], 60, 0.5)]) == 1
        assert sidecar.stop() == 0
