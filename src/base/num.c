/* SPDX-License-Identifier: Apache-2.0 */
#include "o3/num.h"
#include <math.h>

double o3_exp(double x) {
    return exp(x);
}

double o3_expm1(double x) {
    return expm1(x);
}

double o3_log(double x) {
    return log(x);
}

double o3_log1p(double x) {
    return log1p(x);
}

double o3_pow(double x, double y) {
    return pow(x, y);
}

double o3_sin(double x) {
    return sin(x);
}

double o3_cos(double x) {
    return cos(x);
}

double o3_erf(double x) {
    return erf(x);
}
