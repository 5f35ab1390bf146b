# SPDX-License-Identifier: Apache-2.0
"""What the dashboards share: variables, annotations, links, the expressions of the verdict, and the row about the sidecar itself."""

from parts import *

UIDS = ("o3-fleet", "o3-model", "o3-explorer")

# 0 to 5 as in VERDICTS: the worst of what is known. `by` keeps these labels.
def verdict(by, of_model=True):
    model_part = f"""
        label_replace(3 * o3_ollama_stuck{{{MODEL}}}, "why", "stuck", "", "")
        or label_replace(2 * o3_drift_detected{{{MODEL}}}, "why", "changed", "", "")
        or o3_drift_suspected{{{MODEL}}}"""
    server_part = f"""
        label_replace(5 * (1 - up{{{SIDECAR}}}), "why", "sidecar", "", "")
        or label_replace(4 * (1 - o3_ollama_up{{{SIDECAR}}}), "why", "ollama", "", "") or"""
    return f"max{f' by ({by})' if by else ''} ({'' if of_model == 'only' else server_part} {model_part})"


# The latest probe against the normal level: -0.4 is 40 % slower.
def against_normal(metric, signal):
    return (f"{metric}{{{MODEL}}} / on ({BY_MODEL}) o3_baseline_value{{{MODEL}, signal=\"{signal}\"}} - 1")


# Models whose last good probe is older than three intervals although nothing pauses their probes by design.
SILENT = f"""
    (time() - o3_probe_last_success_timestamp_seconds{{{MODEL}}}) > on ({BY_MODEL}) (3 * o3_probe_interval_seconds{{{MODEL}}})
    unless on ({BY_MODEL}) (max by ({BY_MODEL}) (o3_probe_paused{{{MODEL}}}) == 1)"""


def quantile(q, histogram, selector, by="", window="$__rate_interval"):
    return f"histogram_quantile({q}, sum by ({by + ', ' if by else ''}le) (rate({histogram}_bucket{{{selector}}}[{window}])))"


def variable(name, label, ask, multi=True):
    more = {"includeAll": True, "allValue": ".+", "current": {"text": ["All"], "value": ["$__all"]}} if multi else {"includeAll": False}
    return {"name": name, "label": label, "type": "query", "datasource": DATASOURCE, "query": {"query": ask, "refId": f"variable-{name}", "qryType": 1}, "refresh": 2, "regex": "", "sort": 1, "multi": multi,
            "hide": 0, "skipUrlSync": False, "options": [], **more}


def variables(*more):
    return {"list": [
        {"name": "datasource", "label": "Data Source", "type": "datasource", "query": "prometheus", "regex": "", "refresh": 1, "hide": 0,
         "multi": False, "includeAll": False, "skipUrlSync": False, "options": [], "current": {"text": "default", "value": "default"}},
        variable("job", "Job", "label_values(o3_build_info, job)"),
        variable("instance", "Sidecar", 'label_values(o3_build_info{job=~"$job"}, instance)'),
        variable("model", "Model", f"label_values(o3_probe_interval_seconds{{{SIDECAR}}}, model)"),
        *more,
    ]}


def annotation(name, color, expr, title, text, tags, enable=True, value_is_time=False):
    # `expr` and `step` are for Grafana before 9, `target` is what later ones read.
    expr = " ".join(expr.split())
    return {"name": name, "enable": enable, "hide": False, "iconColor": color, "datasource": DATASOURCE, "expr": expr, "step": "30s",
            "target": {"refId": "Anno", "expr": expr, "interval": "30s", "range": True, "instant": False},
            "titleFormat": title, "textFormat": text, "tagKeys": tags, "useValueForTime": value_is_time}


def annotations():
    return {"list": [
        {"builtIn": 1, "name": "Annotations & Alerts", "type": "dashboard", "enable": True, "hide": True, "iconColor": "blue",
         "datasource": {"type": "grafana", "uid": "-- Grafana --"}},
        annotation("Change began", RED,
                   f"""1000 * (o3_drift_change_timestamp_seconds{{{MODEL}}} and on ({BY_MODEL}, signal) o3_drift_detected{{{MODEL}}} == 1)""",
                   "{{signal}} changed", "{{model}} on {{instance}}: the estimated time at which the confirmed change began", "model,signal",
                   value_is_time=True),
        annotation("Change confirmed", ORANGE,
                   f"sum by ({BY_MODEL}, signal, direction) (increase(o3_drift_events_total{{{MODEL}}}[$__rate_interval])) > 0",
                   "{{signal}} {{direction}}: confirmed", "{{model}} on {{instance}}", "model,signal"),
        annotation("Presets changed", BLUE,
                   f"""sum by ({BY_MODEL}, preset) (changes(o3_preset_context_tokens{{{MODEL}}}[$__rate_interval])
                       + changes(o3_preset_batch_size{{{MODEL}}}[$__rate_interval])) > 0""",
                   "{{preset}} changed", "{{model}} on {{instance}}: another context or batch size", "model,preset"),
        annotation("Presets written", "super-light-blue",
                   f"1000 * o3_preset_last_write_success_timestamp_seconds{{{SIDECAR}}}",
                   "Presets written to {{target}}", "{{instance}}", "target", enable=False, value_is_time=True),
        annotation("Release", "purple", f"1000 * o3_release_timestamp_seconds{{{MODEL}}}",
                   "Another release", "{{model}} on {{instance}}: model, server version, device or setting changed", "model", value_is_time=True),
        annotation("Ollama away", "dark-red", f"o3_ollama_up{{{SIDECAR}}} == bool 0", "Ollama does not answer", "{{instance}}", "instance"),
    ]}


def links():
    return [{"type": "dashboards", "title": "O3", "tags": ["o3"], "asDropdown": False, "includeVars": True, "keepTime": True,
             "targetBlank": False, "icon": "external link", "tooltip": "", "url": ""}]


def to_model():
    return [{"title": "This model", "targetBlank": False,
             "url": "/d/o3-model?${datasource:queryparam}&${job:queryparam}&var-instance=${__data.fields.Sidecar}"
                    "&var-model=${__data.fields.Model}&${__url_time_range}"}]


def dashboard(uid, title, description, rows, more_variables=()):
    return {"uid": uid, "title": title, "description": description, "tags": ["o3", "ollama"], "schemaVersion": 41, "version": 1,
            "editable": False, "graphTooltip": 1, "refresh": "30s", "time": {"from": "now-6h", "to": "now"}, "timezone": "browser",
            "fiscalYearStartMonth": 0, "liveNow": False, "weekStart": "", "timepicker": {}, "preload": False, "links": links(),
            "annotations": annotations(), "templating": variables(*more_variables), "panels": place(rows)}


def cost_row():
    """What the sidecar costs the server and the machine. The same on every dashboard that has it."""
    return row("Cost of probing and health of the sidecar",
        timeseries("Server time taken by probes", "Share of the time in which Ollama worked for our probes.",
                   "below probe.max_busy_ratio, 0.5 % unless configured.", "raise probe.interval, or lower probe.max_busy_ratio.",
                   query(f"sum by (instance) (rate(o3_probe_busy_seconds_total{{{MODEL}}}[$__rate_interval]))", "{{instance}}"), "percentunit",
                   steps(GREEN, (0.005, YELLOW), (0.02, RED)), defaults={"min": 0}),
        timeseries("Tokens for probes in 24 hours", "Tokens that probes made Ollama evaluate or generate, as a rate of 24 hours.",
                   "below probe.max_tokens_per_day (50,000), plus 5,000 while a change is suspected.",
                   "lower probe.max_tokens_per_day; the probes then come more rarely.",
                   query(f"86400 * sum by (instance, type) (rate(o3_probe_tokens_total{{{MODEL}}}[$__rate_interval]))", "{{instance}} {{type}}"),
                   "suffix: tok/d", steps(GREEN, (55000, YELLOW)), stack=True, defaults={"min": 0}),
        stat("Loads that a probe caused", "Times a probe made Ollama load a model again, in the range shown.", "0, always.",
             "look at the event induced_reload in the log; the model is not probed until its options are known. Report it.",
             now(f"round(sum(increase(o3_probe_induced_reloads_total{{{MODEL}}}[$__range])))"), "short", steps(GREEN, (0.5, RED)), (8, 8)),
        timeseries("Memory of the sidecar", "Resident and virtual memory of the sidecar's process.",
                   "resident at 20 MiB or less and flat over days.", "a resident line that climbs for days is a defect: report it.",
                   [query(f"process_resident_memory_bytes{{{SIDECAR}}}", "{{instance}} resident"),
                    query(f"process_virtual_memory_bytes{{{SIDECAR}}}", "{{instance}} virtual")], "bytes",
                   steps(GREEN, (33554432, YELLOW)), defaults={"min": 0},
                   overrides=[{"matcher": {"id": "byFrameRefID", "options": "B"}, "properties": [
                       {"id": "custom.axisPlacement", "value": "right"}, {"id": "custom.thresholdsStyle", "value": {"mode": "off"}}]}]),
        timeseries("Processor of the sidecar", "Share of one core that the sidecar uses.", "a fraction of a percent.",
                   "look for many clients in 'Requests answered', or a very short probe.interval.",
                   query(f"rate(process_cpu_seconds_total{{{SIDECAR}}}[$__rate_interval])", "{{instance}}"), "percentunit",
                   steps(GREEN, (0.05, YELLOW)), defaults={"min": 0}),
        timeseries("File descriptors", "Open file descriptors as a share of what the process may open.", "far below 80 %.",
                   "close idle clients, or lower web.max_connections and web.timeout.",
                   query(f"process_open_fds{{{SIDECAR}}} / process_max_fds{{{SIDECAR}}}", "{{instance}}"), "percentunit",
                   steps(GREEN, (0.8, RED)), defaults={"min": 0, "max": 1}),
        timeseries("Lag of the event loop", "Delay between the time a timer was due and the time it ran, 99th percentile.",
                   "below 100 ms.", "the machine or its disk is overloaded, or the sidecar's processor quota is too small.",
                   query(quantile(0.99, "o3_loop_lag_seconds", SIDECAR, "instance"), "{{instance}}"), "s",
                   steps(GREEN, (0.1, YELLOW), (1, RED)), defaults={"min": 0}),
        timeseries("Requests answered", "HTTP requests to the sidecar, by page and status.", "scrapes with code 200, at the pace of Prometheus.",
                   "4xx: a client asks wrongly or without its credentials; 5xx: look at the log.",
                   query(f"sum by (instance, handler, code) (rate(o3_http_requests_total{{{SIDECAR}}}[$__rate_interval]))",
                         "{{instance}} {{handler}} {{code}}"), "reqps", defaults={"min": 0}),
        timeseries("Duration of scrapes", "Time that Prometheus needs for a scrape of the sidecar.", "milliseconds: scrapes read memory only.",
                   "look at the lag of the event loop and at the network between.",
                   query(f"scrape_duration_seconds{{{SIDECAR}}}", "{{instance}}"), "s", steps(GREEN, (0.5, YELLOW), (5, RED)), defaults={"min": 0}),
        stat("Configuration", "Whether the latest attempt to load the configuration succeeded.", "valid.",
             "the old configuration stays in force; the event config_rejected names file, line and column.",
             now(f"min(o3_config_last_reload_successful{{{SIDECAR}}})"), thresholds=steps(RED, (1, GREEN)),
             defaults={"mappings": mapping(((0, "refused", RED), (1, "valid", GREEN)))}),
        stat("Configuration loaded", "Time since the configuration in force was loaded.", "the time of your last change.",
             "younger than you know of: somebody changed the file.",
             now(f"time() - max(o3_config_last_reload_success_timestamp_seconds{{{SIDECAR}}})"), "s", PLAIN),
        stat("Store", "Whether the database of samples and states can be used.", "yes.",
             "measuring goes on without history; free the disk or mend its permissions (event store_failed).",
             now(f"min(o3_store_up{{{SIDECAR}}})"), thresholds=steps(RED, (1, GREEN)), defaults={"mappings": mapping(YES_NO)}),
        stat("Models over the limit", "Loaded models beyond models.max, which are not probed.", "0.", "raise models.max, or exclude models.",
             now(f"sum(o3_models_over_limit{{{SIDECAR}}})")),
        stat("Series dropped", "Series left out of /metrics because the limit of the registry was reached, in the range shown.", "0.",
             "watch fewer models: models.include, models.max.", now(f"round(sum(increase(o3_series_dropped_total{{{SIDECAR}}}[$__range])))")),
        stat("Running for", "Time since the youngest of these sidecars started.", "the age of its pod.",
             "young again and again: it is killed; look at its memory limit and last log lines.",
             now(f"time() - max(process_start_time_seconds{{{SIDECAR}}})"), "s", PLAIN),
        stat("Life of the certificate left", "Share of the time between the beginning and the end of the certificate of the pages; the least.",
             "a fifth or more: whoever renews it by itself does so earlier.", "renew it: files that change are read again by themselves.",
             now(f"""min((o3_web_certificate_expiry_timestamp_seconds{{{SIDECAR}}} - time())
                    / (o3_web_certificate_expiry_timestamp_seconds{{{SIDECAR}}} - o3_web_certificate_start_timestamp_seconds{{{SIDECAR}}}))"""),
             "percentunit", steps(RED, (0, YELLOW), (0.2, GREEN)), (4, 5), defaults={"noValue": "no TLS"}),
        stat("Certificate ends in", "Time until the certificate of the pages ends; the soonest. Only where the pages are served over TLS.", "two weeks or more.",
             "renew it: files that change are read again by themselves.",
             now(f"min(o3_web_certificate_expiry_timestamp_seconds{{{SIDECAR}}} - time())"), "s", steps(RED, (86400, YELLOW), (1209600, GREEN)), (4, 5),
             defaults={"noValue": "no TLS"}),
        stat("Web configuration", "Whether the latest attempt to read the web configuration and its certificates succeeded.", "valid.",
             "the old one stays in force; the log names file and line.",
             now(f"min(o3_web_config_last_reload_successful{{{SIDECAR}}})"), thresholds=steps(RED, (1, GREEN)), size=(4, 5),
             defaults={"mappings": mapping(((0, "refused", RED), (1, "valid", GREEN))), "noValue": "none"}),
        stat("Web configuration read", "Time since the web configuration was last read with success.", "the time of your last change.",
             "older than your last change: it was refused.",
             now(f"time() - max(o3_web_config_last_reload_success_timestamp_seconds{{{SIDECAR}}})"), "s", PLAIN, (4, 5), defaults={"noValue": "none"}),
        timeseries("Sign-ins", "Requests to pages that ask for a password or a token, by result.", "ok alone.",
                   "wrong: a client with an old password or token, or somebody who guesses; limited: guesses are slowed down.",
                   query(f"sum by (instance, result) (rate(o3_web_sign_ins_total{{{SIDECAR}}}[$__rate_interval]))", "{{instance}} {{result}}"), "reqps",
                   size=(8, 5), stack=True, defaults={"min": 0}),
        table("Versions", "Version of each sidecar and of the Ollama server beside it.", "one version everywhere.",
              "finish the roll-out, or compare the speeds of the versions in the drift explorer.",
              [rows_of(f"max by (job, instance, version, revision, compiler) (o3_build_info{{{SIDECAR}}})"),
               rows_of(f"""max by (job, instance, ollama) (label_replace(o3_ollama_info{{{SIDECAR}}}, "ollama", "$1", "version", "(.*)"))""")],
              {"job": "Job", "instance": "Sidecar", "version": "O3", "revision": "Revision", "compiler": "Compiler", "ollama": "Ollama"},
              hide=("Value #A", "Value #B"), size=(24, 5)),
        collapsed=True)
