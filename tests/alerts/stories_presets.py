# SPDX-License-Identifier: Apache-2.0
"""Presets that do not reach whom they are for."""

import os
import shutil

from harness import Simulator, load_for_good

MODEL = Simulator.MODEL


def smaller_context(stage):
    """Another client loads the model with less than any preset promises. It lasts until the new setting has a baseline."""
    watch, simulator = stage.watch, stage.ollama(context=8192)
    sidecar = stage.sidecar(simulator)
    sidecar.wait_metric("o3_preset_context_tokens", model=MODEL, preset="fast_response")
    sidecar.write_config({**sidecar.config, "probe.interval": "10s"})
    sidecar.reload()
    load_for_good(simulator, sidecar, num_ctx=2048)
    watch.wait_told(sidecar, "O3ContextBelowPreset", "tickets")
    load_for_good(simulator, sidecar, num_ctx=8192)
    watch.wait_resolved(sidecar, "O3ContextBelowPreset")


def remount(source, mounted):
    """As a kubelet does it: a new version beside the old one, and the link ..data is swapped."""
    version = mounted / f"..{len(list(mounted.iterdir()))}"
    shutil.copytree(source, version)
    os.symlink(version.name, mounted / "..new")
    os.replace(mounted / "..new", mounted / "..data")
    for path in version.iterdir():
        link = mounted / path.name
        if not link.is_symlink():
            os.symlink(f"..data/{path.name}", link)


def readers_see_older_ones(stage):
    watch, simulator = stage.watch, stage.ollama()
    folder, mounted = stage.folder / "published", stage.folder / "mounted"
    mounted.mkdir()
    sidecar = stage.sidecar(simulator, {"publish.folder": str(folder), "publish.mounted": str(mounted)})
    watch.wait_told(sidecar, "O3PresetNotInEffect", "tickets")
    remount((folder / "..data").resolve(), mounted)
    watch.wait_resolved(sidecar, "O3PresetNotInEffect")


def unwritable(stage):
    in_the_way = stage.folder / "results" / "defaults"
    in_the_way.parent.mkdir()
    in_the_way.write_text("not a folder")
    watch, sidecar = stage.watch, stage.sidecar(stage.ollama(), {"results.path": str(in_the_way.parent)})
    watch.wait_told(sidecar, "O3PresetWriteFailing", "tickets")
    in_the_way.unlink()
    watch.wait_resolved(sidecar, "O3PresetWriteFailing")


ALL = [smaller_context, readers_see_older_ones, unwritable]
