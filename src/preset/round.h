/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_PRESET_ROUND_H
#define O3_PRESET_ROUND_H
/* How figures of a preset are bounded and printed: digits of noise would make every write a change. */
#define O3_PRESET_RATE_MAX 1e12
#define O3_PRESET_MS_MAX 1e14
double o3_preset_round_rate(double tps);    /* 2 decimals, 4 below 0.1 */
double o3_preset_round_ms(double ms);       /* whole */
double o3_preset_round_share(double share); /* 3 decimals */

#endif
