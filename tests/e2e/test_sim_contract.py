# SPDX-License-Identifier: Apache-2.0
"""The requests of the recorded exchanges with a real Ollama, asked of `o3 sim`: same status, content type, number, order and
shape of the objects of a stream, field names, types and order of the fields, texts of errors.

Not compared, because two servers of one kind differ in it: digests, dates, durations, words, embeddings, ids, sizes in bytes of
a process, the Date header, and whether a body came with a length or in chunks (Go decides that by the size of its buffer)."""

import concurrent.futures
import json
import pathlib
import re

import pytest
import requests

import harness

TRANSCRIPTS = harness.ROOT / "tests/contract/transcripts"
# Why an exchange is not replayed.
NOT_REPLAYED = {
    "18-": "a server whose runner program is missing: an installation, not a state of a server, and not simulated",
    "40-": "asked of the runner process on its own port; the simulator has no processes behind it (41 to 44 too)",
    "41-": "runner", "42-": "runner", "43-": "runner", "44-": "runner",
}
# Replayed below, in the circumstances in which they were recorded.
ARRANGED = ("60-", "61-")
EVERY = sorted(TRANSCRIPTS.glob("[0-9]*.txt"))
FILES = [p for p in EVERY if not p.name.startswith((*NOT_REPLAYED, *ARRANGED))]


class Exchange:
    def __init__(self, path):
        text = path.read_text()
        asked, answered = re.search(r"## request\n(.*?)\n## response\n(.*?)(?=\n## timing|\Z)", text, re.S).groups()
        first, _, rest = asked.partition("\n")
        self.method, self.path = first.split()[:2]
        self.body = (rest.partition("\n\n")[2] if "HTTP/1.1" in first else rest).strip()
        status, _, rest = answered.partition("\n")
        self.status = int(status.split()[1])
        headers, _, self.reply = rest.partition("\n\n") if status.startswith("HTTP/1.1") else ("", "", rest)
        self.type = dict(h.split(": ", 1) for h in headers.splitlines() if h).get("Content-Type")
        self.has_headers = bool(headers)
        self.reply = self.reply.strip()
        cut = re.search(r"\.\.\. \[(\d+) characters in all\]", self.body)
        if cut:  # a long prompt of one word, abridged in the record
            options = {"num_ctx": 512, "num_predict": 2}
            self.body = json.dumps({"model": "o3-tiny", "prompt": "bada " * 600, "stream": False, "options": options,
                                    **({"truncate": False} if self.status == 400 else {})})
        self.is_cut = bool(re.search(r"\.\.\. ?\[\d+ characters left out\]", self.reply))

    def send(self, url):
        return requests.request(self.method, url + self.path, data=self.body or None, timeout=harness.LIMIT_S)

    def lines(self):
        """The objects of a stream: those at the start, how many the record leaves out, those at the end."""
        lines, left_out, parts = self.reply.splitlines(), 0, [[]]
        for line in filter(None, lines):
            found = re.match(r"\.\.\. \[(\d+) lines left out\]", line)
            if found:
                left_out = int(found[1])
                parts.append([])
            else:
                parts[-1].append(line)
        return parts[0], left_out, parts[1] if left_out else []


def shape(value):
    """Names, types and order, without the values. Of a list each different shape, in the order of their first appearance."""
    if isinstance(value, dict):
        return {"fields": [(k, shape(v)) for k, v in value.items()]}
    if isinstance(value, list):
        shapes = []
        for item in map(shape, value):
            if item not in shapes and item != "str":  # the record says in a string what it leaves out of a list
                shapes.append(item)
        return shapes
    if isinstance(value, bool) or value is None:
        return type(value).__name__
    return "number" if isinstance(value, (int, float)) else type(value).__name__


def outer_names(text):
    """Field names of an object's first level, also of one that is cut off."""
    names, depth = [], 0
    for token in re.finditer(r'"((?:[^"\\]|\\.)*)"(\s*:)?|[{}\[\]]', text):
        if token[0] in "{[":
            depth += 1
        elif token[0] in "}]":
            depth -= 1
        elif token[2] and depth == 1:
            names.append(token[1])
    return names


def without_values(error):
    error = re.sub(r"\d+", "N", error)
    return re.sub(r"on \S+:N: no such host", "on DNS: no such host", error)


def compare_objects(ours, theirs):
    if "models" in theirs:  # the simulator has models of its own beside those of the record
        names = [m["name"] for m in theirs["models"]]
        ours["models"] = [m for m in ours["models"] if m["name"] in names]
        assert sorted(m["name"] for m in ours["models"]) == sorted(names)
    assert shape(ours) == shape(theirs)
    if "error" in theirs:
        assert without_values(ours["error"]) == without_values(theirs["error"])
    for name in ("status", "done", "done_reason", "version"):
        if name == "status" and "sha256" in str(theirs.get(name)):
            assert re.sub("[0-9a-f]{64}", "HEX", ours[name]) == re.sub("[0-9a-f]{64}", "HEX", theirs[name])
        else:
            assert ours.get(name) == theirs.get(name)


def parse(line):
    """An object of a stream of lines, or the event of a stream of events; "[DONE]" as it is."""
    line = line.removeprefix("data: ")
    return line if line == "[DONE]" else json.loads(line)


def compare_streams(text, recorded, is_length_open=False):
    start, left_out, end = recorded.lines()
    ours = [line for line in text.splitlines() if line]
    if not is_length_open:
        assert len(ours) == len(start) + left_out + len(end)
    pairs = list(zip(ours, start)) + (list(zip(ours[-len(end):], end)) if end else [])
    for mine, their in pairs:
        mine, their = parse(mine), parse(their)
        if their == "[DONE]":
            assert mine == their
        else:
            compare_objects(mine, their)
    # What the record leaves out was like the line before it.
    for mine in ours[len(start):len(ours) - len(end)]:
        assert shape(parse(mine)) == shape(parse(start[-1]))


def compare(answer, recorded):
    assert answer.status_code == recorded.status, answer.text
    if recorded.has_headers:
        assert answer.headers.get("Content-Type") == recorded.type
    if recorded.type and recorded.type.startswith("text/plain") or not recorded.reply:
        assert answer.text.strip() == recorded.reply
    elif recorded.type in ("application/x-ndjson", "text/event-stream"):
        compare_streams(answer.text, recorded)
    elif recorded.is_cut:
        names = outer_names(recorded.reply)
        assert list(answer.json())[: len(names)] == names
    else:
        compare_objects(answer.json(), json.loads(recorded.reply))


@pytest.fixture(scope="module")
def simulator(tmp_path_factory):
    flags = ["--library", "recorded", "--speed", "20"]
    with harness.started(harness.Simulator, tmp_path_factory.mktemp("sim"), flags=flags, load=None) as s:
        yield s


def test_the_record_is_there():
    assert len(FILES) == 44 and len(EVERY) == 52
    names = [p.name[:3] for p in EVERY]
    assert all(start in names for start in (*NOT_REPLAYED, *ARRANGED))


# In the order of the record: later exchanges build on earlier ones.
@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_answers_as_recorded(simulator, path):
    recorded = Exchange(path)
    answer = recorded.send(simulator.url)
    compare(answer, recorded)
    if path.name.startswith("50-"):
        events = answer.text.split("\n\n")
        assert [e for e in events if e] == [line for line in answer.text.splitlines() if line]  # a blank line after each
        ids = {json.loads(e[6:])["id"] for e in events if e.startswith("data: {")}
        assert len(ids) == 1 and re.fullmatch(r"chatcmpl-\d+", ids.pop())


def arranged(number):
    return Exchange(next(p for p in EVERY if p.name.startswith(number)))


def test_a_full_queue_refuses_as_recorded(start):
    simulator = start(harness.Simulator, flags=["--library", "recorded", "--max-queue", "1"], load=None)
    recorded = arranged("60-")
    body = json.loads(recorded.body)
    bodies = [{**body, "options": {**body["options"], "num_ctx": 9000 + i}} for i in range(12)]
    with concurrent.futures.ThreadPoolExecutor(len(bodies)) as pool:
        answers = list(pool.map(lambda b: requests.post(simulator.url + recorded.path, json=b, timeout=harness.LIMIT_S), bodies))
    refused = [a for a in answers if a.status_code != 200]
    assert 1 <= len(refused) <= 11 and {a.status_code for a in answers} == {200, 503}
    for answer in refused:
        compare(answer, recorded)


def test_a_killed_runner_ends_the_stream_as_recorded(start):
    flags = ["--library", "recorded", "--preload", "o3-tiny:4096"]
    simulator = start(harness.Simulator, events=[f"at {s}s runner killed" for s in range(3, 120, 10)], flags=flags, load=None)
    recorded = arranged("61-")
    # The answer would take minutes. Where the kill comes before it has begun, or just then, the next one will not.
    is_under_way = lambda answer: len(answer.text.splitlines()) > 20 and answer
    answer = harness.wait_for("an answer under way", lambda: is_under_way(recorded.send(simulator.url)))
    assert answer.status_code == recorded.status and answer.headers["Content-Type"] == recorded.type
    compare_streams(answer.text, recorded, is_length_open=True)
