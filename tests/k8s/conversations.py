# SPDX-License-Identifier: Apache-2.0
"""Records exchanges with the API server as tests/k8s/conversations/NAME.json, which C tests replay.

What differs from run to run or is secret is replaced: tokens, namespace, uids and resource versions (numbered as they appear, so
that equal ones stay equal), times. The same server therefore gives the same file, and a test compares them whole.
"""

import json
import pathlib
import re

FOLDER = pathlib.Path(__file__).parent / "conversations"
KEPT_REQUEST = ("accept", "authorization", "content-type", "user-agent")
KEPT_REPLY = ("content-length", "content-type", "retry-after", "warning")
LONG_BYTES = 16384  # of a body; of a longer one only size and beginning are kept
UID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
VERSION = re.compile(r'(\\*"resourceVersion\\*":\\*")(\d+)')
TIME = re.compile(r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


class Recorder:
    def __init__(self, place, what):
        self.place, self.what = place, what
        self.exchanges, self.uids, self.versions = [], {}, {}

    def listen(self, client):
        client.record = self.note
        return client

    def clean(self, text):
        text = text.replace(self.place.namespace, "ai")
        text = UID.sub(lambda m: self.uids.setdefault(m[0], f"00000000-0000-4000-8000-{len(self.uids) + 1:012}"), text)
        text = VERSION.sub(lambda m: m[1] + self.versions.setdefault(m[2], str(1001 + len(self.versions))), text)
        return TIME.sub("2026-11-21T12:00:00Z", text)

    def body(self, text):
        text = self.clean(text or "")
        if len(text) <= LONG_BYTES:
            return {"body": text}
        return {"body_bytes": len(text), "body_head": text[:200]}

    def headers(self, headers, kept):
        found = {k.lower(): v for k, v in headers.items()}
        return {k: "Bearer TOKEN" if k == "authorization" else self.clean(found[k]) for k in kept if k in found}

    def note(self, method, path, sent, data, reply):
        data = data.decode() if isinstance(data, bytes) else data
        answer = {"status": reply.status_code, "headers": self.headers(reply.headers, KEPT_REPLY), **self.body(reply.text)}
        if "content-length" in answer["headers"] and "body" in answer:
            answer["headers"]["content-length"] = str(len(answer["body"].encode()))
        request = {"method": method, "path": self.clean(path), "headers": self.headers(sent, KEPT_REQUEST), **self.body(data)}
        self.exchanges.append({"request": request, "response": answer})

    def document(self):
        server = self.place.admin.get("/version").json()["gitVersion"]
        return {"what": self.what, "server": server, "namespace": "ai", "configmap": self.place.CONFIGMAP, "exchanges": self.exchanges}

    def finish(self, name, is_recording):
        """Writes the file, or fails where the server no longer says what the file says."""
        path, document = FOLDER / f"{name}.json", self.document()
        if is_recording:
            path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
            return
        assert path.exists(), f"no {path.name}: record it by ./dev record"
        assert document == json.loads(path.read_text()), f"{path.name}: the server answers otherwise; ./dev record writes it anew"
