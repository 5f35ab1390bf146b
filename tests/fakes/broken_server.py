# SPDX-License-Identifier: Apache-2.0
"""A server of broken bytes. Alone it breaks every request; in front of a simulator it breaks the chosen paths and passes
the rest on, so that a client gets as far as the break."""

import contextlib
import http.client
import random
import socketserver
import threading
import time

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def plain(status, kind, body):
    return b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (status, kind, len(body), body)


def html(send, server):
    send(plain(b"200 OK", b"text/html", b"<!doctype html><html><body>It works!</body></html>"))


def unavailable(send, server):
    send(plain(b"503 Service Unavailable", b"application/json", b'{"error":"server busy, please try again"}'))


def error_500(send, server):
    send(plain(b"500 Internal Server Error", b"application/json", b'{"error":"llama-server process has terminated"}'))


def hang(send, server):
    """Accepts, reads, never answers."""
    server.released.wait()


def half(send, server):
    """A token, the head of the next one, and the end of the connection."""
    send(HEAD + chunk(b'{"model":"sim-small:latest","response":" a","done":false}\n') + b"40\r\n" + b'{"model":"sim-sm')


def error_line(send, server):
    """What a dying runner leaves: status 200 and an error object as the last line."""
    send(HEAD + chunk(b'{"response":" a","done":false}\n') + chunk(b'{"error":"an error was encountered while running the model: unexpected EOF"}\n') + b"0\r\n\r\n")


def no_done(send, server):
    send(HEAD + chunk(b'{"response":" a","done":false}\n') + b"0\r\n\r\n")


def garbage(send, server):
    send(bytes(random.Random(7).randrange(256) for _ in range(4096)))


def garbage_json(send, server):
    send(plain(b"200 OK", b"application/json", b'{"models":[{"name":"\xff\xfe\x00\x01","size":1e999,"expires_at":-1},[[[[[[', ))


def odd_types(send, server):
    send(plain(b"200 OK", b"application/json",
               b'{"version":7,"models":{"a":1},"total_duration":-5,"eval_count":"many","done":"yes","response":[]}\n'))


def huge(send, server):
    """One endless line."""
    send(HEAD)
    piece = chunk(b"A" * 65536)
    while not server.released.is_set():
        send(piece)


def drip(send, server):
    """A token now and then, for ever."""
    send(HEAD)
    while not server.released.is_set():
        send(chunk(b'{"response":" a","done":false}\n'))
        time.sleep(0.05)


MODES = {f.__name__: f for f in (html, unavailable, error_500, hang, half, error_line, no_done, garbage, garbage_json, odd_types, huge, drip)}


class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self.request.recv(65536)
            if not piece:
                return
            data += piece
        head, body = data.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        method, path = lines[0].split(" ")[:2]
        length = next((int(l.split(":", 1)[1]) for l in lines[1:] if l.lower().startswith("content-length:")), 0)
        while len(body) < length:
            piece = self.request.recv(65536)
            if not piece:
                return
            body += piece
        server = self.server
        server.seen.append((method, path, body))
        mode = server.broken_paths.get(path.split("?")[0], server.mode)
        # The client may leave in the middle; that is its right.
        with contextlib.suppress(OSError):
            if mode is None:
                self.pass_on(method, path, body)
            else:
                MODES[mode](self.request.sendall, server)

    def pass_on(self, method, path, body):
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.upstream_port)
        try:
            upstream.request(method, path, body or None, {"Content-Type": "application/json"} if body else {})
            reply = upstream.getresponse()
            kind = (reply.getheader("Content-Type") or "text/plain").encode()
            self.request.sendall(b"HTTP/1.1 %d X\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n" % (reply.status, kind))
            while piece := reply.read1(65536):
                self.request.sendall(chunk(piece))
            self.request.sendall(b"0\r\n\r\n")
        finally:
            upstream.close()


class BrokenServer(socketserver.ThreadingTCPServer):
    """mode: what happens to every path not in `paths` (None: passed on to upstream_port)."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, mode=None, paths=None, upstream_port=None):
        self.mode, self.broken_paths, self.upstream_port = mode, dict(paths or {}), upstream_port
        self.seen = []  # (method, path, body) of each request
        self.released = threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)
        self.port = self.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.released.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        pass  # a client that went away; the test looks at the sidecar
