/* SPDX-License-Identifier: Apache-2.0 */
/* The status page at /: the verdict first, what stands changed and probably why, then each model with all its signals,
 * where presets are published, what is settled, and where to find more. No script; names, versions and words of others
 * are outside text: escaped. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "app/daemon_internal.h"
#include "o3/judge.h"
#include "o3/reading.h"
#include "o3/signal.h"
#include "o3/text.h"

#define CLOSED_SHOWN 5

static const char HEAD[] =
    "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>O3 Sidecar</title>"
    "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><meta http-equiv=\"refresh\" "
    "content=\"15\"><meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
    "'unsafe-inline'\">\n<style>\n"
    ":root{color-scheme:light dark;--page:#f5f7fa;--card:#fff;--ink:#1a2230;--dim:#5a6473;--rule:#dce1e8;"
    "--good:#146c2e;--bad:#b3261e;--maybe:#8a5200;--link:#1f5fc4;--good-bg:#e3f3e7;--bad-bg:#fbe6e4}\n"
    "@media(prefers-color-scheme:dark){:root{--page:#11151b;--card:#1a2029;--ink:#e6eaf0;--dim:#9aa5b4;--rule:#313a47;"
    "--good:#63cf85;--bad:#ff8d84;--maybe:#f0b350;--link:#7fb0ff;--good-bg:#163322;--bad-bg:#3d1d1b}}\n"
    "*{box-sizing:border-box}"
    "body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}"
    "main{max-width:64rem;margin:0 auto;padding:1.25rem 1rem 3rem}"
    "h1{font-size:1.5rem;line-height:1.25;margin:0}h2{font-size:1.15rem;margin:2rem 0 .6rem;overflow-wrap:anywhere}"
    "p{margin:.3rem 0}.verdict{margin:.9rem 0;padding:.7rem .9rem;border-radius:.5rem;background:var(--card);"
    "border:1px solid var(--rule);overflow-wrap:anywhere}"
    ".verdict.good{background:var(--good-bg)}.verdict.bad{background:var(--bad-bg)}"
    "b.good{color:var(--good)}b.bad{color:var(--bad)}b.maybe{color:var(--maybe)}.dim{color:var(--dim)}"
    ".card{background:var(--card);border:1px solid var(--rule);border-radius:.5rem;padding:.7rem .9rem;margin:0 0 "
    ".7rem;"
    "overflow-wrap:anywhere}.card.open{border-left:4px solid var(--bad)}"
    "ul{margin:.4rem 0 0;padding-left:1.2rem}"
    ".scroll{overflow-x:auto;background:var(--card);border:1px solid var(--rule);border-radius:.5rem;padding:.2rem "
    ".9rem}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.32rem 1rem .32rem 0;"
    "border-bottom:1px solid var(--rule);vertical-align:top}tr:last-child>*{border-bottom:0}"
    "th{font-weight:600;color:var(--dim);font-size:.85rem}td.n{font-variant-numeric:tabular-nums;white-space:nowrap}"
    "a{color:var(--link)}nav a{margin-right:.9rem}footer{margin-top:2rem}\n"
    "@media(max-width:36rem){thead{display:none}tr{display:block;padding:.4rem 0;border-bottom:1px solid var(--rule)}"
    "tr:last-child{border-bottom:0}td{display:block;border:0;padding:0}td:empty{display:none}td.name{font-weight:600}"
    "td.n{display:inline-block;margin-right:1.2rem}td.n[data-of]::before{content:attr(data-of) \" "
    "\";color:var(--dim)}}\n"
    "</style></head><body><main><h1>O3 Sidecar</h1>\n";

static const char FOOT[] = "<footer><nav><a href=\"/metrics\">metrics</a> <a href=\"/api/v1/status\">status</a> "
                           "<a href=\"/api/v1/models\">models</a> <a href=\"/api/v1/incidents\">incidents</a> "
                           "<a href=\"/api/v1/events\">events</a> <a href=\"/api/v1/samples\">samples</a> "
                           "<a href=\"/api/v1/presets\">presets</a> <a href=\"/config\">configuration</a></nav>"
                           "<p class=\"dim\">o3 " O3_VERSION
                           "; the page renews itself every 15 s; times are UTC</p></footer>"
                           "</main></body></html>\n";

static const char *text_of(const json_t *o, const char *key) {
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static double number_of(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : (double)NAN;
}

/* "2026-11-21 16:47:14" of the API's "2026-11-21T16:47:14.352Z"; anything else as it is. */
void o3_page_add_time(struct o3_buf *out, const char *rfc3339) {
    if (!*rfc3339) return;
    char text[40];
    o3_str_copy(text, sizeof text, rfc3339);
    char *t = strchr(text, 'T'), *dot = strchr(text, '.');
    if (t && dot) {
        *t = ' ';
        *dot = '\0';
    }
    o3_buf_adds(out, "<time>");
    o3_buf_add_html(out, text);
    o3_buf_adds(out, "</time>");
}

/* ---- signals ---- */

static const char *signal_words(enum o3_signal sig) {
    static const char *const WORDS[O3_SIGNAL_COUNT] = {"Decode rate", "Prefill rate", "Time to first token",
                                                       "Load time",   "Memory",       "Share on the GPU",
                                                       "Context",     "Success"};
    return WORDS[sig];
}

static void add_value(struct o3_buf *out, enum o3_signal sig, const char *of, double v) {
    char text[64];
    o3_buf_addf(out, "<td class=\"n\" data-of=\"%s\">", of);
    if (isfinite(v)) {
        o3_signal_value_text(sig, v, text, sizeof text);
        o3_buf_add_html(out, text);
    }
    o3_buf_adds(out, "</td>");
}

/* "changed by -40.4 %", and the open incident. */
static void add_state(struct o3_buf *out, enum o3_signal sig, const json_t *series) {
    const char *state = text_of(series, "state"), *unit = sig == O3_SIGNAL_SUCCESS ? "points" : "%";
    bool is_confirmed = !strcmp(state, "confirmed");
    if (is_confirmed || !strcmp(state, "suspect")) {
        o3_buf_addf(out, "<b class=\"%s\">%s</b>", is_confirmed ? "bad" : "maybe",
                    is_confirmed ? "changed" : "may have changed");
        if (sig == O3_SIGNAL_SUCCESS || number_of(series, "baseline") > 0) /* else from nothing */
            o3_buf_addf(out, " by %+.1f %s", number_of(series, "change_ratio") * 100, unit);
        const json_t *id = json_array_get(json_object_get(series, "incidents"), 0);
        if (id) o3_buf_addf(out, ", <a href=\"#incident-%1$lld\">incident %1$lld</a>", json_integer_value(id));
    } else if (!strcmp(state, "learning")) {
        double n = number_of(series, "recent_n");
        o3_buf_addf(out, "<span class=\"dim\">is being learned, %.0f sample%s so far</span>", n, n == 1 ? "" : "s");
    } else {
        o3_buf_adds(out, "<b class=\"good\">steady</b>");
    }
}

static void add_series(struct o3_buf *out, enum o3_signal sig, const char *when, const json_t *series) {
    o3_buf_addf(out, "<tr><td class=\"name\">%s%s</td>", signal_words(sig), when);
    if (!json_object_get(series, "state")) {
        o3_buf_adds(out, "<td></td><td></td><td class=\"dim\">no sample yet</td><td></td></tr>\n");
        return;
    }
    add_value(out, sig, "normal", number_of(series, "baseline"));
    add_value(out, sig, "now", number_of(series, "now"));
    o3_buf_adds(out, "<td>");
    add_state(out, sig, series);
    o3_buf_adds(out, "</td><td class=\"n\" data-of=\"since\">");
    const char *since = text_of(series, "changed_since");
    o3_page_add_time(out, *since ? since : text_of(series, "baseline_established"));
    o3_buf_adds(out, "</td></tr>\n");
}

static void add_signals(struct o3_buf *out, const json_t *signals) {
    o3_buf_adds(out, "<div class=\"scroll\"><table><thead><tr><th>Signal</th><th>Normal</th><th>Now</th><th>State</th>"
                     "<th>Since</th></tr></thead><tbody>\n");
    for (int sig = 0; sig < O3_SIGNAL_COUNT; sig++) {
        const json_t *o = json_object_get(signals, o3_signal_name((enum o3_signal)sig));
        const json_t *strata = json_object_get(o, "strata");
        const json_t *busy = json_object_get(strata, o3_stratum_name(O3_STRATUM_BUSY));
        const json_t *throttled = json_object_get(strata, o3_stratum_name(O3_STRATUM_THROTTLED));
        add_series(out, (enum o3_signal)sig, "", o);
        if (busy) add_series(out, (enum o3_signal)sig, " beside users", busy);
        if (throttled) add_series(out, (enum o3_signal)sig, " while throttled", throttled);
    }
    o3_buf_adds(out, "</tbody></table></div>\n");
}

/* ---- what a release changed ---- */

static bool is_in_force(const json_t *release) {
    return json_is_true(json_object_get(release, "in_force"));
}

/* The comparison of this signal with the change of that time, where what changed then is still so; NULL: none. */
static const json_t *release_at(const json_t *signals, int sig, const char *since) {
    size_t i;
    const json_t *r, *list = json_object_get(json_object_get(signals, o3_signal_name((enum o3_signal)sig)), "releases");
    json_array_foreach(list, i, r) if (is_in_force(r) && !strcmp(text_of(r, "since"), since)) return r;
    return NULL;
}

/* The newest that is in force, older than `before`, which is NULL at first; NULL: there is none. */
static const json_t *next_release(const json_t *signals, const json_t *before) {
    const json_t *newest = NULL;
    for (int sig = 0; sig < O3_SIGNAL_COUNT; sig++) {
        size_t i;
        const json_t *r,
            *list = json_object_get(json_object_get(signals, o3_signal_name((enum o3_signal)sig)), "releases");
        json_array_foreach(list, i, r) {
            bool is_older = !before || strcmp(text_of(r, "since"), text_of(before, "since")) < 0;
            if (!is_in_force(r) || !is_older) continue;
            if (!newest || strcmp(text_of(r, "since"), text_of(newest, "since")) > 0) newest = r;
        }
    }
    return newest;
}

/* Beyond chance, and to be seen in print. */
static bool has_changed(const json_t *release) {
    double lo = number_of(release, "change_lo"), hi = number_of(release, "change_hi");
    return (lo > 0 || hi < 0) && fabs(number_of(release, "change_ratio")) >= 0.0005;
}

/* "decode_rate -24.6 %"; from nothing there is no ratio. */
static void add_release_change(struct o3_buf *out, enum o3_signal sig, const json_t *r) {
    bool is_share = sig == O3_SIGNAL_SUCCESS, is_worse = json_is_true(json_object_get(r, "worse"));
    o3_buf_addf(out, "%s%s ", is_worse ? "<b class=\"bad\">" : "", o3_signal_name(sig));
    if (is_share || number_of(r, "before") > 0) {
        o3_buf_addf(out, "%+.1f %s", number_of(r, "change_ratio") * 100, is_share ? "points" : "%");
    } else {
        char text[64];
        o3_signal_value_text(sig, number_of(r, "after"), text, sizeof text);
        o3_buf_addf(out, "0 to %s", text);
    }
    if (is_worse) o3_buf_adds(out, "</b>");
}

/* "Since server_version 0.32.15 to 0.33.0 (time): decode_rate -24.6 %". */
static void add_release(struct o3_buf *out, const json_t *signals, const json_t *release) {
    int n_equal = 0, n_changed = 0;
    o3_buf_adds(out, "<p>Since ");
    o3_buf_add_html(out, text_of(release, "reasons"));
    o3_buf_adds(out, " (");
    o3_page_add_time(out, text_of(release, "since"));
    o3_buf_adds(out, "): ");
    for (int sig = 0; sig < O3_SIGNAL_COUNT; sig++) {
        const json_t *r = release_at(signals, sig, text_of(release, "since"));
        if (!r) continue;
        n_equal += !has_changed(r);
        if (!has_changed(r)) continue;
        if (n_changed++) o3_buf_adds(out, ", ");
        add_release_change(out, (enum o3_signal)sig, r);
    }
    if (n_equal)
        o3_buf_addf(out, "%sno change of %d signal%s seen", n_changed ? "; " : "", n_equal, n_equal == 1 ? "" : "s");
    o3_buf_adds(out, "</p>");
}

/* Those that are in force, the newest first. */
static void add_releases(struct o3_buf *out, const json_t *signals) {
    int n = 0;
    for (const json_t *r = NULL; n < O3_RELEASE_REASONS && (r = next_release(signals, r)); n++)
        add_release(out, signals, r);
}

static bool is_worse_since(const json_t *m) {
    const json_t *signals = json_object_get(m, "signals");
    for (const json_t *r = NULL; (r = next_release(signals, r));)
        for (int sig = 0; sig < O3_SIGNAL_COUNT; sig++)
            if (json_is_true(json_object_get(release_at(signals, sig, text_of(r, "since")), "worse"))) return true;
    return false;
}

static int count_worse(const json_t *models) {
    int n = 0;
    size_t i;
    json_t *m;
    json_array_foreach(models, i, m) n += json_is_true(json_object_get(m, "loaded")) && is_worse_since(m);
    return n;
}

/* ---- models ---- */

static void add_model(struct o3_buf *out, const json_t *m) {
    const char *paused = text_of(m, "paused");
    o3_buf_adds(out, "<section><h2>");
    o3_buf_add_html(out, text_of(m, "model"));
    o3_buf_addf(out, "</h2><p class=\"dim\">%s, context %.0f tokens, probed every %.3g s",
                json_is_true(json_object_get(m, "loaded")) ? "loaded" : "not loaded", number_of(m, "num_ctx"),
                number_of(m, "probe_interval_seconds"));
    if (*paused && strcmp(paused, "not_loaded") != 0) {
        o3_buf_adds(out, "; probing paused: ");
        o3_buf_add_html(out, paused);
    }
    o3_buf_adds(out, "</p>");
    if (json_is_true(json_object_get(m, "stuck")))
        o3_buf_adds(out, "<p><b class=\"bad\">The runner does not answer.</b></p>");
    add_releases(out, json_object_get(m, "signals"));
    add_signals(out, json_object_get(m, "signals"));
    o3_buf_adds(out, "</section>\n");
}

/* ---- the verdict ---- */

static void add_verdict(struct o3_buf *out, const json_t *status, int n_worse) {
    bool is_up = json_is_true(json_object_get(status, "ollama_up"));
    double n_drifted = number_of(status, "models_drifted"), n_loaded = number_of(status, "models_loaded");
    const char *is = !is_up || n_drifted > 0 ? "bad" : n_loaded > 0 && !n_worse ? "good" : "none";
    o3_buf_addf(out, "<div class=\"verdict %s\">", is);
    if (!is_up) {
        o3_buf_adds(out, "<b class=\"bad\">Ollama does not answer</b>: ");
        o3_buf_add_html(out, text_of(status, "ollama_error"));
    } else if (n_drifted > 0) {
        o3_buf_addf(out, "<b class=\"bad\">%.0f model%s changed</b>", n_drifted, n_drifted == 1 ? " has" : "s have");
    } else if (n_worse > 0) {
        o3_buf_addf(out, "<b class=\"maybe\">%d model%s worse since %s release</b>, and unchanged from then on",
                    n_worse, n_worse == 1 ? " is" : "s are", n_worse == 1 ? "a" : "their");
    } else if (n_loaded > 0) {
        o3_buf_adds(out, "<b class=\"good\">No change detected</b>");
    } else {
        o3_buf_add_html(out, text_of(status, "hint"));
    }
    if (is_up) {
        o3_buf_adds(out, " <span class=\"dim\">Ollama ");
        o3_buf_add_html(out, text_of(status, "ollama_version"));
        o3_buf_addf(out, ", %.0f model%s loaded</span>", n_loaded, n_loaded == 1 ? "" : "s");
    }
    o3_buf_adds(out, "</div>\n");
}

/* ---- incidents: what changed, since when, by how much, how sure, probably why ---- */

static void add_causes(struct o3_buf *out, const json_t *causes) {
    size_t n;
    json_t *c;
    if (!json_array_size(causes)) return;
    o3_buf_adds(out, "<ul>");
    json_array_foreach(causes, n, c) {
        o3_buf_addf(out, "<li><b>%.0f %%</b> ", number_of(c, "weight") * 100);
        o3_buf_add_html(out, text_of(c, "cause"));
        if (*text_of(c, "evidence")) o3_buf_adds(out, ": ");
        o3_buf_add_html(out, text_of(c, "evidence"));
        o3_buf_adds(out, "</li>");
    }
    o3_buf_adds(out, "</ul>");
}

static void add_incident(struct o3_buf *out, const json_t *i) {
    bool is_open = json_is_true(json_object_get(i, "open"));
    o3_buf_addf(out,
                "<div class=\"card%s\" id=\"incident-%.0f\"><p><b class=\"%s\">Incident %.0f</b> <span "
                "class=\"dim\">since ",
                is_open ? " open" : "", number_of(i, "id"), is_open ? "bad" : "dim", number_of(i, "id"));
    o3_page_add_time(out, text_of(i, "since"));
    if (!is_open) {
        o3_buf_adds(out, ", settled ");
        o3_page_add_time(out, text_of(i, "closed"));
    }
    o3_buf_adds(out, "</span></p><p>");
    o3_buf_add_html(out, text_of(i, "text"));
    o3_buf_adds(out, "</p>");
    if (is_open) add_causes(out, json_object_get(i, "causes"));
    o3_buf_adds(out, "</div>\n");
}

static void add_incidents(struct o3_buf *out, const json_t *incidents, bool open, const char *title, int max) {
    int n_shown = 0;
    size_t n;
    json_t *i;
    json_array_foreach(incidents, n, i) {
        if (json_is_true(json_object_get(i, "open")) != open || n_shown == max) continue;
        if (!n_shown++) o3_buf_addf(out, "<section><h2>%s</h2>\n", title);
        add_incident(out, i);
    }
    if (n_shown) o3_buf_adds(out, "</section>\n");
}

/* ---- the page ---- */

typedef int json_fn(const struct o3_sidecar *s, struct o3_now now, struct o3_buf *out);

static int incidents_json(const struct o3_sidecar *s, struct o3_now now, struct o3_buf *out) {
    (void)now;
    return o3_sidecar_incidents_json(s, out);
}

static json_t *load(json_fn *fn, const struct o3_sidecar *s, struct o3_now now) {
    O3_AUTO_BUF text;
    o3_buf_init(&text, 16u << 20);
    return fn(s, now, &text) < 0 ? NULL : json_loadb(text.p, text.len, 0, NULL);
}

int o3_page_render(const struct o3_daemon *d, struct o3_now now, struct o3_buf *out) {
    const struct o3_sidecar *s = d->sidecar;
    json_t *publishing = o3_daemon_publishing_json(d, now);
    json_t *status = load(o3_sidecar_status_json, s, now), *models = load(o3_sidecar_models_json, s, now);
    json_t *incidents = load(incidents_json, s, now), *list = json_object_get(incidents, "incidents"), *m;
    size_t i;
    if (status && models && incidents) {
        o3_buf_adds(out, HEAD);
        add_verdict(out, status, count_worse(json_object_get(models, "models")));
        add_incidents(out, list, true, "What has changed", O3_INCIDENTS_MAX);
        json_array_foreach(json_object_get(models, "models"), i, m) add_model(out, m);
        o3_page_add_publishing(out, publishing);
        add_incidents(out, list, false, "Settled", CLOSED_SHOWN);
        o3_buf_adds(out, FOOT);
    }
    int result = status && models && incidents ? out->err : O3_E_NOMEM;
    json_decref(publishing);
    json_decref(status);
    json_decref(models);
    json_decref(incidents);
    return result;
}
