# SPDX-License-Identifier: Apache-2.0
"""The overview: do all models still work as well as they used to, and which one does not?"""

from frame import *


def verdict_row():
    return row("Verdict",
        stat("Verdict", "The worst that is known of any sidecar, server or model.", "steady.",
             "the table below names the model; its row leads to the details.", now(verdict("")), thresholds=PLAIN,
             defaults={"mappings": mapping(VERDICTS)}, size=(6, 5)),
        stat("Changed models", "Models of which some signal has changed, confirmed, against its normal level.", "0.",
             "see 'Changes and causes'; accept a wanted change with 'o3 ack'.",
             now(f"sum(max by ({BY_MODEL}) (o3_drift_detected{{{MODEL}}}))"), size=(3, 5)),
        stat("Open incidents", "Changes that began together count as one incident; these are not settled.", "0.",
             "see 'Changes and causes' for the probable cause.", now(f"sum(o3_incidents_open{{{SIDECAR}}})"), size=(3, 5)),
        stat("Ollama down", "Servers that did not answer the latest request.", "0.", "look at the Ollama pod: is it running, is its memory enough?",
             now(f"sum(1 - o3_ollama_up{{{SIDECAR}}})"), size=(3, 5)),
        stat("Runners stuck", "Models whose runner looks busy and does not answer a small probe.", "0.",
             "restart Ollama; its port answers, but no token comes out.",
             now(f"sum(o3_ollama_stuck{{{MODEL}}}) or vector(0)"), size=(3, 5)),
        stat("Silent probes", "Models whose last good probe is older than three intervals, though nothing pauses them by design.", "0.",
             "see 'Probes by result' for how they fail.", now(f"count({SILENT}) or vector(0)"), size=(3, 5)),
        stat("Lowest share on the GPU", "Smallest share of a loaded model in device memory, as Ollama says it.",
             "100 %; on a machine without a GPU 0 % is normal.", "the work moved to the CPU: check the device, its memory and its neighbours.",
             now(f"min(o3_model_gpu_ratio{{{MODEL}}})"), "percentunit", steps(RED, (0.5, ORANGE), (0.99, GREEN)), (3, 5)))


def table_row():
    ratio = {"unit": "percentunit", "custom__cellOptions": {"type": "color-text"}, "decimals": 1}
    return row("Every model",
        table("Models", "One line a model: verdict, speed now and against its normal level, memory, context, stability, age of the last good probe.",
              "steady, within 5 % of normal, 100 % on the GPU, stability 95 % or more.", "open the line: it leads to the model's details.",
              [rows_of(verdict(BY_MODEL, of_model="only")),
               rows_of(f"max by ({BY_MODEL}) (o3_probe_decode_tokens_per_second{{{MODEL}}})"),
               rows_of(f"max by ({BY_MODEL}) ({against_normal('o3_probe_decode_tokens_per_second', 'decode_rate')})"),
               rows_of(quantile(0.5, "o3_probe_time_to_first_token_seconds", MODEL + ', kind="decode"', BY_MODEL, "1h")),
               rows_of(f"max by ({BY_MODEL}) (o3_model_gpu_ratio{{{MODEL}}})"),
               rows_of(f"max by ({BY_MODEL}) (o3_model_context_tokens{{{MODEL}}})"),
               rows_of(f"max by ({BY_MODEL}) (o3_stability_ratio{{{MODEL}}})"),
               rows_of(f"time() - max by ({BY_MODEL}) (o3_probe_last_success_timestamp_seconds{{{MODEL}}})")],
              {"instance": "Sidecar", "model": "Model", "Value #A": "Verdict", "Value #B": "Decode", "Value #C": "Against normal",
               "Value #D": "First token", "Value #E": "On the GPU", "Value #F": "Context", "Value #G": "Stability", "Value #H": "Last good probe"},
              hide=("job",), sort="Verdict", overrides=[
                  by_name("Verdict", mappings=mapping(VERDICTS), custom__cellOptions={"type": "color-background", "mode": "basic"}),
                  by_name("Decode", unit="suffix: tok/s", decimals=1),
                  by_name("Against normal", **ratio, thresholds=steps(RED, (-0.2, ORANGE), (-0.05, GREEN))),
                  by_name("First token", unit="s"),
                  by_name("On the GPU", **ratio, thresholds=steps(RED, (0.5, ORANGE), (0.99, GREEN))),
                  by_name("Context", unit="suffix: tok"),
                  by_name("Stability", **ratio, thresholds=steps(RED, (0.85, ORANGE), (0.95, GREEN))),
                  by_name("Last good probe", unit="s", decimals=0),
                  by_name("Model", links=to_model())]),
        timeline("Verdict over time", "The verdict of each model: steady, suspected, changed or stuck.", "steady throughout.",
                 "a change that comes and goes with load or hours of the day: see the model's details.",
                 query(verdict("instance, model", of_model="only"), "{{model}} {{instance}}"), VERDICTS, size=(14, 7)),
        table("Changes and causes", "Each signal of an open incident, how far it has moved and the likeliest cause.", "no line.",
              "follow the cause: gpu_share_fell and cpu_fallback: the device; server_version: the upgrade; uptime: restart Ollama.",
              rows_of(f"""max by ({BY_MODEL}, signal, cause) (o3_drift_cause_info{{{MODEL}}} * on ({BY_MODEL}, signal) group_left ()
                          o3_drift_change_ratio{{{MODEL}}})"""),
              {"instance": "Sidecar", "model": "Model", "signal": "Signal", "cause": "Cause", "Value": "Change"}, hide=("job",), size=(10, 7),
              overrides=[by_name("Change", unit="percentunit", decimals=1), by_name("Model", links=to_model())]))


def speed_row():
    limits = steps(RED, (-0.2, YELLOW), (-0.05, GREEN))
    return row("Speed against the normal level",
        timeseries("Decode rate against normal", "Tokens generated per second of each probe, relative to the model's normal level.",
                   "around 0 %.", "points that stay below -5 %: wait for the verdict, then look for the cause.",
                   query(against_normal("o3_probe_decode_tokens_per_second", "decode_rate"), "{{model}} {{instance}}"), "percentunit", limits,
                   points=True),
        timeseries("Prefill rate against normal", "Prompt tokens evaluated per second, relative to the normal level; every half hour at most.",
                   "around 0 %.", "slower prefill alone: another batch size, or a neighbour on the device.",
                   query(against_normal("o3_probe_prefill_tokens_per_second", "prefill_rate"), "{{model}} {{instance}}"), "percentunit", limits,
                   points=True),
        timeseries("Time to first token", "95th percentile of the time to the first token of decode probes, of ten minutes.",
                   "flat, and below a second for small models.", "with a steady decode rate: queueing, or loads before the answer.",
                   query(quantile(0.95, "o3_probe_time_to_first_token_seconds", MODEL + ', kind="decode"', "instance, model", "10m"),
                         "{{model}} {{instance}}"), "s", steps(GREEN, (2, YELLOW), (10, RED)), defaults={"min": 0}),
        timeseries("Probes by result", "Probes that ended, by result.", "only ok.",
                   "timeout, stuck: a runner hangs; refused: Ollama is away; http_error: see Ollama's log.",
                   query(f"sum by (result) (rate(o3_probes_total{{{MODEL}}}[$__rate_interval]))", "{{result}}"), "cps", stack=True,
                   defaults={"min": 0}),
        timeseries("Loads", "Models that appeared in the list of loaded ones, and loads again of one that was loaded, by reason.",
                   "a load after an idle time, none again.",
                   "foreign_load: clients ask for different contexts; runner_lost: runners die, see memory.",
                   [query(f"sum by (instance) (increase(o3_model_loads_total{{{MODEL}}}[$__rate_interval]))", "{{instance}} load"),
                    query(f"sum by (instance, reason) (increase(o3_model_reloads_total{{{MODEL}}}[$__rate_interval]))", "{{instance}} {{reason}}")],
                   "short", steps(GREEN, (3, YELLOW)), defaults={"min": 0}),
        timeseries("Share on the GPU", "Share of each loaded model in device memory, as Ollama says it.", "100 % where there is a GPU.",
                   "a fall: the model was loaded beside something else, or the device is lost.",
                   query(f"o3_model_gpu_ratio{{{MODEL}}}", "{{model}} {{instance}}"), "percentunit", steps(RED, (0.5, YELLOW), (0.99, GREEN)),
                   defaults={"min": 0, "max": 1}))


def memory_row():
    return row("Memory and presets",
        timeseries("Memory of the models", "Memory of the loaded models of each server, as Ollama says it.", "room below the device's memory.",
                   "use a preset with a smaller context, or load fewer models.",
                   query(f"sum by (instance) (o3_model_size_bytes{{{MODEL}}})", "{{instance}}"), "bytes", stack=True, defaults={"min": 0}),
        timeseries("Memory left on the host", "What the host could give to new work without swapping, and Ollama's limit where it has one.",
                   "above 2 GiB.", "unload models; raise the limit of the pod.",
                   query(f"""label_replace(o3_host_memory_available_bytes{{{SIDECAR}}}, "what", "available", "", "")
                             or label_replace(o3_container_memory_limit_bytes{{{SIDECAR}}}, "what", "limit", "", "")""", "{{instance}} {{what}}"),
                   "bytes", steps(RED, (2147483648, GREEN)), defaults={"min": 0}),
        timeseries("Models loaded", "Models that each server lists as loaded.", "what you expect.", "0 for long: nobody asks, or loads fail.",
                   query(f"o3_ollama_models_loaded{{{SIDECAR}}}", "{{instance}}"), "short", defaults={"min": 0, "decimals": 0}),
        timeseries("Preset writes", "Attempts to publish presets, by target and result.", "written after a change, else nothing; never failed.",
                   "failed: see the event preset_write_failed; the old file is whole.",
                   query(f"sum by (target, result) (increase(o3_preset_writes_total{{{SIDECAR}}}[$__rate_interval]))", "{{target}} {{result}}"),
                   "short", defaults={"min": 0}, size=(12, 7)),
        timeseries("Contexts of the presets", "Context length of the preset balanced, of each model.", "steady lines.",
                   "a step: see 'Presets changed' above the graph for when, and the log's preset_written for why.",
                   query(f'o3_preset_context_tokens{{{MODEL}, preset="balanced"}}', "{{model}} {{instance}}"), "suffix: tok", size=(12, 7),
                   defaults={"min": 0}))


def board():
    return dashboard("o3-fleet", "O3 / Fleet", "All Ollama servers and models at one look: the verdict first, then who and why.",
                     [verdict_row(), table_row(), speed_row(), memory_row(), cost_row()])
