# SPDX-License-Identifier: Apache-2.0
"""What stands beside o3 in `./dev bench drift`: plain CUSUMs, the best that any detector can do, and those of river.

Each takes rows of series and gives a list of alarms (index, first changed sample) for every row; it starts over after an alarm.
"""

import math

import numpy as np

# ---- CUSUM (Page 1954), two-sided, many series at once ----


class Cusum:
    """Standardises by the mean and sd of the first n0 samples, or by those it is told (n0 = 0), then k and h in sd."""

    def __init__(self, k, h, n0, mean=0.0, sd=1.0):
        self.k, self.h, self.n0, self.mean, self.sd = k, h, n0, mean, sd

    def alarms(self, rows):
        found = [[] for _ in rows]
        for i, hit, change in self.scan(rows):
            for row in np.flatnonzero(hit):
                found[row].append((i, int(change[row])))
        return found

    def count(self, rows):
        return sum(int(hit.sum()) for _, hit, _ in self.scan(rows))

    def scan(self, rows):
        """(index, which rows alarm there, since when the sum of each is above zero)"""
        count = len(rows)
        n, mean, squares = np.zeros(count), np.zeros(count), np.zeros(count)  # Welford's recurrence while learning
        sums, starts = np.zeros((2, count)), np.zeros((2, count), int)
        signs = np.array([[1.0], [-1.0]])
        for i, x in enumerate(rows.T):
            if self.n0:
                learns = n < self.n0
                n += learns
                off = np.where(learns, x - mean, 0.0)
                mean += off / n
                squares += off * np.where(learns, x - mean, 0.0)
                z = (x - mean) / np.maximum(np.sqrt(squares / max(1, self.n0 - 1)), 1e-9)
            else:
                learns = np.zeros(count, bool)
                z = (x - self.mean) / self.sd
            sums = np.maximum(sums + signs * z - self.k, 0)
            sums[:, learns] = 0
            starts[sums == 0] = i + 1
            hit = (sums > self.h).any(axis=0)
            if hit.any():
                yield i, hit, np.where(sums[0] >= sums[1], starts[0], starts[1])
                sums[:, hit] = 0
                starts[:, hit] = i + 1
                n[hit] = mean[hit] = squares[hit] = 0


def calibrated_cusum(k, n0, arl0, seed, count, n):
    """The threshold at which Gaussian noise gives one alarm in arl0 samples of series of n, learning included: bisected on
    common numbers."""
    rows = np.random.default_rng([seed, 43200]).standard_normal((count, n))
    low, high = 5.0, 40.0
    for _ in range(8):
        h = (low + high) / 2
        low, high = (h, high) if Cusum(k, h, n0).count(rows) * arl0 > rows.size else (low, h)
    return Cusum(k, high, n0)


# ---- the optimum: a CUSUM that is told mean, sd and the size of the change (Moustakides 1986) ----


def normal_cdf(x):
    return 0.5 * np.vectorize(math.erfc)(-np.asarray(x) / math.sqrt(2))


def cusum_chain(k, h, shift, states=160):
    """Transitions between the states of a one-sided CUSUM, cut into cells of equal width (Brook & Evans 1972)."""
    width = 2 * h / (2 * states - 1)
    # From the middle of cell i to the upper edge of cell j: only j - i matters.
    upper = normal_cdf((np.arange(-states, states) + 0.5) * width + k - shift)
    i, j = np.indices((states, states))
    q = upper[j - i + states] - upper[j - i + states - 1]
    q[:, 0] = upper[states - np.arange(states)]
    return q


def one_sided_run_length(k, h, shift):
    q = cusum_chain(k, h, shift)
    return np.linalg.solve(np.eye(len(q)) - q, np.ones(len(q)))[0]


def threshold_of(k, arl0):
    """Two sides alarm twice as often as one. The upper bound is Siegmund's approximation without its correction."""
    low, high = 0.01, math.log(4 * k * k * arl0 + 10) / (2 * k)
    for _ in range(30):
        h = (low + high) / 2
        low, high = (h, high) if one_sided_run_length(k, h, 0.0) < 2 * arl0 else (low, h)
    return high


def delay_quantiles(k, h, shift, quantiles):
    """Of the side that looks for the change, from a sum of zero."""
    q = cusum_chain(k, h, shift)
    at, n, found = np.eye(1, len(q))[0], 0, []
    while len(found) < len(quantiles):
        at, n = at @ q, n + 1
        while len(found) < len(quantiles) and at.sum() <= 1 - quantiles[len(found)]:
            found.append(n)
    return found


K_MAX = 3.0  # beyond it a single sample alarms, whatever the sum


def optimum(shift_sd, arl0):
    """(k, h) for a change of so many sd."""
    k = min(shift_sd / 2, K_MAX)
    return k, threshold_of(k, arl0)


# ---- river ----


class NoRiver(Exception):
    pass


def river_detector(name):
    try:
        from river import drift
    except ImportError as e:
        raise NoRiver(f"river cannot be imported ({e}): its columns are left out; tests/bench/requirements-river.txt tells the version") from e
    return {"ADWIN": drift.ADWIN, "Page-Hinkley": drift.PageHinkley, "KSWIN": lambda: drift.KSWIN(seed=1)}[name]


KSWIN_NEWEST = 30  # samples that KSWIN compares with older ones


class River:
    """A detector of river with its defaults; with n0 the input is standardised by the first n0 samples, which are not looked at."""

    def __init__(self, name, n0=0):
        self.name, self.n0, self.make = name, n0, river_detector(name)

    def alarms(self, rows):
        return [self.alarms_of(row) for row in rows]

    def alarms_of(self, row):
        found, start = [], 0
        while start + self.n0 < len(row):
            index, change = self.first_alarm(row, start)
            if index is None:
                break
            found.append((index, change))
            start = index + 1
        return found

    def first_alarm(self, row, start):
        values = row[start:]
        if self.n0:
            learned = values[:self.n0]
            values = (values[self.n0:] - learned.mean()) / max(learned.std(ddof=1), 1e-9)
        detector = self.make()
        for i, value in enumerate(values.tolist()):
            detector.update(value)
            if detector.drift_detected:
                index = start + self.n0 + i
                return index, max(start, index - self.samples_since(detector) + 1)
        return None, None

    def samples_since(self, detector):
        """As far as the detector tells; Page-Hinkley does not, and the alarm itself is taken."""
        return {"ADWIN": lambda: int(detector.width), "KSWIN": lambda: KSWIN_NEWEST}.get(self.name, lambda: 1)()


def river_version():
    import river
    return river.__version__
