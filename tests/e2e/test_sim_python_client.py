# SPDX-License-Identifier: Apache-2.0
"""The official Python client of Ollama takes `o3 sim` for a server."""

import datetime

import ollama
import pytest

import harness

FEW = {"num_predict": 6, "temperature": 0}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with harness.started(harness.Simulator, tmp_path_factory.mktemp("sim"), flags=["--speed", "20"], load=None) as s:
        yield ollama.Client(host=s.url)


def test_list(client):
    models = {m.model: m for m in client.list().models}
    assert {"sim-small:latest", "sim-medium:latest", "sim-think:latest", "sim-embed:latest", "sim-remote:cloud"} <= set(models)
    small = models["sim-small:latest"]
    assert small.size > 1e9 and len(small.digest) == 64 and small.details.family == "llama"
    assert small.modified_at < datetime.datetime.now(datetime.timezone.utc)


def test_show(client):
    shown = client.show("sim-small")
    assert shown.capabilities == ["completion", "tools"]
    assert shown.modelinfo["llama.block_count"] == 28
    assert shown.modelinfo["tokenizer.ggml.tokens"] is None
    assert client.show("sim-embed").capabilities == ["embedding"]


def test_generate(client):
    answer = client.generate("sim-small", "hello", options=FEW)
    assert answer.done and answer.done_reason == "length" and answer.eval_count == 6
    assert answer.response.split() and answer.context
    assert answer.total_duration > answer.load_duration + answer.prompt_eval_duration + answer.eval_duration
    raw = client.generate("sim-small", "hello", raw=True, options=FEW)
    assert raw.context is None and raw.prompt_eval_count == 3


def test_generate_stream(client):
    pieces = list(client.generate("sim-small", "hello", stream=True, options=FEW))
    assert len(pieces) == 7 and not pieces[0].done and pieces[-1].done
    assert "".join(p.response for p in pieces) == client.generate("sim-small", "hello", options=FEW).response


def test_chat_and_its_memory(client):
    messages = [{"role": "system", "content": "be short"}, {"role": "user", "content": "hello"}]
    answer = client.chat("sim-small", messages, options=FEW)
    assert answer.message.role == "assistant" and answer.message.content
    pieces = list(client.chat("sim-small", [*messages, answer.message, {"role": "user", "content": "more"}], stream=True, options=FEW))
    assert pieces[-1].done and pieces[-1].prompt_eval_count > answer.prompt_eval_count


def test_thinking(client):
    assert client.chat("sim-think", [{"role": "user", "content": "hello"}], think=True, options=FEW).message.thinking
    assert not client.chat("sim-think", [{"role": "user", "content": "hello"}], think=False, options=FEW).message.thinking
    with pytest.raises(ollama.ResponseError, match="does not support thinking") as e:
        client.generate("sim-small", "hello", think=True)
    assert e.value.status_code == 400


def test_embed(client):
    answer = client.embed("sim-embed", ["hello world", "second"])
    assert len(answer.embeddings) == 2 and len(answer.embeddings[0]) == 768
    assert abs(sum(x * x for x in answer.embeddings[0]) - 1) < 1e-6
    assert len(client.embeddings("sim-embed", "hello").embedding) == 768


def test_ps_and_keep_alive(client):
    client.generate("sim-small", "", keep_alive="1h", options={"num_ctx": 8192})
    running = {m.model: m for m in client.ps().models}
    small = running["sim-small:latest"]
    assert small.context_length == 8192 and small.size_vram == 0 and small.size > 2e9
    assert small.expires_at.tzinfo is not None
    client.generate("sim-small", "", keep_alive=0)
    assert "sim-small:latest" not in {m.model for m in client.ps().models}


def test_create_copy_delete(client):
    assert client.create("tuned", from_="sim-small", parameters={"num_ctx": 2048}).status == "success"
    statuses = [p.status for p in client.create("tuned", from_="sim-small", parameters={"num_ctx": 4096}, stream=True)]
    assert statuses[-2:] == ["writing manifest", "success"]
    assert "num_ctx" in client.show("tuned").parameters
    assert client.copy("tuned", "twin").status == "success"
    names = {m.model for m in client.list().models}
    assert {"tuned:latest", "twin:latest"} <= names
    for name in ("tuned", "twin"):
        assert client.delete(name).status == "success"
    assert not {"tuned:latest", "twin:latest"} & {m.model for m in client.list().models}


def test_errors(client):
    for call in (lambda: client.generate("nope", "x"), lambda: client.show("nope"), lambda: client.delete("nope"),
                 lambda: client.copy("nope", "other"), lambda: client.chat("nope", [{"role": "user", "content": "x"}])):
        with pytest.raises(ollama.ResponseError, match="not found") as e:
            call()
        assert e.value.status_code == 404
    with pytest.raises(ollama.ResponseError) as e:
        client.embed("sim-small", "x")
    assert e.value.status_code == 501


def test_trouble_reaches_the_client(start):
    simulator = start(harness.Simulator, events=["at 0s http 503"], load=None)
    with pytest.raises(ollama.ResponseError) as e:
        ollama.Client(host=simulator.url).list()
    assert e.value.status_code == 503


def test_an_error_in_mid_stream(start):
    simulator = start(harness.Simulator, events=["at 3s runner killed"], flags=["--preload", "sim-small"], load=None)
    with pytest.raises(ollama.ResponseError, match="unexpected EOF"):
        for _ in ollama.Client(host=simulator.url).generate("sim-small", "x", stream=True, options={"num_predict": -1, "seed": 1}):
            pass


def test_usage_errors_and_help():
    assert harness.run_o3("sim", "--help").stdout.startswith("usage: o3 sim")
    for arguments in (["--noise", "7"], ["--speed", "0"], ["--event", "at 2m decod"], ["--preload", "nope"], ["--gpu", "much"], ["left"], ["--nope"]):
        ended = harness.run_o3("sim", "--listen", "127.0.0.1:0", *arguments)
        assert ended.returncode == 2 and ended.stderr, arguments


def test_scenario_names_file_line_and_column(tmp_path):
    scenario = tmp_path / "bad.o3s"
    scenario.write_text("# a comment\n\nat 1m decode -10 %\nat 6h expect o3_ollama_up = 1\nat 2m decode down\n")
    ended = harness.run_o3("sim", "--listen", "127.0.0.1:0", "--scenario", scenario)
    assert ended.returncode == 2 and f"{scenario}:5:14: expected a change" in ended.stderr


def test_signals_end_it(start):
    assert start(harness.Simulator, load=None).stop() == 0


def test_a_client_that_leaves_frees_the_slot(start):
    simulator = start(harness.Simulator, flags=["--preload", "sim-small"], load=None)
    client = ollama.Client(host=simulator.url)
    stream = client.generate("sim-small", "x", stream=True, options={"num_predict": 90, "seed": 1})
    next(stream)
    stream.close()
    answer = client.generate("sim-small", "y", options={"num_predict": 2})
    wait_ns = answer.total_duration - answer.load_duration - answer.prompt_eval_duration - answer.eval_duration
    assert wait_ns < 1.5e9, "the first answer alone takes more than 2 s"
