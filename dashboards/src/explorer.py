# SPDX-License-Identifier: Apache-2.0
"""Why was (or was not) a change called: evidence, baselines, causes, releases, samples kept out, and what became of the presets."""

from frame import *

SIGNAL = MODEL + ', signal=~"$signal"'


def verdict_row():
    return row("Verdict",
        stat("Signals changed", "Signals of the chosen models with a confirmed change.", "0.", "see the time line for which, and the causes for why.",
             now(f"sum(o3_drift_detected{{{SIGNAL}}})"), size=(4, 4)),
        stat("Signals suspected", "Signals whose evidence passed the threshold and which wait for confirmation.", "0, or 1 for some minutes.",
             "wait: probes come sooner on a suspicion.", now(f"sum(o3_drift_suspected{{{SIGNAL}}})"), thresholds=steps(GREEN, (1, YELLOW)), size=(4, 4)),
        stat("Nearest to an alarm", "Largest evidence relative to its threshold; 100 % is a suspicion.", "below 80 %.",
             "see which signal climbs in 'Evidence'.",
             now(f"max(o3_drift_statistic{{{SIGNAL}}} / o3_drift_threshold{{{SIGNAL}}})"), "percentunit", steps(GREEN, (0.8, YELLOW), (1, ORANGE)), (4, 4)),
        stat("Largest change", "Largest confirmed change of a signal, by its amount.", "0 %.", "see the table of changes.",
             now(f"max(abs(o3_drift_change_ratio{{{SIGNAL}}}))"), "percentunit", steps(GREEN, (0.05, YELLOW), (0.2, RED)), (4, 4)),
        stat("Youngest baseline", "Fewest samples behind a baseline. A young baseline judges with caution.", "30 or more.",
             "wait, or look why samples are kept out.", now(f"min(o3_baseline_samples{{{SIGNAL}}})"), "short", steps(YELLOW, (30, GREEN)), (4, 4)),
        stat("Incidents", "Incidents that were opened in the range shown: changes that began together count as one.", "0.",
             "many small ones: raise drift.min_effect; see the shape of the noise in 'Spread'.",
             now(f"round(sum(increase(o3_incidents_total{{{SIDECAR}}}[$__range])))"), thresholds=steps(GREEN, (0.5, YELLOW), (5, RED)), size=(4, 4)))


def evidence_row():
    return row("Evidence",
        timeseries("Evidence against its threshold", "The detector's statistic over its threshold, of each signal: at 100 % a change is suspected.",
                   "wandering below 80 %.", "a straight climb is a change, a jagged line noise; the verdict follows by itself.",
                   query(f"o3_drift_statistic{{{SIGNAL}}} / o3_drift_threshold{{{SIGNAL}}}", "{{model}} {{instance}} {{signal}} {{detector}}"), "percentunit",
                   steps(GREEN, (0.8, YELLOW), (1, RED)), size=(12, 8), defaults={"min": 0}),
        timeseries("Change against the normal level", "Confirmed or suspected change of each signal; 0 without one.", "0 %.",
                   "a rate that falls or a time that grows is worse; accept a wanted change with 'o3 ack'.",
                   query(f"o3_drift_change_ratio{{{SIGNAL}}}", "{{model}} {{instance}} {{signal}}"), "percentunit", size=(12, 8)),
        timeline("State of each signal", "steady, suspected or changed, of each signal.", "steady.", "choose the signal above to see it alone.",
                 query(f"max by (instance, model, signal) (2 * o3_drift_detected{{{SIGNAL}}} > 0 or o3_drift_suspected{{{SIGNAL}}})",
                       "{{model}} {{instance}} {{signal}}"), VERDICTS[:3], size=(24, 9)),
        table("Changes, since when, and why", "Each confirmed change: how far, since when, the likeliest cause of its incident, and "
              "where it shows: idle (without users), throttled, or only beside users (busy).", "no line.",
              "the cause names what to look at; unknown: compare the time with other events on the machine.",
              [rows_of(f"max by ({BY_MODEL}, signal) (o3_drift_change_ratio{{{SIGNAL}}} and on ({BY_MODEL}, signal) o3_drift_detected{{{SIGNAL}}} == 1)"),
               rows_of(f"1000 * max by ({BY_MODEL}, signal) (o3_drift_change_timestamp_seconds{{{SIGNAL}}})"),
               rows_of(f"max by ({BY_MODEL}, signal, cause, stratum) (o3_drift_cause_info{{{SIGNAL}}})")],
              {"instance": "Sidecar", "model": "Model", "signal": "Signal", "Value #A": "Change", "Value #B": "Since", "cause": "Cause",
               "stratum": "Where"},
              hide=("job", "Value #C"), overrides=[by_name("Change", unit="percentunit", decimals=1), by_name("Since", unit="dateTimeAsIso"),
                                                   by_name("Model", links=to_model())], size=(14, 7)),
        timeseries("Confirmed changes", "Changes that were confirmed, by signal and direction of its value.", "0.",
                   "a signal that alarms day after day without a cause: acknowledge its new level, or raise drift.min_effect.",
                   query(f"sum by (signal, direction) (increase(o3_drift_events_total{{{SIGNAL}}}[$__rate_interval]))", "{{signal}} {{direction}}"), "short",
                   size=(10, 7), stack=True, defaults={"min": 0}))


def baseline_row():
    return row("Baselines",
        timeseries("Normal level, relative to now", "Normal level of each signal relative to where it stands at the right of the graph: how the baselines themselves moved.",
                   "flat; a step is a new setting or an accepted change.", "a slope: the machine grows slower or faster over days; the detector tells it as a slow change once it is large enough.",
                   query(f"o3_baseline_value{{{SIGNAL}}} / on ({BY_MODEL}, signal) last_over_time(o3_baseline_value{{{SIGNAL}}}[$__range] @ end()) - 1",
                         "{{model}} {{instance}} {{signal}}"), "percentunit"),
        timeseries("Spread", "Standard deviation of each signal relative to its normal level.", "below 5 %: a change of 5 % is then found within some ten samples.",
                   "above 10 %: neighbours, throttling, or a device that changes its clock; changes are found later.",
                   query(f"o3_baseline_stddev{{{SIGNAL}}} / o3_baseline_value{{{SIGNAL}}} > 0", "{{model}} {{instance}} {{signal}}"), "percentunit",
                   steps(GREEN, (0.1, YELLOW), (0.2, RED)), defaults={"min": 0}),
        timeseries("Samples behind the baselines", "Samples behind each baseline.", "30 and more.",
                   "back to few again and again: the setting changes, and each setting has baselines of its own.",
                   query(f"o3_baseline_samples{{{SIGNAL}}}", "{{model}} {{instance}} {{signal}}"), "short", steps(YELLOW, (30, GREEN)), defaults={"min": 0}),
        table("Baselines", "Each baseline: level in its own unit, spread, samples, age.", "old, with hundreds of samples and little spread.",
              "young: the model, version, device or setting changed.",
              [rows_of(f"max by ({BY_MODEL}, signal) (o3_baseline_value{{{SIGNAL}}})"),
               rows_of(f"max by ({BY_MODEL}, signal) (o3_baseline_stddev{{{SIGNAL}}} / o3_baseline_value{{{SIGNAL}}})"),
               rows_of(f"max by ({BY_MODEL}, signal) (o3_baseline_samples{{{SIGNAL}}})"),
               rows_of(f"time() - max by ({BY_MODEL}, signal) (o3_baseline_established_timestamp_seconds{{{SIGNAL}}})")],
              {"instance": "Sidecar", "model": "Model", "signal": "Signal", "Value #A": "Level", "Value #B": "Spread", "Value #C": "Samples",
               "Value #D": "Age"}, hide=("job",), overrides=[by_name("Spread", unit="percentunit", decimals=1), by_name("Age", unit="s")], size=(24, 8)))


def release_row():
    return row("Releases",
        table("Before and after the latest release", "Levels after the latest change of model, server version, device or setting, relative to before.",
              "rates -5 % or better, times +5 % or better.", "worse: go back, or accept the new level with 'o3 ack'.",
              [rows_of(f"max by ({BY_MODEL}, signal, reason) (o3_release_change_ratio{{{SIGNAL}}})"),
               rows_of(f"1000 * max by ({BY_MODEL}) (o3_release_timestamp_seconds{{{MODEL}}})"),
               rows_of(f"""max by (job, instance, version) (o3_ollama_info{{{SIDECAR}}})""")],
              {"instance": "Sidecar", "model": "Model", "signal": "Signal", "reason": "Because of", "Value #A": "Change", "Value #B": "Released", "version": "Ollama now"},
              hide=("job", "Value #C"), overrides=[by_name("Change", unit="percentunit", decimals=1), by_name("Released", unit="dateTimeAsIso")], size=(12, 8)),
        timeseries("Change since the release", "The same over time: it moves with each release that is compared.", "rates around 0 % or above.",
                   "hover over the mark 'Another release' for when it was.",
                   query(f"o3_release_change_ratio{{{SIGNAL}}}", "{{model}} {{instance}} {{signal}} {{reason}}"), "percentunit", size=(12, 8)))


def samples_row():
    return row("Samples",
        timeseries("Samples kept out", "Samples kept out of the baselines, by reason.", "warmup after a load; few others.",
                   "busy, tainted: users beside the probes; implausible: report it.",
                   query(f"sum by (reason) (increase(o3_samples_rejected_total{{{SIDECAR}}}[$__rate_interval]))", "{{reason}}"), "short", stack=True,
                   defaults={"min": 0}),
        timeseries("Probes not sent", "Probes that were due and not sent, by reason.", "busy, conversation, idle: out of regard for users.",
                   "budget: raise probe.max_tokens_per_day; options_unknown: load the model anew under another version.",
                   query(f"sum by (reason) (increase(o3_probes_skipped_total{{{MODEL}}}[$__rate_interval]))", "{{reason}}"), "short", stack=True,
                   defaults={"min": 0}),
        timeseries("Stability", "Share of recent attempts that succeeded within 15 % of the median.", "95 % or more.",
                   "below 85 % no setting can be told from noise: look for neighbours.",
                   query(f"o3_stability_ratio{{{MODEL}}}", "{{model}} {{instance}}"), "percentunit", steps(RED, (0.85, ORANGE), (0.95, GREEN)),
                   defaults={"min": 0, "max": 1}))


def tuning_row():
    return row("Tuning and presets",
        table("Presets", "Context and batch size of each preset, and the context in force.", "the one in force equals a preset.",
              "clients that ask for a num_ctx of their own: give them the preset.",
              [rows_of(f"max by ({BY_MODEL}, preset) (o3_preset_context_tokens{{{MODEL}}})"),
               rows_of(f"max by ({BY_MODEL}, preset) (o3_preset_batch_size{{{MODEL}}})"),
               rows_of(f"max by ({BY_MODEL}) (o3_model_context_tokens{{{MODEL}}})")],
              {"instance": "Sidecar", "model": "Model", "preset": "Preset", "Value #A": "Context", "Value #B": "Batch", "Value #C": "In force"},
              hide=("job",), overrides=[by_name("Context", unit="suffix: tok"), by_name("In force", unit="suffix: tok")], size=(12, 7)),
        timeline("Contexts over time", "Context length of each preset.", "long stretches of one number.",
                 "many changes: the machine's memory changes under it, see the fleet overview.",
                 query(f"max by (instance, model, preset) (o3_preset_context_tokens{{{MODEL}}})", "{{model}} {{instance}} {{preset}}"), (), size=(12, 7),
                 unit="suffix: tok", color="continuous-BlPu"),
        timeseries("Speed and context", "Decode rate of the latest probes; the marks show when presets changed.", "unchanged or faster after a mark.",
                   "slower after a mark: compare with the `previous` values in the preset file, and go back to them.",
                   query(f"o3_probe_decode_tokens_per_second{{{MODEL}}}", "{{model}} {{instance}}"), "suffix: tok/s", points=True, size=(12, 7),
                   defaults={"min": 0}),
        timeseries("Preset writes", "Attempts to publish presets, by target and result.", "written after a change, else nothing; never failed.",
                   "failed: see the event preset_write_failed; not_writer: another pod writes, by design.",
                   query(f"sum by (target, result) (increase(o3_preset_writes_total{{{SIDECAR}}}[$__rate_interval]))", "{{target}} {{result}}"), "short",
                   size=(12, 7), defaults={"min": 0}))


def board():
    signal = variable("signal", "Signal", f"label_values(o3_drift_detected{{{MODEL}}}, signal)")
    return dashboard("o3-explorer", "O3 / Drift and tuning explorer", "The evidence behind each verdict, the baselines it stands on, and what became of the presets.",
                     [verdict_row(), evidence_row(), baseline_row(), release_row(), samples_row(), tuning_row(), cost_row()], [signal])
