# SPDX-License-Identifier: Apache-2.0
"""The commands as a person or a script meets them: help, exit statuses, JSON."""

import json
import signal

import pytest
import yaml

import harness
from harness import Simulator, run_o3

COMMANDS = ["serve", "demo", "sim", "probe", "replay", "history", "ack", "preset", "check-config", "config", "tables", "healthcheck", "version"]
NOBODY = "http://127.0.0.1:9"


def test_help_of_the_program():
    done = run_o3("--help")
    assert done.returncode == 0 and done.stderr == ""
    for command in COMMANDS:
        assert command in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command(command, tmp_path):
    done = run_o3(command, "--help", cwd=tmp_path)
    assert done.returncode == 0 and done.stderr == "" and command in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("args", [[], ["no-such-command"], ["serve", "--no-such-flag"], ["serve", "--probe.intervall=1s"], ["probe"],
                                  ["serve", "--probe.interval=soon"], ["preset", "no-such"], ["config", "no-such"], ["sim", "--seed", "x"],
                                  ["sim", "--event", "at teatime decode -40 %"], ["probe", "m", "-n", "0"], ["probe", "m", "-n"]],
                         ids=lambda a: " ".join(a) or "nothing")
def test_usage_errors(args, tmp_path):
    done = run_o3(*args, cwd=tmp_path)
    assert done.returncode == 2, done
    assert done.stderr.strip() and done.stdout == ""
    assert "Sanitizer" not in done.stderr


def test_misspelt_flag_names_the_nearest():
    assert "probe.interval" in run_o3("serve", "--probe.intervall=1s").stderr


def test_version():
    for args in (["version"], ["--version"]):
        done = run_o3(*args)
        assert done.returncode == 0 and done.stdout.startswith("o3 0.")
    assert json.loads(run_o3("version", "--json").stdout)["version"].startswith("0.")


def test_tables():
    done = run_o3("tables", "--json")
    assert done.returncode == 0
    assert {"config", "metrics", "events", "errors"} <= set(json.loads(done.stdout))


def test_config_dump_shows_the_origin(tmp_path):
    (tmp_path / "o3.yaml").write_text("probe:\n  interval: 7m\n")
    done = run_o3("config", "dump", "--origin", "--config.file", "o3.yaml", "--probe.linger=1h", cwd=tmp_path, env={"O3_LOG_LEVEL": "warn"})
    assert done.returncode == 0, done
    lines = {line.strip().split(":")[0]: line for line in done.stdout.splitlines()}
    assert "# file" in lines["interval"] and "7m" in lines["interval"]
    assert "# flag" in lines["linger"] and "# environment" in lines["level"] and "# default" in lines["max_tokens_per_day"]
    assert yaml.safe_load(done.stdout)["probe"]["linger"] == "1h"


def test_dumped_configuration_is_accepted_again(tmp_path):
    dump = run_o3("config", "dump", cwd=tmp_path)
    (tmp_path / "o3.yaml").write_text(dump.stdout)
    assert run_o3("check-config", "--config.file", "o3.yaml", cwd=tmp_path).returncode == 0
    assert run_o3("config", "dump", "--config.file", "o3.yaml", cwd=tmp_path).stdout == dump.stdout


def test_check_config(tmp_path):
    (tmp_path / "o3.yaml").write_text("probe: {interval: 30s}\nobjectives: {stability_margin: 0.8}\n")
    done = run_o3("check-config", "--config.file", "o3.yaml", cwd=tmp_path)
    assert done.returncode == 0, done
    assert "objectives.stability_margin" in done.stdout + done.stderr and "not used by this version" in done.stdout + done.stderr


def test_original_design_keys_are_accepted(tmp_path):
    text = """
objectives: {max_context_priority: 0.8, stability_margin: 0.9}
search_strategy:
  context_discovery: binary_search
  initial_context_probe: 65536
  search_factor: 1.3
  batch_adaptation: {enabled: true, initial_batch_large: 8, initial_batch_small: 64, scaling_factor: 2.0, max_batch: 256}
resource_headroom: {vram_reserve_mb: 2048, ram_reserve_mb: auto}
thresholds: {max_vram_percent: 90, max_ram_percent: 85, max_temperature_c: 80, max_cpu_percent: 90}
statistics: {min_samples: 6, success_rate: 0.85, max_variation: 0.15}
concurrency: {levels: [1, 2, 4, 8], stabilization_delay: 5s}
timeouts: {base: 60s}
preset_categories:
  max_context: {target_context_percentile: 95}
  balanced: {target_context_range: [8192, 12288]}
  fast_response: {throughput_weight: 0.8}
"""
    (tmp_path / "o3.yaml").write_text(text)
    done = run_o3("check-config", "--config.file", "o3.yaml", cwd=tmp_path)
    assert done.returncode == 0, done


def test_healthcheck(start, simulator):
    sidecar = start(harness.Sidecar, simulator.url, {**harness.FAST, "web.listen": f"127.0.0.1:{harness.free_port()}"})
    ask = lambda *more: run_o3("healthcheck", f"--web.listen=127.0.0.1:{sidecar.port}", *more)
    assert ask("--timeout=60s").returncode == 0
    assert json.loads(ask("--timeout", "60s", "--json", "--ready").stdout) == {"healthy": True, "status": 200}
    sidecar.send(signal.SIGSTOP)  # takes the connection and says nothing
    done = ask("--timeout", "200ms", "--json")
    assert done.returncode == 1 and json.loads(done.stdout) == {"healthy": False, "status": 0} and "imed out" in done.stderr, done
    sidecar.send(signal.SIGCONT)
    sidecar.stop()
    assert ask().returncode == 1
    for bad in (["--timeout"], ["--timeout", "soon"], ["--timeout", "0s"], ["--timeout", "2h"], ["--ready=1"], ["extra"]):
        assert ask(*bad).returncode == 2, bad


def test_probe(simulator):
    done = run_o3("probe", Simulator.MODEL, "-n", "3", f"--ollama.url={simulator.url}")
    assert done.returncode == 0, done
    assert "tok" in done.stdout
    done = run_o3("probe", Simulator.MODEL, "-n", "3", "--json", f"--ollama.url={simulator.url}")
    assert done.returncode == 0, done
    assert json.loads(done.stdout)


def test_probe_of_nothing(simulator):
    done = run_o3("probe", "no-such-model", f"--ollama.url={simulator.url}")
    assert done.returncode in (1, 69) and "no-such-model" in done.stderr, done
    done = run_o3("probe", Simulator.MODEL, f"--ollama.url={NOBODY}")
    assert done.returncode == 69 and "127.0.0.1:9" in done.stderr, done


def test_presets_from_the_command_line(start, simulator, tmp_path):
    sidecar = start(harness.Sidecar, simulator.url, {**harness.FAST, "drift.baseline_samples": 8})
    harness.wait_for("presets", lambda: list(sidecar.results.glob("defaults/*.yaml")))
    place = [f"--results.path={sidecar.results}"]
    done = run_o3("preset", "list", *place, cwd=tmp_path)
    assert done.returncode == 0 and Simulator.MODEL in done.stdout, done
    for form, check in {
        "yaml": yaml.safe_load, "json": json.loads, "ollama-options": json.loads, "env": str, "modelfile": str,
    }.items():
        done = run_o3("preset", "get", "max_context", "--model", Simulator.MODEL, "--format", form, *place, cwd=tmp_path)
        assert done.returncode == 0, (form, done)
        assert check(done.stdout) and "num_ctx" in done.stdout.lower(), form
    assert run_o3("preset", "get", "no_such", "--model", Simulator.MODEL, *place).returncode in (1, 2)
    assert run_o3("preset", "get", "balanced", "--model", "another", *place).returncode == 1


def test_ollama_client_library_talks_to_the_simulator(simulator):
    """The simulator speaks the API well enough for Ollama's own Python client."""
    import ollama

    client = ollama.Client(host=simulator.url)
    assert Simulator.MODEL in [m.model for m in client.list().models]
    assert Simulator.MODEL in [m.model for m in client.ps().models]
    pieces = list(client.generate(Simulator.MODEL, "hello", stream=True, options={"num_predict": 8}))
    assert pieces[-1].done and pieces[-1].eval_count > 0
    reply = client.chat(Simulator.MODEL, [{"role": "user", "content": "hello"}], options={"num_predict": 8})
    assert reply.message.content
    assert client.embed("sim-embed:latest", "hello").embeddings
    assert client.show(Simulator.MODEL).modelinfo
    with pytest.raises(ollama.ResponseError) as e:
        client.generate("no-such-model", "hello")
    assert e.value.status_code == 404
