# SPDX-License-Identifier: Apache-2.0
"""Series of probes with known change times, and the score of the alarms that a detector gives on them.

Every series is a function of (seed, case, number) alone: it does not depend on how many others are made, or in which order.
An alarm is (index, index of the first changed sample as the detector sees it), both 0-based; after an alarm a detector starts
over. The first changed sample has a delay of 1. Alarms on stable series are false, per 1,000 samples that count.
"""

import dataclasses
import zlib

import numpy as np

LEVEL = 40.0  # tokens per second of the undisturbed server
SAMPLES_PER_DAY = 1440  # one probe a minute
HORIZON = 300  # a change that is not reported within so many samples is missed
FIRST_CHANGE, LAST_CHANGE = 200, 400
SMALLEST = 0.01  # a rate is never zero or below

MODE_SHARE, MODE_RUN, MODE_DEPTH = 0.2, 8, 0.12
BURST_GAP, BURST_DEPTH = 400, 0.30


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    noise: str
    cv: float  # of the body of the noise
    change: str = "none"  # none, step, ramp or dip
    size: float = 0.0  # ratio; negative: downwards
    length: int = 0  # samples that a ramp or a dip takes
    n: int = 4000
    first_counted: int = 0  # alarms and samples before it do not count as false
    has_gate: bool = True  # False: a detector with a minimum effect runs without
    is_live: bool = False  # True: the detector goes on after an alarm as it does in service, where it can


# ---- noise: mean 0, sd cv for the body; count series at a time, one row each ----


def normal(rngs, n):
    return np.array([rng.standard_normal(n) for rng in rngs])


def gaussian(rngs, n, cv):
    return cv * normal(rngs, n)


def autoregressive(rho):
    def noise(rngs, n, cv):
        warm = 200
        shocks = np.sqrt(1 - rho * rho) * normal(rngs, n + warm)
        x = np.empty_like(shocks)
        x[:, 0] = shocks[:, 0] / np.sqrt(1 - rho * rho)
        for i in range(1, n + warm):
            x[:, i] = rho * x[:, i - 1] + shocks[:, i]
        return cv * x[:, warm:]
    return noise


def outliers(rngs, n, cv):
    """A log-normal body, and 3 % of the probes slower by 20 to 60 %."""
    s = np.sqrt(np.log1p(cv * cv))
    x = np.exp(s * normal(rngs, n) - s * s / 2) - 1
    for row, rng in zip(x, rngs):
        hit = rng.random(n) < 0.03
        row[hit] -= rng.uniform(0.2, 0.6, hit.sum())
    return x


def heavy(rngs, n, cv):
    """Student's t with 3 degrees of freedom, which has the variance 3."""
    return cv / np.sqrt(3) * np.array([rng.standard_t(3, n) for rng in rngs])


def sticky_mode(rngs, n, cv):
    """A second, lower level: a fifth of the time, in runs of geometric length."""
    x = gaussian(rngs, n, cv)
    for row, rng in zip(x, rngs):
        i, is_low = 0, rng.random() < MODE_SHARE
        while i < n:
            run = rng.geometric(1 / MODE_RUN if is_low else MODE_SHARE / (1 - MODE_SHARE) / MODE_RUN)
            if is_low:
                row[i:i + run] -= MODE_DEPTH
            i, is_low = i + run, not is_low
    return x


def daily(rngs, n, cv):
    x = gaussian(rngs, n, cv)
    phases = np.array([[rng.uniform(0, 2 * np.pi)] for rng in rngs])
    return x + 0.06 * np.sin(2 * np.pi * np.arange(n) / SAMPLES_PER_DAY + phases)


def bursts(rngs, n, cv):
    """Dips of 3 to 8 probes that heal by themselves."""
    x = gaussian(rngs, n, cv)
    for row, rng in zip(x, rngs):
        i = 20 + int(rng.exponential(BURST_GAP))
        while i < n:
            run = int(rng.integers(3, 9))
            row[i:i + run] -= BURST_DEPTH
            i += run + 20 + int(rng.exponential(BURST_GAP))
    return x


NOISES = {"gauss": gaussian, "ar0.3": autoregressive(0.3), "ar0.5": autoregressive(0.5), "ar0.7": autoregressive(0.7), "outlier": outliers,
          "heavy": heavy, "mode": sticky_mode, "daily": daily, "burst": bursts}


# ---- series ----


def level(case, tau):
    """The undisturbed level of each sample, as a factor."""
    if case.change == "none":
        return np.ones(case.n)
    since = np.arange(case.n) - tau
    if case.change == "step":
        return np.where(since >= 0, 1 + case.size, 1.0)
    if case.change == "ramp":
        return 1 + case.size * np.clip((since + 1) / case.length, 0, 1)
    if case.change == "dip":
        return np.where((since >= 0) & (since < case.length), 1 + case.size, 1.0)
    raise ValueError(case.change)


def make(case, seed, first, count):
    """Series first .. first + count - 1 as rows, and their change times (None where there is none)."""
    rngs = [np.random.default_rng([seed, zlib.crc32(case.name.encode()), number]) for number in range(first, first + count)]
    taus = [None if case.change == "none" else int(rng.integers(FIRST_CHANGE, LAST_CHANGE)) for rng in rngs]
    levels = np.array([level(case, tau) for tau in taus])
    # As written to a detector's input, so that all of them see the same numbers.
    return np.round(np.maximum(LEVEL * levels * (1 + NOISES[case.noise](rngs, case.n, case.cv)), SMALLEST), 5), taus


# ---- score ----


@dataclasses.dataclass
class Score:
    series: int = 0
    samples: int = 0  # that count for false alarms
    false: int = 0
    hit: int = 0
    delays: list = dataclasses.field(default_factory=list)
    errors: list = dataclasses.field(default_factory=list)  # of the change time, in samples

    def add(self, case, tau, alarms):
        self.series += 1
        if tau is None:
            self.samples += case.n - case.first_counted
            self.false += sum(index >= case.first_counted for index, _ in alarms)
            return
        end = case.n if case.change == "ramp" else tau + HORIZON
        hits = [alarm for alarm in alarms if tau <= alarm[0] < end]
        if hits:
            index, change = hits[0]
            self.hit += 1
            self.delays.append(index - tau + 1)
            self.errors.append(abs(change - tau))

    def merge(self, other):
        for field in dataclasses.fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    def per_thousand(self):
        return 1000 * self.false / self.samples

    def miss(self):
        return 1 - self.hit / self.series

    def delay(self, quantile):
        return float(np.quantile(self.delays, quantile))

    def error(self, quantile):
        return float(np.quantile(self.errors, quantile))


# ---- the cases of the table ----

STEPS = (0.05, 0.10, 0.20, 0.30, 0.50)
CVS = (0.03, 0.05, 0.10)
DAYS = 14
STEP_N = 700


def stable_cases():
    cases = [Case(f"stable/{noise}", noise, 0.05) for noise in NOISES]
    cases += [Case(f"stable/gauss/cv{cv:g}", "gauss", cv) for cv in CVS if cv != 0.05]
    days = Case("stable/days", "daily", 0.05, n=DAYS * SAMPLES_PER_DAY, first_counted=3 * SAMPLES_PER_DAY)
    return cases + [days, dataclasses.replace(days, name="stable/days/live", is_live=True)]


def change_cases():
    cases = [Case(f"step/{size:g}/cv{cv:g}", "gauss", cv, "step", -size, n=STEP_N) for cv in CVS for size in STEPS]
    cases.append(Case("step/0.05/cv0.05/nogate", "gauss", 0.05, "step", -0.05, n=STEP_N, has_gate=False))
    cases += [Case(f"step/0.1/{noise}", noise, 0.05, "step", -0.10, n=STEP_N) for noise in NOISES if noise != "gauss"]
    cases.append(Case("up/0.1", "gauss", 0.05, "step", 0.10, n=STEP_N))
    cases += [Case(f"ramp/{size:g}x{length}", "gauss", 0.05, "ramp", -size, length, n=1000) for size, length in ((0.2, 100), (0.1, 300))]
    return cases + [Case("dip/0.3x6", "gauss", 0.05, "dip", -0.30, 6, n=STEP_N)]
