/* SPDX-License-Identifier: Apache-2.0 */
/* A JSON value that fits a schema, made up of the words of the simulated models. Of JSON Schema it knows type, enum,
 * const, properties, required, items, prefixItems, bounds of numbers and lengths, the common formats of strings,
 * anyOf, oneOf, allOf (its first) and references into the same document; patterns and conditions it does not. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "sim/schema.h"

enum { MAX_DEPTH = 24, LEAN_DEPTH = 8, MAX_NODES = 2000, MAX_ITEMS = 16, MAX_STRING = 512, MAX_HOPS = 16 };
static const size_t MAX_COPIED = (size_t)64 << 10; /* of names and constants of the schema, bytes */

struct maker {
    const json_t *root;
    struct o3_rand *rand;
    int depth, n_nodes;
    size_t n_copied;
};

static json_t *make(struct maker *k, const json_t *schema);

/* "#/$defs/name" and the like; NULL when it leads nowhere. */
static const json_t *resolve(const struct maker *k, const char *reference) {
    const json_t *at = k->root;
    if (*reference++ != '#') return NULL;
    for (int hops = 0; at && *reference == '/'; hops++) {
        char name[128];
        size_t n = strcspn(++reference, "/");
        if (hops == MAX_HOPS || !o3_str_copy_n(name, sizeof name, reference, n)) return NULL;
        at = json_object_get(at, name);
        reference += n;
    }
    return at;
}

static double number_of(const json_t *schema, const char *name, double fallback) {
    const json_t *v = json_object_get(schema, name);
    return json_is_number(v) ? json_number_value(v) : fallback;
}

static size_t size_of(const json_t *schema, const char *name, size_t fallback, size_t most) {
    double v = number_of(schema, name, (double)fallback);
    return v <= 0 ? 0 : v >= (double)most ? most : (size_t)v;
}

static json_t *make_number(struct maker *k, const json_t *schema, bool is_integer) {
    double low = number_of(schema, "minimum", -1e15), high = number_of(schema, "maximum", 1e15);
    double step = is_integer ? 1 : 0.5;
    low = fmax(low, number_of(schema, "exclusiveMinimum", -1e15) + step);
    high = fmin(high, number_of(schema, "exclusiveMaximum", 1e15) - step);
    if (low < -1e14) low = high < 0 ? high - 100 : 0;
    if (high > 1e14) high = fmax(low, 0) + 100;
    double v = low + (high - low) * o3_rand_uniform(k->rand);
    double unit = number_of(schema, "multipleOf", is_integer ? 1 : 0);
    if (unit > 0) v = ceil(low / unit) * unit + unit * floor((v - ceil(low / unit) * unit) / unit);
    if (unit > 0 && v < low) v += unit;
    if (!is_integer && unit <= 0) v = floor(v * 100) / 100 < low ? v : floor(v * 100) / 100;
    v = fmin(fmax(v, -9e15), 9e15);
    return is_integer ? json_integer((json_int_t)v) : json_real(v);
}

static json_t *make_string(struct maker *k, const json_t *schema) {
    static const struct {
        const char *format, *example;
    } FORMATS[] = {{"date-time", "2026-03-14T15:09:26Z"},
                   {"date", "2026-03-14"},
                   {"time", "15:09:26Z"},
                   {"email", "jil@example.com"},
                   {"uri", "https://example.com/geh"},
                   {"ipv4", "192.0.2.17"},
                   {"uuid", "5e9c3a41-7d20-4c1b-9b60-2f8d1c0e7a34"}};
    const char *format = json_string_value(json_object_get(schema, "format"));
    for (size_t i = 0; format && i < sizeof FORMATS / sizeof *FORMATS; i++)
        if (!strcmp(FORMATS[i].format, format)) return json_string(FORMATS[i].example);
    size_t low = size_of(schema, "minLength", 0, MAX_STRING),
           high = size_of(schema, "maxLength", MAX_STRING, MAX_STRING);
    size_t n_words = 1 + (size_t)o3_rand_below(k->rand, 4), n = 0;
    char text[MAX_STRING + O3_SIM_WORD_SIZE + 1], word[O3_SIM_WORD_SIZE];
    for (size_t i = 0; n < MAX_STRING && (i < n_words || n < low); i++) {
        o3_sim_word(k->rand, word);
        const char *from = n ? word : word + 1; /* no space at the start */
        memcpy(text + n, from, strlen(from));
        n += strlen(from);
    }
    if (n > high) n = high;
    return json_stringn(text, n);
}

static json_t *make_array(struct maker *k, const json_t *schema) {
    const json_t *items = json_object_get(schema, "items"), *first = json_object_get(schema, "prefixItems");
    size_t low = size_of(schema, "minItems", 0, MAX_ITEMS), high = size_of(schema, "maxItems", MAX_ITEMS, MAX_ITEMS);
    size_t n = k->depth > LEAN_DEPTH ? low : 1 + (size_t)o3_rand_below(k->rand, 3);
    if (n < json_array_size(first)) n = json_array_size(first);
    n = n < low ? low : n > high ? high : n;
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, make(k, i < json_array_size(first) ? json_array_get(first, i) : items));
    return list;
}

static bool is_required(const json_t *schema, const char *name) {
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(schema, "required"), i, item) {
        const char *s = json_string_value(item);
        if (s && !strcmp(s, name)) return true;
    }
    return false;
}

static json_t *make_object(struct maker *k, const json_t *schema) {
    json_t *properties = json_object_get(schema, "properties"), *object = json_object(), *v;
    const char *name;
    json_object_foreach(properties, name, v) {
        k->n_copied += strlen(name);
        if (++k->n_nodes > MAX_NODES || k->n_copied > MAX_COPIED) break;
        if (k->depth > LEAN_DEPTH && !is_required(schema, name)) continue;
        json_object_set_new(object, name, make(k, v));
    }
    return object;
}

/* The first of the alternatives, null only when nothing else is there. */
static const json_t *alternative(const json_t *schema) {
    static const char *const NAMES[] = {"anyOf", "oneOf", "allOf"};
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        const json_t *list = json_object_get(schema, NAMES[i]), *first = json_array_get(list, 0);
        const char *type = json_string_value(json_object_get(first, "type"));
        if (type && !strcmp(type, "null") && json_array_size(list) > 1) return json_array_get(list, 1);
        if (first) return first;
    }
    return NULL;
}

static const char *type_of(const json_t *schema) {
    const json_t *type = json_object_get(schema, "type");
    if (json_is_array(type)) type = json_array_get(type, 0);
    if (json_is_string(type)) return json_string_value(type);
    if (json_object_get(schema, "properties")) return "object";
    if (json_object_get(schema, "items") || json_object_get(schema, "prefixItems")) return "array";
    return "string";
}

static json_t *make_typed(struct maker *k, const json_t *schema) {
    const char *type = type_of(schema);
    if (!strcmp(type, "object")) return make_object(k, schema);
    if (!strcmp(type, "array")) return make_array(k, schema);
    if (!strcmp(type, "integer")) return make_number(k, schema, true);
    if (!strcmp(type, "number")) return make_number(k, schema, false);
    if (!strcmp(type, "boolean")) return json_boolean(o3_rand_below(k->rand, 2) == 1);
    if (!strcmp(type, "null")) return json_null();
    return make_string(k, schema);
}

static json_t *copy(struct maker *k, const json_t *constant) {
    if (k->n_copied > MAX_COPIED) return json_null();
    k->n_copied += json_dumpb(constant, NULL, 0, JSON_ENCODE_ANY);
    return k->n_copied > MAX_COPIED ? json_null() : json_deep_copy(constant);
}

static json_t *make(struct maker *k, const json_t *schema) {
    if (k->depth >= MAX_DEPTH || ++k->n_nodes > MAX_NODES) return json_null();
    k->depth++;
    const char *reference = json_string_value(json_object_get(schema, "$ref"));
    const json_t *list = json_object_get(schema, "enum"), *other = alternative(schema);
    const json_t *constant = json_object_get(schema, "const");
    json_t *v;
    if (constant)
        v = copy(k, constant);
    else if (json_array_size(list) > 0)
        v = copy(k, json_array_get(list, (size_t)o3_rand_below(k->rand, json_array_size(list))));
    else if (reference)
        v = make(k, resolve(k, reference));
    else
        v = other ? make(k, other) : make_typed(k, schema);
    k->depth--;
    return v;
}

json_t *o3_sim_schema_value(const json_t *schema, struct o3_rand *rand) {
    struct maker k = {.root = schema, .rand = rand};
    return make(&k, schema);
}
