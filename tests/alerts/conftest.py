# SPDX-License-Identifier: Apache-2.0
import pytest

from alerts.live import Watch


@pytest.fixture(scope="module")
def watch(tmp_path_factory):
    watch = Watch(tmp_path_factory.mktemp("watch"))
    yield watch
    watch.close()
