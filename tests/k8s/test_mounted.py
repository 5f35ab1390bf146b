# SPDX-License-Identifier: Apache-2.0
"""What readers of the mounted ConfigMap see: a stand-in for the kubelet copies what the API server really holds, late or never."""

import yaml

import pytest

import harness
from harness import Simulator
from kubelet import Mount, Volume
from publishing import DOCUMENT, MODEL, data, wait_written


def wait_in_effect(sidecar, value, limit_s=90):
    """Of every preset of the model."""
    def is_so():
        shown = [s.value for s in sidecar.metrics().all("o3_preset_in_effect", model=MODEL)]
        return shown and all(v == value for v in shown)

    harness.wait_for(f"o3_preset_in_effect {value}", is_so, limit_s)


def attach_mounted(attach, simulator, folder):
    return attach(simulator, publish__mounted=str(folder), models__include=[MODEL])


def contexts(place):
    presets = yaml.safe_load(data(place)[DOCUMENT])["presets"]
    return {name: p["num_ctx"] for name, p in presets.items()}


@pytest.mark.timeout(600)
def test_readers_see_it_when_the_kubelet_has_copied_it(start, attach, place, tmp_path):
    simulator = start(Simulator)
    with Mount(tmp_path / "mounted", place, is_held=True) as mount:
        sidecar = attach_mounted(attach, simulator, mount.folder)
        wait_written(place)
        wait_in_effect(sidecar, 0)  # it is there, and nobody sees it
        assert "preset_in_effect" not in sidecar.log
        mount.release()
        wait_in_effect(sidecar, 1)
        sidecar.wait_log(r"preset_in_effect\b.*models=\"?1\b")

        # Another context: other presets are decided, and the readers have the old ones until the next copy.
        mount.hold()
        before = contexts(place)
        simulator.load(MODEL, num_ctx=3 * before["max_context"])
        harness.wait_for("presets of the other context", lambda: contexts(place) != before, 180, 0.5)
        wait_in_effect(sidecar, 0)
        mount.release()
        wait_in_effect(sidecar, 1)
        assert sidecar.log.count("event=preset_in_effect ") == 2 and "preset_not_in_effect" not in sidecar.log


@pytest.mark.timeout(600)
def test_an_edit_by_hand_is_seen(simulator, attach, place, tmp_path):
    """Somebody writes a preset of his own into the object: readers get that one, and the metric says so."""
    with Mount(tmp_path / "mounted", place) as mount:
        sidecar = attach_mounted(attach, simulator, mount.folder)
        wait_in_effect(sidecar, 1, 180)
        document = yaml.safe_load(data(place)[DOCUMENT])
        document["presets"]["balanced"]["num_ctx"] += 1
        place.put_by_other(**{DOCUMENT: yaml.safe_dump(document)})
        shown = lambda name: sidecar.metrics().get("o3_preset_in_effect", model=MODEL, preset=name)
        harness.wait_for("0 of this preset alone", lambda: [shown("balanced"), shown("max_context")] == [0, 1], 90)


@pytest.mark.timeout(600)
def test_a_mount_that_never_follows(simulator, attach, place, tmp_path):
    """As a mount by subPath: what was there at the start stays. After minutes it is told, once, and how it is overcome, too."""
    mount = Volume(tmp_path / "mounted")
    mount.write({DOCUMENT: f"model: {MODEL}\npresets:\n  balanced:\n    num_ctx: 1024\n    batch: 64\n"})
    sidecar = attach_mounted(attach, simulator, mount.folder)
    wait_written(place)
    wait_in_effect(sidecar, 0)
    assert "preset_not_in_effect" not in sidecar.log
    told = sidecar.wait_log(r".*preset_not_in_effect.*", 300)[0]
    assert MODEL in told and str(mount.folder) in told
    wait_in_effect(sidecar, 0)
    assert sidecar.get("/-/ready").status_code == 200  # the pod stays in its Service
    mount.write(data(place))
    wait_in_effect(sidecar, 1)
    assert sidecar.log.count("preset_not_in_effect") == 1
