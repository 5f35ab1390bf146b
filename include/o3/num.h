/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_NUM_H
#define O3_NUM_H
/* Elementary functions with the same bits on every machine: made of +, -, *, / and sqrt alone, which IEEE 754 fixes,
 * while those of libm differ between versions and processors. Error below 2 units in the last place where not said
 * otherwise. NaN, infinities and the edges behave as in C17 annex F, with one form of NaN and no flags or errno
 * to rely on. */

double o3_exp(double x);
double o3_expm1(double x);
double o3_log(double x);
double o3_log1p(double x);
double o3_pow(double x, double y); /* relative error below 1e-14, but for subnormal results */
double o3_sin(double x);           /* |x| <= 1e6, absolute error below 1e-15; beyond: NaN */
double o3_cos(double x);
double o3_erf(double x); /* absolute error below 1e-15 */

#endif
