# SPDX-License-Identifier: Apache-2.0
"""So much of an API server as helm asks before it installs anything: who are you, what have you, is there this ConfigMap? What a real
one does with the chart is tested by `./dev test k8s`."""

import contextlib
import http.server
import json
import threading

RESOURCES = {
    "v1": {"configmaps": "ConfigMap", "services": "Service", "pods": "Pod", "serviceaccounts": "ServiceAccount",
           "persistentvolumeclaims": "PersistentVolumeClaim"},
    "apps/v1": {"deployments": "Deployment"},
    "rbac.authorization.k8s.io/v1": {"roles": "Role", "rolebindings": "RoleBinding"},
}


def group_list():
    versions = [version for version in RESOURCES if "/" in version]
    entry = lambda version: {"groupVersion": version, "version": version.split("/")[1]}
    groups = [{"name": v.split("/")[0], "versions": [entry(v)], "preferredVersion": entry(v)} for v in versions]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def resource_list(version):
    verbs = ["get", "list", "create", "patch", "delete"]
    found = [{"name": n, "singularName": "", "namespaced": True, "kind": k, "verbs": verbs} for n, k in RESOURCES[version].items()]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": found}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        path = self.path.split("?")[0].rstrip("/")
        fixed = {
            "/version": {"major": "1", "minor": "33", "gitVersion": "v1.33.0"},
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis": group_list(),
            **{("/api/" if version == "v1" else "/apis/") + version: resource_list(version) for version in RESOURCES},
        }
        body = fixed.get(path) or self.server.objects.get(path)
        status = 200 if body else 404
        if not body:
            body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404, "message": f"{path} not found"}
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextlib.contextmanager
def api_server(*config_maps):
    """Its URL; it holds these ConfigMaps."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.objects = {f"/api/v1/namespaces/{o['metadata']['namespace']}/configmaps/{o['metadata']['name']}": o for o in config_maps}
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def presets_of(release):
    """The ConfigMap as that release has made it, or None: as somebody has by hand."""
    meta = {"name": "o3-ai-configs", "namespace": "ollama"}
    if release:
        meta["labels"] = {"app.kubernetes.io/managed-by": "Helm"}
        meta["annotations"] = {"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": "ollama"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"m.yaml": "model: m\n"}}
