# SPDX-License-Identifier: Apache-2.0
"""From an induced drift to the verdict and the rewritten files; and what happens when a file cannot be written."""

import json
import threading

import pytest
import yaml

import harness
from harness import FAST, Sidecar, Simulator

MODEL = Simulator.MODEL
STEM = "sim-small_latest"


def presets(path):
    """The first model's document; a preset file may hold several."""
    try:
        return next(yaml.safe_load_all(path.read_text()))
    except FileNotFoundError:
        return None


def is_slower(document):
    """All three presets say what was measured before the incident and less for now."""
    return document and all("previous" in p and p["performance"]["tokens_per_sec"] < p["previous"]["tokens_per_sec"]
                            for p in document["presets"].values())


class Reader(threading.Thread):
    """Reads a file all the time, as a program that uses the preset would: it must always be one whole document."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.is_over, self.broken, self.seen = path, threading.Event(), [], 0

    def run(self):
        while not self.is_over.wait(0.002):
            if self.path.exists():
                text = self.path.read_text()
                self.seen += 1
                if not text.endswith("\n") or not all("presets" in d for d in yaml.safe_load_all(text)):
                    self.broken.append(text)


def test_drift_is_found_and_the_files_are_rewritten(start, tmp_path):
    simulator = start(Simulator, events=["at 45s decode -40 %"])
    published = tmp_path / "shared" / "presets.yaml"
    published.parent.mkdir()
    sidecar = start(Sidecar, simulator.url, {**FAST, "publish.file": str(published)})
    defaults = sidecar.results / "defaults" / f"{STEM}.yaml"
    reader = Reader(published)
    reader.start()

    harness.wait_for("the first presets", lambda: presets(defaults), 120)
    before = presets(defaults)
    assert before["model"] == MODEL and set(before["presets"]) <= {"max_context", "balanced", "fast_response"}
    assert sidecar.metrics().get("o3_drift_detected", model=MODEL, signal="decode_rate") in (0, None)

    sidecar.wait_metric("o3_drift_detected", lambda v: v == 1, limit_s=200, model=MODEL, signal="decode_rate")
    change = sidecar.metrics().get("o3_drift_change_ratio", model=MODEL, signal="decode_rate")
    assert -0.6 < change < -0.2, change
    assert sidecar.metrics().sum("o3_drift_events_total", model=MODEL) >= 1

    harness.wait_for("rewritten presets", lambda: is_slower(presets(defaults)))
    harness.wait_for("the published file", lambda: is_slower(presets(published)))

    reader.is_over.set()
    reader.join()
    assert reader.seen > 0 and reader.broken == []
    assert [p.name for p in published.parent.iterdir()] == ["presets.yaml"]  # no temporary file is left
    metrics = sidecar.metrics()
    for target in ("results", "file"):
        assert metrics.get("o3_preset_writes_total", target=target, result="written") >= 2
    assert "drift_confirmed" in sidecar.log and "preset_written" in sidecar.log
    assert "drift_confirmed" in json.dumps(sidecar.json("/api/v1/events"))
    summary = json.loads((sidecar.results / "summaries" / f"{STEM}.json").read_text())
    assert MODEL in json.dumps(summary)
    assert metrics.sum("o3_probe_induced_reloads_total") == 0
    assert sidecar.stop() == 0
    assert len(sidecar.samples(MODEL)) > 30


QUICK = {**FAST, "drift.baseline_samples": 8}


def failed_writes(sidecar):
    return sidecar.metrics().sum("o3_preset_writes_total", result="failed")


def test_missing_preset_folder(start, simulator, tmp_path):
    """The folder is made, or the failure is told and tried again; in both cases the rest goes on."""
    published = tmp_path / "not" / "there" / "presets.yaml"
    sidecar = start(Sidecar, simulator.url, {**QUICK, "publish.file": str(published)})
    harness.wait_for("an outcome", lambda: published.exists() or failed_writes(sidecar) > 0)
    if not published.exists():
        assert "preset_write_failed" in sidecar.log
        published.parent.mkdir(parents=True)
        harness.wait_for("the file after the folder came", published.exists, 180)
    assert presets(published)["model"] == MODEL
    assert (sidecar.results / "defaults" / f"{STEM}.yaml").exists()


@pytest.mark.parametrize("kind", ["read-only", "full"])
def test_preset_folder_cannot_be_written(start, simulator, tmp_path, kind):
    disk = tmp_path / "disk"
    disk.mkdir()
    old = "model: someone-elses\npresets: {}\n"
    fill = f"printf '%s' '{old}' > {disk}/presets.yaml"
    if kind == "full":
        fill += f"; head -c 1000000 /dev/zero > {disk}/filler 2>/dev/null; true"
        wrap = harness.private_mount(disk, "size=16k", fill)
    else:
        fill += f" && mount -o remount,ro {disk}"
        wrap = harness.private_mount(disk, "size=64k", fill)
    if wrap is None:
        pytest.skip("no mount namespace can be made here, so there is no read-only or full disk to test with")
    sidecar = start(Sidecar, simulator.url, {**QUICK, "publish.file": f"{disk}/presets.yaml"}, wrap=wrap)
    there = harness.inside(sidecar.pid, disk)

    harness.wait_for("a failed write", lambda: failed_writes(sidecar) > 0, 120)
    assert "preset_write_failed" in sidecar.log
    assert (there / "presets.yaml").read_text() == old  # whole and old
    assert sorted(p.name for p in there.iterdir()) == sorted(["presets.yaml"] + (["filler"] if kind == "full" else []))
    # The rest goes on: probing, the results folder, the pages.
    assert presets(sidecar.results / "defaults" / f"{STEM}.yaml")["model"] == MODEL
    probes = sidecar.metrics().sum("o3_probes_total", result="ok")
    sidecar.wait_sum("o3_probes_total", probes + 2, result="ok")
    if kind == "full":
        (there / "filler").unlink()
        harness.wait_for("the file after space came", lambda: presets(there / "presets.yaml")["model"] == MODEL, 180)
    assert sidecar.stop() == 0


def test_results_folder_cannot_be_written(start, simulator, tmp_path):
    """No place for results at all: measuring goes on, and the log says what is missing."""
    disk = tmp_path / "disk"
    disk.mkdir()
    wrap = harness.private_mount(disk, "ro,size=64k")
    if wrap is None:
        pytest.skip("no mount namespace can be made here, so there is no read-only disk to test with")
    sidecar = start(Sidecar, simulator.url, {**QUICK, "results.path": f"{disk}/o3_results"}, wrap=wrap)
    sidecar.wait_sum("o3_probes_total", 2, result="ok")
    assert sidecar.get("/-/ready").status_code == 200
    assert "store_failed" in sidecar.log or "file_failed" in sidecar.log
    assert sidecar.stop() == 0


def test_tune_mode_off_writes_no_preset(start, simulator):
    sidecar = start(Sidecar, simulator.url, {**QUICK, "tune.mode": "off"})
    sidecar.wait_metric("o3_baseline_value", model=MODEL, signal="decode_rate")
    probes = sidecar.metrics().sum("o3_probes_total", result="ok")
    sidecar.wait_sum("o3_probes_total", probes + 3, result="ok")
    assert not list(sidecar.results.glob("defaults/*"))
