/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_REHEARSAL_GRAMMAR_H
#define O3_REHEARSAL_GRAMMAR_H
/* The parser of scenarios, divided by what a line is about. README.md holds the grammar. */
#include "base/words.h"
#include "o3/config.h"
#include "o3/scenario.h"

#define O3_SCENARIO_TIME_MAX_NS (3650LL * 86400 * 1000000000) /* ten years */

struct o3_grammar {
    struct o3_scenario *s;
    struct o3_words w;
    const char *line; /* without its end */
    size_t n;
    uint32_t number;
    int64_t change_ns; /* of the latest change above */
    struct o3_err *e;
};

/* Each takes what follows the first word of a line. */
int o3_grammar_world(struct o3_grammar *g);
int o3_grammar_load(struct o3_grammar *g);
int o3_grammar_users(struct o3_grammar *g);
int o3_grammar_config(struct o3_grammar *g);
int o3_grammar_at(struct o3_grammar *g);
int o3_grammar_by(struct o3_grammar *g);
int o3_grammar_never(struct o3_grammar *g);
int o3_grammar_expect_metric(struct o3_grammar *g, int64_t at_ns); /* after "at TIME expect" */

int o3_grammar_time(struct o3_grammar *g, int64_t *ret_ns); /* a time of the run */
/* After "at TIME" or "world": what happens then, or is so from the start. */
int o3_grammar_happening(struct o3_grammar *g, int64_t at_ns, bool is_world_line);
/* Room for one more element; NULL on no memory. The new element is zeroed and counted. */
void *o3_grammar_grow(struct o3_grammar *g, void *array, size_t *n, size_t size);
/* The whole configuration, as far as the keys depend on each other. */
int o3_grammar_check_config(struct o3_grammar *g);
/* The configuration that those lines make, beside nothing else. */
int o3_scenario_load_config(const struct o3_scenario_pair *p, size_t n, struct o3_config **ret, struct o3_err *e);
bool o3_grammar_same_model(const char *asked, const char *is); /* the tag :latest may be left out */

#endif
