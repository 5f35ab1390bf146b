# SPDX-License-Identifier: Apache-2.0
"""The chart on a real API server with helm 3 and 4: install, write presets as the sidecar does, upgrade, roll back, uninstall."""

import sys

import pytest
import yaml

import harness

sys.path.insert(0, str(harness.ROOT / "tests/helm"))
import charts  # noqa: E402
from cluster import ADMIN, Client  # noqa: E402

RELEASE = "o3"
CONFIGMAP = "o3-ai-configs"
# What each mode needs to be told; the sidecar's account of each.
MODES = {
    "attach": {"mode": "attach"},
    "standalone": {"mode": "standalone", "ollama": {"url": "http://ollama:11434"}},
    "bundled": {"mode": "bundled"},
}
PRESETS = {"sim-small_latest.yaml": "model: sim-small:latest\n", "max_context.num_ctx": "8192"}


class Release:
    """helm with a kubeconfig of the cluster's administrator."""

    def __init__(self, cluster, folder, namespace, major):
        self.cluster, self.namespace, self.major = cluster, namespace, major
        self.root = f"/api/v1/namespaces/{namespace}"
        self.path = f"{self.root}/configmaps/{CONFIGMAP}"
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.write_text(yaml.safe_dump({
            "apiVersion": "v1", "kind": "Config", "current-context": "o3",
            "clusters": [{"name": "o3", "cluster": {"server": cluster.url, "certificate-authority": str(cluster.ca)}}],
            "users": [{"name": "o3", "user": {"token": ADMIN}}],
            "contexts": [{"name": "o3", "context": {"cluster": "o3", "user": "o3", "namespace": namespace}}]}))
        cluster.namespace(namespace)
        cluster.admin.make(f"{self.root}/serviceaccounts", {"metadata": {"name": "ollama"}})

    def helm(self, *args, **more):
        return charts.helm(*args, "--kubeconfig", self.kubeconfig, "--namespace", self.namespace, major=self.major, **more)

    def install(self, values):
        self.helm("install", RELEASE, charts.CHART, values=values)

    def upgrade(self, values, *args):
        self.helm("upgrade", RELEASE, charts.CHART, *args, values=values)

    def get(self, path):
        return self.cluster.admin.get(path)

    def stored(self):
        reply = self.get(self.path)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def role(self):
        roles = self.get(f"/apis/rbac.authorization.k8s.io/v1/namespaces/{self.namespace}/roles").json()["items"]
        (role,) = roles
        return role

    def account(self):
        """The name of the service account that the chart gave the Role."""
        bindings = self.get(f"/apis/rbac.authorization.k8s.io/v1/namespaces/{self.namespace}/rolebindings").json()["items"]
        (subject,) = [s for b in bindings for s in b["subjects"]]
        return subject["name"]

    def sidecar(self):
        """A client with the account's token."""
        reply = self.cluster.admin.make(f"{self.root}/serviceaccounts/{self.account()}/token", {"spec": {"expirationSeconds": 3600}})
        return Client(self.cluster.url, reply["status"]["token"], self.cluster.ca)

    def tune(self, **data):
        """A write as the sidecar's."""
        client = self.sidecar()
        seen = client.get(self.path)
        assert seen.status_code == 200, seen.text
        body = {"metadata": {"resourceVersion": seen.json()["metadata"]["resourceVersion"],
                             "annotations": {"o3-sidecar/generation": "1"}}, "data": data}
        reply = client.patch(self.path + "?fieldManager=o3-sidecar", body)
        assert reply.status_code == 200, reply.text


@pytest.fixture(params=charts.HELMS, ids=lambda major: f"helm{major}")
def major(request):
    return request.param


@pytest.fixture
def release(cluster, tmp_path, request, major):
    name = "chart-" + "".join(c if c.isalnum() else "-" for c in request.node.name.lower().removeprefix("test_"))
    return Release(cluster, tmp_path, name.strip("-")[:60].strip("-"), major)


@pytest.mark.parametrize("mode", MODES)
def test_presets_survive(release, mode):
    values = MODES[mode]
    release.install(values)
    assert "data" not in release.stored()
    release.tune(**PRESETS)
    first = release.stored()

    changed = charts.merged(values, {"config": {"probe": {"interval": "30s"}}, "commonLabels": {"team": "ai"},
                                     "presets": {"starting": {"sim-small_latest.yaml": "model: sim-small:latest\n"}}})
    release.upgrade(changed)
    assert release.stored()["data"] == PRESETS and release.stored()["metadata"]["labels"]["team"] == "ai"
    later = {**PRESETS, "max_context.num_ctx": "4096"}
    release.tune(**later)
    release.upgrade(changed)
    assert release.stored()["data"] == later

    release.helm("rollback", RELEASE, "1")
    assert release.stored()["data"] == later and "team" not in release.stored()["metadata"]["labels"]
    release.tune(**PRESETS)
    assert release.stored()["metadata"]["annotations"]["o3-sidecar/generation"] == "1"

    release.helm("uninstall", RELEASE)
    kept = release.stored()
    assert kept["data"] == PRESETS and kept["metadata"]["uid"] == first["metadata"]["uid"]
    assert release.get(f"{release.root}/services").json()["items"] == []
    release.install(values)  # under the same name it takes the object over, with what is in it
    assert release.stored()["data"] == PRESETS
    release.tune(**later)


def test_another_name_is_told(release):
    """A kept object belongs to the old release; without a name of its own the second one is refused, not overwritten."""
    release.install(MODES["attach"])
    release.tune(**PRESETS)
    done = release.helm("install", "other", charts.CHART, values=MODES["attach"], check=False)
    assert done.returncode != 0 and CONFIGMAP in done.stderr
    assert release.stored()["data"] == PRESETS
    release.helm("install", "other", charts.CHART, values={**MODES["attach"], "presets": {"configMap": {"name": "other-presets"}}})


def test_the_role_is_minimal(release):
    release.install(MODES["attach"])
    rules = release.role()["rules"]
    assert rules == [{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [CONFIGMAP], "verbs": ["get", "patch"]}]
    client = release.sidecar()
    codes = {
        "get": client.get(release.path).status_code,
        "get another": client.get(f"{release.root}/configmaps/kube-root-ca.crt").status_code,
        "list": client.get(f"{release.root}/configmaps").status_code,
        "create": client.send("POST", f"{release.root}/configmaps", {"metadata": {"name": "x"}}).status_code,
        "put": client.send("PUT", release.path, release.stored()).status_code,
        "delete": client.send("DELETE", release.path).status_code,
        "patch": client.patch(release.path, {"data": {"a": "1"}}).status_code,
        "secrets": client.get(f"{release.root}/secrets").status_code,
    }
    assert codes == {"get": 200, "get another": 403, "list": 403, "create": 403, "put": 403, "delete": 403, "patch": 200, "secrets": 403}


# ---- Pod Security: a namespace that enforces "restricted" ----


def admit(cluster, namespace, objects):
    """[(name, status, message)] of each pod, and of the pod that each workload would make, in a dry run."""
    results = []
    for name, spec in charts.pod_specs(objects):
        body = {"metadata": {"name": name}, "spec": {**spec, "serviceAccountName": "default"}}
        reply = cluster.admin.send("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All&fieldValidation=Strict", body)
        results.append((name, reply.status_code, "" if reply.ok else reply.json()["message"]))
    return results


@pytest.fixture(scope="module")
def restricted(cluster):
    cluster.namespace("restricted", **{"pod-security.kubernetes.io/enforce": "restricted",
                                       "pod-security.kubernetes.io/enforce-version": "latest"})
    return "restricted"


CASES = {f"ci-{name}": values for name, values in charts.ci_values().items()} | MODES


@pytest.mark.parametrize("case", CASES)
def test_restricted_accepts_every_pod(cluster, restricted, case):
    objects = charts.render(CASES[case], namespace=restricted)
    for name, status, message in admit(cluster, restricted, objects):
        assert status == 201, f"{name}: {message}"


def attached(**context):
    """A pod of somebody's Ollama, itself restricted, with our container as the native sidecar."""
    ours = charts.sidecar(charts.render(MODES["standalone"]))
    bare = {k: ours[k] for k in ("name", "image", "args", "ports", "resources", "securityContext") if k in ours}
    bare["restartPolicy"] = "Always"
    ollama = {"name": "ollama", "image": "ollama", "securityContext": {**ours["securityContext"], **context}}
    return {"initContainers": [bare], "containers": [ollama]}


def test_restricted_accepts_our_container_as_native_sidecar(cluster, restricted):
    ((_, status, message),) = admit(cluster, restricted, {("Pod", "ollama"): {"spec": attached()}})
    assert status == 201, message


@pytest.mark.parametrize("loosened", [{"runAsUser": 0, "runAsNonRoot": False}, {"capabilities": {}}, {"allowPrivilegeEscalation": True},
                                      {"seccompProfile": {"type": "Unconfined"}}], ids=lambda c: next(iter(c)))
def test_restricted_refuses_a_looser_container(cluster, restricted, loosened):
    """The server does enforce: the same pod with one setting loosened is refused, and for that container."""
    spec = attached()
    spec["initContainers"][0]["securityContext"].update(loosened)
    ((_, status, message),) = admit(cluster, restricted, {("Pod", "ollama"): {"spec": spec}})
    assert status == 403 and '"o3"' in message and '"ollama"' not in message.split("violates")[1], message
    assert "restricted" in message


def test_a_root_ollama_is_refused_and_not_for_us(cluster, restricted):
    """The common image runs as root: such a pod needs a namespace that allows it, whatever we do."""
    ((_, status, message),) = admit(cluster, restricted, {("Pod", "ollama"): {"spec": attached(runAsUser=0, runAsNonRoot=False)}})
    assert status == 403 and '"ollama"' in message and '"o3"' not in message, message
