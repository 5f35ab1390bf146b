# SPDX-License-Identifier: Apache-2.0
"""`o3 ack`, its API, and what is told of incidents: a changed level becomes the normal one because a person says so."""

import json
import re

import pytest

import harness
from harness import FAST, STEADY, STEADY_TTFT, Sidecar, Simulator, run_o3

TOKEN = "a-token-of-the-test"
QUICK = {**FAST, "drift.baseline_samples": 15, "drift.confirm_samples": 5, "web.token": TOKEN}
MODEL = Simulator.MODEL


def bearer(token=TOKEN):
    return {"Authorization": f"Bearer {token}"}


def ack(sidecar, query, token=TOKEN):
    return sidecar.request("POST", "/api/v1/ack" + query, headers=bearer(token) if token else {})


def test_who_may_and_what_is_refused(start, simulator):
    off = start(Sidecar, simulator.url, FAST)
    reply = ack(off, f"?model={MODEL}")
    assert reply.status_code == 403 and "web.token" in reply.json()["error"]
    on = start(Sidecar, simulator.url, QUICK)
    on.wait_sum("o3_probes_total", 1)
    assert ack(on, f"?model={MODEL}", None).status_code == 401
    assert ack(on, f"?model={MODEL}", "another").status_code == 401
    assert ack(on, "").status_code == 400
    assert ack(on, f"?model={MODEL}&signal=beauty").status_code == 400
    assert ack(on, "?model=nobody").status_code == 404
    reply = ack(on, f"?model={MODEL}&signal=")  # as without it: all
    assert reply.status_code == 409 and "any signal" in reply.json()["error"]
    reply = ack(on, f"?model={MODEL}")
    assert reply.status_code == 409 and reply.json()["error"]
    assert on.request("GET", "/api/v1/ack").status_code == 405
    url = ["--url", on.url]
    token = {"O3_WEB_TOKEN": TOKEN}
    assert run_o3("ack", MODEL, *url, env=token).returncode == 1
    assert run_o3("ack", "nobody", *url, env=token).returncode == 1
    assert run_o3("ack", MODEL, *url).returncode == 2  # no token
    assert run_o3("ack", MODEL, *url, env={"O3_WEB_TOKEN": "another"}).returncode == 2
    assert on.json("/api/v1/incidents") == {"incidents": []}


@pytest.mark.parametrize("args", [[], ["a", "b"], ["m", "--signal", "beauty"], ["m", "--web.token", TOKEN], ["m", "--no-such"],
                                  ["m", "--url", "nonsense"]], ids=str)
def test_usage(args):
    done = run_o3("ack", *args)
    assert done.returncode == 2 and done.stderr and done.stdout == ""


def test_nobody_there():
    done = run_o3("ack", "m", "--url", f"http://127.0.0.1:{harness.free_port()}", env={"O3_WEB_TOKEN": TOKEN})
    assert done.returncode == 69 and done.stderr, done


def check_history(sidecar):
    """Each line in print has its numbers from the same facts as the JSON."""
    now = harness.wait_for("the saved states", lambda: saved(sidecar))["now"]
    args = ["history", "--config.file", sidecar.config_path, "--now", now]

    def both():
        """While the sidecar saved no state between the two commands."""
        before, text, after = (run_o3(*args, form).stdout for form in ("--json", "--ascii", "--json"))
        return before == after and (json.loads(before), text)

    found, text = harness.wait_for("both forms of one state", both)
    assert text.splitlines()[0] == "{} to {}".format(*(found[key].split(".")[0] + "Z" for key in ("since", "now")))
    model = next(m for m in found["models"] if m["model"] == MODEL)
    lines = text.splitlines()
    units = {"decode_rate": ("tokens/s", 1), "ttft": ("ms", 1000), "memory": ("GiB", 2**-30), "gpu_ratio": ("%", 100), "context": ("tokens", 1), "success": ("%", 100)}
    for signal in model["signals"]:
        at = next(i for i, line in enumerate(lines) if line.startswith(f"  {signal['signal']} "))
        unit, scale = units[signal["signal"]]
        said = re.search(rf"normal ([\d.]+) {unit}, now ([\d.]+) {unit}: ([A-Za-z ]+)", lines[at])
        if signal["state"] == "learning":
            assert "learning" in lines[at]
            continue
        for value, word in zip((signal["baseline"], signal["now"]), said.groups()):
            assert abs(float(word) - value * scale) <= 0.051 * max(1, value * scale / 10), (signal, lines[at])
        words = {"stable": "steady", "suspect": "may have changed", "confirmed": "CHANGED"}
        assert said[3] == words[signal["state"]]
        assert len(lines[at + 1]) <= 4 + len(signal["levels"])
        if signal["state"] == "confirmed":
            assert f"    {signal['verdict']}" in lines[at + 2:at + 5] and signal["verdict"].startswith("incident 1: ")
            column = lines[at + 2].index("^1") - 4
            assert 0 < column < len(signal["levels"]), lines[at:at + 4]
    told = [line for line in lines if re.match(r"\d{4}-\S+Z  ", line)]
    assert len(told) == len(found["events"])


def saved(sidecar):
    found = json.loads(run_o3("history", "--config.file", sidecar.config_path, "--json").stdout)
    states = {s["signal"]: s.get("verdict") for m in found["models"] for s in m["signals"]}
    return found if states.get("decode_rate") and states.get("ttft") else None


@pytest.mark.timeout(900)
def test_a_changed_level_is_accepted(start):
    simulator = start(Simulator, port=harness.free_port(), events=[STEADY_TTFT])
    sidecar = start(Sidecar, simulator.url, {**QUICK, **STEADY, "probe.decode_tokens": 8})
    signals = ("decode_rate", "ttft")
    for signal in signals:
        sidecar.wait_metric("o3_baseline_value", limit_s=300, model=MODEL, signal=signal)
    harness.replace(start, simulator, "at 0s decode -40 %", "at 0s ttft +1s")
    open_incident = lambda: [i for i in sidecar.json("/api/v1/incidents")["incidents"] if i["open"]]
    for signal in signals:
        sidecar.wait_metric("o3_drift_detected", lambda v: v == 1, 300, model=MODEL, signal=signal)
    incident = harness.wait_for("an incident", open_incident)[0]
    assert incident["text"] and incident["since"] and incident["causes"][0]["cause"]
    decode = next(m for m in incident["members"] if m["signal"] == "decode_rate")
    assert decode["model"] == MODEL and decode["to"] < decode["from"]
    page = sidecar.get("/").text
    assert 'id="incident-1"' in page and "What has changed" in page and "decode_rate" in page and "#incident-1" in page
    for words in ("Decode rate", "Prefill rate", "Time to first token", "Load time", "Memory", "Share on the GPU", "Context", "Success"):
        assert words in page
    assert incident["causes"][0]["cause"] in page and "<script" not in page

    # The same in the API, and the history says in print what it says in JSON.
    assert sidecar.json("/api/v1/status")["incidents_open"] == [1]
    model = sidecar.json("/api/v1/models")["models"][0]
    assert model["incidents"] == [1] and model["signals"]["decode_rate"]["incidents"] == [1] and model["signals"]["memory"]["incidents"] == []
    assert model["signals"]["decode_rate"]["now"] < 0.8 * model["signals"]["decode_rate"]["baseline"]
    check_history(sidecar)
    told = sidecar.json("/api/v1/events?name=incident_opened")["events"]
    assert [e["event"] for e in told] == ["incident_opened"] and told[0]["text"]

    done = run_o3("ack", MODEL.split(":")[0], "--signal", "decode_rate", "--url", sidecar.url, "--json", env={"O3_WEB_TOKEN": TOKEN})
    assert done.returncode == 0, done
    accepted = json.loads(done.stdout)
    assert accepted["model"] == MODEL and [s["signal"] for s in accepted["signals"]] == ["decode_rate"]
    assert 15 < accepted["signals"][0]["level"] < 33
    rest = harness.wait_for("the word in the incident", lambda: [i for i in open_incident() if "tokens/s (accepted)" in i["text"]], 60, 0.2)
    assert rest[0]["text"].startswith("ttft of ")
    harness.wait_for("no cause of what is accepted", lambda: sidecar.metrics().sum("o3_drift_cause_info", signal="decode_rate") == 0, 60, 0.2)
    sidecar.wait_metric("o3_drift_detected", lambda v: v == 0, model=MODEL, signal="decode_rate")  # with the probe that may run
    assert run_o3("ack", MODEL, "--signal", "decode_rate", "--config.file", sidecar.config_path, "--url", sidecar.url).returncode == 1

    rest = run_o3("ack", MODEL, "--config.file", sidecar.config_path, "--url", sidecar.url)
    assert rest.returncode == 0 and "ttft" in rest.stdout and TOKEN not in rest.stdout + rest.stderr, rest
    harness.wait_for("the end of the incident", lambda: not open_incident(), 60, 0.5)
    page = sidecar.get("/").text
    assert "What has changed" not in page and page.index("Settled") < page.index('id="incident-1"')
    assert sidecar.json("/api/v1/status")["incidents_open"] == []
    words = [e for e in sidecar.json("/api/v1/events?name=drift_acknowledged")["events"] if e["signal"] == "decode_rate"]
    assert len(words) == 1 and words[0]["value"] == pytest.approx(accepted["signals"][0]["level"], rel=1e-9)
    assert any(s.get("acknowledged") == ["decode_rate"] for s in harness.wait_for(
        "the sample", lambda: [s for s in sidecar.samples() if s.get("acknowledged")], 60, 0.5))

    # o3 history tells of it while the sidecar runs.
    done = run_o3("history", "--config.file", sidecar.config_path, "--since", "1h")
    assert done.returncode == 0 and "accepted as the normal level" in done.stdout and "incident 1 opened" in done.stdout, done
    # And a replay knows it from the log alone.
    assert sidecar.stop() == 0
    done = run_o3("replay", sidecar.results / "logs", "--config.file", sidecar.config_path, "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and [e["value"] for e in events if e["event"] == "drift_acknowledged" and e["signal"] == "decode_rate"] == [words[0]["value"]]
