# SPDX-License-Identifier: Apache-2.0
"""The requests of the recorded exchanges with a real Ollama, asked of `o3 sim`: same status, content type, field names, types, order."""

import json
import pathlib
import re

import pytest
import requests

import harness

TRANSCRIPTS = harness.ROOT / "tests/contract/transcripts"
# Asked of the runner process (40 to 44), the OpenAI endpoint, a server without its runner, one with a short queue, a runner killed by hand.
LEFT_OUT = ("40-", "41-", "42-", "43-", "44-", "50-", "18-", "60-", "61-")
FILES = [p for p in sorted(TRANSCRIPTS.glob("[0-9]*.txt")) if not p.name.startswith(LEFT_OUT)]


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
        self.is_abridged = bool(re.search(r"\.\.\. ?\[\d+ (characters|lines) left out\]", self.reply))


def shape(value):
    """Names, types and order, without the values."""
    if isinstance(value, dict):
        return {"fields": [(k, shape(v)) for k, v in value.items()]}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
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


@pytest.fixture(scope="module")
def simulator(tmp_path_factory):
    flags = ["--library", "recorded", "--speed", "20"]
    with harness.started(harness.Simulator, tmp_path_factory.mktemp("sim"), flags=flags, load=None) as s:
        yield s


def test_the_record_is_there():
    assert len(FILES) >= 40


# In the order of the record: later exchanges build on earlier ones.
@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_answers_as_recorded(simulator, path):
    recorded = Exchange(path)
    answer = requests.request(recorded.method, simulator.url + recorded.path, data=recorded.body or None, timeout=harness.LIMIT_S)
    assert answer.status_code == recorded.status, answer.text
    if recorded.has_headers:
        assert answer.headers.get("Content-Type") == recorded.type
    if recorded.type and recorded.type.startswith("text/plain") or not recorded.reply:
        assert answer.text.strip() == recorded.reply
        return
    if recorded.type == "application/x-ndjson":
        theirs = [json.loads(line) for line in recorded.reply.splitlines() if line.startswith("{")]
        ours = [json.loads(line) for line in answer.text.splitlines()]
        assert shape(ours[0]) == shape(theirs[0])
        assert shape(ours[-1]) == shape(theirs[-1])
        assert recorded.is_abridged or len(ours) == len(theirs)
        theirs, ours = theirs[-1], ours[-1]
    elif recorded.is_abridged:
        names = outer_names(recorded.reply)
        assert list(answer.json())[: len(names)] == names
        return
    else:
        theirs, ours = json.loads(recorded.reply), answer.json()
        assert shape(ours) == shape(theirs)
    if "error" in theirs:
        assert without_values(ours["error"]) == without_values(theirs["error"])
    for name in ("status", "done_reason", "version"):
        assert ours.get(name) == theirs.get(name)
