# SPDX-License-Identifier: Apache-2.0
"""What was judged: the events of the store, and those that the log of the samples tells again."""

import json
import sqlite3

import harness
from harness import FAST, STEADY, STEADY_TTFT, Simulator

JUDGED = {"baseline_set", "drift_suspected", "drift_confirmed", "drift_went_away", "drift_recovered", "drift_acknowledged",
          "incident_opened", "incident_changed", "incident_closed", "release_compared", "epoch_changed"}
TOKEN = "a-token-of-the-test"
QUICK = {**FAST, **STEADY, "probe.decode_tokens": 8, "drift.baseline_samples": 20, "drift.confirm_samples": 12, "web.token": TOKEN}


def stored(results, *names):
    """Events of the store, oldest first; read while the sidecar is down or up."""
    with sqlite3.connect(f"file:{results / 'o3.db'}?mode=ro", uri=True) as db:
        events = [json.loads(row[0]) for row in db.execute("SELECT json FROM event ORDER BY id")]
    return [e for e in events if e["event"] in (names or JUDGED)]


def untimed(events):
    """Told in the order of their samples; the time of telling is not that of the measurement."""
    return [{k: v for k, v in e.items() if k != "time"} for e in events]


def replayed(results, *more):
    done = harness.run_o3("replay", results / "logs", "--json", *more)
    assert done.returncode in (0, 1) and done.stderr == "", done
    return [json.loads(line) for line in done.stdout.splitlines()]


def wait_event(sidecar, name, signal="decode_rate", limit_s=300):
    return harness.wait_for(name, lambda: [e for e in stored(sidecar.results, name) if e.get("signal") == signal or not signal], limit_s, 0.2)


def steady_server(start):
    return start(Simulator, port=harness.free_port(), events=[STEADY_TTFT])


def slow_down(start, simulator, sidecar):
    """Once the normal level is known the server is slower; returns the one that is."""
    for signal in ("decode_rate", "ttft"):
        wait_event(sidecar, "baseline_set", signal)
    return harness.replace(start, simulator, STEADY_TTFT, "at 0s decode -40 %")
