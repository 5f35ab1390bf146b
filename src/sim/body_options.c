/* SPDX-License-Identifier: Apache-2.0 */
/* The options of a request and the parameters of a new model. A wrong type is remembered and refused when it is used.
 */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "sim/body.h"

static const struct {
    const char *name;
    enum o3_sim_option which;
    char type; /* i integer, f float, b boolean, s list of strings */
} OPTIONS[] = {
    {"num_ctx", O3_SIM_NUM_CTX, 'i'},
    {"num_batch", O3_SIM_NUM_BATCH, 'i'},
    {"num_gpu", O3_SIM_NUM_GPU, 'i'},
    {"main_gpu", O3_SIM_MAIN_GPU, 'i'},
    {"num_thread", O3_SIM_NUM_THREAD, 'i'},
    {"use_mmap", O3_SIM_USE_MMAP, 'b'},
    {"draft_num_predict", O3_SIM_DRAFT_NUM_PREDICT, 'i'},
    {"num_keep", O3_SIM_NUM_KEEP, 'i'},
    {"seed", O3_SIM_SEED, 'i'},
    {"num_predict", O3_SIM_NUM_PREDICT, 'i'},
    {"top_k", O3_SIM_TOP_K, 'i'},
    {"repeat_last_n", O3_SIM_REPEAT_LAST_N, 'i'},
    {"temperature", O3_SIM_TEMPERATURE, 'f'},
    {"top_p", O3_SIM_TOP_P, 'f'},
    {"min_p", O3_SIM_MIN_P, 'f'},
    {"typical_p", O3_SIM_TYPICAL_P, 'f'},
    {"repeat_penalty", O3_SIM_REPEAT_PENALTY, 'f'},
    {"presence_penalty", O3_SIM_PRESENCE_PENALTY, 'f'},
    {"frequency_penalty", O3_SIM_FREQUENCY_PENALTY, 'f'},
    {"stop", O3_SIM_STOP, 's'},
};

static const char *option_type_name(char type) {
    return type == 'i' ? "integer" : type == 'f' ? "float32" : type == 'b' ? "boolean" : "array";
}

static void option_wrong(struct o3_sim_options *o, const char *name, char type) {
    if (o->error[0]) return;
    snprintf(o->error, sizeof o->error, "option \"%s\" must be of type %s", name, option_type_name(type));
}

static void stops(struct o3_sim_options *o, const json_t *v) {
    size_t i;
    json_t *item;
    o->n_stop = 0;
    json_array_foreach(v, i, item) {
        if (!json_is_string(item)) {
            snprintf(o->error, sizeof o->error, "option \"stop\" must be of an array of strings");
            return;
        }
        if (o->n_stop == O3_SIM_MAX_STOPS) return;
        o3_str_copy(o->stop[o->n_stop++], sizeof o->stop[0], json_string_value(item));
    }
}

static void option(struct o3_sim_options *o, const char *name, const json_t *v) {
    for (size_t i = 0; i < sizeof OPTIONS / sizeof *OPTIONS; i++) {
        if (strcmp(OPTIONS[i].name, name) != 0) continue;
        char type = OPTIONS[i].type;
        bool fits = type == 'b' ? json_is_boolean(v) : type == 's' ? json_is_array(v) : json_is_number(v);
        if (!fits) {
            option_wrong(o, name, type);
            return;
        }
        double number = json_is_boolean(v) ? json_is_true(v) : json_is_number(v) ? json_number_value(v) : 0;
        if (type == 'i') number = trunc(fmax(-9e15, fmin(9e15, number)));
        if (type == 's') stops(o, v);
        o->has[OPTIONS[i].which] = true;
        o->number[OPTIONS[i].which] = number;
        return;
    }
}

void o3_sim_read_options(struct o3_sim_options *o, json_t *object) {
    const char *name;
    json_t *v;
    json_object_foreach(object, name, v) if (!json_is_null(v)) option(o, name, v);
}

/* The lines "name value" of /api/show, sorted by name as there. */
int o3_sim_read_parameters(struct o3_sim_body *b, json_t *object) {
    O3_AUTO_BUF lines;
    o3_buf_init(&lines, sizeof b->parameters - 1);
    char *text = json_dumps(object, JSON_SORT_KEYS | JSON_COMPACT);
    json_t *sorted = text ? json_loads(text, JSON_ALLOW_NUL, NULL) : NULL;
    free(text);
    if (!sorted) return O3_E_NOMEM;
    const char *name;
    json_t *v;
    json_object_foreach(sorted, name, v) {
        char *value = json_is_string(v) || json_is_real(v) ? NULL : json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
        o3_buf_addf(&lines, "%s%-30s ", lines.len ? "\n" : "", name);
        if (json_is_real(v))
            o3_buf_add_double(&lines, json_real_value(v));
        else
            o3_buf_adds(&lines, value ? value : json_string_value(v));
        free(value);
    }
    json_decref(sorted);
    if (lines.err) return o3_sim_refuse(b, 400, "parameters too large");
    o3_str_copy(b->parameters, sizeof b->parameters, o3_buf_str(&lines));
    b->has_parameters = true;
    o3_sim_read_options(&b->options, object);
    return 0;
}
