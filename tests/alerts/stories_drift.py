# SPDX-License-Identifier: Apache-2.0
"""Models that become slower, each for another reason: the alert that should tell it, and the cure."""

from alerts.stories_ollama import users
from harness import Simulator


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
    simulator = stage.again(simulator, "at 0s ttft +400ms")
    watch.wait_told(sidecar, "O3TtftRegressed", "tickets")
    assert watch.told(sidecar, "O3DecodeRegressed") == []
    stage.again(simulator)
    watch.wait_resolved(sidecar, "O3TtftRegressed")


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
    watch.wait_resolved(sidecar, "O3UpgradeRegressed", 120)


ALL = [slower_decoding, later_first_token, slower_since_an_upgrade]
