# SPDX-License-Identifier: Apache-2.0
"""The official Python client of Ollama takes `o3 sim` for a server."""

import asyncio
import datetime
import hashlib
import json

import ollama
import pytest

import harness

FEW = {"num_predict": 6, "temperature": 0}
LONG_WINDED = ["--library", "recorded", "--preload", "o3-tiny"]  # it ends when it was asked to


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


PNG = b"\x89PNG\r\n\x1a\n"
HELLO = [{"role": "user", "content": "hello"}]


def refused(status, text, call):
    with pytest.raises(ollama.ResponseError, match=text) as e:
        call()
    assert e.value.status_code == status
    return e.value


def test_json_and_schemas(client):
    assert isinstance(json.loads(client.generate("sim-small", "x", format="json").response), dict)
    schema = {
        "type": "object",
        "required": ["name", "pets"],
        "properties": {
            "name": {"type": "string"}, "age": {"type": "integer", "minimum": 18, "maximum": 99}, "is_well": {"type": "boolean"},
            "colour": {"enum": ["red", "green"]}, "score": {"type": "number"}, "nothing": {"type": "null"},
            "pets": {"type": "array", "items": {"$ref": "#/$defs/pet"}, "minItems": 1},
        },
        "$defs": {"pet": {"type": "object", "properties": {"legs": {"type": "integer"}}}},
    }
    pieces = list(client.chat("sim-small", HELLO, format=schema, stream=True))
    value = json.loads("".join(p.message.content for p in pieces))
    assert list(value) == list(schema["properties"])
    assert isinstance(value["name"], str) and 18 <= value["age"] <= 99 and isinstance(value["is_well"], bool)
    assert value["colour"] in ("red", "green") and isinstance(value["pets"][0]["legs"], int) and value["nothing"] is None
    thought = client.chat("sim-think", HELLO, format=schema, think=True)
    assert thought.message.thinking and json.loads(thought.message.content)


def get_weather(city: str, days: int) -> str:
    """The weather.

    Args:
        city: where
        days: how many
    """
    return f"sunny in {city} for {days} days"


def test_tools(client):
    messages = [{"role": "user", "content": "how is the weather?"}]
    answer = client.chat("sim-small", messages, tools=[get_weather])
    (call,) = answer.message.tool_calls
    assert call.function.name == "get_weather" and get_weather(**call.function.arguments).startswith("sunny")
    messages += [answer.message, {"role": "tool", "tool_name": "get_weather", "content": get_weather(**call.function.arguments)}]
    words = client.chat("sim-small", messages, tools=[get_weather], options=FEW)
    assert words.message.content and not words.message.tool_calls
    pieces = list(client.chat("sim-small", HELLO, tools=[get_weather], stream=True))
    assert [bool(p.message.tool_calls) for p in pieces] == [True, False] and pieces[-1].done_reason == "stop"
    refused(400, "sim-vision:latest does not support tools", lambda: client.chat("sim-vision", HELLO, tools=[get_weather]))


def test_images(client):
    plain = client.chat("sim-vision", HELLO, options=FEW)
    seen = client.chat("sim-vision", [{**HELLO[0], "images": [PNG]}], options=FEW)
    assert seen.prompt_eval_count > plain.prompt_eval_count + 100
    assert client.generate("sim-vision", "x", images=[PNG, PNG], options=FEW).response
    refused(400, "image input", lambda: client.generate("sim-small", "x", images=[PNG]))
    assert "vision" in client.show("sim-vision").capabilities


def test_thinking_levels(client):
    lengths = [len(client.chat("sim-think", HELLO, think=level, options={"seed": 1}).message.thinking) for level in ("low", "medium", "high")]
    assert lengths == sorted(set(lengths))


def test_log_probabilities(client):
    answer = client.generate("sim-small", "x", logprobs=True, top_logprobs=3, options=FEW)
    assert "".join(p.token for p in answer.logprobs) == answer.response
    assert all(p.logprob < 0 and len(p.top_logprobs) == 3 for p in answer.logprobs)
    pieces = list(client.chat("sim-small", HELLO, logprobs=True, stream=True, options=FEW))
    assert all(len(p.logprobs) == 1 for p in pieces[:-1])
    refused(400, "between 0 and 20", lambda: client.generate("sim-small", "x", logprobs=True, top_logprobs=21))


def test_suffix(client):
    assert client.generate("sim-code", "def f(", suffix=")", options=FEW).response
    refused(400, "does not support insert", lambda: client.generate("sim-small", "x", suffix="y"))


def test_keep_alive_forms(client):
    for keep_alive in ("30s", "1h30m", 45, 1.5, -1, "-1m"):
        assert client.generate("sim-small", "", keep_alive=keep_alive).done_reason == "load"
    far = next(m.expires_at for m in client.ps().models if m.model == "sim-small:latest")
    assert far.year > 2300
    assert client.generate("sim-small", "", keep_alive=0).done_reason == "unload"
    assert "sim-small:latest" not in {m.model for m in client.ps().models}
    refused(400, "missing unit", lambda: client.generate("sim-small", "", keep_alive="5"))


def test_create_with_system_and_template(client):
    client.create("spoken", from_="sim-small", system="be kind", template="{{ .Prompt }}", parameters={"stop": ["x"], "num_ctx": 2048})
    shown = client.show("spoken")
    assert shown.modelfile.count("\nSYSTEM be kind\n") == 1 and shown.template == "{{ .Prompt }}" and "num_ctx" in shown.parameters
    pieces = list(client.create("spoken", from_="sim-small", stream=True))
    assert pieces[-1].status == "success" and pieces[0].status.startswith("using existing layer")
    client.delete("spoken")
    with pytest.raises(ollama.ResponseError, match="pull model manifest"):
        list(client.create("spoken", from_="nope", stream=True))


def test_pull_and_push(client):
    pieces = list(client.pull("sim-small", stream=True))
    assert pieces[0].status == "pulling manifest" and pieces[-1].status == "success"
    assert any(p.digest and p.total == p.completed for p in pieces)
    assert client.pull("sim-small").status == "success"
    refused(500, "pull model manifest", lambda: client.pull("nope"))
    with pytest.raises(ollama.ResponseError, match="not authorized to push"):
        list(client.push("sim-small", stream=True))
    refused(500, "not authorized to push", lambda: client.push("sim-small"))


def test_blobs(client, tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF and more" * 1000)
    digest = client.create_blob(path)
    assert digest == "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    assert client.create_blob(path) == digest
    refused(400, "not in GGUF format", lambda: client.create("mine", files={"m.gguf": digest}))


def test_verbose_show(client):
    # The client has no word for it; the request it would send has.
    shown = client._request(ollama.ShowResponse, "POST", "/api/show", json={"model": "sim-think", "verbose": True})
    assert len(shown.modelinfo["tokenizer.ggml.tokens"]) == 151936
    assert shown.modelinfo["qwen3.attention.head_count_kv"] == 8


def test_async(client):
    async def tour():
        own = ollama.AsyncClient(host=str(client._client.base_url))
        answers = await asyncio.gather(*(own.generate("sim-small", "x", options={"num_predict": 4, "seed": n}) for n in range(4)))
        assert [a.eval_count for a in answers] == [4] * 4
        pieces = [p async for p in await own.chat("sim-small", HELLO, stream=True, options=FEW)]
        assert len(pieces) == 7 and pieces[-1].done
        assert (await own.embed("sim-embed", "x")).embeddings and (await own.list()).models and (await own.ps()).models
        assert [p.status async for p in await own.pull("sim-small", stream=True)][-1] == "success"
        with pytest.raises(ollama.ResponseError, match="not found"):
            await own.show("nope")
        stream = await own.generate("sim-small", "x", stream=True, options={"num_predict": -1, "seed": 1})
        await anext(stream)
        await stream.aclose()
        assert (await own.generate("sim-small", "y", options=FEW)).eval_count == 6

    asyncio.run(tour())


def test_more_errors(client):
    refused(404, "try pulling it first", lambda: client.embed("nope", "x"))
    refused(400, "does not support chat", lambda: client.chat("sim-embed", HELLO))
    refused(500, "must be of type integer", lambda: client.generate("sim-small", "x", options={"num_ctx": "1"}))
    refused(401, "unauthorized", lambda: client.generate("sim-remote:cloud", "x"))
    refused(400, "raw mode does not support", lambda: client.generate("sim-small", "x", raw=True, system="y"))
    refused(500, "invalid format", lambda: client._request(ollama.GenerateResponse, "POST", "/api/generate",
                                                           json={"model": "sim-small", "prompt": "x", "format": "xml", "stream": False}))
    with pytest.raises(ollama.ResponseError, match="exceeds the context length"):
        client.embed("sim-embed", "jil " * 3000, truncate=False)


def test_trouble_reaches_the_client(start):
    simulator = start(harness.Simulator, events=["at 0s http 503"], load=None)
    with pytest.raises(ollama.ResponseError) as e:
        ollama.Client(host=simulator.url).list()
    assert e.value.status_code == 503


def test_an_error_in_mid_stream(start):
    simulator = start(harness.Simulator, events=[f"at {s}s runner killed" for s in range(3, 120, 10)], flags=LONG_WINDED, load=None)

    def broke_off():
        with pytest.raises(ollama.ResponseError) as e:
            for _ in ollama.Client(host=simulator.url).generate("o3-tiny", "x", stream=True, options={"num_predict": 20000}):
                pass
        return "unexpected EOF" in str(e.value)

    harness.wait_for("a kill in mid-stream", broke_off)  # and not before it


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


SCENARIO = """# The server's part, and the sidecar's.
world version 0.24.0
world gpu 24GiB
load sim-small ctx 4096
users 60/h sim-small ctx 4096
at 10h decode -40 %
config probe.interval 10s
at 10h disk full for 20m
by 11h expect confirmed slower
run for 12h
"""


def test_scenario_sets_the_server(start, tmp_path):
    scenario = tmp_path / "good.o3s"
    scenario.write_text(SCENARIO)
    simulator = start(harness.Simulator, flags=["--scenario", scenario, "--speed", "50"], load=None)
    client = ollama.Client(host=simulator.url)
    (model,) = client.ps().models
    assert (model.model, model.context_length, model.size_vram) == ("sim-small:latest", 4096, model.size)
    assert client.list().models
    simulator.wait_log(r'for "o3 simulate" only: lines 7-10')
    assert "Ollama 0.24.0, with a GPU" in simulator.log and "at 10h decode -40 %" in simulator.log


def test_a_flag_stands_above_the_scenario(start, tmp_path):
    scenario = tmp_path / "good.o3s"
    scenario.write_text(SCENARIO)
    for flags in (["--version", "0.33.0", "--scenario", scenario], ["--scenario", scenario, "--version", "0.33.0"]):
        simulator = start(harness.Simulator, flags=flags, load=None)
        simulator.wait_log("Ollama 0.33.0, with a GPU")


def test_scenario_with_an_unknown_model(tmp_path):
    scenario = tmp_path / "bad.o3s"
    scenario.write_text("world gpu 24GiB\nload sim-smal\n")
    ended = harness.run_o3("sim", "--listen", "127.0.0.1:0", "--scenario", scenario)
    assert ended.returncode == 2 and f"{scenario}:2:" in ended.stderr and "sim-smal" in ended.stderr
    ended = harness.run_o3("sim", "--scenario", scenario, "--scenario", scenario)
    assert ended.returncode == 2 and "one" in ended.stderr
    ended = harness.run_o3("sim", "--scenario", tmp_path / "missing.o3s")
    assert ended.returncode == 2 and "missing.o3s" in ended.stderr


def test_signals_end_it(start):
    assert start(harness.Simulator, load=None).stop() == 0


def test_a_client_that_leaves_frees_the_slot(start):
    simulator = start(harness.Simulator, flags=LONG_WINDED, load=None)
    client = ollama.Client(host=simulator.url)
    stream = client.generate("o3-tiny", "x", stream=True, options={"num_predict": 20000})
    next(stream)
    stream.close()
    answer = client.generate("o3-tiny", "y", options={"num_predict": 2})
    wait_ns = answer.total_duration - answer.load_duration - answer.prompt_eval_duration - answer.eval_duration
    assert wait_ns < 60e9, "the first answer alone takes minutes"
