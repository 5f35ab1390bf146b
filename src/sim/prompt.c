/* SPDX-License-Identifier: Apache-2.0 */
/* The prompt of a request as tokens: messages in their order, tools and images among them, cut to the context as the
 * server cuts them. */
#include <stdio.h>
#include <string.h>
#include "sim/sim.h"

enum {
    TOKEN_CONTEXT = 32102,
    TOKEN_SUFFIX = 32103,
    TOKEN_IMAGE = 1 << 20, /* and above: parts of images */
    TOKENS_PER_IMAGE = 256
};

static int add_message(struct o3_sim_tokens *t, const char *role, const char *s, size_t n) {
    int r = o3_sim_tokens_add_header(t, role);
    if (r == 0) r = o3_sim_tokens_add_text(t, s, n);
    return r < 0 ? r : o3_sim_tokens_end(t);
}

static int add_images(struct o3_sim_tokens *t, const struct o3_sim_images *images) {
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < (uint32_t)images->n * TOKENS_PER_IMAGE; i++)
        r = o3_sim_tokens_add(t, TOKEN_IMAGE + (uint32_t)((images->hash + i) % (1 << 20)));
    return r;
}

static int add_suffix(struct o3_sim_tokens *t, const struct o3_sim_body *b) {
    int r = o3_sim_tokens_add(t, TOKEN_SUFFIX);
    return r < 0 ? r : o3_sim_tokens_add_text(t, b->suffix, b->suffix_n);
}

static int build_generate(struct o3_sim_request *rq) {
    const struct o3_sim_body *b = &rq->body;
    struct o3_sim_tokens *t = &rq->tokens;
    const char *system = b->system_n > 0 ? b->system : rq->model.system;
    int r = o3_sim_tokens_begin(t);
    for (int64_t i = 0; r == 0 && i < b->context_n; i++)
        r = o3_sim_tokens_add(t, TOKEN_CONTEXT);
    if (r == 0) r = add_images(t, &b->images);
    if (r == 0 && b->suffix_n > 0) r = add_suffix(t, b);
    if (r == 0 && (b->raw || b->suffix_n > 0)) return o3_sim_tokens_add_text(t, b->prompt, b->prompt_n);
    if (r == 0 && *system) r = add_message(t, "system", system, strlen(system));
    if (r == 0) r = add_message(t, "user", b->prompt, b->prompt_n);
    return r < 0 ? r : o3_sim_tokens_add_header(t, "assistant");
}

/* What stands before the messages: the system text of the model, where they bring none, and the tools. */
static int begin_chat(struct o3_sim_request *rq) {
    const struct o3_sim_body *b = &rq->body;
    struct o3_sim_tokens *t = &rq->tokens;
    bool has_system = b->n_messages > 0 && !strcmp(b->messages[0].role, "system");
    t->n = 0;
    int r = o3_sim_tokens_begin(t);
    if (r == 0 && !has_system && rq->model.system[0])
        r = add_message(t, "system", rq->model.system, strlen(rq->model.system));
    return r == 0 && b->tools ? add_message(t, "tools", b->tools, b->tools_n) : r;
}

static int add_turn(struct o3_sim_tokens *t, const struct o3_sim_message *m) {
    int r = add_images(t, &m->images);
    if (r == 0) r = add_message(t, m->role, m->content ? m->content : "", m->n);
    return r == 0 && m->calls ? o3_sim_tokens_add_text(t, m->calls, m->n_calls) : r;
}

/* Leaves out the `skip` oldest messages that are neither the system's nor the last. */
static int build_chat(struct o3_sim_request *rq, size_t skip) {
    const struct o3_sim_body *b = &rq->body;
    int r = begin_chat(rq);
    for (size_t i = 0; r == 0 && i < b->n_messages; i++) {
        const struct o3_sim_message *m = &b->messages[i];
        if (skip > 0 && i + 1 < b->n_messages && strcmp(m->role, "system") != 0)
            skip--;
        else
            r = add_turn(&rq->tokens, m);
    }
    return r < 0 ? r : o3_sim_tokens_add_header(&rq->tokens, "assistant");
}

/* How many of the oldest messages must go so that the rest fits; each is looked at once. */
static int turns_too_many(struct o3_sim_request *rq, size_t n_ctx, size_t *ret) {
    const struct o3_sim_body *b = &rq->body;
    struct o3_sim_tokens one = {0};
    size_t left = rq->tokens.n;
    int r = 0;
    *ret = 0;
    for (size_t i = 0; r == 0 && left >= n_ctx && i + 1 < b->n_messages; i++) {
        if (!strcmp(b->messages[i].role, "system")) continue;
        one.n = 0;
        r = add_turn(&one, &b->messages[i]);
        left -= one.n;
        ++*ret;
    }
    o3_sim_tokens_done(&one);
    return r;
}

static bool refuse(struct o3_sim_refusal *ret, int status, const char *text) {
    ret->status = status;
    o3_str_copy(ret->text, sizeof ret->text, text);
    return false;
}

static bool too_long(const struct o3_sim_request *rq, struct o3_sim_refusal *ret) {
    if (rq->body.no_shift) return refuse(ret, 400, "the prompt is longer than the context length");
    ret->status = 400;
    snprintf(
        ret->text, sizeof ret->text,
        "{\"error\":{\"code\":400,\"message\":\"request (%zu tokens) exceeds the available context size (%lld tokens), "
        "try increasing it\",\"type\":\"exceed_context_size_error\",\"n_prompt_tokens\":%zu,\"n_ctx\":%lld}}",
        rq->tokens.n, (long long)rq->runner->launch.num_ctx, rq->tokens.n, (long long)rq->runner->launch.num_ctx);
    return false;
}

/* As Go quotes the JSON text of the format. */
static bool unknown_format(const char *format, struct o3_sim_refusal *ret) {
    O3_AUTO_BUF text;
    o3_buf_init(&text, sizeof ret->text);
    o3_buf_adds(&text, "invalid format: \"");
    for (size_t i = 0; format[i] && i < 64; i++)
        o3_buf_addf(&text, format[i] == '"' || format[i] == '\\' ? "\\%c" : "%c", format[i]);
    o3_buf_adds(&text, "\"; expected \"json\" or a valid JSON Schema object");
    return refuse(ret, 500, o3_buf_str(&text));
}

/* What the runner refuses before it looks at the prompt. The statuses of images are those that users report. */
static bool is_runnable(const struct o3_sim_request *rq, bool has_child_server, struct o3_sim_refusal *ret) {
    if (rq->body.n_images > 0 && !rq->model.weights->can_see)
        return refuse(ret, has_child_server ? 400 : 500, "this model is missing data required for image input");
    return o3_sim_format_is_known(&rq->body) || unknown_format(rq->body.format, ret);
}

static void shorten(struct o3_sim_request *rq, size_t n_ctx) {
    int64_t keep = (int64_t)o3_sim_option(&rq->options, O3_SIM_NUM_KEEP, 4);
    size_t kept = keep < 0 || keep >= (int64_t)n_ctx ? n_ctx / 2 : (size_t)keep;
    o3_sim_tokens_shorten(&rq->tokens, kept + 1, kept + 1 + (n_ctx - kept) / 2);
}

bool o3_sim_prompt_build(struct o3_world *w, struct o3_sim_request *rq, struct o3_sim_refusal *ret) {
    size_t n_ctx = (size_t)rq->runner->launch.num_ctx;
    bool may_cut = !rq->body.no_truncate && !rq->body.no_shift;
    bool is_chat = rq->kind == O3_SIM_CHAT;
    if (!is_runnable(rq, w->profile.has_child_server, ret)) return false;
    int r = rq->user ? o3_sim_users_prompt(w, rq) : is_chat ? build_chat(rq, 0) : build_generate(rq);
    if (r == 0 && is_chat && !rq->user && may_cut && rq->tokens.n >= n_ctx) {
        size_t skip;
        r = turns_too_many(rq, n_ctx, &skip);
        if (r == 0) r = build_chat(rq, skip);
    }
    if (r < 0) return refuse(ret, 500, "out of memory");
    if (rq->tokens.n >= n_ctx) {
        if (!may_cut || is_chat) return too_long(rq, ret);
        shorten(rq, n_ctx);
    }
    rq->n_prompt = rq->tokens.n;
    return true;
}
