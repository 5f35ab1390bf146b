#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints src/base/num_tables.h: the tables of num.c, computed with 60 decimal digits and rounded once.

    python3 src/base/make_num_tables.py > src/base/num_tables.h
"""

import math
from decimal import Decimal, getcontext
from fractions import Fraction

getcontext().prec = 60
EXP_STEPS, LOG_STEPS, ERF_STEPS, ERF_END = 32, 64, 8, 6
LN2 = Decimal(2).ln()


def pi():
    """Machin: pi = 16 atan(1/5) - 4 atan(1/239)."""
    def atan_inverse(n):
        total, power, k = Decimal(0), Decimal(1) / n, 0
        while abs(power) > Decimal(10) ** -58:
            total += power / (2 * k + 1) * (-1) ** k
            power /= n * n
            k += 1
        return total
    return 16 * atan_inverse(5) - 4 * atan_inverse(239)


def erf(x):
    """2/sqrt(pi) exp(-x^2) sum 2^n x^(2n+1) / (2n+1)!!: no term is negative."""
    total, term, n = Decimal(0), x, 0
    while term > Decimal(10) ** -58:
        total += term
        n += 1
        term *= 2 * x * x / (2 * n + 1)
    return 2 / pi().sqrt() * (-x * x).exp() * total


def on_grid(x, bits):
    """The multiple of 2^-bits next to x, as a float that holds it wholly."""
    value = Fraction(round(Fraction(x) * 2**bits), 2**bits)
    assert Fraction(float(value)) == value
    return float(value)


def split(x, *grids):
    """x as a sum of floats: one on each of the grids, then the rounded rest."""
    parts = []
    for bits in grids:
        parts.append(on_grid(x, bits))
        x -= Decimal(parts[-1])
    return parts + [float(x)]


def reciprocal(i):
    """A number of few bits that takes [1 + i/64, 1 + (i+1)/64), halved when above sqrt 2, next to 1."""
    low, width = (1 + i / LOG_STEPS, 1 / LOG_STEPS) if i < LOG_TURN else ((1 + i / LOG_STEPS) / 2, 0.5 / LOG_STEPS)
    if i in (0, LOG_STEPS - 1):
        return 1.0  # next to 1 the logarithm is small: only the polynomial, whose relative error is small as well
    return round(256 / (low + width / 2)) / 256


LOG_TURN = math.ceil((math.sqrt(2) - 1) * LOG_STEPS)


def rows(cells):
    return "".join("    {" + ", ".join(c.hex() for c in row) + "},\n" for row in cells)


def main():
    exp_rows = [(float(t), float(t - Decimal(float(t)))) for t in ((LN2 * j / EXP_STEPS).exp() for j in range(EXP_STEPS))]
    log_rows = []
    for i in range(LOG_STEPS):
        c = reciprocal(i)
        log_rows.append((c, *split(-Decimal(c).ln(), 42)))
    erf_values = [float(erf(Decimal(j) / ERF_STEPS)) for j in range(ERF_STEPS * ERF_END + 1)]
    ln2, ln2_part, half_pi = split(LN2, 42), split(LN2 / EXP_STEPS, 41), split(pi() / 2, 32, 65)
    print(f"""/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_BASE_NUM_TABLES_H
#define O3_BASE_NUM_TABLES_H
/* Made by make_num_tables.py, which says how; num.c says what for. */
/* clang-format off */

#define EXP_STEPS {EXP_STEPS}
#define LOG_STEPS {LOG_STEPS}
#define LOG_TURN {LOG_TURN} /* rows from here on belong to halved numbers */
#define ERF_STEPS {ERF_STEPS} /* a unit */
#define ERF_END {ERF_END} /* erf is 1 from here on */

/* Constants as sums; a factor below 2^16 (2^11, 2^20) times any part but the last is exact. */
static const double EXP_STEPS_PER_UNIT = {float(EXP_STEPS / LN2).hex()};
static const double EXP_STEP[2] = {{{", ".join(c.hex() for c in ln2_part)}}};
static const double LN2[2] = {{{", ".join(c.hex() for c in ln2)}}};
static const double QUADRANTS_PER_UNIT = {float(2 / pi()).hex()};
static const double QUADRANT[3] = {{{", ".join(c.hex() for c in half_pi)}}};
static const double ERF_SLOPE = {float(2 / pi().sqrt()).hex()}; /* 2 / sqrt pi */

/* 2^(j/{EXP_STEPS}) and its rest */
static const double EXP_TABLE[EXP_STEPS][2] = {{
{rows(exp_rows)}}};

/* c of few bits, and -ln c as a multiple of 2^-42 and its rest */
static const double LOG_TABLE[LOG_STEPS][3] = {{
{rows(log_rows)}}};

/* erf(j/{ERF_STEPS}) */
static const double ERF_TABLE[ERF_STEPS * ERF_END + 1] = {{
{"".join(f"    {v.hex()}," + chr(10) for v in erf_values)}}};

/* clang-format on */
#endif""")


if __name__ == "__main__":
    main()
