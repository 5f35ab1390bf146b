# SPDX-License-Identifier: Apache-2.0
"""What the tests of the publisher share: its configuration, and what they wait for."""

import uuid

import harness
from harness import FAST, Simulator

MODEL = Simulator.MODEL
STEM = "sim-small_latest"
DOCUMENT = f"{STEM}.yaml"


def configuration(place, account, **more):
    return {**FAST, "drift.baseline_samples": 8, "publish.configmap": place.CONFIGMAP, "publish.primary_model": MODEL,
            "publish.writes_per_hour": 60, "kubernetes.url": place.cluster.url, "kubernetes.pod_uid": str(uuid.uuid4()),
            "kubernetes.timeout": "3s", "kubernetes.token_file": str(account.folder / "token"),
            "kubernetes.ca_file": str(account.folder / "ca.crt"), **{k.replace("__", "."): v for k, v in more.items()}}


def data(place):
    return place.stored().get("data", {})


def wait_written(place, limit_s=180):
    """The data once the model's presets are in it."""
    return harness.wait_for("presets in the ConfigMap", lambda: data(place) if DOCUMENT in data(place) else None, limit_s, 0.5)


def wait_refused(sidecar, reason):
    sidecar.wait_sum("o3_preset_write_errors_total", 1, 180, target="configmap", reason=reason)


def annotations(place):
    return place.stored()["metadata"].get("annotations", {})
