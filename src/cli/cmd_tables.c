/* SPDX-License-Identifier: Apache-2.0 */
/* The four tables of the program, for documents and for the tests that compare them with everything else. */
#include <getopt.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include "cli/commands.h"
#include "o3/config.h"
#include "o3/err.h"
#include "o3/events.h"
#include "o3/metrics.h"

static const char HELP[] =
    "usage: o3 tables [--json | --markdown TABLE]\n"
    "\n"
    "Prints the tables that the program is built from: config, metrics, events, errors; as Markdown, or:\n"
    "\n"
    "  --json             all four as one JSON object\n"
    "  --markdown TABLE   only this one: config, metrics, events or errors\n"
    "  --help             this text\n";

static const char *conf_type_name(enum o3_conf_type type) {
    static const char *const NAMES[] = {"string", "secret",   "enum",    "bool", "int",
                                        "number", "duration", "size_mb", "list", "numbers"};
    return NAMES[type];
}

/* ---- JSON ---- */

static json_t *json_words(const char *words) {
    json_t *list = json_array();
    while (*words) {
        size_t len = strcspn(words, " ");
        json_array_append_new(list, json_stringn(words, len));
        words += len;
        words += strspn(words, " ");
    }
    return list;
}

static json_t *json_config(void) {
    json_t *list = json_array();
    const struct o3_conf_row *rows;
    size_t n = o3_conf_rows(&rows);
    for (const struct o3_conf_row *r = rows; r < rows + n; r++)
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:b, s:s}", "key", r->key,
                                              "env", r->env, "type", conf_type_name(r->type), "default",
                                              r->default_text, "min", r->min_text, "max", r->max_text, "choices",
                                              r->choices, "used", r->is_used, "live", r->is_live, "help", r->help));
    return list;
}

static json_t *json_labels(enum o3_metric id) {
    const struct o3_metric_row *row = o3_metric_row(id);
    json_t *labels = json_array();
    for (int i = 0; i < row->n_labels; i++) {
        size_t n;
        const char *const *set = o3_label_values(id, row->labels[i], &n);
        json_t *values = set ? json_array() : json_null(); /* null: open */
        for (size_t v = 0; v < n; v++)
            json_array_append_new(values, json_string(set[v]));
        json_array_append_new(labels, json_pack("{s:s, s:o}", "name", row->labels[i], "values", values));
    }
    return labels;
}

static json_t *json_metrics(void) {
    json_t *list = json_array();
    for (int id = 0; id < O3_METRIC_COUNT; id++) {
        const struct o3_metric_row *r = o3_metric_row((enum o3_metric)id);
        json_t *buckets = json_array();
        for (int i = 0; i < r->n_buckets; i++)
            json_array_append_new(buckets, json_real(r->buckets[i]));
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:o, s:s, s:o, s:s, s:s}", "symbol", r->symbol, "name",
                                              r->name, "kind", o3_metric_kind_name(r->kind), "labels",
                                              json_labels((enum o3_metric)id), "unit", r->unit, "buckets", buckets,
                                              "scope", r->is_later ? "later" : "now", "help", r->help));
    }
    return list;
}

static json_t *json_events(void) {
    json_t *list = json_array();
    for (int id = 0; id < O3_EVENT_COUNT; id++) {
        const struct o3_event_row *r = o3_event_row((enum o3_event_id)id);
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s, s:o, s:s}", "symbol", r->symbol, "name", r->name, "level",
                                        o3_log_level_name(r->level), "fields", json_words(r->fields), "text", r->text));
    }
    return list;
}

static json_t *json_errors(void) {
    json_t *list = json_array();
    for (const struct o3_error_row *r = o3_error_rows(); r < o3_error_rows() + O3_ERROR_COUNT; r++)
        json_array_append_new(list, json_pack("{s:s, s:s, s:i, s:b, s:s}", "symbol", r->symbol, "name", r->wire_name,
                                              "exit_status", r->exit_status, "retry_later", r->retry_later, "meaning",
                                              r->meaning));
    return list;
}

static int print_json(void) {
    json_t *root = json_pack("{s:o, s:o, s:o, s:o}", "config", json_config(), "metrics", json_metrics(), "events",
                             json_events(), "errors", json_errors());
    int r = root ? json_dumpf(root, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(15)) : -1;
    json_decref(root);
    if (r < 0) {
        if (!ferror(stdout)) fputs("o3 tables: no memory for the text\n", stderr);
        return o3_error_row(O3_E_NOMEM)->exit_status;
    }
    putchar('\n');
    return 0;
}

/* ---- Markdown ---- */

static void cell(const char *text) {
    fputs(" ", stdout);
    for (; *text; text++) {
        if (*text == '|') putchar('\\');
        putchar(*text);
    }
    fputs(" |", stdout);
}

/* Code in a cell; nothing when it is empty. */
static void code_cell(const char *text) {
    fputs(*text ? " `" : "", stdout);
    for (; *text; text++) {
        if (*text == '|') putchar('\\');
        putchar(*text);
        if (!text[1]) putchar('`');
    }
    fputs(" |", stdout);
}

static void range_cell(const struct o3_conf_row *r) {
    char text[256];
    bool has_range = *r->min_text || *r->max_text;
    snprintf(text, sizeof text, "%s%s%s%s%s", r->min_text, has_range ? " to " : "", r->max_text,
             has_range && *r->choices ? ", " : "", r->choices);
    cell(text);
}

static void markdown_config(void) {
    puts("| key | environment | type | default | range or choices | takes effect | meaning |");
    puts("|---|---|---|---|---|---|---|");
    const struct o3_conf_row *rows;
    size_t n = o3_conf_rows(&rows);
    for (const struct o3_conf_row *r = rows; r < rows + n; r++) {
        putchar('|');
        code_cell(r->key);
        code_cell(r->env);
        cell(conf_type_name(r->type));
        code_cell(r->default_text);
        range_cell(r);
        cell(!r->is_used ? "not used by this version" : r->is_live ? "on reload" : "after a restart");
        cell(r->help);
        puts("");
    }
}

static void labels_cell(enum o3_metric id) {
    const struct o3_metric_row *row = o3_metric_row(id);
    for (int i = 0; i < row->n_labels; i++) {
        size_t n;
        const char *const *set = o3_label_values(id, row->labels[i], &n);
        printf("%s`%s`", i ? ", " : " ", row->labels[i]);
        for (size_t v = 0; v < n; v++)
            printf("%s%s", v ? ", " : " (", set[v]);
        if (n) putchar(')');
    }
    fputs(" |", stdout);
}

static void markdown_metrics(void) {
    puts("| name | kind | labels | meaning |");
    puts("|---|---|---|---|");
    for (int id = 0; id < O3_METRIC_COUNT; id++) {
        const struct o3_metric_row *r = o3_metric_row((enum o3_metric)id);
        putchar('|');
        code_cell(r->name);
        cell(o3_metric_kind_name(r->kind));
        labels_cell((enum o3_metric)id);
        printf(" %s%s |\n", r->help, r->is_later ? " (not filled by this version)" : "");
    }
}

static void markdown_events(void) {
    puts("| event | level | fields | meaning |");
    puts("|---|---|---|---|");
    for (int id = 0; id < O3_EVENT_COUNT; id++) {
        const struct o3_event_row *r = o3_event_row((enum o3_event_id)id);
        putchar('|');
        code_cell(r->name);
        cell(o3_log_level_name(r->level));
        code_cell(r->fields);
        cell(r->text);
        puts("");
    }
}

static void markdown_errors(void) {
    puts("| error | exit status | try again | meaning |");
    puts("|---|---|---|---|");
    for (const struct o3_error_row *r = o3_error_rows(); r < o3_error_rows() + O3_ERROR_COUNT; r++) {
        putchar('|');
        code_cell(r->wire_name);
        printf(" %d | %s |", r->exit_status, r->retry_later ? "later" : "no");
        cell(r->meaning);
        puts("");
    }
}

/* One table, or all of them with headings. */
static int print_markdown(const char *only) {
    static const struct {
        const char *name, *title;
        void (*print)(void);
    } TABLES[] = {{"config", "Configuration", markdown_config},
                  {"metrics", "Metrics", markdown_metrics},
                  {"events", "Events", markdown_events},
                  {"errors", "Errors", markdown_errors}};
    bool is_found = false;
    for (size_t i = 0; i < sizeof TABLES / sizeof *TABLES; i++) {
        if (only && strcmp(only, TABLES[i].name) != 0) continue;
        if (!only) printf("%s## %s\n\n", i ? "\n" : "", TABLES[i].title);
        TABLES[i].print();
        is_found = true;
    }
    if (is_found) return 0;
    fprintf(stderr, "o3 tables: no table '%s'; there are config, metrics, events and errors\n", only);
    return 2;
}

int o3_cmd_tables(int argc, char **argv) {
    static const struct option OPTIONS[] = {{"json", no_argument, NULL, 'j'},
                                            {"markdown", required_argument, NULL, 'm'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *only = NULL;
    bool is_json = false;
    optind = 0; /* start over: the caller may have used getopt before */
    for (int option; (option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1;) {
        if (option == 'h') {
            fputs(HELP, stdout);
            return 0;
        }
        if (option == 'j') is_json = true;
        if (option == 'm') only = optarg;
        if (option == '?') {
            fputs("Try \"o3 tables --help\".\n", stderr);
            return 2;
        }
    }
    if (optind < argc || (is_json && only)) {
        fputs("o3 tables: --json or --markdown TABLE, and nothing else\nTry \"o3 tables --help\".\n", stderr);
        return 2;
    }
    return is_json ? print_json() : print_markdown(only);
}
