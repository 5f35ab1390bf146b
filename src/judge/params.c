/* SPDX-License-Identifier: Apache-2.0 */
#include "o3/judge_params.h"

const char *const o3_judge_keys[O3_JUDGE_KEYS] = {
    "drift.enabled",      "drift.detector",        "drift.season",           "drift.min_effect",
    "drift.false_alarms", "drift.confirm_samples", "drift.baseline_samples", "probe.prefill_interval"};

void o3_judge_params_of(const struct o3_config_values *config, struct o3_judge_params *ret) {
    *ret = (struct o3_judge_params){
        .min_effect = config->drift_min_effect,
        .confirm_samples = (int)config->drift_confirm_samples,
        .n0 = (int)config->drift_baseline_samples,
        .detector = config->drift_detector == O3_DETECTOR_RANK ? O3_DRIFT_BY_RANK : O3_DRIFT_BY_CUSUM,
        .has_season = config->drift_season,
        .max_models = (int)config->models_max,
        .prefill_interval_ms = config->probe_prefill_interval_ms,
    };
    double budget_ms;
    ret->budget_ms = o3_false_alarms_parse(config->drift_false_alarms, &budget_ms) ? budget_ms : 30 * 86400e3;
}
