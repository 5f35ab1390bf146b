# SPDX-License-Identifier: Apache-2.0
"""Models that become slower, each for another reason: the alert that should tell it, and the cure."""

import contextlib
import random
import sqlite3

import harness
from alerts.live import QUICK, labels_of
from alerts.stories_ollama import users
from harness import Sidecar

DAYS, HOURS_SINCE, STEP_S, NOISE, SLOWER_PER_DAY = 3, 3, 120, 0.03, 0.15


def signals_told(sidecar, watch):
    return {labels["signal"] for _, _, labels, _ in watch.receiver.got
            if labels["alertname"] == "O3SignalDrifted" and labels_of(sidecar).items() <= labels.items()}


def slower_decoding(stage):
    watch, simulator = stage.watch, stage.ollama()
    sidecar = stage.sidecar(simulator)
    stage.wait_baseline(sidecar)
    simulator = stage.again(simulator, "at 0s decode -40 %")
    watch.wait_told(sidecar, "O3DecodeRegressed", "tickets")
    assert watch.told(sidecar, "O3GpuLost") == [] and watch.told(sidecar, "O3GpuLostUnseen") == []
    stage.again(simulator)
    watch.wait_resolved(sidecar, "O3DecodeRegressed")


def later_first_token(stage):
    watch, simulator = stage.watch, stage.ollama()
    sidecar = stage.sidecar(simulator)
    stage.wait_baseline(sidecar, "ttft")
    simulator = stage.again(simulator, "at 0s ttft +1500ms")
    watch.wait_told(sidecar, "O3TtftRegressed", "tickets")
    assert watch.told(sidecar, "O3DecodeRegressed") == []
    stage.again(simulator)
    watch.wait_resolved(sidecar, "O3TtftRegressed")


def slower_prefill(stage):
    """Alone it has an alert; beside slower decoding it is held back."""
    watch, simulator = stage.watch, stage.ollama()
    sidecar = stage.sidecar(simulator, {"probe.prefill_interval": "2s"})
    stage.wait_baseline(sidecar, "prefill_rate")
    simulator = stage.again(simulator, "at 0s prefill -50 %")
    watch.wait_told(sidecar, "O3SignalDrifted", "tickets")
    assert watch.told(sidecar, "O3DecodeRegressed") == []
    assert signals_told(sidecar, watch) == {"prefill_rate"}
    simulator = stage.again(simulator, "at 0s prefill -50 %", "at 0s decode -40 %")
    watch.wait_told(sidecar, "O3DecodeRegressed", "tickets")
    watch.wait_suppressed(sidecar, "O3SignalDrifted")
    stage.again(simulator)
    watch.wait_resolved(sidecar, "O3SignalDrifted")


def more_memory(stage):
    """The server is told to take more requests at a time: as fast as ever, and four times the cache."""
    watch, simulator = stage.watch, stage.ollama(context=16384)
    sidecar = stage.sidecar(simulator)
    stage.wait_baseline(sidecar, "memory")
    simulator = stage.again(simulator, context=16384, flags=["--parallel", "4"])
    watch.wait_told(sidecar, "O3SignalDrifted", "tickets")
    assert signals_told(sidecar, watch) == {"memory"}
    assert watch.told(sidecar, "O3DecodeRegressed") == [] and watch.told(sidecar, "O3TtftRegressed") == []
    stage.again(simulator, context=16384)
    watch.wait_resolved(sidecar, "O3SignalDrifted")


def less_context(stage):
    """It goes on being told when the presets have followed the new setting."""
    watch, simulator = stage.watch, stage.ollama(context=8192)
    sidecar = stage.sidecar(simulator)
    stage.wait_baseline(sidecar, "context")
    harness.load_for_good(simulator, sidecar, num_ctx=4096)
    watch.wait_told(sidecar, "O3SignalDrifted", "tickets")
    assert signals_told(sidecar, watch) == {"context"}
    harness.load_for_good(simulator, sidecar, num_ctx=8192)
    watch.wait_resolved(sidecar, "O3SignalDrifted")


def slower_since_an_upgrade(stage):
    """No drift: the new level is learned anew and compared. Going back ends it."""
    watch, simulator = stage.watch, stage.ollama()
    sidecar = stage.sidecar(simulator)
    stage.wait_baseline(sidecar)
    newer = {"flags": ["--version", "0.33.0"]}
    simulator = stage.again(simulator, "at 0s decode -25 %", **newer)
    watch.wait_told(sidecar, "O3UpgradeRegressed", "tickets")
    assert watch.told(sidecar, "O3DecodeRegressed") == []
    stage.again(simulator)
    watch.wait_resolved(sidecar, "O3UpgradeRegressed")


def slower_beside_users(stage):
    """More users at a time than there used to be: without them the machine is as fast as ever."""
    watch, simulator = stage.watch, stage.ollama(flags=["--parallel", "8"])
    sidecar = stage.sidecar(simulator, {"probe.decode_tokens": 48, "drift.min_effect": 0.2})
    stage.wait_baseline(sidecar)
    few, many = {"num_ctx": 4096, "num_predict": 8}, {"num_ctx": 4096, "num_predict": 12}
    with users(simulator, 1, 1, **few):
        sidecar.wait_log("event=baseline_set .*signal=decode_rate stratum=busy", 180)
    with users(simulator, 6, 1.2, **many):
        watch.wait_told(sidecar, "O3SlowerBesideUsers", "tickets")
    assert watch.told(sidecar, "O3DecodeRegressed") == [] and watch.told(sidecar, "O3TtftRegressed") == []
    with users(simulator, 1, 1, **few):
        watch.wait_resolved(sidecar, "O3SlowerBesideUsers")


def store_samples(db, like, start_s, n, speed_at):
    """n samples from that many seconds ago on, like one that was measured, at these speeds; the runner was started just before them."""
    chance = random.Random(start_s)
    for i in range(n):
        before_ms = (start_s - i * STEP_S) * 1000
        speed = speed_at(i * STEP_S / 86400) * (1 + chance.gauss(0, NOISE))
        row = {**like, "wall_ms": like["wall_ms"] - before_ms, "mono_ns": like["mono_ns"] - before_ms * 10**6,
               "loaded_wall_ms": like["wall_ms"] - start_s * 1000 - 60000, "interval_ms": STEP_S * 1000,
               "decode_tps": like["decode_tps"] * speed, "tpot_s": like["tpot_s"] / speed, "eval_ns": int(like["eval_ns"] / speed)}
        db.execute(f"INSERT INTO sample ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", tuple(row.values()))


def one_that_stands_for_others(store):
    """A good sample of the store of a sidecar that runs, or None; whether this machine was throttled meanwhile is no matter."""
    with contextlib.suppress(sqlite3.OperationalError), contextlib.closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as db:
        db.row_factory = sqlite3.Row
        row = db.execute("SELECT * FROM sample WHERE flags & ~128 = 0 AND kind = 0 AND outcome = 0 ORDER BY id DESC").fetchone()
        if row:
            like = {**dict(row), "flags": 0, "n_throttled": 0, "n_quota": 0}
            del like["id"]
            return like


def slower_with_uptime(stage):
    """It takes days: they are in the store, and the sidecar concludes at its start what it would have told meanwhile. So it does with
    the hours after Ollama was restarted, which are the cure."""
    watch, simulator = stage.watch, stage.ollama()
    first = stage.start(Sidecar, simulator.url, QUICK)
    like = harness.wait_for("a good sample", lambda: one_that_stands_for_others(first.results / "o3.db"))
    assert first.stop() == 0
    # A change that counts only when it is large is told after it has gone on for a day.
    judging = {"drift.baseline_samples": 30, "drift.confirm_samples": 10, "drift.false_alarms": "1 per 30d", "drift.min_effect": 0.3}
    config = {**judging, "results.path": str(first.results), "probe.interval": f"{STEP_S}s", "probe.enabled": False,
              "web.listen": f"127.0.0.1:{harness.free_port()}"}
    with sqlite3.connect(first.results / "o3.db") as db:
        for table in ("sample", "event", "state"):  # nothing is left of what was concluded
            db.execute(f"DELETE FROM {table}")
        start_s = DAYS * 86400 + HOURS_SINCE * 3600
        store_samples(db, like, start_s, DAYS * 86400 // STEP_S, lambda days: (1 - SLOWER_PER_DAY) ** days)
    sidecar = stage.sidecar(simulator, config)
    watch.wait_told(sidecar, "O3SlowDecay", "tickets")
    assert watch.told(sidecar, "O3DecodeRegressed") == []
    assert sidecar.stop() == 0
    with sqlite3.connect(first.results / "o3.db") as db:
        store_samples(db, like, HOURS_SINCE * 3600, HOURS_SINCE * 3600 // STEP_S, lambda days: 1)
    stage.start(Sidecar, simulator.url, {**QUICK, **config})
    watch.wait_resolved(sidecar, "O3SlowDecay")


ALL = [slower_beside_users, slower_with_uptime, slower_decoding, later_first_token, slower_prefill, more_memory, less_context, slower_since_an_upgrade]
