# SPDX-License-Identifier: Apache-2.0
"""Induced trouble, the right alert in a real Prometheus and at the right receiver of a real Alertmanager, and the cure."""

import harness
from alerts.live import QUICK
from harness import Sidecar, Simulator

MODEL = Simulator.MODEL
FLAGS = ["--keep-alive", "-1"]


def test_hanging_runner(start, watch):
    """Probes that fail in time, and one that never ends: each is told by its own alert."""
    event = ["at 12s hang for 22s"]
    failing = start(Sidecar, start(Simulator, events=event, flags=FLAGS).url, {**QUICK, "timeouts.base": "1s", "timeouts.first_byte": "1s"})
    waiting = start(Sidecar, start(Simulator, events=event, flags=FLAGS).url, {**QUICK, "timeouts.base": "1h", "timeouts.first_byte": "1h"})
    watch.add(failing)
    watch.add(waiting)
    watch.wait_told(failing, "O3TokensStopped", "pager")
    watch.wait_told(waiting, "O3ProbeStale", "tickets")
    assert watch.told(failing, "O3ProbeStale") == [] and watch.told(waiting, "O3TokensStopped") == []
    watch.wait_resolved(failing, "O3TokensStopped")
    watch.wait_resolved(waiting, "O3ProbeStale")


def test_sidecar(start, watch, tmp_path):
    """A refused configuration, presets that cannot be written, a sidecar that died, and a pause that is no trouble."""
    in_the_way = tmp_path / "results" / "defaults"
    in_the_way.parent.mkdir()
    in_the_way.write_text("not a folder")
    unable = start(Sidecar, start(Simulator, flags=FLAGS).url, {**QUICK, "results.path": str(in_the_way.parent)})
    watch.add(unable)
    simulator = start(Simulator, flags=FLAGS)
    config = {**QUICK, "web.listen": f"127.0.0.1:{harness.free_port()}"}
    sidecar = start(Sidecar, simulator.url, config)
    watch.add(sidecar)
    good = dict(sidecar.config)
    sidecar.write_config({**good, "probe.interval": "soon"})
    sidecar.reload()
    watch.wait_told(sidecar, "O3ConfigReloadFailed", "tickets")
    sidecar.write_config({**good, "probe.enabled": False})
    sidecar.reload()
    watch.wait_resolved(sidecar, "O3ConfigReloadFailed")
    sidecar.wait_metric("o3_probe_paused", model=MODEL, reason="paused")
    instance = f'instance="127.0.0.1:{sidecar.port}"'
    watch.wait(sidecar, "a stale probe", lambda: watch.query(f"instance_model:o3_probe_age:intervals{{{instance}}} > 10"), 90)
    assert "O3ProbeStale" not in watch.alerts(sidecar) and watch.told(sidecar, "O3ProbeStale") == []
    sidecar.kill()
    watch.wait_told(sidecar, "O3SidecarDown", "tickets")
    again = start(Sidecar, simulator.url, config)
    watch.wait_resolved(again, "O3SidecarDown")

    # Its writes were tried meanwhile.
    watch.wait_told(unable, "O3PresetWriteFailing", "tickets")
    in_the_way.unlink()
    watch.wait_resolved(unable, "O3PresetWriteFailing")
