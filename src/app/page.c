/* SPDX-License-Identifier: Apache-2.0 */
/* The status page at /: the verdict first, then each model, then where to find more. Model names are outside text:
 * escaped. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "app/daemon_internal.h"

static const char HEAD[] =
    "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>O3 Sidecar</title>"
    "<meta name=\"viewport\" content=\"width=device-width\"><meta http-equiv=\"refresh\" content=\"15\"><style>"
    "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 "
    "1rem;color:#1c2330;background:#fff}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.4rem .6rem;border-bottom:1px solid "
    "#d8dde6;vertical-align:top}"
    "th{font-weight:600}.good{color:#146c2e}.bad{color:#b3261e;font-weight:600}.dim{color:#5b6472}"
    "</style></head><body><h1>O3 Sidecar</h1>";

static const char *text_of(const json_t *o, const char *key) {
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static double number_of(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : (double)NAN;
}

static const struct {
    const char *name, *words, *unit;
    double scale;
} SIGNALS[] = {{"decode_rate", "decode rate", "tok/s", 1},
               {"ttft", "time to first token", "ms", 1000},
               {"prefill_rate", "prefill rate", "tok/s", 1}};
enum { N_SIGNALS = sizeof SIGNALS / sizeof *SIGNALS };

static void add_signal(struct o3_buf *out, int i, const json_t *sig) {
    const char *state = text_of(sig, "state"), *unit = SIGNALS[i].unit;
    double normal = number_of(sig, "baseline") * SIGNALS[i].scale, change = number_of(sig, "change_ratio");
    bool is_bad = !strcmp(state, "confirmed");
    o3_buf_addf(out, "<div>%s ", SIGNALS[i].words);
    if (!isfinite(normal)) {
        o3_buf_addf(out, "<span class=\"dim\">is being learned, %.0f samples so far</span>", number_of(sig, "samples"));
    } else if (is_bad || !strcmp(state, "suspect")) {
        o3_buf_addf(out, "<span class=\"%s\">%s</span> %.1f &rarr; %.1f %s (%+.1f %%) since ", is_bad ? "bad" : "dim",
                    is_bad ? "changed" : "may have changed", normal, normal * (1 + change), unit, change * 100);
        o3_buf_add_html(out, text_of(sig, "changed_since"));
    } else {
        o3_buf_addf(out, "<span class=\"good\">steady</span> at %.1f %s", normal, unit);
    }
    o3_buf_adds(out, "</div>");
}

static void add_model(struct o3_buf *out, const json_t *m) {
    bool is_loaded = json_is_true(json_object_get(m, "loaded"));
    o3_buf_adds(out, "<tr><td>");
    o3_buf_add_html(out, text_of(m, "model"));
    o3_buf_addf(out, "<div class=\"dim\">%s, context %.0f</div></td><td>", is_loaded ? "loaded" : "not loaded",
                number_of(m, "num_ctx"));
    for (int i = 0; i < N_SIGNALS; i++) {
        const json_t *sig = json_object_get(json_object_get(m, "signals"), SIGNALS[i].name);
        if (sig) add_signal(out, i, sig);
    }
    if (json_is_true(json_object_get(m, "stuck")))
        o3_buf_adds(out, "<div class=\"bad\">the runner does not answer</div>");
    const char *paused = text_of(m, "paused");
    if (*paused) o3_buf_addf(out, "<div class=\"dim\">probing paused: %s</div>", paused);
    o3_buf_addf(out, "</td><td>%.0f s</td></tr>", number_of(m, "probe_interval_seconds"));
}

static void add_verdict(struct o3_buf *out, const json_t *status) {
    bool is_up = json_is_true(json_object_get(status, "ollama_up"));
    double n_drifted = number_of(status, "models_drifted"), n_loaded = number_of(status, "models_loaded");
    o3_buf_adds(out, "<p>");
    if (!is_up) {
        o3_buf_adds(out, "<span class=\"bad\">Ollama does not answer</span>: ");
        o3_buf_add_html(out, text_of(status, "ollama_error"));
    } else if (n_drifted > 0) {
        o3_buf_addf(out, "<span class=\"bad\">Changed: %.0f of the models</span>", n_drifted);
    } else if (n_loaded > 0) {
        o3_buf_adds(out, "<span class=\"good\">No change detected</span>");
    } else {
        o3_buf_add_html(out, text_of(status, "hint"));
    }
    if (is_up) {
        o3_buf_adds(out, " <span class=\"dim\">Ollama ");
        o3_buf_add_html(out, text_of(status, "ollama_version"));
        o3_buf_addf(out, ", %.0f loaded</span>", n_loaded);
    }
    o3_buf_adds(out, "</p>");
}

/* What stands changed, in the words of the verdict: what, since when, by how much, how sure, probably why. */
static void add_incident(struct o3_buf *out, const json_t *i) {
    if (!json_is_true(json_object_get(i, "open"))) return;
    o3_buf_addf(out, "<p><span class=\"bad\">Incident %.0f</span> since ", number_of(i, "id"));
    o3_buf_add_html(out, text_of(i, "since"));
    o3_buf_adds(out, ": ");
    o3_buf_add_html(out, text_of(i, "text"));
    o3_buf_adds(out, "</p>");
}

static void add_incidents(const struct o3_sidecar *s, struct o3_buf *out) {
    O3_AUTO_BUF text;
    o3_buf_init(&text, 4u << 20);
    if (o3_sidecar_incidents_json(s, &text) < 0) return;
    json_t *root = json_loadb(text.p, text.len, 0, NULL), *i;
    size_t n;
    json_array_foreach(json_object_get(root, "incidents"), n, i) add_incident(out, i);
    json_decref(root);
}

int o3_page_render(const struct o3_sidecar *s, struct o3_now now, struct o3_buf *out) {
    O3_AUTO_BUF text;
    o3_buf_init(&text, 16u << 20);
    if (o3_sidecar_status_json(s, now, &text) < 0) return text.err;
    json_t *status = json_loadb(text.p, text.len, 0, NULL);
    o3_buf_clear(&text);
    int r = o3_sidecar_models_json(s, now, &text);
    json_t *models = r < 0 ? NULL : json_loadb(text.p, text.len, 0, NULL);
    if (status && models) {
        o3_buf_adds(out, HEAD);
        add_verdict(out, status);
        add_incidents(s, out);
        o3_buf_adds(out, "<table><tr><th>Model</th><th>Verdict</th><th>Probed every</th></tr>");
        size_t i;
        json_t *m;
        json_array_foreach(json_object_get(models, "models"), i, m) add_model(out, m);
        o3_buf_adds(out, "</table><p><a href=\"/metrics\">metrics</a> · <a href=\"/api/v1/status\">status</a> · "
                         "<a href=\"/api/v1/models\">models</a> · <a href=\"/api/v1/samples\">samples</a> · "
                         "<a href=\"/api/v1/events\">events</a> · <a href=\"/api/v1/incidents\">incidents</a> · "
                         "<a href=\"/api/v1/presets\">presets</a> · <a "
                         "href=\"/config\">configuration</a></p>"
                         "<p class=\"dim\">o3 " O3_VERSION "</p></body></html>\n");
    }
    int result = status && models ? out->err : O3_E_NOMEM;
    json_decref(status);
    json_decref(models);
    return result;
}
