# SPDX-License-Identifier: Apache-2.0
import os

import pytest

import charts


@pytest.fixture(scope="session", autouse=True)
def tools():
    for major in charts.HELMS:
        assert os.access(charts.TOOLS / f"helm-{major}" / "helm", os.X_OK), f"{charts.TOOLS} has no helm {major}; ./dev test fetches it"


@pytest.fixture(scope="session")
def fixed_chart(tmp_path_factory):
    """The chart with a few rules and a dashboard that the tests know, in the place of the real ones."""
    return charts.with_fixture(tmp_path_factory.mktemp("chart") / "o3-sidecar")
