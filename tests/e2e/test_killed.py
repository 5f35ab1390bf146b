# SPDX-License-Identifier: Apache-2.0
"""What the sidecar knows survives kill -9, wherever it comes."""

import re

import pytest

import harness
from harness import Sidecar, Simulator
from judged import QUICK, replayed, slow_down, steady_server, stored, untimed, wait_event


@pytest.mark.timeout(900)
def test_killed_in_the_middle_of_a_suspicion(start, tmp_path):
    """The verdict comes with the same sample as if nothing had happened, and nothing is told twice."""
    # A young baseline asks for a dozen samples before it suspects.
    slow = {**QUICK, "drift.confirm_samples": 25}
    simulator = steady_server(start)
    folder = tmp_path / "sidecar"
    with harness.started(Sidecar, folder, simulator.url, slow) as sidecar:
        simulator = slow_down(start, simulator, sidecar)
        wait_event(sidecar, "drift_suspected")
        sidecar.kill()
        assert not [e for e in stored(sidecar.results, "drift_confirmed") if e["signal"] == "decode_rate"]
    with harness.started(Sidecar, folder, simulator.url, slow, name="again") as sidecar:
        wait_event(sidecar, "drift_confirmed")
        n = len(sidecar.samples())
        harness.wait_for("samples since the last state", lambda: len(sidecar.samples()) >= n + 3, 60, 0.2)
        sidecar.kill()
        assert "judge_state_dropped" not in sidecar.log
    with harness.started(Sidecar, folder, simulator.url, slow, name="third") as sidecar:
        assert re.search(r"samples_judged_again.* samples=[1-9]", sidecar.log), sidecar.log
        harness.replace(start, simulator, harness.STEADY_TTFT)
        wait_event(sidecar, "incident_closed", None, 300)
        sidecar.kill()
    with harness.started(Sidecar, folder, simulator.url, {**slow, "models.exclude": ["*"]}, name="last") as sidecar:
        assert not [i for i in sidecar.json("/api/v1/incidents")["incidents"] if i["open"]]
        assert sidecar.stop() == 0
    live = stored(sidecar.results)
    assert {"baseline_set", "drift_suspected", "drift_confirmed", "drift_recovered", "incident_opened", "incident_closed"} <= {e["event"] for e in live}
    # One judge that was never disturbed, with the samples and the keys of the log alone.
    assert untimed(replayed(sidecar.results)) == untimed(live)


def test_killed_between_the_store_and_the_log(start, tmp_path):
    simulator = start(Simulator)
    folder = tmp_path / "sidecar"
    with harness.started(Sidecar, folder, simulator.url, QUICK) as sidecar:
        log = harness.wait_for("a log", lambda: next(iter((sidecar.results / "logs").glob("*.jsonl")), None))
        harness.wait_for("samples", lambda: len(log.read_text().splitlines()) > 5)
        sidecar.kill()
    still = {**QUICK, "models.exclude": ["*"]}
    with harness.started(Sidecar, folder, simulator.url, still, name="again") as sidecar:  # a kill may have come there by itself
        sidecar.kill()
    whole = log.read_text()
    log.write_text("".join(whole.splitlines(keepends=True)[:-1]))
    with harness.started(Sidecar, folder, simulator.url, still, name="third") as sidecar:
        assert log.read_text() == whole
        assert re.search(r"sample_log_completed.* samples=1\b", sidecar.log), sidecar.log
        sidecar.kill()
    with harness.started(Sidecar, folder, simulator.url, still, name="last") as sidecar:
        assert log.read_text() == whole and "sample_log_completed" not in sidecar.log
        assert sidecar.stop() == 0
