/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as an event line: refused with a place, or an event that makes sense. */
#include <math.h>
#include <stdint.h>
#include <string.h>
#include "sim/events.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    char line[1024];
    if (n >= sizeof line) return 0;
    memcpy(line, data, n);
    line[n] = '\0';
    struct o3_sim_event ev;
    struct o3_err e = {0};
    if (o3_sim_event_parse(line, 3, &ev, &e) < 0) {
        O3_ASSERT(e.code == O3_E_PARSE && e.line == 3 && e.col > 0 && e.text[0]);
        return 0;
    }
    O3_ASSERT(ev.at_ns >= 0 && ev.until_ns >= ev.at_ns && isfinite(ev.value) && ev.value >= 0);
    return 0;
}
