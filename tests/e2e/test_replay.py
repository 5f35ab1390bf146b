# SPDX-License-Identifier: Apache-2.0
"""`o3 replay`: recorded measurements give the verdicts again, the sidecar's own log those that it gave live."""

import json
import random

import pytest

import harness
from harness import FAST, STEADY, STEADY_TTFT, Sidecar, Simulator, run_o3
from judged import JUDGED, untimed

QUICK = {**FAST, "drift.baseline_samples": 30, "drift.confirm_samples": 5}


def step(before=37.5, after=22.0, at=200, n=400, cv=0.05, seed=1):
    r = random.Random(seed)
    return [(before if i < at else after) * r.gauss(1, cv) for i in range(n)]


def lines(values):
    return "".join(f"{v:.5f}\n" for v in values)


def alarms(done):
    assert done.returncode == 0 and done.stderr == "", done
    return [tuple(int(x) for x in line.split()) for line in done.stdout.splitlines()]


# ---- values ----


def test_alarms_of_bare_values():
    suspected = alarms(run_o3("replay", "--values", "--level", "suspect", stdin=lines(step())))
    confirmed = alarms(run_o3("replay", "--values", "--level", "confirmed", stdin=lines(step())))
    assert len(suspected) == len(confirmed) == 1
    assert 200 <= suspected[0][0] < confirmed[0][0] < 230
    assert abs(suspected[0][1] - 200) <= 3 and abs(confirmed[0][1] - 200) <= 3
    assert alarms(run_o3("replay", "--values", "--level", "suspect", stdin=lines(step(after=37.5)))) == []


def test_what_follows_an_alarm():
    there_and_back = lines(step(n=300) + step(before=37.5, after=37.5, n=300, seed=2))
    run = lambda *more: alarms(run_o3("replay", "--values", "--level", "confirmed", *more, stdin=there_and_back))
    # Start over: the way back is a change, too. As live: it is a recovery and no alarm.
    assert run() == run("--after-alarm", "restart")
    for more in ([], ["--after-alarm", "acknowledge"]):
        changes = [change for _, change in run(*more)]  # more may follow: the new level is known from few samples
        assert abs(changes[0] - 200) <= 3 and abs(changes[1] - 300) <= 3
    assert len(run("--after-alarm", "continue")) == 1


def test_places_count_values_that_are_left_out():
    values = step()
    text = lines(values).splitlines()
    text[50:50] = ["nan", "-3", "inf", "0", ""]
    done = run_o3("replay", "--values", "--level", "confirmed", stdin="\n".join(text))
    assert done.returncode == 0 and "4 of 404 values left out: 1 NaN, 1 infinite, 2 not above 0" in done.stderr
    shifted = [tuple(int(x) for x in line.split()) for line in done.stdout.splitlines()]
    assert shifted == [(a + 4, c + 4) for a, c in alarms(run_o3("replay", "--values", "--level", "confirmed", stdin=lines(values)))]


def test_verdicts_for_people_and_programs():
    done = run_o3("replay", stdin=lines(step()))
    assert done.returncode == 1 and "confirmed" in done.stdout and "since value 20" in done.stdout
    done = run_o3("replay", "--json", stdin=lines(step()))
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1 and [v["event"] for v in verdicts] == ["baseline", "suspect", "confirmed"]
    assert verdicts[-1]["direction"] == "down" and -0.5 < verdicts[-1]["change_lo"] < verdicts[-1]["change_ratio"] < -0.3
    assert run_o3("replay", stdin=lines(step(after=37.5))).returncode == 0
    # Only what stands at the end counts.
    assert run_o3("replay", stdin=lines(step(n=300) + step(before=37.5, after=37.5, n=300, seed=2))).returncode == 0


def test_options_reach_the_detector():
    small = lines(step(after=36.0, cv=0.01))
    assert run_o3("replay", stdin=small).returncode == 0
    assert run_o3("replay", "--min-effect", "0.01", stdin=small).returncode == 1
    assert run_o3("replay", "--drift.min_effect=0.01", stdin=small).returncode == 1
    assert run_o3("replay", "--detector", "rank", stdin=lines(step())).returncode == 1
    for option, value in (("--detector", "guess"), ("--min-effect", "7"), ("--false-alarms", "many"), ("--interval", "soon"), ("--level", "high"),
                          ("--after-alarm", "wait")):
        assert run_o3("replay", option, value, stdin="1\n").returncode == 2


# ---- CSV ----


def test_csv(tmp_path):
    values = step()
    table = tmp_path / "table.csv"
    table.write_text("time,model,tps\n" + "".join(f"2026-11-21T{i // 60:02d}:{i % 60:02d}:00Z,\"a, b\",{v:.5f}\n" for i, v in enumerate(values)))
    done = run_o3("replay", "--json", "--value", "tps", table)
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1 and verdicts[-1]["event"] == "confirmed", done
    assert verdicts[-1]["change_time"] == f"2026-11-21T03:{verdicts[-1]['change_index'] - 180:02d}:00.000Z"
    done = run_o3("replay", table)
    assert done.returncode == 2 and "table.csv:1:" in done.stderr and "--value" in done.stderr and '"tps"' in done.stderr
    unix = "".join(f"{1790000000 + 60 * i};{v:.5f}\n" for i, v in enumerate(values))
    again = run_o3("replay", "--json", "--csv", "--time", "t", stdin="t;v\n" + unix)
    strip = lambda vs: [{k: v for k, v in x.items() if "time" not in k} for x in vs]
    assert strip(json.loads(line) for line in again.stdout.splitlines()) == strip(verdicts)


@pytest.mark.parametrize("text,place,reason", [
    ("a,b\n1,2\n1,2,3\n", 3, "3 fields"),
    ("a,b\n1,2\n1,x\n", 3, '"x"'),
    ("time,b\n1,2\n\nsoon,2\n", 4, '"soon"'),
    ('a,b\n1,"2\n', 2, "quoted"),
    ("a,a2\n", 1, "no column"),
], ids=str)
def test_broken_csv(text, place, reason):
    done = run_o3("replay", "--csv", "--value", "b", stdin=text)
    assert done.returncode == 2 and f":{place}: " in done.stderr and reason in done.stderr, done


def test_broken_values():
    done = run_o3("replay", "--values", stdin="1\n2\nthree\n")
    assert done.returncode == 2 and ':3: expected a number, found "three"' in done.stderr
    done = run_o3("replay", "--values", "--skip-bad", stdin="1\n2\nthree\n" + "9" * 70000 + "\n4\n")
    assert done.returncode == 0 and "3 values" in done.stdout and "2 broken lines" in done.stderr
    assert run_o3("replay", "no-such-file").returncode == 2


# ---- the sidecar's own log ----


def live_events(sidecar):
    """What its store holds, oldest first."""
    events = sidecar.json("/api/v1/events?limit=10000")["events"]
    return [e for e in reversed(events) if e["event"] in JUDGED]


def replayed(sidecar, *more):
    done = run_o3("replay", sidecar.results / "logs", "--config.file", sidecar.config_path, "--json", *more)
    assert done.returncode in (0, 1) and done.stderr == "", done
    return [json.loads(line) for line in done.stdout.splitlines()]


def wait_event(sidecar, name, signal="decode_rate"):
    return harness.wait_for(name, lambda: [e for e in live_events(sidecar) if e["event"] == name and e.get("signal") == signal], 300, 0.5)


@pytest.mark.timeout(900)
def test_the_log_gives_the_verdicts_that_were_given_live(start, tmp_path):
    simulator = start(Simulator, port=harness.free_port(), events=[STEADY_TTFT])
    slow = {**QUICK, **STEADY, "probe.decode_tokens": 8}
    folder = tmp_path / "sidecar"
    with harness.started(Sidecar, folder, simulator.url, slow) as sidecar:
        for signal in ("decode_rate", "ttft"):
            wait_event(sidecar, "baseline_set", signal)
        simulator = harness.replace(start, simulator, STEADY_TTFT, "at 0s decode -40 %")
        wait_event(sidecar, "drift_confirmed")
        assert sidecar.stop() == 0
    # A restart in the middle of an open incident.
    with harness.started(Sidecar, folder, simulator.url, slow, name="again") as sidecar:
        harness.replace(start, simulator, STEADY_TTFT)
        wait_event(sidecar, "incident_closed", None)
        requests_end = sidecar.stop()
        assert requests_end == 0
    with harness.started(Sidecar, folder, simulator.url, {**slow, "models.exclude": ["*"]}, name="reader") as reader:
        live = live_events(reader)
        reader.stop()
    assert {"baseline_set", "drift_confirmed", "drift_recovered", "incident_opened", "incident_closed"} <= {e["event"] for e in live}
    again = replayed(sidecar)
    assert untimed(again) == untimed(live)
    # Whatever files the lines are in: the verdicts are theirs.
    log = next((sidecar.results / "logs").glob("*.jsonl"))
    text = log.read_text().splitlines(keepends=True)
    for number, part in ((2, text[:7]), (1, text[7:30])):
        log.with_name(f"{log.name}.{number}").write_text("".join(part))
    log.write_text("".join(text[30:]))
    assert replayed(sidecar) == again
    broken = run_o3("replay", "--jsonl", "-", stdin="".join(text[:3]) + '{"v":1}\n' + "".join(text[3:]))
    assert broken.returncode == 2 and ":4: " in broken.stderr
    counted = run_o3("replay", "--skip-bad", "-", "--config.file", sidecar.config_path, stdin="".join(text[:3]) + '{"v":1}\n' + "".join(text[3:]))
    assert counted.returncode == 0 and "1 broken lines" in counted.stderr


def test_usage(tmp_path):
    for args in (["--level", "suspect", "--json"], ["a.csv", "b.csv", "--csv"], ["--values", "--csv"], ["--interval", "0s"], ["--no-such"]):
        assert run_o3("replay", *args, stdin="", cwd=tmp_path).returncode == 2, args
    (tmp_path / "empty").mkdir()
    assert run_o3("replay", "empty", cwd=tmp_path).returncode == 2
    assert run_o3("replay", "--jsonl", "--level", "suspect", stdin="").returncode == 2
