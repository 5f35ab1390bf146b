# SPDX-License-Identifier: Apache-2.0
"""Slower decoding, with and without a cause that can be seen: the cause is told, what follows from it is inhibited, and the cure
resolves all of it."""

from alerts.live import QUICK
from harness import Sidecar, Simulator

FLAGS = ["--gpu", "24GiB", "--keep-alive", "-1"]


def begin(start, port=0, events=()):
    simulator = start(Simulator, flags=FLAGS, port=port, load=None, events=events)
    simulator.load(num_ctx=4096)
    return simulator


def test_lost_gpu_and_slower_decoding(start, watch):
    simulator = begin(start)
    sidecar = start(Sidecar, simulator.url, QUICK)
    slower = start(Sidecar, begin(start, events=["at 30s decode -40 % for 35s"]).url, QUICK)
    watch.add(sidecar)
    watch.add(slower)
    sidecar.wait_metric("o3_baseline_value", model=Simulator.MODEL, signal="decode_rate")
    assert "O3GpuLost" not in watch.alerts(sidecar) and "O3DecodeRegressed" not in watch.alerts(sidecar)

    simulator.kill()
    watch.wait_told(sidecar, "O3OllamaDown", "pager")
    simulator = begin(start, simulator.port, ["at 0s gpu lost"])
    watch.wait_resolved(sidecar, "O3OllamaDown")
    watch.wait_told(sidecar, "O3GpuLost", "pager")
    watch.wait_suppressed(sidecar, "O3GpuShareFell")
    watch.wait_suppressed(sidecar, "O3DecodeRegressed")
    assert watch.told(sidecar, "O3GpuShareFell") == [] and watch.told(sidecar, "O3DecodeRegressed") == []
    simulator.kill()
    begin(start, simulator.port)
    watch.wait_resolved(sidecar, "O3GpuLost")
    watch.wait_gone(sidecar, "O3DecodeRegressed")

    watch.wait_told(slower, "O3DecodeRegressed", "tickets")
    watch.wait_resolved(slower, "O3DecodeRegressed")
    assert watch.told(slower, "O3GpuLost") == []
