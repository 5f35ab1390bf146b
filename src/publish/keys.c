/* SPDX-License-Identifier: Apache-2.0 */
#include "o3/keys.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "o3/text.h"

void o3_keys_free(struct o3_keys *k) {
    for (size_t i = 0; i < k->n; i++) {
        free(k->v[i].name);
        free(k->v[i].value);
    }
    free(k->v);
    *k = (struct o3_keys){.n = 0};
}

/* Where the name is, or belongs. */
static size_t place_of(const struct o3_keys *k, const char *name, bool *ret_is_there) {
    size_t lo = 0, hi = k->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = strcmp(k->v[mid].name, name);
        if (c == 0) {
            *ret_is_there = true;
            return mid;
        }
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    *ret_is_there = false;
    return lo;
}

/* "..data" and its like belong to the layout of a mounted folder. */
static bool is_name(const char *s) {
    size_t n = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._");
    return n > 0 && !s[n] && n <= O3_KEY_NAME_MAX && strcmp(s, ".") != 0 && strncmp(s, "..", 2) != 0;
}

static bool make_room(struct o3_keys *k) {
    if (k->n < k->cap) return true;
    size_t cap = k->cap ? 2 * k->cap : 32;
    struct o3_key *v = reallocarray(k->v, cap, sizeof *v);
    if (!v) return false;
    k->v = v;
    k->cap = cap;
    return true;
}

static int insert(struct o3_keys *k, size_t at, const char *name) {
    if (k->n == O3_KEYS_MAX) return O3_E_LIMIT;
    char *copy = make_room(k) ? strdup(name) : NULL;
    if (!copy) return O3_E_NOMEM;
    memmove(k->v + at + 1, k->v + at, (k->n - at) * sizeof *k->v);
    k->v[at] = (struct o3_key){.name = copy};
    k->n++;
    return 0;
}

int o3_keys_set(struct o3_keys *k, const char *name, const char *value, size_t n) {
    bool is_there;
    if (!is_name(name)) return O3_E_PARSE;
    size_t at = place_of(k, name, &is_there);
    size_t old = is_there ? k->v[at].n : 0;
    if (!value) n = 0;
    if (n > O3_KEYS_BYTES_MAX || k->bytes - old + n > O3_KEYS_BYTES_MAX) return O3_E_LIMIT;
    char *copy = value ? malloc(n + 1) : NULL;
    if (value && !copy) return O3_E_NOMEM;
    int r = is_there ? 0 : insert(k, at, name);
    if (r < 0) {
        free(copy);
        return r;
    }
    if (copy) {
        memcpy(copy, value, n);
        copy[n] = '\0';
    }
    free(k->v[at].value);
    k->v[at].value = copy;
    k->v[at].n = n;
    k->bytes += n - old;
    return 0;
}

const struct o3_key *o3_keys_find(const struct o3_keys *k, const char *name) {
    bool is_there;
    size_t at = place_of(k, name, &is_there);
    return is_there ? &k->v[at] : NULL;
}

static bool same_value(const struct o3_key *a, const struct o3_key *b) {
    if (!a->value || !b->value) return !a->value == !b->value;
    return a->n == b->n && !memcmp(a->value, b->value, a->n);
}

bool o3_keys_equal(const struct o3_keys *a, const struct o3_keys *b) {
    if (a->n != b->n) return false;
    for (size_t i = 0; i < a->n; i++)
        if (strcmp(a->v[i].name, b->v[i].name) != 0 || !same_value(&a->v[i], &b->v[i])) return false;
    return true;
}

int o3_keys_copy(const struct o3_keys *k, struct o3_keys *ret) {
    *ret = (struct o3_keys){.n = 0};
    for (size_t i = 0; i < k->n; i++) {
        int r = o3_keys_set(ret, k->v[i].name, k->v[i].value, k->v[i].n);
        if (r < 0) {
            o3_keys_free(ret);
            return r;
        }
    }
    return 0;
}

/* ---- of a model ---- */

static const char *const FIELDS[] = {"num_ctx", "batch", "num_predict", "f16_kv"};
enum { N_FIELDS = sizeof FIELDS / sizeof *FIELDS };

/* "" where the field is left out. */
static void field_text(const struct o3_preset *p, int field, char *out, size_t size) {
    const int64_t numbers[] = {p->num_ctx, p->batch, p->num_predict};
    *out = '\0';
    if (!p->is_set) return;
    if (field == N_FIELDS - 1)
        snprintf(out, size, "%s", p->f16_kv ? "true" : "false");
    else if (numbers[field] > 0)
        snprintf(out, size, "%lld", (long long)numbers[field]);
}

static int add_preset(struct o3_keys *k, const char *prefix, const char *preset, const struct o3_preset *p) {
    static const struct o3_preset NONE = {.is_set = false};
    char name[O3_KEY_NAME_MAX + 1], text[32];
    for (int i = 0; i < N_FIELDS; i++) {
        snprintf(name, sizeof name, "%s%s%s.%s", prefix, *prefix ? "." : "", preset, FIELDS[i]);
        field_text(p ? p : &NONE, i, text, sizeof text);
        int r = o3_keys_set(k, name, *text ? text : NULL, strlen(text));
        if (r < 0) return r;
    }
    return 0;
}

int o3_keys_add_doc(struct o3_keys *k, const struct o3_preset_doc *d, const char *stem, bool is_primary) {
    O3_AUTO_BUF yaml;
    o3_buf_init(&yaml, O3_PRESET_DOC_MAX);
    char name[O3_KEY_NAME_MAX + 1];
    snprintf(name, sizeof name, "%.200s.yaml", stem);
    int r = o3_preset_doc_encode_yaml(d, &yaml);
    if (r == 0) r = o3_keys_set(k, name, o3_buf_str(&yaml), yaml.len);
    for (int i = 0; r == 0 && i < O3_PRESET_COUNT; i++) {
        const char *preset = o3_preset_name((enum o3_preset_name)i);
        r = add_preset(k, stem, preset, &d->presets[i]);
        if (r == 0 && is_primary) r = add_preset(k, "", preset, &d->presets[i]);
    }
    return r;
}

int o3_keys_no_primary(struct o3_keys *k) {
    int r = 0;
    for (int i = 0; r == 0 && i < O3_PRESET_COUNT; i++)
        r = add_preset(k, "", o3_preset_name((enum o3_preset_name)i), NULL);
    return r;
}

/* ---- what is there, and what is wanted ---- */

int o3_keys_merge(const struct o3_keys *have, const struct o3_keys *want, struct o3_keys *ret) {
    *ret = (struct o3_keys){.n = 0};
    int r = 0;
    for (size_t i = 0; r == 0 && i < have->n; i++)
        if (have->v[i].value && !o3_keys_find(want, have->v[i].name))
            r = o3_keys_set(ret, have->v[i].name, have->v[i].value, have->v[i].n);
    for (size_t i = 0; r == 0 && i < want->n; i++)
        if (want->v[i].value) r = o3_keys_set(ret, want->v[i].name, want->v[i].value, want->v[i].n);
    if (r < 0) o3_keys_free(ret);
    return r;
}

size_t o3_keys_count_changes(const struct o3_keys *have, const struct o3_keys *want) {
    static const struct o3_key ABSENT = {.value = NULL};
    size_t n = 0;
    for (size_t i = 0; i < want->n; i++) {
        const struct o3_key *old = o3_keys_find(have, want->v[i].name);
        n += !same_value(old ? old : &ABSENT, &want->v[i]);
    }
    return n;
}

int o3_keys_checksum(const struct o3_keys *k, char out[65]) {
    O3_AUTO_BUF all;
    o3_buf_init(&all, (size_t)2 * O3_KEYS_BYTES_MAX + (size_t)O3_KEYS_MAX * (O3_KEY_NAME_MAX + 2));
    for (size_t i = 0; i < k->n; i++) {
        if (!k->v[i].value || !strcmp(k->v[i].name, O3_KEY_STATE)) continue;
        o3_buf_adds(&all, k->v[i].name);
        o3_buf_add_char(&all, '=');
        o3_buf_add(&all, k->v[i].value, k->v[i].n);
        o3_buf_add_char(&all, '\n');
    }
    if (all.err) return all.err;
    o3_sha256_hex(o3_buf_str(&all), all.len, out);
    return 0;
}
