# SPDX-License-Identifier: Apache-2.0
"""A Kubernetes API server with one ConfigMap, over TLS with an authority of its own: get and merge-patch by name with
resourceVersion, bearer tokens, everything else forbidden; and troubles on demand."""

import copy
import http.server
import json
import socket
import ssl
import subprocess
import threading

import harness

NAMESPACE, NAME = "llm", "o3-ai-configs"
PATH = f"/api/v1/namespaces/{NAMESPACE}/configmaps/{NAME}"


def make_authority(folder, name="ca"):
    """An authority and a certificate of it for the loopback addresses: (ca file, certificate, key)."""
    ca, ca_key, key, csr, crt, ext = (folder / f"{name}.{x}" for x in ("crt", "ca-key", "key", "csr", "server", "ext"))

    def openssl(*args):
        subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", ca_key, "-out", ca,
            "-days", "2", "-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", csr, "-subj",
            "/CN=kube-apiserver")
    ext.write_text("subjectAltName=IP:127.0.0.1,IP:::1,DNS:localhost\n")
    openssl("x509", "-req", "-in", csr, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "2", "-extfile", ext, "-out", crt)
    return ca, crt, key


def merge(to, patch):
    """RFC 7396."""
    for name, value in patch.items():
        if value is None:
            to.pop(name, None)
        elif isinstance(value, dict):
            merge(to.setdefault(name, {}), value)
        else:
            to[name] = value


class ApiServer:
    def __init__(self, folder, host="127.0.0.1", port=0, tokens=("good-token",)):
        self.folder = folder
        self.ca, self.crt, self.key = make_authority(folder)
        self.tokens = set(tokens)
        self.lock = threading.RLock()
        self.version = 100
        self.requests = []  # (method, path, status)
        self.fail = None  # a status for every request
        self.before_patch = []  # each is called once, before a patch is looked at
        self.object = None
        self.restore()
        self.host, self.port, self.server = host, port or harness.free_port(), None  # it may go away and come back
        self.start()

    @property
    def url(self):
        return f"https://[{self.host}]:{self.port}" if ":" in self.host else f"https://{self.host}:{self.port}"

    # ---- the object

    def restore(self):
        with self.lock:
            self.object = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": NAME, "namespace": NAMESPACE}}
            self.touch()

    def delete(self):
        with self.lock:
            self.object = None

    def touch(self):
        with self.lock:
            self.version += 1
            self.object["metadata"]["resourceVersion"] = str(self.version)

    def copy(self):
        with self.lock:
            return copy.deepcopy(self.object)

    @property
    def data(self):
        return (self.copy() or {}).get("data", {})

    def annotation(self, name):
        return ((self.copy() or {}).get("metadata", {}).get("annotations") or {}).get(f"o3-sidecar/{name}")

    def patch(self, patch):
        with self.lock:
            for hook in self.before_patch[:1]:
                self.before_patch.pop(0)
                hook()
            if not self.object:
                return 404, self.status(404, f'configmaps "{NAME}" not found')
            asked = patch.get("metadata", {}).get("resourceVersion")
            if asked and asked != self.object["metadata"]["resourceVersion"]:
                return 409, self.status(409, f'Operation cannot be fulfilled on configmaps "{NAME}": the object has been modified')
            after = copy.deepcopy(self.object)
            merge(after, patch)
            if sum(len(v.encode()) for v in after.get("data", {}).values()) > 1 << 20:
                return 422, self.status(422, f'ConfigMap "{NAME}" is invalid: []: Too long: may not be more than 1048576 bytes')
            self.object = after
            self.touch()
            return 200, self.copy()

    @staticmethod
    def status(code, message):
        return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code}

    # ---- answers

    def answer(self, method, path, token, content_type, body):
        with self.lock:
            if self.fail:
                return self.fail, self.status(self.fail, "made to fail")
            if token not in self.tokens:
                return 401, self.status(401, "Unauthorized")
            path, _, query = path.partition("?")
            if path != PATH or method not in ("GET", "PATCH"):
                return 403, self.status(403, f"{method} {path} is forbidden")
            if method == "PATCH":
                if content_type != "application/merge-patch+json" or query != "fieldManager=o3-sidecar":
                    return 415, self.status(415, f"{content_type} {query}")
                return self.patch(json.loads(body))
            return (200, self.copy()) if self.object else (404, self.status(404, f'configmaps "{NAME}" not found'))

    def start(self):
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def serve(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
                status, reply = owner.answer(self.command, self.path, token, self.headers.get("Content-Type"), body)
                owner.requests.append((self.command, self.path, status))
                text = json.dumps(reply).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                if status == 429:
                    self.send_header("Retry-After", "1")
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_PATCH = do_POST = do_PUT = do_DELETE = serve

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
            daemon_threads = True
            allow_reuse_address = True

            def get_request(self):
                # The handshake in the connection's own thread: a client that refuses must not stop the others.
                raw, address = self.socket.accept()
                return context.wrap_socket(raw, server_side=True, do_handshake_on_connect=False), address

            def handle_error(self, request, client_address):
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.crt, self.key)
        self.server = Server((self.host, self.port), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self):
        """Its port refuses connections; the object stays, as in etcd."""
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def count(self, method, status=None):
        return sum(m == method and status in (None, s) for m, _, s in list(self.requests))
