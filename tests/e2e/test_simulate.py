# SPDX-License-Identifier: Apache-2.0
"""`o3 simulate`: the command, its exit status, its processes and the three forms of its report."""

import html.parser
import json
import os
import pathlib
import shutil
import signal
import subprocess

import pytest

import harness
from harness import BINARY, Process, run_o3

DRIFT = """\
# the server slows down and recovers
world gpu 24GiB
world noise 3 %
load sim-small ctx 8192
users 20/h sim-small ctx 8192
config probe.interval 10s
config probe.max_busy_ratio 1
config probe.max_tokens_per_day 0
at 1h decode -40 % for 1h
by 1h30 expect confirmed slower model=sim-small
run for 3h
"""
# A model that is never loaded cannot become slower.
BROKEN = DRIFT.replace("at 1h decode -40 % for 1h\n", "").replace("slower model=sim-small", "slower model=sim-think")


@pytest.fixture
def scenario(tmp_path):
    def write(text=DRIFT, name="drift.o3s"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def simulate(*args, **more):
    return run_o3("simulate", *args, **more, timeout=300)


def test_change_is_told_and_the_run_is_good(scenario):
    done = simulate("--scenario", scenario())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "drift.o3s: 3 h, seed 1\nGOOD" in done.stdout
    assert "Changes told                 1 of 1" in done.stdout
    assert "Added to first token, mean" in done.stdout
    assert "100 %" in done.stderr  # progress is not in the report
    assert "100 %\n" not in done.stdout.splitlines()[0]


def test_broken_expectation_is_the_answer_no(scenario):
    done = simulate("--scenario", scenario(BROKEN), "--no-twin", "--runs", 2, "--seed", 5)
    assert done.returncode == 1
    assert "NOT GOOD: 2 broken expectations" in done.stdout
    assert "line 9: by 1h30 expect confirmed slower model=sim-think" in done.stdout
    assert "Seeds of the runs that are not good\n  5 6\n" in done.stdout
    assert "Changes told" not in done.stdout and "Added" not in done.stdout and "without" not in done.stdout


def test_number_of_jobs_changes_no_byte(scenario, tmp_path):
    path = scenario()
    outputs = []
    for jobs in (1, 4):
        page = tmp_path / f"page{jobs}.html"
        texts = [simulate("--scenario", path, "--runs", 6, "--jobs", jobs, *form) for form in (["--html", page], ["--json"])]
        assert [t.returncode for t in texts] == [0, 0], texts[0].stderr
        outputs.append([t.stdout for t in texts] + [page.read_text()])
    assert outputs[0] == outputs[1]
    report = json.loads(outputs[0][1])
    assert [r["seed"] for r in report["runs"]] == [1, 2, 3, 4, 5, 6]
    assert report["summary"]["changes_told"]["count"] == 6


def test_run_among_many_is_the_run_alone(scenario):
    path = scenario()
    alone = json.loads(simulate("--scenario", path, "--seed", 3, "--json").stdout)
    many = json.loads(simulate("--scenario", path, "--seed", 2, "--runs", 3, "--json").stdout)
    assert alone["runs"][0] == many["runs"][1]


def test_seed_of_the_scenario_is_the_first(scenario):
    path = scenario("world seed 40\n" + DRIFT)
    assert [r["seed"] for r in json.loads(simulate("--scenario", path, "--runs", 2, "--json").stdout)["runs"]] == [40, 41]
    assert json.loads(simulate("--scenario", path, "--seed", 7, "--json").stdout)["runs"][0]["seed"] == 7


def test_month_is_played_when_nothing_is_named():
    done = simulate("--for", "6h", "--json")
    assert done.returncode in (0, 1), done.stderr
    report = json.loads(done.stdout)
    assert report["summary"]["simulated_seconds"] == 6 * 3600
    assert report["summary"]["probes"] > 0 and report["summary"]["users"]["requests"] > 0
    assert "changes" not in report["summary"] and "restarts" not in report["summary"]
    assert simulate("--print-scenario").stdout.startswith("# A month")


def test_scenario_is_printed_as_it_is(scenario):
    assert simulate("--scenario", scenario(), "--print-scenario").stdout == DRIFT


@pytest.mark.parametrize("text, place", [
    ("world gpu 24GiB\nworld bogus 3\nrun for 1h\n", ":2:7: "),
    ("load no-such-model ctx 4096\nrun for 1h\n", ":1:6: "),
    ("load sim-small\nat 5m decode -4 % model=sim-smal\nrun for 1h\n", ":2:25: "),
    ("load sim-small\nnever expect confirmed model=sim-smal\nrun for 1h\n", ":2:24: "),
    ("config probe.interval 10q\nrun for 1h\n", ":1:"),
])
def test_wrong_scenario_names_its_place(scenario, text, place):
    path = scenario(text)
    done = simulate("--scenario", path, "--runs", 3)
    assert done.returncode == 2
    assert done.stderr.startswith(f"{path}{place}") and len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


@pytest.mark.parametrize("args", [
    ["--days", "0"], ["--days", "-1"], ["--days", "nan"], ["--days", "99999"], ["--for", "soon"], ["--runs", "0"], ["--runs", "10001"],
    ["--jobs", "0"], ["--seed", "x"], ["--seed", "-1"], ["--html", ""], ["--days", "1", "--for", "1h"], ["--verbose", "--runs", "2"],
    ["extra"], ["--nonsense"], ["--scenario", "does-not-exist.o3s"],
])
def test_wrong_usage(args):
    done = simulate(*args)
    assert done.returncode == 2 and done.stderr and not done.stdout


def test_place_of_the_page_is_looked_at_before_the_work(tmp_path):
    done = simulate("--days", 3650, "--html", tmp_path / "none" / "page.html")
    assert done.returncode == 75 and "cannot write" in done.stderr


@pytest.mark.parametrize("place", ["/dev/full", "/"])
def test_page_goes_to_a_plain_file_only(place):
    done = simulate("--days", 3650, "--html", place)
    assert done.returncode == 75 and done.stdout == ""
    assert done.stderr == f"o3 simulate: cannot write {place}: it is not a plain file\n"


@pytest.mark.parametrize("signo", [signal.SIGINT, signal.SIGTERM])
def test_single_run_is_stopped_by_a_signal(signo):
    run = subprocess.Popen([BINARY, "simulate", "--days", "3650", "--verbose"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    run.stderr.readline()  # it runs
    run.send_signal(signo)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 75 and out == b""
    assert err.endswith(b"\no3 simulate: stopped\n"), err[-300:]


def test_verbose_tells_events_in_virtual_time(scenario):
    done = simulate("--scenario", scenario(), "--verbose", "--json")
    assert json.loads(done.stdout)["is_good"]
    lines = [line for line in done.stderr.splitlines() if "event=drift_confirmed" in line]
    assert lines and lines[0].startswith("  0d 01:"), done.stderr[-2000:]


def children_of(pid):
    return [int(c) for c in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def long_run(tmp_path):
    """A rehearsal with two processes that would take far longer than the test."""
    with harness.started(Process, [BINARY, "simulate", "--days", 3650, "--runs", 4, "--jobs", 2], tmp_path, "simulate") as p:
        yield p, harness.wait_for("two workers", lambda: len(c := children_of(p.pid)) == 2 and c)


def test_ctrl_c_stops_every_process(long_run):
    process, children = long_run
    process.send(signal.SIGINT)
    assert process.wait() == 75
    assert "stopped after 0 of 4 runs" in process.log
    harness.wait_for("the workers to end", lambda: not any(map(is_alive, children)))


def test_worker_that_dies_is_named_by_its_seed(long_run):
    process, children = long_run
    os.kill(children[1], signal.SIGKILL)
    assert process.wait() == 75
    assert "the process of seed 2 was ended by signal 9" in process.log
    harness.wait_for("the workers to end", lambda: not any(map(is_alive, children)))


def test_workers_do_not_outlive_a_killed_command(long_run):
    process, children = long_run
    process.send(signal.SIGKILL)
    process.wait()
    harness.wait_for("the workers to end", lambda: not any(map(is_alive, children)))


class Page(html.parser.HTMLParser):
    """Tags are closed in order; attributes that fetch are collected."""

    VOID = {"meta", "br", "link", "img", "hr", "input"}
    FETCHING = {"src", "href", "srcset", "data", "action", "xlink:href", "poster", "background"}

    def __init__(self, text):
        super().__init__()
        self.open, self.fetches, self.count = [], [], {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.count[tag] = self.count.get(tag, 0) + 1
        self.fetches += [(tag, k, v) for k, v in attrs if k in self.FETCHING]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_is_whole_and_fetches_nothing(scenario, tmp_path):
    page = tmp_path / "report.html"
    done = simulate("--scenario", scenario(), "--runs", 2, "--html", page)
    assert done.returncode == 0
    text = page.read_text()
    parsed = Page(text)
    assert parsed.fetches == [] and not {"script", "link", "iframe", "img"} & parsed.count.keys()
    assert "url(" not in text and "@import" not in text
    # four of users, two of the model, added wait by seed, and false alarms where there were some
    assert parsed.count["svg"] == 7 + ("Seeds with a false alarm" in done.stdout)
    assert 'class="true"' in text and 'class="change"' in text


@pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not installed")
def test_page_opens_in_a_browser(scenario, tmp_path):
    """Its own policy forbids every request; a browser would complain of what it refused."""
    page = tmp_path / "report.html"
    assert simulate("--scenario", scenario(), "--html", page).returncode == 0
    assert "default-src 'none'" in page.read_text()
    argv = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile",
            "--disable-background-networking", "--enable-logging=stderr", "--host-resolver-rules=MAP * ~NOTFOUND", "--dump-dom", page.as_uri()]
    env = harness.clean_environment({"HOME": str(tmp_path)})
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("<svg") == 6
    assert "Refused to" not in done.stderr and "CONSOLE" not in done.stderr, done.stderr
