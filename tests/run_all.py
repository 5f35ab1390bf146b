# SPDX-License-Identifier: Apache-2.0
"""Run the test groups, a few programs at a time, and close with one line: N passed, N failed, N skipped.

    run_all.py [--build FOLDER] [--jobs N] [GROUP ...]

C tests come from ctest's list of the build folder (its name's first part is the group); Python tests are the folders
tests/GROUP. The output of a failed program is shown whole, each skipped test is named with its reason. Standard library only.
"""

import argparse
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
CTEST_GROUPS = ("unit", "sim", "contract", "torture", "fuzz")
PYTEST_GROUPS = ("tables", "arch", "helm", "alerts", "e2e", "package", "boards")
GROUPS = ("format",) + CTEST_GROUPS + PYTEST_GROUPS
# Only when asked for by name: they need what takes long to make.
NAMED = ("real", "k8s", "prom3")
# A program that runs longer than this hangs; nothing here needs a tenth of it.
LIMIT_S = 900
# The longest first, so that the last program to end is a short one.
LONG = ("test_live", "test_publish", "test_survival", "test_killed", "test_bad_ollama", "test_store", "test_preset_files", "test_serve", "test_web_config", "test_page",
        "test_container", "test_image", "test_slow_clients", "test_ack", "test_data", "test_validity", "test_demo", "test_prometheus",
        "test_cardinality", "test_debian_package")


@dataclasses.dataclass
class Result:
    name: str
    passed: int = 0
    failed: int = 0
    skipped: list = dataclasses.field(default_factory=list)  # (test, reason)
    output: str = ""
    seconds: float = 0.0


def execute(name, argv, env=None):
    """(exit status, output); a program over its time is killed and counts as failed."""
    try:
        done = subprocess.run(
            argv, cwd=ROOT, env=env or os.environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", timeout=LIMIT_S)
        return done.returncode, done.stdout
    except subprocess.TimeoutExpired as e:
        text = e.stdout.decode(errors="replace") if isinstance(e.stdout, bytes) else e.stdout or ""
        return 1, f"{text}\n{name}: killed after {LIMIT_S} s"
    except OSError as e:
        return 1, f"{name}: {e}"


def run_check(name, argv):
    status, output = execute(name, argv)
    return Result(name, passed=int(status == 0), failed=int(status != 0), output=output)


def run_format(name, argv):
    result = run_check(name, argv)
    if result.failed:
        wrong = sorted(set(re.findall(r"^(\S+?):\d+:\d+: error", result.output, re.M)))
        result.output = "run ./dev format; these files differ:\n" + "\n".join(wrong) if wrong else result.output
    return result


def run_cmocka(name, argv):
    # The program under test reads O3_* as its configuration: ours must not get there.
    env = {k: v for k, v in os.environ.items() if not k.startswith("O3_") or k == "O3_SEED"}
    env |= {
        "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",  # some call python3 and want our packages
        "CMOCKA_MESSAGE_OUTPUT": "stdout",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "ASAN_OPTIONS": "detect_stack_use_after_return=1:allocator_may_return_null=1",
    }
    status, output = execute(name, argv, env)
    count = lambda word: sum(int(n) for n in re.findall(rf"^\[ +{word} +\] (\d+) test\(s\)", output, re.M))
    result = Result(name, count("PASSED"), count("FAILED"), output=output)
    lines = output.splitlines()
    for i, line in enumerate(lines):
        found = re.match(r"^\[ +SKIPPED +\] (?!\d+ test\(s\))(\S+)", line)
        # cmocka lists the skipped ones again at the end; the first mention stands after what the test printed.
        if found and found[1] not in [t for t, _ in result.skipped]:
            before = lines[i - 1] if i and not lines[i - 1].startswith("[") else "no reason printed"
            result.skipped.append((found[1], before))
    if status != 0 and result.failed == 0:
        result.failed = 1  # died before it could count: a crash or a sanitizer's report
    elif status == 0 and result.passed + len(result.skipped) == 0:
        result.failed, result.output = 1, output + "\nno test ran"
    return result


def run_pytest(name, target):
    with tempfile.TemporaryDirectory(prefix="o3-junit-") as folder:
        report = pathlib.Path(folder, "report.xml")
        argv = [sys.executable, "-m", "pytest", "-q", "-rsP", "-p", "no:cacheprovider", f"--junitxml={report}", str(target)]
        status, output = execute(name, argv, {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
        result = Result(name, output=output)
        try:
            cases = list(xml.etree.ElementTree.parse(report).iter("testcase"))
        except (OSError, xml.etree.ElementTree.ParseError):
            cases = []
        for case in cases:
            if case.find("failure") is not None or case.find("error") is not None:
                result.failed += 1
            elif case.find("skipped") is not None:
                result.skipped.append((f"{case.get('classname')}.{case.get('name')}", case.find("skipped").get("message")))
            else:
                result.passed += 1
        if status != 0 and result.failed == 0:
            result.failed = 1
        return result


def ctest_programs(build, group):
    listing = subprocess.run(["ctest", "--test-dir", str(build), "--show-only=json-v1"], capture_output=True, text=True, check=True)
    for test in json.loads(listing.stdout)["tests"]:
        if test["name"].split(".")[0] == group:
            yield test["name"], test["command"]


def sources():
    return sorted(str(p.relative_to(ROOT)) for top in ("include", "src", "tests") for p in (ROOT / top).rglob("*.[ch]"))


def shell_sources():
    return sorted(str(p.relative_to(ROOT)) for p in [*(ROOT / "src/package").glob("*.sh"), ROOT / "src/package/completions/o3.bash"])


def collect(groups, build):
    """[(name, function)] in the order in which to start them."""
    tasks = []
    for group in groups:
        if group == "format":
            if shutil.which("clang-format-19"):
                argv = ["clang-format-19", "--dry-run", "-Werror", *sources()]
                tasks.append(("format.c", lambda argv=argv: run_format("format.c", argv)))
            else:
                skip = Result("format.c", skipped=[("format.c", "clang-format-19 is not in this system's packages")])
                tasks.append(("format.c", lambda: skip))
            tasks.append(("format.shell", lambda: run_check("format.shell", ["shellcheck", "dev", ".ci/run", *shell_sources()])))
        elif group in CTEST_GROUPS:
            run = run_check if group == "fuzz" else run_cmocka
            for name, argv in ctest_programs(build, group):
                tasks.append((name, lambda name=name, argv=argv, run=run: run(name, argv)))
        else:
            for path in sorted((ROOT / "tests" / group).glob("test_*.py")):
                name = f"{group}.{path.stem}"
                tasks.append((name, lambda name=name, path=path: run_pytest(name, path)))
    rank = {name: i for i, name in enumerate(LONG)}
    return sorted(tasks, key=lambda t: rank.get(t[0].split(".")[-1], len(LONG)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build/asan", help="build folder of the C tests and of the binary under test")
    parser.add_argument("--jobs", type=int, default=2 * (os.cpu_count() or 1), help="programs at a time; most of the long ones wait for most of their time")
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"default: {' '.join(GROUPS)}; also: {' '.join(NAMED)}")
    options = parser.parse_args()
    unknown = sorted(set(options.groups) - set(GROUPS) - set(NAMED))
    if unknown:
        parser.error(f"no such group: {' '.join(unknown)} (there are {' '.join(GROUPS + NAMED)})")
    build = (ROOT / options.build).resolve()
    os.environ.setdefault("O3_BINARY", str(build / "o3"))

    began = time.monotonic()
    results = []
    tasks = collect(options.groups or GROUPS, build)
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:

        def timed(run):
            start = time.monotonic()
            result = run()
            result.seconds = time.monotonic() - start
            return result

        futures = [pool.submit(timed, run) for _, run in tasks]
        for future in concurrent.futures.as_completed(futures):
            r = future.result()
            results.append(r)
            verdict = "FAILED" if r.failed else "ok"
            print(f"{verdict:6} {r.name:40} {r.passed:5} passed {r.failed:3} failed {len(r.skipped):3} skipped {r.seconds:7.1f} s", flush=True)
            if r.failed:  # at once: a run that is cut short has told it
                print(f"==== {r.name} ====\n{r.output.rstrip()}\n====", flush=True)

    for r in sorted(results, key=lambda r: r.name):
        if r.failed:
            print(f"FAILED {r.name}: its output stands above")
    for r in sorted(results, key=lambda r: r.name):
        for test, reason in r.skipped:
            print(f"skipped: {r.name} {test}: {reason}")
    for r in results:
        for line in re.findall(r"^measured: .*", r.output, re.M):
            print(line)
    passed, failed, skipped = (sum(r.passed for r in results), sum(r.failed for r in results), sum(len(r.skipped) for r in results))
    if not results:
        print("no test was found")
    print(f"\n{time.monotonic() - began:.0f} s in all")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed or not results else 0)


if __name__ == "__main__":
    main()
