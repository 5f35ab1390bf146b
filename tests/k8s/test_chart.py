# SPDX-License-Identifier: Apache-2.0
"""The chart on a real API server with helm 3 and 4: install, write presets as the sidecar does, upgrade, roll back, uninstall."""

import pytest
import yaml

import charts
import harness
from cluster import ADMIN, Client
from harness import Sidecar, Simulator
from kubelet import Account, Mount
from publishing import DOCUMENT, wait_written

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
        self.cluster, self.admin, self.namespace, self.major = cluster, cluster.admin, namespace, major
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

    def token(self):
        reply = self.cluster.admin.make(f"{self.root}/serviceaccounts/{self.account()}/token", {"spec": {"expirationSeconds": 3600}})
        return reply["status"]["token"]

    def sidecar(self):
        """A client with the account's token."""
        return Client(self.cluster.url, self.token(), self.cluster.ca)

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


def dotted(tree, above=""):
    """{"probe": {"interval": "1s"}} -> {"probe.interval": "1s"}"""
    flat = {}
    for key, value in tree.items():
        flat |= dotted(value, f"{above}{key}.") if isinstance(value, dict) else {above + key: value}
    return flat


@pytest.mark.timeout(800)
def test_the_sidecar_itself_between_the_steps(release, start, simulator, tmp_path):
    """`o3 serve` with the configuration and the account that the chart made: it writes, and goes on writing after each step."""
    release.install(MODES["attach"])
    account = Account(tmp_path / "account", release, release.token())
    config = dotted(yaml.safe_load(release.get(f"{release.root}/configmaps/{RELEASE}-o3-sidecar-config").json()["data"]["o3.yaml"]))
    assert config["publish.configmap"] == CONFIGMAP and config["publish.state"] is True
    with Mount(tmp_path / "presets", release) as mount:
        # What of it names places in the container, and how often it measures.
        config = {**config, **harness.FAST, "web.listen": "127.0.0.1:0", "results.path": str(tmp_path / "o3_results"),
                  "ollama.url": simulator.url, "publish.mounted": str(mount.folder), "publish.writes_per_hour": 60,
                  "kubernetes.url": release.cluster.url, "kubernetes.token_file": str(account.folder / "token"),
                  "kubernetes.ca_file": str(account.folder / "ca.crt")}
        env = {"O3_KUBERNETES_POD_UID": "11111111-2222-4333-8444-555555555555"}
        client = release.sidecar()
        sidecar = start(Sidecar, simulator.url, config, env=env)
        first = wait_written(release)
        assert {k.rpartition(".")[2] for k in first} >= {"yaml", "num_ctx", "batch", "json"}
        sidecar.wait_metric("o3_preset_in_effect", lambda v: v == 1, limit_s=90, model=Simulator.MODEL, preset="balanced")

        upgrade = {**MODES["attach"], "commonLabels": {"team": "ai"}}
        for step, num_ctx in ((lambda: release.upgrade(upgrade), 16384), (lambda: release.helm("rollback", RELEASE, "1"), 8192)):
            before = release.stored()["data"]
            step()
            assert release.stored()["data"] == before
            simulator.load(Simulator.MODEL, num_ctx=num_ctx)
            written = lambda: release.stored()["data"][DOCUMENT] != before[DOCUMENT]
            harness.wait_for("a later write", written, 180, 0.5)
        assert sidecar.stop() == 0
    last = release.stored()["data"]
    release.helm("uninstall", RELEASE)
    assert release.stored()["data"] == last
    assert client.get(release.path).status_code == 403  # the Role went


def test_another_name_is_told(release):
    """A kept object belongs to the old release; without a name of its own the second one is refused, not overwritten."""
    release.install(MODES["attach"])
    release.tune(**PRESETS)
    for values in (MODES["attach"], MODES["bundled"]):
        done = release.helm("install", "other", charts.CHART, values=values, check=False)
        assert done.returncode != 0
        assert f"the ConfigMap {CONFIGMAP} belongs to the release {RELEASE}" in done.stderr and "presets.configMap.name" in done.stderr
        release.helm("uninstall", "other", check=False)
    assert release.stored()["data"] == PRESETS


def test_two_releases_in_one_namespace(release):
    """With a name of its own for the presets the second one has nothing in common with the first, whose end it outlives."""
    own = {"presets": {"configMap": {"name": "other-presets"}}}
    release.install(MODES["bundled"])
    release.tune(**PRESETS)
    release.helm("install", "other", charts.CHART, values={**MODES["bundled"], **own})
    first, second = (set(charts.objects_of(release.helm("get", "manifest", name).stdout)) for name in (RELEASE, "other"))
    assert first and len(first) == len(second) and not first & second
    deployments = release.get(f"/apis/apps/v1/namespaces/{release.namespace}/deployments").json()["items"]
    labels = [d["spec"]["template"]["metadata"]["labels"] for d in deployments]
    for i, deployment in enumerate(deployments):  # no selector finds the other one's pods
        selector = deployment["spec"]["selector"]["matchLabels"].items()
        assert [selector <= l.items() for l in labels] == [j == i for j in range(2)]
    release.helm("uninstall", RELEASE)
    left = release.get(f"/apis/apps/v1/namespaces/{release.namespace}/deployments").json()["items"]
    assert [d["metadata"]["labels"]["app.kubernetes.io/instance"] for d in left] == ["other"]
    assert release.stored()["data"] == PRESETS


def test_the_patch_puts_it_beside_ollama(release):
    """Without helm for Ollama: the chart's patch on somebody's Deployment, by the server's own merge."""
    release.install(MODES["attach"])
    patch = yaml.safe_load(release.get(f"{release.root}/configmaps/{RELEASE}-o3-sidecar-attach").json()["data"]["patch.yaml"])
    path = f"/apis/apps/v1/namespaces/{release.namespace}/deployments"
    ollama = {"name": "ollama", "image": "ollama/ollama", "volumeMounts": [{"name": "models", "mountPath": "/root/.ollama"}]}
    pod = {"serviceAccountName": "ollama", "initContainers": [{"name": "pull", "image": "pull"}], "containers": [ollama],
           "volumes": [{"name": "models", "emptyDir": {}}]}
    release.cluster.admin.make(path, {"metadata": {"name": "ollama"}, "spec": {
        "selector": {"matchLabels": {"app": "ollama"}}, "template": {"metadata": {"labels": {"app": "ollama"}}, "spec": pod}}})
    for _ in range(2):  # again: nothing is there twice
        reply = release.cluster.admin.patch(f"{path}/ollama?fieldValidation=Strict", patch, "application/strategic-merge-patch+json")
        assert reply.status_code == 200, reply.text
    spec = reply.json()["spec"]["template"]["spec"]
    assert [c["name"] for c in spec["containers"]] == ["ollama"] and spec["containers"][0]["volumeMounts"] == ollama["volumeMounts"]
    assert sorted(c["name"] for c in spec["initContainers"]) == ["o3", "pull"]
    (ours,) = [c for c in spec["initContainers"] if c["name"] == "o3"]
    assert ours["restartPolicy"] == "Always"
    volumes = [v["name"] for v in spec["volumes"]]
    assert len(volumes) == len(set(volumes)) and {m["name"] for m in ours["volumeMounts"]} | {"models"} == set(volumes)
    with_token = [c["name"] for c in spec["containers"] + spec["initContainers"]
                  if "o3-token" in [m["name"] for m in c.get("volumeMounts", [])]]
    assert with_token == ["o3"] and spec["automountServiceAccountToken"] is False


def test_the_role_is_minimal(release):
    """What such a Role allows, test_rbac.py holds, with the Role and the account of the chart."""
    release.install(MODES["attach"])
    rules = release.role()["rules"]
    assert rules == [{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [CONFIGMAP], "verbs": ["get", "patch"]}]
    client = release.sidecar()
    assert client.get(release.path).status_code == 200 and client.get(f"{release.root}/configmaps").status_code == 403


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
