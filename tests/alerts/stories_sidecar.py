# SPDX-License-Identifier: Apache-2.0
"""Trouble of the sidecar itself."""

import contextlib

import harness
from harness import Sidecar, Simulator

MODEL = Simulator.MODEL


def refused_configuration_and_death(stage):
    """And a pause that is no trouble."""
    watch, simulator = stage.watch, stage.ollama()
    config = {"web.listen": f"127.0.0.1:{harness.free_port()}"}
    sidecar = stage.sidecar(simulator, config)
    good = dict(sidecar.config)
    sidecar.write_config({**good, "probe.interval": "soon"})
    sidecar.reload()
    watch.wait_told(sidecar, "O3ConfigReloadFailed", "tickets")
    sidecar.write_config({**good, "probe.enabled": False})
    sidecar.reload()
    watch.wait_resolved(sidecar, "O3ConfigReloadFailed")
    sidecar.wait_metric("o3_probe_paused", model=MODEL, reason="paused")
    age = "instance_model:o3_probe_age:intervals"
    watch.wait(sidecar, "a stale probe", lambda: max(watch.query(age, sidecar), default=0) > 10)
    assert "O3ProbeStale" not in watch.alerts(sidecar) and watch.told(sidecar, "O3ProbeStale") == []
    sidecar.kill()
    watch.wait_told(sidecar, "O3SidecarDown", "tickets")
    again = stage.start(Sidecar, simulator.url, good)
    assert again.port == sidecar.port
    watch.wait_resolved(again, "O3SidecarDown")


def gone_from_discovery(stage):
    watch, job = stage.watch, {"job": "o3-elsewhere"}
    sidecar = stage.start(Sidecar, "http://127.0.0.1:9")
    group = watch.add(sidecar, **job)
    watch.wait(sidecar, "a good scrape", lambda: watch.query("o3_build_info", sidecar))
    watch.remove(group)
    watch.wait_told(job, "O3SidecarAbsent", "notes")
    watch.add(sidecar, **job)
    watch.wait_resolved(job, "O3SidecarAbsent")


def used_up_budget(stage):
    # Once the baseline stands the tokens are spread over the day.
    watch, sidecar = stage.watch, stage.sidecar(stage.ollama(), {"probe.max_tokens_per_day": 200, "drift.baseline_samples": 1000})
    watch.wait_told(sidecar, "O3ProbeBudgetExhausted", "notes")
    sidecar.write_config({**sidecar.config, "probe.max_tokens_per_day": 0})
    sidecar.reload()
    watch.wait_resolved(sidecar, "O3ProbeBudgetExhausted")


def load_by_a_probe(stage):
    """A client asks for another batch size, which the sidecar cannot see here: its next probe makes the model be loaded again, once."""
    watch, simulator = stage.watch, stage.ollama(events=())  # short answers: the probe after the client's must not wait for him
    sidecar = stage.sidecar(simulator)
    watch.wait(sidecar, "a scrape", lambda: watch.query("o3_probe_induced_reloads_total", sidecar))
    is_counted = lambda: sidecar.metrics().get("o3_probe_induced_reloads_total", model=MODEL) == 1
    for batch in (64, 96, 128, 160, 192, 224):
        simulator.load(num_ctx=4096, num_batch=batch, num_predict=1)
        # A load while a probe runs is the client's, as the sidecar says rightly: then another one.
        with contextlib.suppress(AssertionError):
            harness.wait_for("a load by a probe", is_counted, 20)
            break
    watch.wait_told(sidecar, "O3InducedReload", "tickets")
    watch.wait_resolved(sidecar, "O3InducedReload")
    assert sidecar.metrics().get("o3_probe_induced_reloads_total", model=MODEL) == 1


def store_in_the_way(stage):
    folder = stage.folder / "store"
    folder.write_text("not a folder")
    watch, sidecar = stage.watch, stage.sidecar(stage.ollama(), {"store.path": str(folder / "o3.db")})
    watch.wait_told(sidecar, "O3StoreDown", "tickets")
    folder.unlink()
    folder.mkdir()
    watch.wait_resolved(sidecar, "O3StoreDown")


ALL = [refused_configuration_and_death, gone_from_discovery, used_up_budget, load_by_a_probe, store_in_the_way]
