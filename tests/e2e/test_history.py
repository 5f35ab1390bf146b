# SPDX-License-Identifier: Apache-2.0
"""`o3 history`: the same database and the same moment give the same text; the sidecar may run meanwhile."""

import json
import sqlite3

import pytest

import harness
from harness import FAST, Sidecar, Simulator, run_o3

MODEL = "m:latest"
NOW = "2026-11-21T12:00:00Z"
NOW_MS = 1795262400000
HOUR = 3600 * 1000
INCIDENT = {"event": "incident_opened", "model": MODEL, "id": 3, "text": "decode_rate of m:latest fell by 40.0 %; probably uptime (80 %)"}
RELEASE = {"event": "release_compared", "model": MODEL, "signal": "decode_rate", "from": "0.32.1", "to": "0.33.0", "change_ratio": -0.068,
           "change_lo": -0.081, "change_hi": -0.054, "text": "words"}
ACCEPTED = {"event": "drift_acknowledged", "model": MODEL, "signal": "decode_rate", "value": 22.5}
WRITTEN = {"event": "preset_written", "model": MODEL, "reason": "decode_rate baseline established"}
OTHER = {"event": "model_loaded", "model": MODEL}


@pytest.fixture
def store(start):
    """A store that a sidecar made, with samples by hand: 40 tokens/s, of late 24."""
    sidecar = start(Sidecar, "http://127.0.0.1:9")
    assert sidecar.stop() == 0
    path = sidecar.results / "o3.db"
    db = sqlite3.connect(path)
    db.execute("DELETE FROM event")
    db.execute("INSERT INTO model VALUES (1, ?, 'd')", (MODEL,))
    for i in range(160):
        at = NOW_MS - (160 - i) * HOUR
        db.execute("INSERT INTO sample (wall_ms, mono_ns, model_id, kind, outcome, flags, http_status, num_ctx, size_bytes, vram_bytes, ttft_ns,"
                   " decode_tps, detail) VALUES (?, 0, 1, 0, 0, 0, 200, 4096, 1000, 1000, 100000000, ?, '')", (at, 40 if i < 120 else 24))
    for i, event in enumerate([RELEASE, INCIDENT, OTHER, ACCEPTED, WRITTEN]):
        db.execute("INSERT INTO event (wall_ms, name, model, json) VALUES (?, ?, ?, ?)", (NOW_MS - (50 - i) * HOUR, event["event"], MODEL, json.dumps(event)))
    db.commit()
    db.close()
    return path


def history(store, *args, status=0):
    done = run_o3("history", *args, "--store.path", store, "--now", NOW)
    assert done.returncode == status, done
    return done


def test_text(store):
    text = history(store, "--width", "16", "--ascii").stdout
    assert text == history(store, "--width", "16", "--ascii").stdout
    lines = text.splitlines()
    assert lines[0] == "2026-11-14T12:00:00.000Z to 2026-11-21T12:00:00.000Z"
    at = next(i for i, line in enumerate(lines) if line.startswith("  decode_rate"))
    curve = lines[at + 1]
    assert curve.strip("#_ ") == "" and curve.rstrip().endswith("#" * 3 + "_" * 4), text
    assert len(curve) <= 4 + 16
    assert "incident 3 opened: " + INCIDENT["text"] in text
    assert "0.32.1 -> 0.33.0: decode_rate -6.8 % (-8.1 to -5.4)" in text
    assert "decode_rate of m:latest: 22.5 tokens/s accepted as the normal level" in text
    assert "presets of m:latest written: decode_rate baseline established" in text
    assert "model_loaded" not in text
    order = [text.index(word) for word in ("0.32.1", "incident 3", "accepted", "presets of")]
    assert order == sorted(order)
    blocks = history(store, "--width", "16").stdout
    assert "\u2588\u2588\u2588\u2581\u2581\u2581\u2581" in blocks


def test_what_is_chosen(store):
    text = history(store, "m", "--signal", "ttft").stdout
    assert "ttft" in text and "decode_rate  " not in text and "incident 3" in text and "accepted" not in text
    late = history(store, "--since", "10h").stdout
    assert "decode_rate" in late and "incident" not in late
    assert "nothing was measured" in history(store, "--since", "30m").stdout
    assert "nobody:latest" in history(store, "nobody", status=1).stderr


def test_json(store):
    found = json.loads(history(store, "--json", "--width", "16").stdout)
    assert [m["model"] for m in found["models"]] == [MODEL] and found["now"] == "2026-11-21T12:00:00.000Z"
    signals = {s["signal"]: s for s in found["models"][0]["signals"]}
    assert signals["decode_rate"]["samples"] == 160 and signals["decode_rate"]["levels"][-1] == 24 and len(signals["decode_rate"]["levels"]) == 16
    assert {"ttft", "memory", "gpu_ratio", "context", "success"} <= set(signals)
    assert [e["event"] for e in found["events"]] == ["release_compared", "incident_opened", "drift_acknowledged", "preset_written"]


def test_stores_that_cannot_be_read(store, tmp_path):
    missing = tmp_path / "none" / "o3.db"
    assert run_o3("history", "--store.path", missing).returncode == 1
    assert not missing.parent.exists()
    (tmp_path / "text.db").write_text("no database, but long enough to be looked at as one\n" * 100)
    done = run_o3("history", "--store.path", tmp_path / "text.db")
    assert done.returncode == 75 and "text.db" in done.stderr
    for version, status, word in ((1, 75, "o3 serve"), (1000, 2, "1000")):
        db = sqlite3.connect(store)
        db.execute(f"PRAGMA user_version={version}")
        db.close()
        assert word in history(store, status=status).stderr


@pytest.mark.parametrize("args", [["--since", "soon"], ["--signal", "beauty"], ["--width", "1"], ["--now", "x"], ["a", "b"], ["--no-such"],
                                  ["--since", "2100-01-01T00:00:00Z"]], ids=str)
def test_usage(args):
    assert run_o3("history", *args).returncode == 2


def test_while_the_sidecar_writes(start, simulator):
    sidecar = start(Sidecar, simulator.url, FAST)
    sidecar.wait_sum("o3_probes_total", 3)
    harness.wait_for("samples", lambda: Simulator.MODEL in run_o3("history", "--config.file", sidecar.config_path).stdout, 60, 1)
    for _ in range(5):
        done = run_o3("history", "--config.file", sidecar.config_path, "--json")
        assert done.returncode == 0 and json.loads(done.stdout)["models"], done
    assert sidecar.metrics().get("o3_store_up") == 1
