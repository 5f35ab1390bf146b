# SPDX-License-Identifier: Apache-2.0
"""Stands between a client and the API server without reading what they say."""

import contextlib
import socket
import threading


class Relay:
    """Calls before_sending() with each piece that the client sends, and passes it on after that."""

    def __init__(self, host, port, before_sending):
        self.target, self.before_sending, self.sockets = (host, port), before_sending, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, far = self.listener.accept()[0], socket.create_connection(self.target)
                self.sockets += near, far
                for pair in ((near, far, self.before_sending), (far, near, lambda: None)):
                    threading.Thread(target=self.carry, args=pair, daemon=True).start()

    @staticmethod
    def carry(source, target, before):
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                before()
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)

    def close(self):
        for each in (self.listener, *self.sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
