# SPDX-License-Identifier: Apache-2.0
"""A thousand clients that never finish must not keep Prometheus out for longer than the time limit."""

import resource
import socket

import requests

import harness
from harness import FAST, Metrics, Sidecar

CLIENTS = 1000


def test_a_thousand_slow_clients(start, simulator):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    want = CLIENTS + 200
    if hard != resource.RLIM_INFINITY:
        want = min(want, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, want), hard))
    clients = min(CLIENTS, want - 200)

    sidecar = start(Sidecar, simulator.url, {**FAST, "web.timeout": "2s"})
    sidecar.wait_sum("o3_probes_total", 1, result="ok")
    sockets = []
    try:
        for i in range(clients):
            s = socket.socket()
            s.setblocking(False)
            sockets.append(s)
            s.connect_ex(("127.0.0.1", sidecar.port))
        for i, s in enumerate(sockets):
            try:
                # Half stop in the middle of the request line, half in the headers.
                s.send(b"GET /met" if i % 2 else b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ")
            except OSError:
                pass  # refused or not yet connected: that is what a limit does

        def scrape():
            try:
                reply = requests.get(sidecar.url + "/metrics", timeout=5)
                return reply.status_code == 200 and Metrics(reply.text)
            except requests.RequestException:
                return None

        metrics = harness.wait_for("a scrape among the slow clients", scrape)
        # Probing went on meanwhile and goes on.
        before = metrics.sum("o3_probes_total", result="ok")
        harness.wait_for("another probe", lambda: (m := scrape()) and m.sum("o3_probes_total", result="ok") > before)
        assert sidecar.is_running()
    finally:
        for s in sockets:
            s.close()
    assert sidecar.stop() == 0


def test_readers_that_never_read(start, simulator):
    sidecar = start(Sidecar, simulator.url, {**FAST, "web.timeout": "2s"})
    sockets = []
    for _ in range(100):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        sockets.append(s)
        try:
            s.settimeout(5)
            s.connect(("127.0.0.1", sidecar.port))
            s.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        except OSError:
            pass
    harness.wait_for("a healthy answer", lambda: answers(sidecar))
    assert sidecar.stop() == 0
    for s in sockets:
        s.close()


def answers(sidecar):
    try:
        return requests.get(sidecar.url + "/-/healthy", timeout=5).status_code == 200
    except requests.RequestException:
        return False
