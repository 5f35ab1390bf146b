/* SPDX-License-Identifier: Apache-2.0 */
/* The report as one page: nothing is fetched, no script. Names and texts of scenarios are outside text: escaped. */
#include "rehearsal/report_html.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define LISTED_MAX 200 /* rows of a table; the rest is counted */

static const char HEAD[] =
    "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
    "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n<style>\n"
    ":root{color-scheme:light dark;--page:#f5f7fa;--card:#fff;--ink:#1a2230;--dim:#5a6473;--rule:#dce1e8;"
    "--with:#1f5fc4;--without:#a85b00;--good:#146c2e;--bad:#b3261e;--same:#8a94a3;--change:#f2b20040;--good-bg:#e3f3e7;"
    "--bad-bg:#fbe6e4}\n"
    "@media(prefers-color-scheme:dark){:root{--page:#11151b;--card:#1a2029;--ink:#e6eaf0;--dim:#9aa5b4;--rule:#313a47;"
    "--with:#7fb0ff;--without:#f0a550;--good:#63cf85;--bad:#ff8d84;--same:#7d8796;--change:#f2b20030;"
    "--good-bg:#163322;--bad-bg:#3d1d1b}}\n"
    "*{box-sizing:border-box}"
    "body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}"
    "main{max-width:68rem;margin:0 auto;padding:1.25rem 1rem 3rem}"
    "h1{font-size:1.6rem;line-height:1.25;margin:0;overflow-wrap:anywhere}h2{font-size:1.15rem;margin:2.2rem 0 .7rem}"
    ".dim{color:var(--dim)}.eyebrow{margin:0;color:var(--dim);font-size:.9rem}"
    ".verdict{margin:.9rem 0 0;padding:.7rem .9rem;border-radius:.5rem}"
    ".verdict b{margin-right:.5rem}.verdict.good{background:var(--good-bg)}.verdict.bad{background:var(--bad-bg)}"
    ".good b,.told,b.true{color:var(--good)}.bad b,.missed,b.false{color:var(--bad)}\n"
    ".cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.7rem;margin-top:1rem}"
    ".card{background:var(--card);border:1px solid var(--rule);border-radius:.5rem;padding:.7rem .8rem}"
    ".card span{display:block;color:var(--dim);font-size:.82rem;line-height:1.35}"
    ".card b{display:block;font-size:1.35rem;line-height:1.4;font-weight:650}"
    ".plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,26rem),1fr));gap:.7rem}"
    "figure{margin:0;min-width:0;background:var(--card);border:1px solid var(--rule);border-radius:.5rem;"
    "padding:.7rem .8rem}"
    "figcaption{font-weight:600;overflow-wrap:anywhere}code{font:.88em ui-monospace,monospace;color:var(--dim)}"
    "svg{display:block;width:100%;height:auto;margin-top:.3rem}"
    ".legend{margin:.2rem 0 0;font-size:.85rem;color:var(--dim)}\n"
    "svg text{font:13px system-ui,sans-serif;fill:var(--dim)}.grid{stroke:var(--rule);fill:none}"
    ".axis{stroke:var(--same);fill:none}.level{stroke:var(--same);stroke-dasharray:3 3;fill:none}"
    ".line{fill:none;stroke-width:1.6;stroke-linejoin:round;stroke-linecap:round}"
    "path.with{stroke:var(--with)}path.without{stroke:var(--without);stroke-dasharray:5 3}"
    ".legend .with{color:var(--with)}.legend .without{color:var(--without)}"
    ".legend .sooner{color:var(--good)}.legend .later{color:var(--bad)}.legend .same{color:var(--same)}"
    ".legend .change{color:#c98d00}.legend .true{color:var(--good)}.legend .false{color:var(--bad)}"
    "rect.sooner{fill:var(--good)}rect.later{fill:var(--bad)}rect.same{fill:var(--same)}rect.change{fill:var(--change)}"
    "g.true path{stroke:var(--good)}g.true .fill{fill:var(--good)}g.false path{stroke:var(--bad)}"
    ".stem{stroke-dasharray:2 2;fill:none}.cross{fill:none;stroke-width:2.2}"
    ".range{stroke:var(--with);opacity:.45;fill:none}.dot{fill:var(--with)}\n"
    ".scroll{overflow-x:auto;background:var(--card);border:1px solid var(--rule);border-radius:.5rem;padding:.2rem "
    ".8rem}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.32rem .9rem .32rem 0;"
    "border-bottom:1px solid var(--rule);vertical-align:top}tr:last-child>*{border-bottom:0}"
    "th{font-weight:600}td.n{font-variant-numeric:tabular-nums;white-space:nowrap}"
    "tbody th{padding-top:.9rem;color:var(--dim);font-size:.85rem}"
    "li{margin-bottom:.6rem;overflow-wrap:anywhere}"
    "@media(max-width:32rem){td.n:last-child{white-space:normal}th,td{padding-right:.5rem}}"
    "</style>\n";

/* ---- head ---- */

static void add_head(const struct o3_runs *t, struct o3_buf *out) {
    char what[160], verdict[200];
    report_what(t, what, sizeof what);
    report_verdict(t, verdict, sizeof verdict);
    o3_buf_adds(out, HEAD);
    o3_buf_adds(out, "<title>Rehearsal: ");
    o3_buf_add_html(out, t->scenario_name);
    o3_buf_adds(out, "</title></head><body><main>\n<header><p class=\"eyebrow\">O3 Sidecar, rehearsal in a simulated "
                     "world</p><h1>");
    o3_buf_add_html(out, t->scenario_name);
    o3_buf_addf(out, "</h1><p class=\"dim\" style=\"margin:0\">%s</p><p class=\"verdict %s\"><b>%s</b>", what,
                t->n_bad ? "bad" : "good", t->n_bad ? "&#10007; Not good" : "&#10003; Good");
    o3_buf_add_html(out, verdict);
    o3_buf_adds(out, "</p></header>\n");
}

/* The figures that people ask for first: which lines of the table, under which title. */
static const struct {
    const char *label, *title;
} CARDS[] = {
    {"  per 30 days", "False alarms per 30 days"},
    {"Changes told", "Changes told"},
    {"Detection delay, median", "Detection delay, median"},
    {"  told with the named cause", "Incidents told with the named cause"},
    {"Added to first token, mean", "Added to first token, mean"},
    {"Added to first token, p99", "Added to first token, p99"},
    {"Share of time busy by probes", "Time busy by probes"},
    {"Reloads by probes", "Reloads by probes"},
    {"Expectations met", "Expectations met"},
    {"Runs good", "Runs good"},
};

static const struct report_fact *find(const struct report_facts *facts, const char *label) {
    for (size_t i = 0; i < facts->n; i++)
        if (!strcmp(facts->v[i].label, label)) return &facts->v[i];
    return NULL;
}

static void add_cards(const struct report_facts *facts, struct o3_buf *out) {
    o3_buf_adds(out, "<section class=\"cards\" aria-label=\"Summary\">");
    for (size_t i = 0; i < sizeof CARDS / sizeof *CARDS; i++) {
        const struct report_fact *f = find(facts, CARDS[i].label);
        if (!f) continue;
        o3_buf_addf(out, "<div class=\"card%s\"><span>%s</span><b>", f->is_bad ? " bad" : "", CARDS[i].title);
        o3_buf_add_html(out, f->value);
        o3_buf_adds(out, "</b><span>");
        o3_buf_add_html(out, f->detail);
        o3_buf_adds(out, "</span></div>\n");
    }
    o3_buf_adds(out, "</section>\n");
}

/* ---- pictures ---- */

static void add_section(struct o3_buf *out, const char *title, const char *words, const struct o3_buf *figures) {
    if (!figures->len) return;
    o3_buf_addf(out, "<section><h2>%s</h2>", title);
    if (*words) o3_buf_addf(out, "<p class=\"legend\" style=\"margin:0 0 .6rem\">%s</p>", words);
    o3_buf_adds(out, "<div class=\"plots\">\n");
    o3_buf_add(out, figures->p, figures->len);
    o3_buf_adds(out, "</div></section>\n");
}

static void add_pictures(const struct o3_runs *t, struct o3_buf *out) {
    static const char MARKS[] =
        "<span class=\"true\">&#9660;</span> true alarm &nbsp; <span class=\"false\">&#10005;"
        "</span> false alarm &nbsp; <span class=\"change\">&#9632;</span> a change of the world "
        "that should be told<br>Without the first probes after a load and those beside a user's request, which no "
        "baseline counts.";
    char title[80];
    O3_AUTO_BUF figures;
    o3_buf_init(&figures, 4u << 20);
    report_plots_of_users(&t->sum, &figures);
    add_section(out, "What users felt", "", &figures);
    o3_buf_clear(&figures);
    report_plots_of_models(&t->first, &figures);
    if (t->n > 1)
        snprintf(title, sizeof title, "What the probes saw, seed %llu", (unsigned long long)t->first.seed);
    else
        snprintf(title, sizeof title, "What the probes saw");
    add_section(out, title, MARKS, &figures);
    o3_buf_clear(&figures);
    report_plots_of_seeds(t, &figures);
    add_section(out, "Seed by seed", "", &figures);
    if (figures.err && !out->err) out->err = figures.err;
}

/* ---- tables ---- */

static void add_cell(struct o3_buf *out, const char *text) {
    o3_buf_adds(out, "<td class=\"n\">");
    o3_buf_add_html(out, text);
    o3_buf_adds(out, "</td>");
}

static void add_table(const struct o3_runs *t, const struct report_facts *facts, struct o3_buf *out) {
    o3_buf_adds(out, "<section><h2>All figures</h2><div class=\"scroll\"><table><tbody>\n");
    for (size_t i = 0; i < facts->n; i++) {
        const struct report_fact *f = &facts->v[i];
        bool is_twin = f->group == REPORT_USERS && t->sum.has_twin;
        if (i == 0 || facts->v[i - 1].group != f->group)
            o3_buf_addf(out, "<tr><th>%s</th><th>%s</th><th>%s</th></tr>\n", report_group_title(f->group),
                        is_twin ? "with the sidecar" : "", is_twin ? "without" : "");
        o3_buf_addf(out, "<tr%s><td>", f->is_bad ? " class=\"bad\"" : "");
        o3_buf_adds(out, f->label[0] == ' ' ? "&emsp;" : "");
        o3_buf_add_html(out, f->label + strspn(f->label, " "));
        o3_buf_adds(out, "</td>");
        add_cell(out, f->value);
        add_cell(out, f->detail);
        o3_buf_adds(out, "</tr>\n");
    }
    o3_buf_adds(out, "</tbody></table></div></section>\n");
}

static void add_model_cell(struct o3_buf *out, const struct o3_run *o, int model) {
    o3_buf_adds(out, "<td><code>");
    o3_buf_add_html(out, model >= 0 && model < o->n_models ? o->models[model].name : "-");
    o3_buf_adds(out, "</code></td>");
}

static void begin_list(const struct o3_runs *t, const char *title, const char *columns, struct o3_buf *out) {
    o3_buf_addf(out, "<section><h2>%s", title);
    if (t->n > 1) o3_buf_addf(out, ", seed %llu", (unsigned long long)t->first.seed);
    o3_buf_addf(out, "</h2><div class=\"scroll\"><table><thead><tr>%s</tr></thead><tbody>\n", columns);
}

static void end_list(struct o3_buf *out, int64_t n, int64_t n_shown) {
    o3_buf_adds(out, "</tbody></table></div>");
    if (n > n_shown) o3_buf_addf(out, "<p class=\"dim\">and %lld more</p>", (long long)(n - n_shown));
    o3_buf_adds(out, "</section>\n");
}

static void add_changes(const struct o3_runs *t, struct o3_buf *out) {
    const struct o3_run *o = &t->first;
    if (!o->n_changes) return;
    begin_list(t, "Changes of the world", "<th>at</th><th>model</th><th>signal</th><th>size</th><th>told</th>", out);
    for (int i = 0; i < o->n_changes; i++) {
        const struct o3_run_change *c = &o->changes[i];
        char at[32], size[24], told[40];
        bool is_told = c->told_ns != INT64_MAX;
        report_time(at, sizeof at, c->at_ns);
        report_change(size, sizeof size, c->ratio);
        if (is_told) report_seconds(told, sizeof told, (double)(c->told_ns - c->at_ns) / 1e9, false, 3);
        o3_buf_adds(out, "<tr>");
        add_cell(out, at);
        add_model_cell(out, o, c->model);
        add_cell(out, c->signal);
        add_cell(out, size);
        o3_buf_addf(out, "<td class=\"%s\">%s%s</td></tr>\n", is_told ? "told" : "missed",
                    is_told ? "after " : "missed", is_told ? told : "");
    }
    end_list(out, o->n_changes, o->n_changes);
}

static void add_incident_cell(struct o3_buf *out, const struct o3_run_incident *x) {
    char text[64] = "";
    if (x) snprintf(text, sizeof text, "%lld: %s", (long long)x->id, x->cause);
    add_cell(out, text);
}

static void add_incidents(const struct o3_runs *t, struct o3_buf *out) {
    const struct o3_run *o = &t->first;
    int64_t shown = o->n_incidents < O3_RUN_INCIDENTS_MAX ? o->n_incidents : O3_RUN_INCIDENTS_MAX;
    if (!o->n_incidents) return;
    begin_list(
        t, "Incidents",
        "<th>opened</th><th>number</th><th>settled</th><th>first cause</th><th>evidence</th><th>scenario names</th>",
        out);
    for (int64_t i = 0; i < shown; i++) {
        const struct o3_run_incident *x = &o->incidents[i];
        char opened[32], id[24], closed[32] = "no", cause[64];
        report_time(opened, sizeof opened, x->opened_ns);
        snprintf(id, sizeof id, "%lld", (long long)x->id);
        if (x->closed_ns != INT64_MAX) report_time(closed, sizeof closed, x->closed_ns);
        snprintf(cause, sizeof cause, "%s, %.0f %%", x->cause, 100 * x->weight);
        o3_buf_adds(out, "<tr>");
        add_cell(out, opened);
        add_cell(out, id);
        add_cell(out, closed);
        add_cell(out, cause);
        o3_buf_adds(out, "<td>");
        o3_buf_add_html(out, x->evidence);
        o3_buf_addf(out, "</td><td class=\"%s\">",
                    !x->expected[0]            ? "dim"
                    : report_is_cause_right(x) ? "told"
                                               : "missed");
        o3_buf_add_html(out, x->expected[0] ? x->expected : "-");
        o3_buf_adds(out, "</td></tr>\n");
    }
    end_list(out, o->n_incidents, shown);
}

static void add_alarms(const struct o3_runs *t, struct o3_buf *out) {
    const struct o3_run *o = &t->first;
    int64_t shown = o->n_alarms < O3_RUN_ALARMS_MAX ? o->n_alarms : O3_RUN_ALARMS_MAX;
    if (!o->n_alarms) return;
    begin_list(t, "Alarms",
               "<th>at</th><th>model</th><th>signal</th><th>told</th><th>in truth</th><th></th>"
               "<th>incident</th>",
               out);
    for (int i = 0; i < shown; i++) {
        const struct o3_run_alarm *a = &o->alarms[i];
        char at[32], told[24], truth[24] = "unknown";
        report_time(at, sizeof at, a->at_ns);
        report_change(told, sizeof told, a->ratio);
        if (!isnan(a->true_ratio)) report_change(truth, sizeof truth, a->true_ratio);
        o3_buf_adds(out, "<tr>");
        add_cell(out, at);
        add_model_cell(out, o, a->model);
        add_cell(out, a->signal);
        add_cell(out, told);
        add_cell(out, truth);
        o3_buf_addf(out, "<td><b class=\"%s\">%s</b></td>", a->is_true ? "true" : "false",
                    a->is_true ? "&#9660; true" : "&#10005; false");
        add_incident_cell(out, report_incident(o, a));
        o3_buf_adds(out, "</tr>\n");
    }
    end_list(out, o->n_alarms, shown);
}

static void add_expectations(const struct o3_runs *t, struct o3_buf *out) {
    if (!t->sum.n_expects) return;
    int64_t met = t->sum.n_expects - t->sum.n_broken;
    o3_buf_addf(out, "<section><h2>Expectations of the scenario</h2><p><b class=\"told\">&#10003;</b> %lld met",
                (long long)met);
    if (t->sum.n_broken) o3_buf_addf(out, ", <b class=\"missed\">&#10007;</b> %lld broken", (long long)t->sum.n_broken);
    o3_buf_adds(out, "</p>");
    if (t->n_failures) o3_buf_adds(out, "<ul>\n");
    for (size_t i = 0; i < t->n_failures; i++) {
        const struct report_failure *f = &t->failures[i];
        o3_buf_addf(out, "<li><b class=\"missed\">&#10007;</b> line %u: <code>", (unsigned)f->line);
        o3_buf_add_html(out, f->text);
        o3_buf_adds(out, "</code><br><span class=\"dim\">found: ");
        o3_buf_add_html(out, f->found);
        if (t->n > 1)
            o3_buf_addf(out, "; in %lld of %zu runs, first with seed %llu", (long long)f->n_runs, t->n,
                        (unsigned long long)f->first_seed);
        o3_buf_adds(out, "</span></li>\n");
    }
    o3_buf_adds(out, t->n_failures ? "</ul></section>\n" : "</section>\n");
}

static void add_bad_rows(const struct o3_runs *t, struct o3_buf *out) {
    if (t->n < 2 || !t->n_bad) return;
    size_t shown = 0;
    o3_buf_adds(out, "<section><h2>Runs that are not good</h2><div class=\"scroll\"><table><thead><tr><th>seed</th>"
                     "<th>broken expectations</th><th>torn files</th><th>reloads by probes</th></tr></thead><tbody>\n");
    for (size_t i = 0; i < t->n && shown < LISTED_MAX; i++) {
        const struct report_row *r = &t->rows[i];
        if (r->is_good) continue;
        shown++;
        o3_buf_addf(out,
                    "<tr><td class=\"n\">%llu</td><td class=\"n\">%d</td><td class=\"n\">%lld</td><td "
                    "class=\"n\">%lld</td></tr>\n",
                    (unsigned long long)r->seed, r->n_broken, (long long)r->n_torn_files,
                    (long long)r->n_induced_reloads);
    }
    end_list(out, (int64_t)t->n_bad, (int64_t)shown);
}

int o3_runs_html(const struct o3_runs *t, bool has_wall_times, struct o3_buf *out) {
    struct report_facts facts;
    O3_ASSERT(t->n >= 1);
    report_facts(t, has_wall_times, &facts);
    add_head(t, out);
    add_cards(&facts, out);
    add_pictures(t, out);
    add_expectations(t, out);
    add_bad_rows(t, out);
    add_changes(t, out);
    add_alarms(t, out);
    add_incidents(t, out);
    add_table(t, &facts, out);
    o3_buf_adds(out, "<p class=\"dim\">made by o3 simulate " O3_VERSION "</p></main></body></html>\n");
    return out->err;
}
