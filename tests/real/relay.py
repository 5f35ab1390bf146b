# SPDX-License-Identifier: Apache-2.0
"""A loopback relay between the sidecar and Ollama that records every byte with the time it passed.

Recording knows nothing of HTTP, so that it cannot disturb it; exchanges are read out of the record afterwards. Both sides
of a connection are copied by a thread of their own, and a byte's time is taken before it is passed on.
"""

import bisect
import dataclasses
import json
import socket
import threading
import time


@dataclasses.dataclass
class Exchange:
    method: str
    path: str
    request: bytes
    status: int
    reply: bytes  # body, without chunk framing
    sent: float  # monotonic seconds: the last byte of the request was read from the client
    head: float  # the end of the reply's head was read from the server
    lines: list  # [(time, object)] of an NDJSON reply: when the last byte of each line was read from the server
    is_complete: bool

    @property
    def asked(self):
        return json.loads(self.request) if self.request else {}

    @property
    def done(self):
        """The last object of a generation, with its durations; None when the stream ended without it."""
        return next((o for _, o in reversed(self.lines) if o.get("done")), None)

    def first_token(self):
        return next((t for t, o in self.lines if o.get("response") or o.get("thinking")), None)


class Recording:
    """One direction of one connection: bytes, and from which offset on which time holds."""

    def __init__(self):
        self.data, self.offsets, self.times = bytearray(), [], []

    def add(self, piece, now):
        self.offsets.append(len(self.data))
        self.times.append(now)
        self.data += piece

    def time_of(self, offset):
        return self.times[bisect.bisect_right(self.offsets, offset) - 1]


class Relay:
    def __init__(self, port):
        self.server_port = port
        self.lock = threading.Lock()
        self.connections = []  # (to server, to client)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.accept, daemon=True).start()

    def close(self):
        self.listener.close()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.server_port))
            except OSError:
                client.close()  # the server is down: so is the relay for this client
                continue
            up, down = Recording(), Recording()
            with self.lock:
                self.connections.append((up, down))
            for source, target, record in ((client, server, up), (server, client, down)):
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self.copy, args=(source, target, record), daemon=True).start()

    def copy(self, source, target, record):
        try:
            while piece := source.recv(65536):
                now = time.monotonic()
                target.sendall(piece)
                with self.lock:
                    record.add(piece, now)
        except OSError:
            pass
        for s, how in ((target, socket.SHUT_WR), (source, socket.SHUT_RD)):
            try:
                s.shutdown(how)
            except OSError:
                pass

    def exchanges(self, path=None):
        """All exchanges so far, in the order of their requests."""
        with self.lock:
            found = [e for up, down in self.connections for e in read_connection(up, down)]
        return sorted((e for e in found if path in (None, e.path)), key=lambda e: e.sent)


def read_head(data, at):
    end = data.find(b"\r\n\r\n", at)
    if end < 0:
        return None
    first, *rest = bytes(data[at:end]).decode("latin-1").split("\r\n")
    fields = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in rest)}
    return first, fields, end + 4


def read_body(data, at, fields, until_end):
    """(body, [offset in data of each body byte run], end, is complete); runs are (start in body, offset in data)."""
    if fields.get("transfer-encoding", "").lower() == "chunked":
        body, runs = bytearray(), []
        while True:
            line = data.find(b"\r\n", at)
            if line < 0:
                return bytes(body), runs, len(data), False
            size = int(bytes(data[at:line]).split(b";")[0], 16)
            at = line + 2
            if size == 0:
                return bytes(body), runs, min(at + 2, len(data)), True
            runs.append((len(body), at))
            body += data[at : at + size]
            if at + size + 2 > len(data):
                return bytes(body), runs, len(data), False
            at += size + 2
    if "content-length" in fields:
        end = at + int(fields["content-length"])
        return bytes(data[at:end]), [(0, at)], min(end, len(data)), end <= len(data)
    if until_end:
        return bytes(data[at:]), [(0, at)], len(data), True
    return b"", [], at, True


def read_connection(up, down):
    at_up = at_down = 0
    while True:
        head = read_head(up.data, at_up)
        if not head:
            return
        first, fields, at_up = head
        method, path = first.split(" ")[:2]
        request, _, at_up, is_whole = read_body(up.data, at_up, fields, until_end=False)
        if not is_whole:
            return
        sent = up.time_of(at_up - 1)
        head = read_head(down.data, at_down)
        if not head:
            yield Exchange(method, path, request, 0, b"", sent, 0.0, [], False)
            return
        first, fields, at_down = head
        head_time = down.time_of(at_down - 1)
        status = int(first.split(" ")[1])
        body, runs, at_down, is_complete = read_body(down.data, at_down, fields, until_end=True)
        lines, start = [], 0
        if fields.get("content-type", "").startswith("application/x-ndjson"):
            starts = [r[0] for r in runs]
            while (end := body.find(b"\n", start)) >= 0:
                run = runs[bisect.bisect_right(starts, end) - 1]
                lines.append((down.time_of(run[1] + end - run[0]), json.loads(body[start:end])))
                start = end + 1
        yield Exchange(method, path, request, status, body, sent, head_time, lines, is_complete)
