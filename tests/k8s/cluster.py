# SPDX-License-Identifier: Apache-2.0
"""A real etcd and kube-apiserver on loopback, and HTTP clients of it.

There is no controller, scheduler or kubelet: pods stay Pending, nothing makes default service accounts, and objects of a deleted
namespace stay. Authentication, RBAC, admission (Pod Security) and storage are those of any cluster.
"""

import base64
import json
import os
import pathlib
import subprocess
import time

import requests

import harness
from harness import Process, wait_for

SERVERS = pathlib.Path(os.environ.get("O3_TEST_K8S", "/nonexistent"))
ADMIN = "admin-token-of-the-tests"
ISSUER = "https://kubernetes.default.svc"
MERGE = "application/merge-patch+json"
AUDIT = """apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, userGroups: ["system:serviceaccounts"]}
- {level: None, userGroups: ["system:masters"]}
- {level: Metadata, resources: [{resources: [configmaps]}]} # the server does not know who
- {level: None}
"""


def openssl(*args, stdin=None):
    done = subprocess.run(["openssl", *map(str, args)], input=stdin, capture_output=True)
    assert done.returncode == 0, (args, done.stderr.decode())
    return done.stdout


def make_certificates(folder):
    """ca.crt, and tls.crt with tls.key for loopback names; sa.key signs the tokens of service accounts."""
    request = ["-newkey", "rsa:2048", "-nodes", "-sha256"]
    openssl("req", "-x509", *request, "-days", 2, "-subj", "/CN=o3-test-ca", "-keyout", folder / "ca.key", "-out", folder / "ca.crt")
    openssl("req", *request, "-subj", "/CN=kube-apiserver", "-keyout", folder / "tls.key", "-out", folder / "tls.csr")
    names = folder / "names.cnf"
    names.write_text("subjectAltName=DNS:localhost,DNS:kubernetes.default.svc,IP:127.0.0.1,IP:::1\n")
    openssl("x509", "-req", "-in", folder / "tls.csr", "-CA", folder / "ca.crt", "-CAkey", folder / "ca.key", "-CAcreateserial",
            "-days", 2, "-sha256", "-extfile", names, "-out", folder / "tls.crt")
    openssl("genrsa", "-out", folder / "sa.key", 2048)


class Client:
    """Requests with one credential. Every exchange goes to .record when somebody listens. A server that is full for a moment is asked again."""

    def __init__(self, url, token, ca, agent="o3-sidecar"):
        self.url, self.token, self.agent, self.record = url, token, agent, None
        self.session = requests.Session()
        self.session.verify = str(ca)
        self.session.trust_env = False

    def send(self, method, path, body=None, kind="application/json", headers=(), timeout=harness.LIMIT_S, is_patient=True, **more):
        data = body if body is None or isinstance(body, (str, bytes)) else json.dumps(body, separators=(",", ":"))
        sent = {"Accept": "application/json", "User-Agent": self.agent}
        if self.token is not None:
            sent["Authorization"] = f"Bearer {self.token}"
        if data is not None:
            sent["Content-Type"] = kind
        sent.update(headers)
        until = time.monotonic() + harness.LIMIT_S
        while True:
            reply = self.session.request(method, self.url + path, data=data, headers=sent, timeout=timeout, **more)
            if reply.status_code != 429 or not is_patient or time.monotonic() > until:
                break
            time.sleep(0.1)
        if self.record:
            self.record(method, path, sent, data, reply)
        return reply

    def get(self, path, **more):
        return self.send("GET", path, **more)

    def patch(self, path, body, kind=MERGE, **more):
        return self.send("PATCH", path, body, kind, **more)

    def make(self, path, body):
        """POST that must succeed; the object as stored."""
        reply = self.send("POST", path, body)
        assert reply.status_code in (200, 201), (path, reply.status_code, reply.text)
        return reply.json()


class Cluster:
    """Both servers; start() again after stop() keeps ports, keys and objects."""

    def __init__(self, folder, flags=(), host="127.0.0.1"):
        self.folder = pathlib.Path(folder)
        self.flags, self.host = list(flags), host
        make_certificates(self.folder)
        (self.folder / "tokens.csv").write_text(f'{ADMIN},admin,admin,"system:masters"\n')
        (self.folder / "audit.yaml").write_text(AUDIT)
        self.etcd_port, self.peer_port, self.port = (harness.free_port() for _ in range(3))
        self.url = f"https://[{host}]:{self.port}" if ":" in host else f"https://{host}:{self.port}"
        self.ca = self.folder / "ca.crt"
        # Its writes are listed under this name, as those of the chart would be.
        self.admin = Client(self.url, ADMIN, self.ca, "helm")
        self.etcd = self.api = None
        self.start_etcd()
        self.start_api()

    def start_etcd(self):
        client, peer = f"http://127.0.0.1:{self.etcd_port}", f"http://127.0.0.1:{self.peer_port}"
        self.etcd = Process([SERVERS / "etcd", "--data-dir", self.folder / "etcd", "--listen-client-urls", client,
                             "--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                             "--initial-cluster", f"default={peer}", "--unsafe-no-fsync"], self.folder, "etcd")

    def start_api(self):
        at = lambda name: self.folder / name
        self.api = Process([SERVERS / "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{self.etcd_port}",
                            f"--bind-address={self.host}", f"--advertise-address={self.host}", f"--secure-port={self.port}",
                            f"--cert-dir={self.folder}", f"--tls-cert-file={at('tls.crt')}", f"--tls-private-key-file={at('tls.key')}",
                            f"--service-account-issuer={ISSUER}", f"--service-account-key-file={at('sa.key')}",
                            f"--service-account-signing-key-file={at('sa.key')}",
                            f"--service-cluster-ip-range={'fd00:10::/112' if ':' in self.host else '10.0.0.0/24'}",
                            "--authorization-mode=RBAC", f"--token-auth-file={at('tokens.csv')}",
                            f"--audit-policy-file={at('audit.yaml')}", f"--audit-log-path={at('audit.log')}",
                            "--endpoint-reconciler-type=none", "--allow-privileged=true", *self.flags], self.folder, "kube-apiserver")
        self.wait_ready()

    def wait_ready(self):
        def is_ready():
            assert self.api.is_running(), self.api.log[-4000:]
            try:
                return self.admin.send("GET", "/readyz", timeout=5).status_code == 200
            except requests.RequestException:
                return False

        wait_for("the API server", is_ready, 120)

    def stop_api(self):
        self.api.kill()
        self.api.close()

    def close(self):
        for process in (self.api, self.etcd):
            if process:
                process.close()

    def namespace(self, name, **labels):
        """With the service account and the certificate that controllers make elsewhere."""
        self.admin.make("/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
        self.admin.make(f"/api/v1/namespaces/{name}/serviceaccounts", {"metadata": {"name": "default"}})
        self.admin.make(f"/api/v1/namespaces/{name}/configmaps",
                        {"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": self.ca.read_text()}})

    def sign(self, token, **claims):
        """The token with other claims, signed with the cluster's own key: one that expires when a test wants it."""
        encode = lambda b: base64.urlsafe_b64encode(b).rstrip(b"=")
        header, payload, _ = token.encode().split(b".")
        content = json.loads(base64.urlsafe_b64decode(payload + b"=="))
        content.update(claims)
        signed = header + b"." + encode(json.dumps(content).encode())
        return (signed + b"." + encode(openssl("dgst", "-sha256", "-sign", self.folder / "sa.key", stdin=signed))).decode()


class Place:
    """A namespace as the chart leaves it for the sidecar: a ConfigMap without data, and an account that may get and patch it."""

    ACCOUNT = "o3-sidecar"
    CONFIGMAP = "o3-ai-configs"

    def __init__(self, cluster, namespace, **labels):
        self.cluster, self.namespace, self.admin = cluster, namespace, cluster.admin
        self.root = f"/api/v1/namespaces/{namespace}"
        self.path = f"{self.root}/configmaps/{self.CONFIGMAP}"
        self.rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
        cluster.namespace(namespace, **labels)
        self.fill()

    def fill(self):
        self.make_configmap()
        self.admin.make(f"{self.root}/serviceaccounts", {"metadata": {"name": self.ACCOUNT}})
        self.admin.make(f"{self.rbac}/roles", {"metadata": {"name": self.ACCOUNT}, "rules": self.rules("get", "patch")})
        self.admin.make(f"{self.rbac}/rolebindings", {
            "metadata": {"name": self.ACCOUNT},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": self.ACCOUNT},
            "subjects": [{"kind": "ServiceAccount", "name": self.ACCOUNT, "namespace": self.namespace}]})

    def make_ours(self, objects):
        """The ConfigMap, account, Role and binding of a rendered chart {(kind, name): object}."""
        paths = {"ConfigMap": f"{self.root}/configmaps", "ServiceAccount": f"{self.root}/serviceaccounts",
                 "Role": f"{self.rbac}/roles", "RoleBinding": f"{self.rbac}/rolebindings"}
        for (kind, _), made in objects.items():
            if kind in paths:
                self.admin.make(paths[kind], made)

    def rules(self, *verbs):
        return [{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [self.CONFIGMAP], "verbs": list(verbs)}]

    def make_configmap(self):
        labels = {"app.kubernetes.io/name": "o3-sidecar"}
        return self.admin.make(f"{self.root}/configmaps", {"metadata": {"name": self.CONFIGMAP, "labels": labels}})

    def allow(self, *verbs):
        """What the Role allows from now on; returns when the server acts by it."""
        reply = self.admin.patch(f"{self.rbac}/roles/{self.ACCOUNT}", {"rules": self.rules(*verbs) if verbs else []})
        assert reply.status_code == 200, reply.text
        client = self.client()
        codes = lambda: (client.get(self.path).status_code, client.patch(self.path + "?dryRun=All", {}).status_code)
        # 404: allowed, and no such object.
        wait_for(f"a Role of {verbs}", lambda: [c != 403 for c in codes()] == ["get" in verbs, "patch" in verbs])

    def token(self, pod=None, seconds=3600):
        spec = {"expirationSeconds": seconds}
        if pod:
            spec["boundObjectRef"] = {"kind": "Pod", "apiVersion": "v1", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
        reply = self.admin.make(f"{self.root}/serviceaccounts/{self.ACCOUNT}/token", {"spec": spec})
        return reply["status"]["token"]

    def expiring_token(self, in_s):
        """Refused in_s seconds from now: the server grants a minute after `exp`, and remembers a good token for 10 s."""
        return self.cluster.sign(self.token(), exp=int(time.time() - 60 + in_s))

    def client(self, token=None):
        return Client(self.cluster.url, token or self.token(), self.cluster.ca)

    def pod(self, name="ollama-0", **spec):
        body = {"metadata": {"name": name, "labels": {"app": "ollama"}},
                "spec": {"serviceAccountName": self.ACCOUNT, "containers": [{"name": "c", "image": "c"}], **spec}}
        return self.admin.make(f"{self.root}/pods", body)

    def delete_pod(self, name="ollama-0"):
        reply = self.admin.send("DELETE", f"{self.root}/pods/{name}", {"gracePeriodSeconds": 0})
        assert reply.status_code == 200, reply.text

    def stored(self):
        """The ConfigMap as it is now."""
        reply = self.admin.get(self.path)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def audited(self, user=None):
        """[(verb, resource, name, status)] of every request of the account, or of another user in this namespace ("": of those
        whose token is not good), as the server noted them down."""
        user = f"system:serviceaccount:{self.namespace}:{self.ACCOUNT}" if user is None else user
        log = self.cluster.folder / "audit.log"
        events = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")] if log.exists() else []
        return [(e["verb"], e["objectRef"]["resource"], e["objectRef"].get("name"), e["responseStatus"]["code"])
                for e in events if e["user"].get("username", "") == user and (user or e["objectRef"]["namespace"] == self.namespace)]

    def versions_since(self, version):
        """Every state of the ConfigMap after a resourceVersion, oldest first: a watch that begins in the past."""
        query = f"watch=true&resourceVersion={version}&timeoutSeconds=2&fieldSelector=metadata.name%3D{self.CONFIGMAP}"
        reply = self.admin.get(f"{self.root}/configmaps?{query}")
        assert reply.status_code == 200, reply.text
        events = [json.loads(line) for line in reply.text.splitlines()]
        assert all(e["type"] in ("ADDED", "MODIFIED", "DELETED") for e in events), events
        return [e["object"] for e in events]

    def put_by_other(self, **data):
        """Somebody else's write; moves the resourceVersion."""
        reply = self.admin.patch(self.path, {"data": data}, headers={"User-Agent": "kubectl"})
        assert reply.status_code == 200, reply.text
        return reply.json()
