# SPDX-License-Identifier: Apache-2.0
"""One model in detail: its verdict, every signal against its baseline band, probes, memory, presets."""

from frame import *

# (title, signal, expression of what was measured, by model and sidecar; unit, whether it is measured with noise, what to do when it leaves the band)
SIGNALS = (
    ("Decode rate", "decode_rate", f"o3_probe_decode_tokens_per_second{{{MODEL}}}", "suffix: tok/s", True,
     "below the band for ten probes: expect a verdict; look at the share on the GPU and at the host's pressure."),
    ("Prefill rate", "prefill_rate", f"o3_probe_prefill_tokens_per_second{{{MODEL}}}", "suffix: tok/s", True,
     "below the band with a steady decode rate: another batch size, or a neighbour on the device."),
    ("Time to first token", "ttft",
     f"""sum by ({BY_MODEL}) (rate(o3_probe_time_to_first_token_seconds_sum{{{MODEL}, kind="decode"}}[10m]))
         / sum by ({BY_MODEL}) (rate(o3_probe_time_to_first_token_seconds_count{{{MODEL}, kind="decode"}}[10m]))""", "s", True,
     "above the band: requests queue, or the model is loaded before each answer (see 'Loads and unloads')."),
    ("Memory", "memory", f"o3_model_size_bytes{{{MODEL}}}", "bytes", False,
     "a step: another context, or the model was placed differently."),
    ("Share on the GPU", "gpu_ratio", f"o3_model_gpu_ratio{{{MODEL}}}", "percentunit", False,
     "a fall: memory of a neighbour, or the device is lost."),
    ("Context", "context", f"o3_model_context_tokens{{{MODEL}}}", "suffix: tok", False,
     "a step: a client asked for another num_ctx; two clients that differ make Ollama load again and again."),
)


def band(title, signal, measured, unit, is_noisy, todo):
    """Of what is measured with noise a band of two standard deviations, of what Ollama merely says the level alone."""
    level, sd = (f'o3_baseline_{x}{{{MODEL}, signal="{signal}"}}' for x in ("value", "stddev"))
    points = [] if signal == "ttft" or not is_noisy else [{"id": "custom.drawStyle", "value": "points"}, {"id": "custom.showPoints", "value": "always"}]
    hidden = {"legend": True, "tooltip": True, "viz": False}
    green = {"mode": "fixed", "fixedColor": "green"}
    limits = [query(f"min by (model) ({level} - 2 * {sd})", "lower"), query(f"max by (model) ({level} + 2 * {sd})", "upper")]
    what = "its level (dashed) with a band of two standard deviations" if is_noisy else "its level (dashed)"
    return timeseries(
        f"{title} and its normal {'band' if is_noisy else 'level'}", f"What was measured, by sidecar, and the baseline: {what}.",
        "19 of 20 measurements inside the band." if is_noisy else "on the dashed line.", todo,
        [query(measured, "{{instance}}"), query(f"avg by (model) ({level})", "normal"), *(limits if is_noisy else ())], unit,
        overrides=[
            *([{"matcher": {"id": "byFrameRefID", "options": "A"}, "properties": points}] if points else ()),
            by_name("normal", color=green, custom__lineStyle={"fill": "dash", "dash": [8, 6]}),
            *((by_name("lower", color=green, custom__lineWidth=0, custom__hideFrom=hidden),
               by_name("upper", color=green, custom__lineWidth=0, custom__fillBelowTo="lower", custom__fillOpacity=15, custom__hideFrom=hidden))
              if is_noisy else ())],
        size=(8, 8))


def verdict_row():
    signed = steps(RED, (-0.2, ORANGE), (-0.05, GREEN))
    change = lambda signal: now(f'min(o3_drift_change_ratio{{{MODEL}, signal="{signal}"}})')
    return row("Verdict",
        stat("Verdict", "The worst that is known of the chosen models and their server.", "steady.", "the cause stands at the right; the bands below show since when.",
             now(verdict("")), thresholds=PLAIN, defaults={"mappings": mapping(VERDICTS)}, size=(5, 4)),
        stat("Decode rate", "Confirmed change of the decode rate against its normal level; 0 without one. Of several models the worst.", "0 %.",
             "see 'Probable cause'.", change("decode_rate"), "percentunit", signed, (3, 4), defaults={"noValue": "learning"}),
        stat("Time to first token", "Confirmed change of the time to the first token; 0 without one. Of several models the worst.", "0 %.",
             "see queueing and loads below.", now(f'max(o3_drift_change_ratio{{{MODEL}, signal="ttft"}})'), "percentunit",
             steps(GREEN, (0.05, ORANGE), (0.2, RED)), (3, 4), defaults={"noValue": "learning"}),
        stat("Probable cause", "The likeliest cause of each open incident.", "none.",
             "unknown: compare the times with what else happened on the machine.",
             now(f"""max by (cause) (o3_drift_cause_info{{{MODEL}}})""", "{{cause}}"), thresholds=steps(NEUTRAL, (1, ORANGE)), size=(5, 4),
             names=True, defaults={"noValue": "none"}),
        stat("Stability", "Share of recent attempts that succeeded within 15 % of the median.", "95 % or more.",
             "noise: a neighbour, throttling, or users beside the probes.", now(f"min(o3_stability_ratio{{{MODEL}}})"), "percentunit",
             steps(RED, (0.85, ORANGE), (0.95, GREEN)), (3, 4)),
        stat("Since the release", "Decode rate after the latest compared change of model, server, device or setting, relative to before.", "-5 % or better.",
             "go back to the version before, or accept it with 'o3 ack'.",
             now(f'min(o3_release_change_ratio{{{MODEL}, signal="decode_rate"}})'), "percentunit", signed, (5, 4), defaults={"noValue": "no release yet"}))


def probe_row():
    return row("Probes",
        timeseries("Probes by result", "Probes that ended, by kind and result.", "only ok.",
                   "timeout, stuck: a runner hangs; refused: Ollama is away; http_error: see Ollama's log.",
                   query(f"sum by (kind, result) (rate(o3_probes_total{{{MODEL}}}[$__rate_interval]))", "{{kind}} {{result}}"), "cps", stack=True,
                   defaults={"min": 0}),
        heatmap("Time to first token", "How many decode probes took how long to their first token.", "one narrow band.",
                "a second band high above: loads or queues before some answers.",
                query(f'sum by (le) (increase(o3_probe_time_to_first_token_seconds_bucket{{{MODEL}, kind="decode"}}[$__rate_interval]))', "{{le}}"), "s"),
        timeseries("Time to first token, quantiles", "Median and 95th percentile, by kind of probe, of ten minutes.", "both flat, close together.",
                   "prefill grows with the prompt; decode that grows means waiting.",
                   [query(quantile(q, "o3_probe_time_to_first_token_seconds", MODEL, "kind", "10m"), f"{{{{kind}}}} p{round(100 * q)}") for q in (0.5, 0.95)],
                   "s", steps(GREEN, (2, YELLOW), (10, RED)), defaults={"min": 0}),
        timeseries("Time to visible text", "Time to the first visible text, which a thinking model shows late; median and 95th percentile of ten minutes.",
                   "close to the time to the first token, unless the model thinks.", "ask the model with thinking off, or choose another.",
                   [query(quantile(q, "o3_probe_time_to_first_content_seconds", MODEL, "model", "10m"), f"{{{{model}}}} p{round(100 * q)}") for q in (0.5, 0.95)],
                   "s", steps(GREEN, (2, YELLOW), (10, RED)), defaults={"min": 0}),
        timeseries("Time per output token", "Time between two generated tokens; median and 95th percentile of ten minutes.", "below 100 ms, as fast as people read.",
                   "see the decode rate's band and the probable cause.",
                   [query(quantile(q, "o3_probe_time_per_output_token_seconds", MODEL, "model", "10m"), f"{{{{model}}}} p{round(100 * q)}") for q in (0.5, 0.95)],
                   "s", steps(GREEN, (0.1, YELLOW), (0.3, RED)), defaults={"min": 0}),
        timeseries("Duration of probes", "Duration of whole probes, 95th percentile of ten minutes, by kind.", "a second or so.",
                   "longer probes come more rarely, so that they stay within probe.max_busy_ratio.",
                   query(quantile(0.95, "o3_probe_duration_seconds", MODEL, "kind", "10m"), "{{kind}}"), "s", steps(GREEN, (10, YELLOW), (60, RED)),
                   defaults={"min": 0}),
        timeline("Probing paused", "Why a model is not being probed.", "nothing, or idle and busy: paused by design.",
                 "options_unknown: a probe once caused a load; ollama_down: Ollama is away; budget: raise probe.max_tokens_per_day.",
                 query(f"max by (instance, model, reason) (o3_probe_paused{{{MODEL}}})", "{{model}} {{instance}} {{reason}}"),
                 ((0, "no", "transparent"), (1, "paused", YELLOW)), size=(12, 6)),
        stat("Latest probe", "Whether the latest probe of each model succeeded.", "yes.", "see 'Probes by result' for how it failed.",
             now(f"min(o3_probe_success{{{MODEL}}})"), thresholds=steps(RED, (1, GREEN)), defaults={"mappings": mapping(YES_NO)}, size=(4, 6)),
        stat("Age of the last good probe", "Time since a probe succeeded; of several models the longest. While probing is paused by design it grows.",
             "below three intervals.", "see 'Probing paused'; without a pause: is the sidecar alive?",
             now(f"max(time() - o3_probe_last_success_timestamp_seconds{{{MODEL}}})"), "s", steps(GREEN, (900, YELLOW), (7200, ORANGE)), (4, 6)),
        stat("Interval", "Time between two probes of a model, as in force; of several models the longest.", "60 s, or longer to keep within the budget.",
             "very long: raise probe.max_tokens_per_day or probe.max_busy_ratio.", now(f"max(o3_probe_interval_seconds{{{MODEL}}})"), "s",
             steps(GREEN, (600, YELLOW)), (4, 6)))


def memory_row():
    return row("Placement and memory",
        timeseries("Memory of the model", "Memory in all, and the part in device memory, as Ollama says it.", "both lines one: all of it on the device.",
                   "a gap between them is on the CPU: a smaller context may fit wholly.",
                   [query(f"o3_model_size_bytes{{{MODEL}}}", "{{model}} {{instance}} in all"),
                    query(f"o3_model_vram_bytes{{{MODEL}}}", "{{model}} {{instance}} on the device")], "bytes", defaults={"min": 0}, size=(6, 8)),
        timeseries("Efficiency", "Decode rate relative to what the memory bandwidth allows (roofline).", "0.4 or more on a GPU; shown where the bandwidth is known.",
                   "low: work on the CPU, throttling or a neighbour; set ollama.memory_bandwidth if it is missing.",
                   query(f"o3_roofline_efficiency_ratio{{{MODEL}}}", "{{model}} {{instance}}"), "percentunit", steps(ORANGE, (0.3, GREEN)),
                   points=True, defaults={"min": 0}, size=(6, 8)),
        timeseries("Pressure of the host", "Share of time in which work waited for processor, memory or disk.", "below 10 %.",
                   "memory: the host is short of it; cpu: a neighbour, or a processor quota.",
                   query(f"o3_host_pressure_ratio{{{SIDECAR}}}", "{{instance}} {{resource}} {{stall}}"), "percentunit",
                   steps(GREEN, (0.1, YELLOW), (0.4, RED)), defaults={"min": 0}, size=(6, 8)),
        timeseries("Loads and unloads", "Times the model came into the list of loaded ones, left it, or was loaded again.", "few; none while people work.",
                   "many: clients ask for different contexts (foreign_load), or keep_alive is short (expired).",
                   [query(f"sum by (model) (increase(o3_model_loads_total{{{MODEL}}}[$__rate_interval]))", "{{model}} load"),
                    query(f"sum by (model) (increase(o3_model_unloads_total{{{MODEL}}}[$__rate_interval]))", "{{model}} unload"),
                    query(f"sum by (model, reason) (increase(o3_model_reloads_total{{{MODEL}}}[$__rate_interval]))", "{{model}} again: {{reason}}")],
                   "short", steps(GREEN, (3, YELLOW)), defaults={"min": 0}, size=(6, 8)),
        stat("Load time", "Mean load time of the probes that met an unloaded model, since the sidecar started. Rare by design.", "seconds.",
             "slow: the disk, or the memory was needed elsewhere.",
             now(f"""sum(last_over_time(o3_probe_load_duration_seconds_sum{{{MODEL}}}[$__range]))
                     / sum(last_over_time(o3_probe_load_duration_seconds_count{{{MODEL}}}[$__range]))"""), "s", steps(GREEN, (30, YELLOW), (120, RED)),
             defaults={"noValue": "none seen"}, size=(5, 4)),
        stat("Processor quota", "Processor quota of Ollama's container; the smallest.", "none, or more cores than the runner has threads.",
             "fewer cores than threads make every token slow: raise the quota of the pod.",
             now(f"min(o3_container_cpu_quota_cores{{{SIDECAR}}}) or vector(0)"), "suffix: cores", PLAIN,
             defaults={"mappings": mapping(((0, "no quota", GREEN),))}, size=(5, 4)),
        stat("Loaded", "Whether Ollama lists the model as loaded; of several models the least.", "yes while people use it.",
             "no: it is loaded by the next request, which waits for it.", now(f"min(o3_model_loaded{{{MODEL}}})"),
             thresholds=steps(NEUTRAL, (1, GREEN)), defaults={"mappings": mapping(((0, "no", NEUTRAL), (1, "yes", GREEN)))}, size=(4, 4)),
        stat("Unloads in", "Time until Ollama unloads the model, unless somebody asks; the soonest. The sidecar never prolongs it for longer than probe.linger.",
             "longer than the pauses of your users.", "set OLLAMA_KEEP_ALIVE.",
             now(f"min(clamp_max(o3_model_expires_timestamp_seconds{{{MODEL}}} - time(), 31536000))"), "s", PLAIN, (5, 4)),
        stat("Last user", "Time since a user of the model was last seen; the latest. The sidecar's own probes do not count.", "your users' habit.",
             "hours without users: the memory might serve another model.",
             now(f"min(time() - o3_model_last_activity_timestamp_seconds{{{MODEL}}})"), "s", PLAIN, (5, 4), defaults={"noValue": "none seen"}),
        table("Identity", "What Ollama says of each model.", "the quantization and size you meant.", "pull the variant that you meant.",
              rows_of(f"max by ({BY_MODEL}, family, parameter_size, quantization, digest) (o3_model_info{{{MODEL}}})"),
              {"instance": "Sidecar", "model": "Model", "family": "Family", "parameter_size": "Parameters", "quantization": "Quantization",
               "digest": "Digest"}, hide=("job", "Value"), size=(24, 5)))


def preset_row():
    return row("Presets",
        timeseries("Contexts of the presets and the one in force", "Context length of each preset, and of the loaded model.",
                   "the one in force equals a preset.", "a client that asks for its own num_ctx: give it the preset.",
                   [query(f"o3_preset_context_tokens{{{MODEL}}}", "{{model}} {{preset}}"),
                    query(f"o3_model_context_tokens{{{MODEL}}}", "{{model}} in force")], "suffix: tok", defaults={"min": 0}, size=(12, 8)),
        timeseries("Batch sizes of the presets", "Batch size of each preset.", "steady lines.", "a step: see 'Presets changed' above the graph.",
                   query(f"o3_preset_batch_size{{{MODEL}}}", "{{model}} {{preset}}"), "short", defaults={"min": 0}, size=(8, 8)),
        stat("Presets written", "Time since the presets were last written, by target.", "after the latest change.",
             "older than a change: see the writes that failed in the fleet overview.",
             now(f"time() - max by (target) (o3_preset_last_write_success_timestamp_seconds{{{SIDECAR}}})", "{{target}}"), "s", PLAIN, (4, 8)),
        timeline("Presets in effect", "Whether the mounted copy, which readers see, holds each preset as it was decided last.",
                 "yes; no for a minute or two after a write, until the mount follows.",
                 "no for longer: is the right ConfigMap mounted, and not with subPath?",
                 query(f"max by (instance, model, preset) (o3_preset_in_effect{{{MODEL}}})", "{{model}} {{instance}} {{preset}}"), YES_NO, size=(12, 6)),
        timeseries("Failed writes by reason", "Attempts to publish presets that failed, by target and reason.", "none.",
                   "forbidden: the Role; not_found: the ConfigMap; conflict: somebody else writes it; io: the disk or its permissions.",
                   query(f"sum by (target, reason) (increase(o3_preset_write_errors_total{{{SIDECAR}}}[$__rate_interval]))", "{{target}} {{reason}}"),
                   "short", steps(GREEN, (1, RED)), stack=True, defaults={"min": 0}, size=(8, 6)),
        stat("Writers", "Sidecars that may write the ConfigMap.", "1 for each ConfigMap; 0 without one.",
             "0 with a ConfigMap: the last writer is gone; another pod takes over within two hours.",
             now(f"sum(o3_preset_writer{{{SIDECAR}}}) or vector(0)"), "short", steps(NEUTRAL, (1, GREEN)), (4, 6)))


def board():
    bands = row("Against the normal level: $model", *[band(*s) for s in SIGNALS], repeat="model")
    return dashboard("o3-model", "O3 / Model", "One model on one server in detail. Choose a sidecar and a model; with several, each model has bands of its own.",
                     [verdict_row(), bands, probe_row(), memory_row(), preset_row()])
