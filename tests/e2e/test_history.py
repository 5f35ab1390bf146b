# SPDX-License-Identifier: Apache-2.0
"""`o3 history`: the same database and the same moment give the same text; the sidecar may run meanwhile."""

import fcntl
import json
import os
import pty
import re
import sqlite3
import struct
import subprocess
import termios

import pytest

import harness
from harness import FAST, Sidecar, Simulator, run_o3
from judged import QUICK, TOKEN

MODEL = "m:latest"
NOW = "2026-11-21T12:00:00Z"
NOW_MS = 1795262400000
HOUR = 3600 * 1000
INCIDENT = {"event": "incident_opened", "model": MODEL, "id": 3, "text": "decode_rate of m:latest fell by 40.0 %; probably uptime (80 %)"}
RELEASE = {"event": "release_compared", "model": MODEL, "signal": "decode_rate", "from": "0.32.1", "to": "0.33.0", "change_ratio": -0.068,
           "change_lo": -0.081, "change_hi": -0.054, "before": 40, "after": 37.3, "reason": "server_version",
           "text": "decode_rate of m:latest fell by 6.8 %, with server_version 0.32.1 to 0.33.0"}
SAME = {**RELEASE, "change_ratio": 0, "change_lo": -0.02, "change_hi": 0.03, "after": 40, "text": "words"}
ACCEPTED = {"event": "drift_acknowledged", "model": MODEL, "signal": "decode_rate", "value": 22.5}
WRITTEN = {"event": "preset_written", "model": MODEL, "reason": "decode_rate baseline established"}
DOWN = {"event": "ollama_down", "error": "connection refused"}
OTHER = {"event": "model_loaded", "model": MODEL}


@pytest.fixture
def store(start):
    """A store that a sidecar made, with samples by hand: 40 tokens/s, of late 24."""
    sidecar = start(Sidecar, "http://127.0.0.1:9")
    assert sidecar.stop() == 0
    path = sidecar.results / "o3.db"
    db = sqlite3.connect(path)
    db.execute("DELETE FROM event")
    db.execute("INSERT INTO event (wall_ms, name, model, json) VALUES (?, ?, '', ?)", (NOW_MS - 60 * HOUR, DOWN["event"], json.dumps(DOWN)))
    db.execute("INSERT INTO model VALUES (1, ?, 'd')", (MODEL,))
    for i in range(160):
        at = NOW_MS - (160 - i) * HOUR
        db.execute("INSERT INTO sample (wall_ms, mono_ns, model_id, kind, outcome, flags, http_status, num_ctx, size_bytes, vram_bytes, ttft_ns,"
                   " decode_tps, detail) VALUES (?, 0, 1, 0, 0, 0, 200, 4096, 1000, 1000, 100000000, ?, '')", (at, 40 if i < 120 else 24))
    for i, event in enumerate([RELEASE, SAME, INCIDENT, OTHER, ACCEPTED, WRITTEN]):
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
    # from the first sample of the last seven days on, not seven days when there are fewer
    assert lines[0] == "2026-11-14T20:00:00Z to 2026-11-21T12:00:00Z"
    at = next(i for i, line in enumerate(lines) if line.startswith("  decode_rate"))
    curve = lines[at + 1]
    assert curve.strip("#_ ") == "" and curve.rstrip().endswith("#" * 3 + "_" * 4), text
    assert len(curve) <= 4 + 16
    assert lines[at].endswith("not judged yet; curve from 24.0 tokens/s to 40.0 tokens/s")
    assert "    2026-11-14T20:00:00Z to 2026-11-21T12:00:00Z" in lines, text
    wide = history(store, "--width", "60").stdout.splitlines()
    assert "    2026-11-14T20:00:00Z" + " " * 20 + "2026-11-21T12:00:00Z" in wide
    assert "incident 3 opened: " + INCIDENT["text"] in text
    assert "compared: " + RELEASE["text"] in text
    assert "compared: no change of decode_rate of m:latest seen, 40.0 tokens/s before and 40.0 tokens/s after, with server_version 0.32.1 to 0.33.0" in text
    assert "decode_rate of m:latest: 22.5 tokens/s accepted as the normal level" in text
    assert "presets of m:latest written: decode_rate baseline established" in text
    assert "model_loaded" not in text
    assert "2026-11-19T00:00:00Z  Ollama did not answer: connection refused" in text
    order = [text.index(word) for word in (RELEASE["text"], "no change of", "incident 3", "accepted", "presets of")]
    assert order == sorted(order)
    blocks = history(store, "--width", "16").stdout
    assert "\u2588\u2588\u2588\u2581\u2581\u2581\u2581" in blocks
    assert not re.search(r"\d\.\d{3}Z", text)  # one form of times


def test_what_is_chosen(store):
    text = history(store, "m", "--signal", "ttft").stdout
    assert "ttft" in text and "decode_rate  " not in text and "incident 3" in text and "accepted" not in text
    late = history(store, "--since", "10h").stdout
    assert "decode_rate" in late and "incident" not in late
    assert "nothing was measured" in history(store, "--since", "30m").stdout
    assert "nobody:latest" in history(store, "nobody", status=1).stderr


def add_model(path, name):
    """One sample of a further model."""
    db = sqlite3.connect(path)
    db.execute("INSERT INTO model VALUES (2, ?, 'd')", (name,))
    db.execute("INSERT INTO sample (wall_ms, mono_ns, model_id, kind, outcome, flags, http_status, num_ctx, size_bytes, vram_bytes, ttft_ns,"
               " decode_tps, detail) VALUES (?, 0, 2, 0, 0, 0, 200, 4096, 1000, 1000, 100000000, 40, '')", (NOW_MS - HOUR,))
    db.commit()
    db.close()


def told(path, *args):
    """The words behind the times, and the same events as JSON says them."""
    lines = [line.split("  ", 1)[1] for line in history(path, *args).stdout.splitlines() if re.match(r"2026-\S+Z  ", line)]
    return lines, [e["event"] for e in json.loads(history(path, *args, "--json").stdout)["events"]]


def test_what_concerns_the_server_concerns_each_model(store):
    add_model(store, "n:latest")
    assert told(store, "n") == (["Ollama did not answer: connection refused"], ["ollama_down"])
    lines, names = told(store, "m")
    assert lines[0] == "Ollama did not answer: connection refused" and names[0] == "ollama_down"
    history(store, "nobody", status=1)  # the server's outage makes no model


def test_an_old_incident_names_its_models(store):
    """Of the incidents that the sidecar does not keep any more the words are left."""
    words = "decode_rate of m:latest fell by 40.0 %; decode_rate of n:latest 40.0 to 24.0 tokens/s; cause unknown"
    add_model(store, "n:latest")
    db = sqlite3.connect(store)
    db.execute("UPDATE event SET json = ? WHERE name = 'incident_opened'", (json.dumps({**INCIDENT, "text": words}),))
    db.commit()
    db.close()
    assert told(store, "n") == (["Ollama did not answer: connection refused", f"incident 3 opened: {words}"], ["ollama_down", "incident_opened"])
    other = INCIDENT["text"].replace("m:latest", "n:latest-q4")
    db = sqlite3.connect(store)
    db.execute("UPDATE event SET json = ? WHERE name = 'incident_opened'", (json.dumps({**INCIDENT, "text": other}),))
    db.commit()
    db.close()
    assert told(store, "n")[1] == ["ollama_down"]


def test_an_incident_of_several_models(start):
    """Its events bear the name of one model; those who ask for another one find it, too, open and settled."""
    models = ["sim-medium:latest", "sim-small:latest"]
    simulator = start(Simulator, events=["at 60s decode -50 %"], flags=["--preload", models[0], "--preload", models[1], "--keep-alive", "-1"], load=None)
    sidecar = start(Sidecar, simulator.url, {**QUICK, "drift.baseline_samples": 10})

    def members():
        return [i for i in sidecar.json("/api/v1/incidents")["incidents"] if {s["model"] for s in i["members"]} == set(models)]

    (incident,) = harness.wait_for("an incident of both", members, 240, 0.5)[:1]

    def check(*changes):
        for model in models:
            text = run_o3("history", model, "--config.file", sidecar.config_path).stdout
            events = json.loads(run_o3("history", model, "--config.file", sidecar.config_path, "--json").stdout)["events"]
            for change in changes:
                assert f"incident {incident['id']} {change}: " in text, (model, text)
                assert [e for e in events if e["event"] == f"incident_{change}" and e["id"] == incident["id"]], (model, events)

    assert sidecar.json("/api/v1/events?limit=1")["events"]  # what was told until now is stored
    check("opened")
    for model in models:
        assert run_o3("ack", model, "--url", sidecar.url, env={"O3_WEB_TOKEN": TOKEN}).returncode == 0
    harness.wait_for("its end", lambda: not [i for i in members() if i["open"]], 120, 0.5)
    assert sidecar.stop() == 0
    check("opened", "closed")
    # Neither words nor members name it: only members that are left out may be of it.
    (other,) = set(models) - {incident["members"][0]["model"]}
    renamed = other.replace("sim-", "xim-")
    for n_left_out, is_told in (("0", False), ("5", True)):
        db = sqlite3.connect(sidecar.results / "o3.db")
        db.execute("UPDATE event SET json = replace(json, ?, ?)", (other, renamed))
        for key, value in db.execute("SELECT key, CAST(value AS TEXT) FROM state WHERE key LIKE 'judge/incident/%'").fetchall():
            fields = value.replace(other, renamed).split(" ")
            at = fields.index("o3judge_incident") + 9
            assert fields[at].isdigit() and fields[at + 1].isdigit(), value
            db.execute("UPDATE state SET value = ? WHERE key = ?", (" ".join([*fields[:at], n_left_out, *fields[at + 1 :]]).encode(), key))
        db.commit()
        db.close()
        assert (f"incident {incident['id']} " in run_o3("history", other, "--config.file", sidecar.config_path).stdout) == is_told


def test_throttled_probes_are_in_the_curve(store):
    """A container whose quota always runs out has no others; those beside users stay out."""
    db = sqlite3.connect(store)
    db.execute("UPDATE sample SET flags = CASE WHEN wall_ms / 3600000 % 2 = 0 THEN 128 ELSE 2 END")
    db.commit()
    db.close()
    signals = {x["signal"]: x for x in json.loads(history(store, "--json", "--width", "16").stdout)["models"][0]["signals"]}
    assert signals["decode_rate"]["samples"] == 80


def test_json(store):
    found = json.loads(history(store, "--json", "--width", "16").stdout)
    assert [m["model"] for m in found["models"]] == [MODEL] and found["now"] == "2026-11-21T12:00:00.000Z"
    signals = {s["signal"]: s for s in found["models"][0]["signals"]}
    assert signals["decode_rate"]["samples"] == 160 and signals["decode_rate"]["levels"][-1] == 24 and len(signals["decode_rate"]["levels"]) == 16
    assert {"ttft", "memory", "gpu_ratio", "context", "success"} <= set(signals)
    assert [e["event"] for e in found["events"]] == ["ollama_down", "release_compared", "release_compared", "incident_opened", "drift_acknowledged", "preset_written"]


def on_a_terminal(columns, *args):
    """What the command prints on a terminal of that width."""
    main, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    process = subprocess.Popen([harness.BINARY, *map(str, args)], stdout=terminal, env=harness.clean_environment())
    os.close(terminal)
    said = b""
    while True:
        try:
            piece = os.read(main, 65536)
        except OSError:  # the other end is closed
            piece = b""
        if not piece:
            break
        said += piece
    os.close(main)
    assert process.wait(60) == 0
    return said.decode().replace("\r\n", "\n")


def test_a_terminal_is_not_overrun(store):
    args = ["history", "--store.path", store, "--now", NOW]
    for columns in (60, 100, 160):
        lines = on_a_terminal(columns, *args).splitlines()
        paragraphs = [line for line in lines if line.startswith("2026-") and "  " in line]
        at = lines.index(paragraphs[0])
        assert max(len(line) for line in lines[at:]) <= columns, lines
        curves = [line for line in lines if line.strip() and set(line.strip()) <= set("\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588 ")]
        assert curves and max(map(len, curves)) < columns
    words = re.sub(r"\s+", " ", " ".join(on_a_terminal(60, *args).splitlines()))
    assert RELEASE["text"] in words and INCIDENT["text"] in words


def test_a_short_life_fills_the_curve(store):
    """Without --since a store of an hour is shown as an hour, without holes between its samples."""
    db = sqlite3.connect(store)
    db.execute("DELETE FROM sample WHERE wall_ms < ?", (NOW_MS - 12 * HOUR,))
    db.commit()
    db.close()
    lines = history(store, "--ascii").stdout.splitlines()
    assert lines[0] == "2026-11-21T00:00:00Z to 2026-11-21T12:00:00Z"
    curve = lines[next(i for i, line in enumerate(lines) if line.startswith("  ttft")) + 1]
    assert len(curve) == 4 + 12 and " " not in curve.strip(), lines
    assert history(store, "--since", "7d").stdout.splitlines()[0] == "2026-11-14T12:00:00Z to 2026-11-21T12:00:00Z"
    found = json.loads(history(store, "--json").stdout)
    assert found["since"] == "2026-11-21T00:00:00.000Z" and {len(s["levels"]) for s in found["models"][0]["signals"]} == {12}


def test_an_incident_is_told_in_full_once(store):
    closed = {**INCIDENT, "event": "incident_closed", "signals": "decode_rate", "text": "it is over"}
    db = sqlite3.connect(store)
    db.execute("UPDATE event SET json = ? WHERE name = 'incident_opened'", (json.dumps({**INCIDENT, "signals": "decode_rate ttft"}),))
    db.execute("INSERT INTO event (wall_ms, name, model, json) VALUES (?, ?, ?, ?)", (NOW_MS - HOUR, closed["event"], MODEL, json.dumps(closed)))
    db.commit()
    db.close()
    text = history(store).stdout
    assert "incident 3 opened: decode_rate ttft of m:latest\n" in text and INCIDENT["text"] not in text
    assert text.rstrip().endswith("incident 3 closed: it is over")


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


def test_now_is_what_the_newest_samples_say(start, simulator):
    """The detectors' states are saved now and then, a killed sidecar's last ones hours before its last samples."""
    sidecar = start(Sidecar, simulator.url, {**FAST, "drift.baseline_samples": 10})
    sidecar.wait_metric("o3_baseline_value", signal="decode_rate")
    assert sidecar.stop() == 0
    path = sidecar.results / "o3.db"
    with sqlite3.connect(path) as db:
        (last_ms,) = db.execute("SELECT max(wall_ms) FROM sample").fetchone()
        for i in range(1, 6):
            db.execute("INSERT INTO sample (wall_ms, mono_ns, model_id, kind, outcome, flags, http_status, num_ctx, size_bytes, vram_bytes, ttft_ns,"
                       " decode_tps, detail) VALUES (?, 0, 1, 0, 0, 0, 200, 4096, 1000, 1000, 100000000, 7.5, '')", (last_ms + i,))
    db.close()
    done = run_o3("history", "--store.path", path, "--signal", "decode_rate", "--json")
    assert done.returncode == 0, done
    (signal,) = json.loads(done.stdout)["models"][0]["signals"]
    assert signal["state"] == "stable" and signal["baseline"] > 20 and signal["now"] == 7.5
