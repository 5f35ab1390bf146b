# SPDX-License-Identifier: Apache-2.0
"""Trouble of the sidecar itself: the right alert in a real Prometheus and at the right receiver of a real Alertmanager, and
the cure."""

import harness
from alerts.live import QUICK
from harness import Sidecar, Simulator

FLAGS = ["--keep-alive", "-1"]


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
    sidecar.wait_metric("o3_probe_paused", model=Simulator.MODEL, reason="paused")
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
