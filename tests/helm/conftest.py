# SPDX-License-Identifier: Apache-2.0
import os
import shutil

import pytest

import charts


@pytest.fixture(scope="session", autouse=True)
def tools():
    for major in charts.HELMS:
        assert os.access(charts.TOOLS / f"helm-{major}" / "helm", os.X_OK), f"{charts.TOOLS} has no helm {major}; ./dev test fetches it"


@pytest.fixture(scope="session")
def fixed_chart(tmp_path_factory):
    """The chart with a few rules and a dashboard that the tests know, in the place of the real ones."""
    return with_fixture(tmp_path_factory.mktemp("chart") / "o3-sidecar")


def with_fixture(folder):
    shutil.copytree(charts.CHART, folder, ignore=shutil.ignore_patterns("files"))
    shutil.copytree(charts.FIXTURE, folder / "files")
    shutil.copy(charts.CHART / "values.yaml", folder / "files/values.yaml")
    return folder
