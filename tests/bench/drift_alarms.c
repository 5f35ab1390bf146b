/* SPDX-License-Identifier: Apache-2.0 */
/* Reads values, one a line and a minute, and prints ALARM_INDEX CHANGE_INDEX per alarm; starts over after each, or,
 * with `live`, goes on as the sidecar does.
 *
 *   drift_alarms [suspect|confirmed] [MIN_EFFECT] [live] < values        default: confirmed 0.05 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "o3/drift.h"

int main(int argc, char **argv) {
    struct o3_drift_params p = o3_drift_params_default();
    bool suspect = argc > 1 && !strcmp(argv[1], "suspect");
    if (argc > 2) p.min_effect = strtod(argv[2], NULL);
    bool live = argc > 3 && !strcmp(argv[3], "live");
    struct o3_drift *d = o3_drift_new(&p);
    if (!d) return 75;
    double value;
    for (int64_t i = 0; scanf("%lf", &value) == 1; i++) {
        struct o3_drift_report report;
        enum o3_drift_event ev = o3_drift_add(d, value, 60000 * i, &report);
        if (ev != O3_DRIFT_EV_CONFIRMED && !(suspect && ev == O3_DRIFT_EV_SUSPECT)) continue;
        printf("%lld %lld\n", (long long)report.index, (long long)report.change_index);
        if (!live) o3_drift_reset(d);
    }
    o3_drift_free(d);
    return 0;
}
