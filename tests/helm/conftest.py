# SPDX-License-Identifier: Apache-2.0
import os
import platform
import subprocess

import pytest

import charts


@pytest.fixture(scope="session", autouse=True)
def tools():
    for major in charts.HELMS:
        helm = charts.TOOLS / f"helm-{major}" / "helm"
        assert os.access(helm, os.X_OK), f"{charts.TOOLS} has no helm {major}; ./dev test fetches it"
        try:
            subprocess.run([helm, "version"], capture_output=True, check=True)
        except OSError as e:
            if platform.machine() == "x86_64":
                raise
            pytest.skip(f"the packages hold helm for x86-64 alone; put another one into {helm.parent} ({e})")


@pytest.fixture(scope="session")
def fixed_chart(tmp_path_factory):
    """The chart with a few rules and a dashboard that the tests know, in the place of the real ones."""
    return charts.with_fixture(tmp_path_factory.mktemp("chart") / "o3-sidecar")
