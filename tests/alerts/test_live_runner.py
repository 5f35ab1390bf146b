# SPDX-License-Identifier: Apache-2.0
"""A runner that hangs: the right alert in a real Prometheus and at the right receiver of a real Alertmanager, and
the cure."""

from alerts.live import QUICK
from harness import Sidecar, Simulator

FLAGS = ["--keep-alive", "-1"]


def test_hanging_runner(start, watch):
    """Probes that fail in time, and one that never ends: each is told by its own alert."""
    event = ["at 12s hang for 30s"]
    failing = start(Sidecar, start(Simulator, events=event, flags=FLAGS).url, {**QUICK, "timeouts.base": "1s", "timeouts.first_byte": "1s"})
    waiting = start(Sidecar, start(Simulator, events=event, flags=FLAGS).url, {**QUICK, "timeouts.base": "1h", "timeouts.first_byte": "1h"})
    watch.add(failing)
    watch.add(waiting)
    watch.wait_told(failing, "O3TokensStopped", "pager")
    watch.wait_told(waiting, "O3ProbeStale", "tickets")
    assert watch.told(failing, "O3ProbeStale") == [] and watch.told(waiting, "O3TokensStopped") == []
    watch.wait_resolved(failing, "O3TokensStopped")
    watch.wait_resolved(waiting, "O3ProbeStale")
