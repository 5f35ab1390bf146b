# SPDX-License-Identifier: Apache-2.0
"""The same seed gives the same bytes: twice, on a C library that takes its functions for an older processor, in another
place and language, on another heap, with more processes, and from a program compiled with other options."""

import subprocess

import pytest

from harness import BINARY, LIMIT_S, ROOT, clean_environment

# Much of what chance and faults can do, in a few hours.
SCENARIO = """
world gpu 24GiB
world noise 8 % ar 0.4
world load-effect 1 %
world warm-up 3 requests
world daily 10 %
world memory noise 28MiB overhead 400MiB bias +1 %
load sim-small ctx 8192
users 40/h sim-small turns 4 prompt 300 answer 150 pause 20s ctx 8192
users 6/h sim-think daily 50 % burst 2 turns 2
config probe.interval 10s
config probe.max_busy_ratio 1
config probe.max_tokens_per_day 0
config probe.linger 30d
at 40m http 503 for 3m
at 1h decode -30 %
at 90m sidecar killed
at 2h runner killed
at 2h05 malformed for 2m
at 150m clock +1h
run for 4h
"""
ENVIRONMENTS = {
    # names that the library does not know are ignored
    "older processor": {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-AVX2_Usable,-FMA,-FMA_Usable,-FMA4,-AVX512F,-AVX512VL,-AVX,-SSE4_1,-SSE4_2,-ERMS,-BMI2"},
    "heap full of 0x5a": {"MALLOC_PERTURB_": "165", "ASAN_OPTIONS": "max_malloc_fill_size=16777216:malloc_fill_byte=90"},
    "heap full of 0xff": {"MALLOC_PERTURB_": "1", "ASAN_OPTIONS": "max_malloc_fill_size=16777216:malloc_fill_byte=255"},
    "elsewhere": {"TZ": "Pacific/Kiritimati", "LC_ALL": "de_DE.UTF-8", "HOME": "/nowhere", "COLUMNS": "200"},
}


def simulate(folder, *args, binary=BINARY, env=None):
    """All that o3 simulate gives: JSON, page and, for one run, the sidecar's events."""
    page = folder / "page.html"
    done = subprocess.run([str(binary), "simulate", "--scenario", "busy.o3s", "--json", "--html", page.name, *args], cwd=folder,
                          env=clean_environment(env), capture_output=True, timeout=4 * LIMIT_S)
    # 1: something in the report is not good, which is no matter here
    assert done.returncode in (0, 1) and done.stdout, done.stderr[-2000:]
    # How far it is and how long it took goes to stderr as well.
    events = [line for line in done.stderr.splitlines() if not line.startswith(b"o3 simulate:")]
    return done.stdout, page.read_bytes(), events


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("determinism")
    (path / "busy.o3s").write_text(SCENARIO)
    return path


@pytest.fixture(scope="module")
def first(folder):
    json_text, page, events = simulate(folder, "--verbose")
    assert len(json_text) > 500 and len(page) > 5000 and len(events) > 50
    return json_text, page, events


def test_twice(folder, first):
    assert simulate(folder, "--verbose") == first


def test_another_seed_gives_another_report(folder, first):
    json_text, page, events = simulate(folder, "--verbose", "--seed", "2")
    assert json_text != first[0] and page != first[1] and events != first[2]


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_environment_does_not_matter(folder, first, name):
    assert simulate(folder, "--verbose", env=ENVIRONMENTS[name]) == first


def test_number_of_processes_does_not_matter(folder):
    one, many = (simulate(folder, "--runs", "4", "--jobs", jobs) for jobs in ("1", "3"))
    assert one == many


def test_compiler_options_do_not_matter(folder, first):
    """The sanitizer build against the one that is shipped; the C tests compare the functions below with fixed bits."""
    release = ROOT / "build/release/o3"
    if not release.exists():
        pytest.skip("build/release/o3 is not built: ./dev test builds it")
    assert simulate(folder, "--verbose", binary=release) == first
