/* SPDX-License-Identifier: Apache-2.0 */
/* What one key alone cannot show. An error names the key that somebody set, and its place when that is the file. */
#include "conf/conf.h"
#include <stdio.h>
#include <string.h>

static int fail_row(const struct o3_config *c, size_t row, struct o3_err *e, const char *text) {
    return o3_conf_fail(row, c->from[row].origin, c->from[row].line, c->from[row].col, e, "%s", text);
}

static int check_batch(const struct o3_config *c, size_t row, int64_t first, struct o3_err *e) {
    const size_t max_row = O3_CONF_ROW_search_strategy_batch_adaptation_max_batch;
    int64_t max = c->values.search_strategy_batch_adaptation_max_batch;
    char text[120];
    if (first <= max) return 0;
    if (c->from[row].origin == O3_ORIGIN_DEFAULT) {
        snprintf(text, sizeof text, "%lld is below %s, which is %lld", (long long)max, o3_conf_row(row)->key,
                 (long long)first);
        return fail_row(c, max_row, e, text);
    }
    snprintf(text, sizeof text, "%lld is above %s, which is %lld", (long long)first, o3_conf_row(max_row)->key,
             (long long)max);
    return fail_row(c, row, e, text);
}

static bool is_ascending(const struct o3_conf_numbers *list) {
    for (size_t i = 1; i < list->n; i++)
        if (list->v[i] <= list->v[i - 1]) return false;
    return true;
}

static int check_lists(const struct o3_config *c, struct o3_err *e) {
    const struct o3_conf_numbers *levels = &c->values.concurrency_levels;
    const struct o3_conf_numbers *range = &c->values.preset_categories_balanced_target_context_range;
    if (levels->n < 1 || !is_ascending(levels))
        return fail_row(c, O3_CONF_ROW_concurrency_levels, e, "expected at least one number, ascending");
    if (range->n != 2 || !is_ascending(range))
        return fail_row(c, O3_CONF_ROW_preset_categories_balanced_target_context_range, e,
                        "expected two numbers, the smaller one first");
    return 0;
}

/* The preset file replaces whatever is there: it must not be the database. */
static int check_paths(const struct o3_config *c, struct o3_err *e) {
    const struct o3_config_values *v = &c->values;
    if (*v->publish_file && !strcmp(v->publish_file, v->store_path))
        return fail_row(c, O3_CONF_ROW_publish_file, e, "is the same file as store.path");
    return 0;
}

int o3_conf_check_together(const struct o3_config *c, struct o3_err *e) {
    const struct o3_config_values *v = &c->values;
    int r = check_batch(c, O3_CONF_ROW_search_strategy_batch_adaptation_initial_batch_large,
                        v->search_strategy_batch_adaptation_initial_batch_large, e);
    if (r < 0) return r;
    r = check_batch(c, O3_CONF_ROW_search_strategy_batch_adaptation_initial_batch_small,
                    v->search_strategy_batch_adaptation_initial_batch_small, e);
    if (r < 0) return r;
    if (v->probe_decode_tokens > 0 && v->probe_decode_tokens < 8)
        return fail_row(c, O3_CONF_ROW_probe_decode_tokens, e, "expected 0, or 8 to 64");
    r = check_lists(c, e);
    return r < 0 ? r : check_paths(c, e);
}
