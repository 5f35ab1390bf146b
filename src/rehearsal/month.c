/* SPDX-License-Identifier: Apache-2.0 */
#include "o3/scenario.h"

static const char MONTH[] = "# A month in which nothing goes wrong: every confirmed change is a false alarm.\n"
                            "# Three models stay loaded on one GPU; users come and go, more by day than by night.\n"
                            "world gpu 24GiB\n"
                            "world bandwidth 1008GB/s\n"
                            "world keep-alive -1\n"
                            "world parallel 1\n"
                            "# Request to request the speed varies by 5 %, and a little together within minutes.\n"
                            "world noise 5 % ar 0.3\n"
                            "# Each load comes out a little different, the first requests after it are slower.\n"
                            "world load-effect 1 %\n"
                            "world warm-up 2 requests\n"
                            "# By day the machine is 2 % slower: below what the detector calls a change.\n"
                            "world daily 2 %\n"
                            "world memory noise 28MiB overhead 400MiB bias +1 %\n"
                            "\n"
                            "load sim-small ctx 8192\n"
                            "load sim-medium ctx 8192\n"
                            "load sim-think ctx 8192\n"
                            "\n"
                            "users 12/h sim-small daily 50 % turns 4 prompt 300 answer 200 pause 40s ctx 8192\n"
                            "users 4/h sim-medium daily 50 % turns 3 prompt 500 answer 250 pause 60s ctx 8192\n"
                            "users 2/h sim-think daily 50 % burst 2 turns 2 prompt 200 answer 400 pause 90s ctx 8192\n"
                            "\n"
                            "never expect induced_reload\n"
                            "never expect preset_write_failed\n"
                            "never expect ollama_down\n"
                            "never expect preset_written while unstable\n"
                            "run for 30d\n";

const char *o3_scenario_month(void) {
    return MONTH;
}
