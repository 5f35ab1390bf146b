# SPDX-License-Identifier: Apache-2.0
"""From an induced drift to the verdict and the rewritten files; and what happens when a file cannot be written."""

import json
import os
import shutil
import threading

import pytest
import yaml

import harness
from harness import FAST, STEADY, STEADY_TTFT, Sidecar, Simulator

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


@pytest.mark.timeout(900)
def test_drift_is_found_and_the_files_are_rewritten(start, tmp_path):
    simulator = start(Simulator, port=harness.free_port(), events=[STEADY_TTFT])
    published = tmp_path / "shared" / "presets.yaml"
    published.parent.mkdir()
    folder = tmp_path / "shared-as-mounted"
    sidecar = start(Sidecar, simulator.url, {**FAST, **STEADY, "publish.file": str(published), "publish.folder": str(folder)})
    defaults = sidecar.results / "defaults" / f"{STEM}.yaml"
    reader = Reader(published)
    reader.start()

    harness.wait_for("the first presets", lambda: presets(defaults), 300)
    before = presets(defaults)
    assert before["model"] == MODEL and set(before["presets"]) <= {"max_context", "balanced", "fast_response"}
    assert sidecar.metrics().get("o3_drift_detected", model=MODEL, signal="decode_rate") in (0, None)

    sidecar.wait_metric("o3_baseline_value", model=MODEL, signal="ttft")
    harness.replace(start, simulator, STEADY_TTFT, "at 0s decode -40 %")
    sidecar.wait_metric("o3_drift_detected", lambda v: v == 1, limit_s=300, model=MODEL, signal="decode_rate")
    change = sidecar.metrics().get("o3_drift_change_ratio", model=MODEL, signal="decode_rate")
    assert -0.6 < change < -0.2, change
    assert sidecar.metrics().sum("o3_drift_events_total", model=MODEL) >= 1

    harness.wait_for("rewritten presets", lambda: is_slower(presets(defaults)))
    harness.wait_for("the published file", lambda: is_slower(presets(published)))
    harness.wait_for("the published folder", lambda: is_slower(presets(folder / f"{STEM}.yaml")))

    reader.is_over.set()
    reader.join()
    assert reader.seen > 0 and reader.broken == []
    # A file is there before its write is over: it is made durable afterwards.
    for target in ("results", "file", "folder"):
        sidecar.wait_metric("o3_preset_writes_total", lambda v: v and v >= 2, target=target, result="written")
    harness.wait_for("no temporary file", lambda: [p.name for p in published.parent.iterdir()] == ["presets.yaml"])
    metrics = sidecar.metrics()
    assert "drift_confirmed" in sidecar.log and "preset_written" in sidecar.log
    assert "drift_confirmed" in json.dumps(sidecar.json("/api/v1/events"))
    summary = json.loads((sidecar.results / "summaries" / f"{STEM}.json").read_text())
    assert MODEL in json.dumps(summary)
    assert metrics.sum("o3_probe_induced_reloads_total") == 0
    assert sidecar.stop() == 0
    assert len(sidecar.samples(MODEL)) > 30


QUICK = harness.QUICK


def failed_writes(sidecar):
    return sidecar.metrics().sum("o3_preset_writes_total", result="failed")


def test_missing_preset_folder(start, ollama, knowing, tmp_path):
    """The folder is made, or the failure is told and tried again; in both cases the rest goes on."""
    published = tmp_path / "not" / "there" / "presets.yaml"
    sidecar = start(Sidecar, ollama.url, knowing({**QUICK, "publish.file": str(published)}))
    harness.wait_for("an outcome", lambda: published.exists() or failed_writes(sidecar) > 0)
    if not published.exists():
        assert "preset_write_failed" in sidecar.log
        published.parent.mkdir(parents=True)
        harness.wait_for("the file after the folder came", published.exists, 180)
    assert presets(published)["model"] == MODEL


def failed_because(sidecar, target):
    """The names of the troubles that a place had."""
    return {s.labels["reason"] for s in sidecar.metrics().all("o3_preset_write_errors_total", target=target) if s.value}


@pytest.mark.parametrize("kind", ["read-only", "full"])
def test_preset_folder_cannot_be_written(start, simulator, tmp_path, kind):
    disk = tmp_path / "disk"
    disk.mkdir()
    old = "model: someone-elses\npresets: {}\n"
    fill = f"printf '%s' '{old}' > {disk}/presets.yaml"
    if kind == "full":
        fill += f"; head -c 1000000 /dev/zero > {disk}/filler 2>/dev/null; true"
        wrap = harness.private_mount(disk, "size=512k", fill)
    else:
        fill += f" && mount -o remount,ro {disk}"
        wrap = harness.private_mount(disk, "size=64k", fill)
    if wrap is None:
        pytest.skip("no mount namespace can be made here, so there is no read-only or full disk to test with")
    sidecar = start(Sidecar, simulator.url, {**QUICK, "publish.file": f"{disk}/presets.yaml", "publish.folder": f"{disk}/presets"}, wrap=wrap)
    there = harness.inside(sidecar.pid, disk)

    reason = {"full": "disk_full", "read-only": "read_only"}[kind]
    for target in ("file", "folder"):
        harness.wait_for("failed writes", lambda: failed_because(sidecar, target) == {reason}, 120)
        sidecar.wait_log(f"preset_write_failed.*target={target}.*reason={reason}")
    assert (there / "presets.yaml").read_text() == old  # whole and old
    assert {p.name for p in there.iterdir()} - {"presets"} == {"presets.yaml"} | ({"filler"} if kind == "full" else set())
    # The rest goes on: probing, the results folder, the pages.
    assert harness.wait_for("the presets", lambda: presets(sidecar.results / "defaults" / f"{STEM}.yaml"))["model"] == MODEL
    probes = sidecar.metrics().sum("o3_probes_total", result="ok")
    sidecar.wait_sum("o3_probes_total", probes + 2, result="ok")
    if kind == "full":
        (there / "filler").unlink()
        harness.wait_for("the file after space came", lambda: presets(there / "presets.yaml")["model"] == MODEL, 180)
        harness.wait_for("the folder after space came", lambda: presets(there / "presets" / f"{STEM}.yaml"), 180)
        sidecar.wait_metric("o3_preset_writes_total", lambda v: v and v >= 1, target="file", result="written")
    assert sidecar.stop() == 0


def test_preset_folder_of_somebody_else(start, ollama, knowing, tmp_path):
    """EACCES: named, and tried again until somebody opens the folder."""
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o555)
    wrap = []
    if os.geteuid() == 0:  # who may do everything has to lose that first
        if not shutil.which("setpriv"):
            pytest.skip("setpriv is not installed, and root may write everywhere")
        wrap = ["setpriv", "--bounding-set", "-dac_override", "--inh-caps", "-dac_override"]
    sidecar = start(Sidecar, ollama.url, knowing({**QUICK, "publish.file": str(folder / "presets.yaml")}), wrap=wrap)
    harness.wait_for("a failed write", lambda: failed_because(sidecar, "file") == {"denied"}, 120)
    sidecar.wait_log("preset_write_failed.*Permission denied.*target=file.*reason=denied")
    folder.chmod(0o755)
    harness.wait_for("the file", lambda: presets(folder / "presets.yaml"), 120)
    assert [p.name for p in folder.iterdir()] == ["presets.yaml"]


def test_what_is_there_is_not_written_again(start, ollama, knowing, tmp_path):
    places = {"file": tmp_path / "presets.yaml", "folder": tmp_path / "presets"}
    config = {**QUICK, "publish.file": str(places["file"]), "publish.folder": str(places["folder"])}
    first = start(Sidecar, ollama.url, knowing(config))
    watched = [places["file"], places["folder"] / "..data"]
    harness.wait_for("both places", lambda: all(p.exists() for p in watched), 120)
    for target in places:
        first.wait_metric("o3_preset_writes_total", lambda v: v and v >= 1, target=target, result="written")
    first.kill()
    before = [os.lstat(p) for p in watched]
    again = start(Sidecar, ollama.url, first.config)
    for target in places:
        again.wait_metric("o3_preset_writes_total", lambda v: v == 1, target=target, result="unchanged")
        assert again.metrics().get("o3_preset_writes_total", target=target, result="written") is None
    assert [(s.st_ino, s.st_mtime_ns) for s in before] == [(s.st_ino, s.st_mtime_ns) for s in map(os.lstat, watched)]


def test_another_place_after_a_reload_and_the_budget(start, ollama, knowing, tmp_path):
    """The second place gets what is known at once; the third has to wait, for the budget of the hour is spent."""
    first, second, third = (tmp_path / name for name in ("first.yaml", "second.yaml", "third.yaml"))
    sidecar = start(Sidecar, ollama.url, knowing({**QUICK, "publish.writes_per_hour": 2, "publish.file": str(first)}))
    harness.wait_for("the first place", first.exists)

    def move(path):
        sidecar.write_config({**sidecar.config, "publish.file": str(path)})
        sidecar.reload()

    move(second)
    harness.wait_for("the second place", second.exists)
    move(third)
    harness.wait_for("what waits for the budget", lambda: [p["state"] for p in sidecar.json("/api/v1/status")["publishing"]["targets"]] == ["pending"])
    assert second.read_text() == first.read_text() and not third.exists()
    assert sidecar.metrics().get("o3_preset_writes_total", target="file", result="written") == 2
    assert sidecar.stop() == 0
    assert not third.exists()


def test_what_a_killed_writer_left_behind_a_link_is_removed(start, ollama, knowing, tmp_path):
    """A link stays a link: the file behind it is replaced, in a folder of its own."""
    real, link = tmp_path / "real" / "presets.yaml", tmp_path / "linked" / "presets.yaml"
    for path in (real, link):
        path.parent.mkdir()
    real.write_text("{}\n")
    link.symlink_to(real)
    left, others = real.parent / ".o3-tmp-1-1", real.parent / "tmp"
    for path in (left, others):
        path.write_text("half")
        os.utime(path, (1e9, 1e9))
    start(Sidecar, ollama.url, knowing({**QUICK, "publish.file": str(link)}))
    harness.wait_for("the file", lambda: presets(real), 120)
    harness.wait_for("what is left", lambda: sorted(p.name for p in real.parent.iterdir()) == ["presets.yaml", "tmp"])
    assert link.is_symlink()


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
