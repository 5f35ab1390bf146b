# SPDX-License-Identifier: Apache-2.0
"""False alarms and delays of o3 and of other detectors on the same series with known changes, as one Markdown table.

    ./dev bench drift [--quick] [--seed N]

Nothing passes or fails: this is a report. What is scored of o3 is the program, `o3 replay --values`. The series and the rules of
the score are in drift_series.py, the other detectors in drift_rivals.py. --quick takes fewer series, and says so.
"""

import argparse
import concurrent.futures
import dataclasses
import functools
import multiprocessing
import os
import pathlib
import subprocess
import sys
import time
import warnings

# One process a core: threads of the linear algebra would only wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np  # noqa: E402

import drift_rivals  # noqa: E402
import drift_series  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("O3_BINARY", ROOT / "build/release/o3")).parent
ARL0 = 43200  # one false alarm in 30 days at a probe a minute
BASELINE = 30


class O3:
    def __init__(self, level, *options):
        self.command = [str(BUILD / "o3"), "replay", "--values", "--interval", "60s", "--level", level, *options]

    def alarms(self, rows):
        return [self.alarms_of(row) for row in rows]

    def alarms_of(self, row):
        text = "\n".join(map("{:.5f}".format, row.tolist())) + "\n"
        done = subprocess.run(self.command, input=text, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(self.command)}: exit {done.returncode}: {done.stderr.strip()}")
        return [tuple(map(int, line.split()[:2])) for line in done.stdout.splitlines()]


# ---- the columns ----


@dataclasses.dataclass(frozen=True)
class Column:
    title: str
    make: object  # of (case, seed) to a detector
    has: object = lambda case: not case.is_live  # whether the case is asked of it
    share: float = 1.0  # of the series: a slow detector sees fewer
    chunk: int = 20  # series of one task


NO_GATE = ["--min-effect", "0.001"]  # the smallest that may be configured


def o3_column(title, level, *options):
    def make(case, seed):
        return O3(level, *options, *([] if case.has_gate else NO_GATE), *(["--after-alarm", "continue"] if case.is_live else []))
    return Column(title, make, lambda case: True)


@functools.cache
def optimum(shift_sd):
    return drift_rivals.optimum(shift_sd, ARL0)


def optimum_for(case, seed):
    """Told the truth about a Gaussian series; on a stable one it waits for 10 %."""
    k, h = optimum(round((abs(case.size) or 0.10) / case.cv, 6))
    return drift_rivals.Cusum(k, h, 0, drift_series.LEVEL, drift_series.LEVEL * case.cv)


@functools.cache
def calibrated(seed):
    return drift_rivals.calibrated_cusum(0.5, BASELINE, ARL0, seed, count=1000, n=4000)


def river_column(title, name, n0=0, share=1.0):
    return Column(title, lambda case, seed: drift_rivals.River(name, n0), share=share)


def columns():
    found = [
        o3_column("o3 suspect", "suspect"),
        o3_column("o3 confirmed", "confirmed"),
        o3_column("o3 rank, confirmed", "confirmed", "--detector", "rank"),
        Column("CUSUM k 0.5 h 5", lambda case, seed: drift_rivals.Cusum(0.5, 5.0, BASELINE), chunk=120),
        Column("CUSUM calibrated", lambda case, seed: calibrated(seed), chunk=120),
    ]
    try:
        drift_rivals.river_detector("ADWIN")
        found += [river_column("ADWIN", "ADWIN"), river_column("Page-Hinkley", "Page-Hinkley"),
                  river_column("Page-Hinkley std.", "Page-Hinkley", BASELINE), river_column("KSWIN", "KSWIN", share=1 / 6)]
    except drift_rivals.NoRiver as e:
        print(f"drift bench: {e}", file=sys.stderr)
    is_gaussian = lambda case: case.noise == "gauss" and case.change in ("none", "step")
    return found + [Column("optimum", optimum_for, is_gaussian, chunk=120)]


# ---- the work ----


def score_chunk(column, case, seed, first, count):
    """One task of a worker. Columns are named by their number: they do not travel between processes."""
    warnings.simplefilter("ignore")
    rows, taus = drift_series.make(case, seed, first, count)
    score = drift_series.Score()
    for tau, alarms in zip(taus, columns()[column].make(case, seed).alarms(rows)):
        score.add(case, tau, alarms)
    return score


def series_of(case, column, options):
    if case.change != "none":
        wanted = 40 if options.quick else 240
    elif case.n > 4000:
        wanted = 6 if options.quick else 60
    else:
        wanted = 12 if options.quick else 240
    return max(2, round(wanted * column.share))


def score_all(cases, options):
    """{(case name, column number): score}"""
    scores, tasks = {}, {}
    calibrated(options.seed)  # before the workers start, which then have it
    with concurrent.futures.ProcessPoolExecutor(len(os.sched_getaffinity(0)), multiprocessing.get_context("fork")) as pool:
        # The slowest first, so that the last task to end is a short one.
        for number, column in reversed(list(enumerate(columns()))):
            for case in sorted((c for c in cases if column.has(c)), key=lambda c: -c.n):
                total = series_of(case, column, options)
                for first in range(0, total, column.chunk):
                    count = min(column.chunk, total - first)
                    tasks[pool.submit(score_chunk, number, case, options.seed, first, count)] = (case.name, number)
        parts = {}
        for done in concurrent.futures.as_completed(tasks):
            parts.setdefault(tasks[done], []).append(done.result())
    for key, found in parts.items():
        scores[key] = drift_series.Score()
        for part in found:
            scores[key].merge(part)
    return scores


# ---- cost, of one process on one core: a C loop for o3, Python for river ----


def cost_of_o3():
    """{detector: (microseconds a sample, bytes)}"""
    found = {}
    for line in subprocess.run([BUILD / "drift_cost"], check=True, capture_output=True, text=True).stdout.splitlines():
        name, *pairs = line.split()
        found[name] = dict(zip(pairs[::2], map(float, pairs[1::2])))
    return found


def resident_bytes():
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cost_of_river(name, n0, detectors, samples):
    """Microseconds a sample of a stable series; bytes that the process grows by for each detector in use."""
    values = [1 + 0.05 * v for v in np.random.default_rng(1).standard_normal(samples).tolist()]
    kept, before, begin = [], resident_bytes(), time.process_time()
    make = drift_rivals.river_detector(name)
    for _ in range(detectors):
        detector = make()
        for value in values:
            detector.update(value)
        kept.append(detector)
    return 1e6 * (time.process_time() - begin) / samples / detectors, (resident_bytes() - before) / detectors


def fresh(function, *arguments):
    """In a process of its own, whose memory nothing else has grown."""
    with concurrent.futures.ProcessPoolExecutor(1) as pool:
        return pool.submit(function, *arguments).result()


# ---- the table ----


def false_cell(score):
    return f"{score.per_thousand():.3f}"


def delay_cell(score):
    if not score.delays:
        return "missed"
    miss = f" ({100 * score.miss():.0f} % missed)" if score.miss() >= 0.005 else ""
    return f"{score.delay(0.5):.3g} / {score.delay(0.95):.3g}{miss}"


def error_cell(score):
    return f"{score.error(0.5):.3g} / {score.error(0.9):.3g}" if score.errors else "-"


def share_cell(score):
    return f"{100 * score.hit / score.series:.0f} %"


NOISE_WORDS = {"gauss": "Gaussian", "ar0.3": "AR(1) 0.3", "ar0.5": "AR(1) 0.5", "ar0.7": "AR(1) 0.7", "outlier": "3 % outliers, log-normal body",
               "heavy": "Student t3", "mode": "second mode, sticky", "daily": "daily cycle +-6 %", "burst": "bursts that heal"}


TIMED = ("step/0.1/cv0.03", "step/0.05/cv0.05", "step/0.1/cv0.05", "step/0.2/cv0.05", "step/0.1/cv0.1", "step/0.1/ar0.5")


def stable_words(case):
    if case.first_counted:
        return f"daily cycle +-6 %, days 4 to {drift_series.DAYS}{', without starting over' if case.is_live else ''}"
    return NOISE_WORDS[case.noise] + (f", CV {100 * case.cv:g} %" if case.cv != 0.05 else "")


def change_words(case):
    size = f"{100 * abs(case.size):g} %"
    if case.change == "ramp":
        return f"ramp of {size} over {case.length}"
    if case.change == "dip":
        return f"dip of {size} for {case.length}"
    words = f"step of {'+' if case.size > 0 else ''}{size}, CV {100 * case.cv:g} %"
    if case.noise != "gauss":
        words += ", " + NOISE_WORDS[case.noise]
    return words + ("" if case.has_gate else ", no minimum effect")


def table(stable, changes, scores, titles):
    def row(words, cell, case):
        cells = [cell(scores[case.name, i]) if (case.name, i) in scores else "-" for i in range(len(titles))]
        return "| " + " | ".join([words, *cells]) + " |"

    def heading(words):
        return "| " + " | ".join([f"**{words}**"] + [""] * len(titles)) + " |"

    dips = [case for case in changes if case.change == "dip"]
    timed = [case for case in changes if case.name in TIMED]
    lines = ["| " + " | ".join(["", *titles]) + " |", "|---" * (1 + len(titles)) + "|"]
    lines += [heading("false alarms per 1,000 stable samples")] + [row(stable_words(case), false_cell, case) for case in stable]
    lines += [heading("delay in samples, median / 95th percentile")]
    lines += [row(change_words(case), delay_cell, case) for case in changes if case not in dips]
    lines += [heading("error of the change time in samples, median / 90th percentile")] + [row(change_words(case), error_cell, case) for case in timed]
    lines += [heading("share of series with an alarm")] + [row(change_words(case), share_cell, case) for case in dips]
    return lines


def cost_rows(all_columns, options):
    o3 = cost_of_o3()
    times, sizes = [], []
    for column in all_columns:
        if column.title.startswith("o3"):
            found = o3["rank" if "rank" in column.title else "cusum"]
            times.append(f"{found['stable_us']:.2f}, at most {found['worst_us']:.2f}")
            sizes.append(f"{found['bytes']:,.0f}")
        elif column.title in ("ADWIN", "Page-Hinkley", "Page-Hinkley std.", "KSWIN"):
            name = column.title.removesuffix(" std.")
            detectors, samples = (50, 200 if options.quick else 1000) if name == "KSWIN" else (500, 2000)
            us, size = fresh(cost_of_river, name, 0, detectors, samples)
            times.append(f"{us:.2f}")
            sizes.append(f"{size:,.0f}")
        else:
            times.append("-")
            sizes.append("-")
    heading = "| " + " | ".join(["**cost, one core: o3 in C, river in Python**"] + [""] * len(times)) + " |"
    return [heading, "| us a sample | " + " | ".join(times) + " |", "| bytes a series | " + " | ".join(sizes) + " |"]


def notes(stable, scores, all_columns, options, seconds):
    def samples(column):
        return scores[stable[0].name, column].samples

    slow = [i for i, column in enumerate(all_columns) if column.share < 1]
    words = [f"Seed {options.seed}{', quick' if options.quick else ''}: {samples(0):,} stable samples a cell"]
    words += [f"{all_columns[i].title}: {samples(i):,}" for i in slow]
    step = next(name for name, _ in scores if name.startswith("step/"))
    words += [f"{scores[step, 0].series} changes a cell"]
    words += [f"{all_columns[i].title}: {scores[step, i].series}" for i in slow]
    found = ["; ".join(words) + f". {seconds:.0f} s on {len(os.sched_getaffinity(0))} cores."]
    found += [f"One false alarm in {ARL0:,} samples, the goal, is {1000 / ARL0:.3f} per 1,000. Noise has a CV of 5 % where nothing else is said.",
              "A first changed sample has a delay of 1; missed: no alarm within 300 samples (ramps: by the end of the series).",
              f"CUSUM: mean and sd of the first {BASELINE} samples; calibrated: h {calibrated(options.seed).h:.1f}, found by simulation of Gaussian noise."]
    exact = []
    for shift in (0.5, 1, 5 / 3, 2, 10 / 3, 4):
        k, h = drift_rivals.optimum(shift, ARL0)
        median, p95 = drift_rivals.delay_quantiles(k, h, shift, (0.5, 0.95))
        exact.append(f"{shift:.3g} sd {median} / {p95} (h {h:.2f})")
    found += ["optimum: a CUSUM told mean, sd and size of the change, h by a Markov chain; by that chain its delays are " + ", ".join(exact) + "."]
    if any(column.title == "KSWIN" for column in all_columns):
        found += ["river " + drift_rivals.river_version() + " with its defaults; the thresholds of Page-Hinkley are in units of its input, so that "
                  "standardised input (by the first 30 samples) is the better practice; KSWIN compares ranks, and ADWIN scales itself by the variance."]
    return found


def main():
    parser = argparse.ArgumentParser(prog="./dev bench drift", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    begin = time.monotonic()
    stable, changes, all_columns = drift_series.stable_cases(), drift_series.change_cases(), columns()
    scores = score_all(stable + changes, options)
    lines = table(stable, changes, scores, [column.title for column in all_columns]) + cost_rows(all_columns, options)
    print("\n".join(lines) + "\n")
    for note in notes(stable, scores, all_columns, options, time.monotonic() - begin):
        print(f"- {note}")


if __name__ == "__main__":
    main()
