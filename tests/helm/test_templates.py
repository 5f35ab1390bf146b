# SPDX-License-Identifier: Apache-2.0
"""What the chart renders, case by case; each on helm 3 and 4 alike."""

import json

import pytest
import yaml

import charts
from cases import CASES, DIGEST, ENDPOINT, POD, REFUSED
from charts import containers, kinds, only, pod_specs, same_on_both, sidecar


@pytest.fixture(scope="module")
def rendered(fixed_chart):
    """rendered(case): {(kind, name): object}"""
    made = {}

    def get(case):
        if case not in made:
            made[case] = same_on_both(CASES[case], chart=fixed_chart)
        return made[case]

    return get


def spec_of(objects):
    return only(objects, "Deployment")["spec"]["template"]["spec"]


def volumes(spec):
    return {v["name"]: v for v in spec["volumes"]}


@pytest.mark.parametrize("case", CASES)
def test_case_renders_alike_on_both_majors(rendered, case):
    objects = rendered(case)
    for (kind, name), o in objects.items():
        assert len(name) <= 63, name
        assert "namespace" in o["metadata"] or case == "further objects", (kind, name)


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("major", charts.HELMS)
def test_wrong_values_are_refused_with_a_reason(fixed_chart, case, major):
    values, reason = REFUSED[case]
    assert reason in charts.refused(values, major=major, chart=fixed_chart)


def test_each_key_that_the_chart_sets_is_refused_in_config(fixed_chart):
    for key in ("ollama.url", "web.listen", "web.config_file", "web.token", "publish.configmap", "publish.mounted", "results.path"):
        message = charts.refused({"config": charts.tree(key.split("."), "x")}, chart=fixed_chart)
        assert f"config.{key}: the chart sets this key" in message


# ---- the modes ------------------------------------------------------------------------------------------------------


def test_attach_brings_no_pod_but_the_test(rendered):
    assert kinds(rendered("attach")) == ["ConfigMap", "ConfigMap", "ConfigMap", "Pod", "Role", "RoleBinding", "Service"]


def test_attach_hands_out_a_native_sidecar(rendered):
    objects = rendered("attach")
    data = objects["ConfigMap", "o3-o3-sidecar-attach"]["data"]
    values, patch = yaml.safe_load(data["values.yaml"]), yaml.safe_load(data["patch.yaml"])["spec"]["template"]["spec"]
    (container,) = values["initContainers"]
    assert container["name"] == "o3" and container["restartPolicy"] == "Always"
    assert patch["initContainers"] == values["initContainers"] and patch["volumes"] == values["volumes"]
    assert patch["automountServiceAccountToken"] is False and values["serviceAccount"] == {"automount": False}
    assert "{{" not in data["values.yaml"]
    (subject,) = only(objects, "RoleBinding")["subjects"]
    assert subject == {"kind": "ServiceAccount", "name": "ollama", "namespace": "ollama"}
    assert only(objects, "Service")["spec"]["selector"] == {"app.kubernetes.io/name": "ollama"}


def test_attach_hands_out_all_that_is_asked_for(rendered):
    data = rendered("attach, all of the pod")["ConfigMap", "o3-o3-sidecar-attach"]["data"]
    values = yaml.safe_load(data["values.yaml"])
    (container,) = values["initContainers"]
    check_container(container)
    assert {"name": "more", "emptyDir": {}} in values["volumes"]
    assert {"name": "o3-web", "secret": {"secretName": "web"}} in values["volumes"]


def check_container(container):
    """The container of the values POD."""
    assert container["image"] == f"registry.example:5000/o3-sidecar@{DIGEST}"
    assert container["args"] == ["serve", "--config.file=/etc/o3/config/o3.yaml", "--log.level=debug"]
    env = {e["name"]: e for e in container["env"]}
    assert env["O3_WEB_TOKEN"]["valueFrom"] == {"secretKeyRef": {"name": "api", "key": "bearer"}}
    assert env["O3_KUBERNETES_POD_UID"]["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.uid"}}
    assert env["TZ"]["value"] == "UTC"
    assert container["ports"] == [{"name": "o3-metrics", "containerPort": 9000, "protocol": "TCP"}]
    for probe in ("livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["scheme"] == "HTTPS"
    mounts = {m["name"]: m for m in container["volumeMounts"]}
    assert mounts["o3-web"]["readOnly"] and mounts["more"]["mountPath"] == "/more"


def test_standalone_is_a_plain_container_elsewhere(rendered):
    objects = rendered("standalone")
    spec = spec_of(objects)
    assert "initContainers" not in spec and [c["name"] for c in spec["containers"]] == ["o3"]
    assert "restartPolicy" not in spec["containers"][0]
    config = yaml.safe_load(objects["ConfigMap", "o3-o3-sidecar-config"]["data"]["o3.yaml"])
    assert config["ollama"]["url"] == "http://ollama.ollama.svc:11434"
    assert ("ConfigMap", "o3-o3-sidecar-attach") not in objects


def test_bundled_is_a_native_sidecar_beside_ollama(rendered):
    objects = rendered("bundled")
    spec = spec_of(objects)
    assert [(c["name"], c.get("restartPolicy")) for c in spec["initContainers"]] == [("o3", "Always")]
    assert [c["name"] for c in spec["containers"]] == ["ollama"]
    assert "shareProcessNamespace" not in spec and "runtimeClassName" not in spec
    assert [p["name"] for p in only(objects, "Service")["spec"]["ports"]] == ["o3-metrics", "ollama"]
    assert volumes(spec)["models"] == {"name": "models", "emptyDir": {}}


def test_bundled_with_all_that_can_be_set(rendered):
    spec = spec_of(rendered("bundled, all of the pod"))
    assert spec["shareProcessNamespace"] is True and spec["runtimeClassName"] == "nvidia"
    ollama = spec["containers"][0]
    assert ollama["image"] == f"registry.example/ollama/ollama@{DIGEST}"
    assert {"name": "OLLAMA_KEEP_ALIVE", "value": "1h"} in ollama["env"]
    # What is set in full stands alone: a default of this chart is no part of it.
    assert ollama["resources"]["limits"] == {"nvidia.com/gpu": 1, "memory": "8Gi"}


@pytest.mark.parametrize("case", ["standalone, all of the pod", "bundled, all of the pod"])
def test_settings_of_the_pod(rendered, case):
    objects = rendered(case)
    spec = spec_of(objects)
    check_container(sidecar(objects))
    assert spec["imagePullSecrets"] == [{"name": "pull"}]
    for key in ("nodeSelector", "tolerations", "affinity"):
        assert spec[key] == POD[key], key
    assert spec["priorityClassName"] == "high"
    template = only(objects, "Deployment")["spec"]["template"]["metadata"]
    assert template["labels"]["team"] == "llm" and template["annotations"] == {"note": "here"}
    for (kind, name), o in objects.items():
        if kind != "Pod":
            assert o["metadata"]["labels"]["cost"] == "7" and o["metadata"]["annotations"]["owner"] == "me", (kind, name)


def test_what_is_taken_out_stays_out(rendered):
    for case in ("standalone, bare", "bundled, bare"):
        objects = rendered(case)
        spec = spec_of(objects)
        assert "securityContext" not in spec
        assert not {"resources", "securityContext"} & set(sidecar(objects))
        assert not {"Service", "Pod", "Role", "RoleBinding"} & set(kinds(objects))
    assert "resources" not in spec_of(rendered("bundled, bare"))["containers"][0]


# ---- nothing of ours holds Ollama up, nothing of ours is lent to it ------------------------------------------------


@pytest.mark.parametrize("case", ["standalone", "bundled", "bundled, all of the pod"])
def test_probes_ask_about_the_process_alone(rendered, case):
    container = sidecar(rendered(case))
    assert "startupProbe" not in container and "lifecycle" not in container
    assert container["livenessProbe"]["httpGet"]["path"] == "/-/healthy"
    assert container["readinessProbe"]["httpGet"]["path"] == "/-/ready"


@pytest.mark.parametrize("case", ["standalone", "bundled", "claims", "bundled, all of the pod"])
def test_only_our_container_gets_a_token(rendered, case):
    objects = rendered(case)
    spec = spec_of(objects)
    assert spec["automountServiceAccountToken"] is False
    assert only(objects, "ServiceAccount")["automountServiceAccountToken"] is False
    holders = {c["name"] for c in containers(spec) for m in c["volumeMounts"] if m["name"] == "o3-token"}
    assert holders == {"o3"}
    sources = volumes(spec)["o3-token"]["projected"]["sources"]
    assert [list(s) for s in sources] == [["serviceAccountToken"], ["configMap"], ["downwardAPI"]]
    mount = {m["name"]: m for m in sidecar(objects)["volumeMounts"]}
    assert mount["o3-token"]["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount"


@pytest.mark.parametrize("case", CASES)
def test_mounts_are_whole_folders(rendered, case):
    text = json.dumps([*rendered(case).values()])
    assert "subPath" not in text


@pytest.mark.parametrize("case", ["standalone", "bundled", "claims", "bundled, all of the pod", "attach"])
def test_containers_are_as_the_restricted_standard_asks(rendered, case):
    objects = rendered(case)
    found = [c for _, spec in pod_specs(objects) for c in containers(spec)]
    if case == "attach":
        found += yaml.safe_load(objects["ConfigMap", "o3-o3-sidecar-attach"]["data"]["values.yaml"])["initContainers"]
    assert found
    for container in found:
        context = container["securityContext"]
        assert context["runAsNonRoot"] is True and context["readOnlyRootFilesystem"] is True and context["runAsUser"] == 65532
        assert context["allowPrivilegeEscalation"] is False and context["capabilities"] == {"drop": ["ALL"]}
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    for _, spec in pod_specs(objects):
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        assert not [v for v in spec.get("volumes", []) if "hostPath" in v]


# ---- the presets ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_helm_has_no_field_of_the_presets(rendered, case):
    """A key `data`, even an empty one, would make helm 3 wipe the presets and helm 4 refuse to upgrade."""
    found = [o for (kind, name), o in rendered(case).items() if kind == "ConfigMap" and name in ("o3-ai-configs", "ours")]
    assert len(found) == (0 if case == "a ConfigMap that exists" else 1)
    for o in found:
        assert set(o) == {"apiVersion", "kind", "metadata"}
        keep = o["metadata"].get("annotations", {}).get("helm.sh/resource-policy")
        assert keep == (None if "bare" in case else "keep")


def test_role_is_get_and_patch_on_one_name(rendered):
    golden = [{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["o3-ai-configs"], "verbs": ["get", "patch"]}]
    for case in ("attach", "standalone", "bundled"):
        objects = rendered(case)
        assert only(objects, "Role")["rules"] == golden
        assert only(objects, "RoleBinding")["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "o3-o3-sidecar"}
        assert "ClusterRole" not in kinds(objects)
    assert only(rendered("a ConfigMap that exists"), "Role")["rules"][0]["resourceNames"] == ["ours"]


def test_starting_presets_are_the_charts_own(rendered):
    objects = rendered("starting presets")
    assert objects["ConfigMap", "o3-o3-sidecar-starting-presets"]["data"] == {"m.yaml": "model: m\n"}
    assert objects["ConfigMap", "o3-ai-configs"]["metadata"]["annotations"] == {"a": "b", "helm.sh/resource-policy": "keep"}
    assert ("ConfigMap", "o3-o3-sidecar-starting-presets") not in rendered("attach")


def test_sidecar_publishes_to_that_name_and_reads_it_back(rendered):
    objects = rendered("bundled")
    config = yaml.safe_load(objects["ConfigMap", "o3-o3-sidecar-config"]["data"]["o3.yaml"])
    assert config["publish"]["configmap"] == "o3-ai-configs"
    assert volumes(spec_of(objects))["o3-presets"]["configMap"] == {"name": "o3-ai-configs", "optional": True}
    mounts = {m["name"]: m["mountPath"] for m in sidecar(objects)["volumeMounts"]}
    assert mounts["o3-presets"] == config["publish"]["mounted"]


# ---- volumes, accounts, names ---------------------------------------------------------------------------------------


def test_claims(rendered):
    objects = rendered("claims")
    claims = {name: o for (kind, name), o in objects.items() if kind == "PersistentVolumeClaim"}
    assert set(claims) == {"o3-o3-sidecar-state", "o3-o3-sidecar-models"}
    state = claims["o3-o3-sidecar-state"]
    assert state["spec"] == {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    assert state["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    found = volumes(spec_of(objects))
    assert found["o3-state"]["persistentVolumeClaim"] == {"claimName": "o3-o3-sidecar-state"}
    assert found["models"]["persistentVolumeClaim"] == {"claimName": "o3-o3-sidecar-models"}
    classed = rendered("claims of a class")
    assert classed["PersistentVolumeClaim", "o3-o3-sidecar-state"]["spec"]["storageClassName"] == "fast"
    assert "annotations" not in classed["PersistentVolumeClaim", "o3-o3-sidecar-state"]["metadata"]
    assert classed["PersistentVolumeClaim", "o3-o3-sidecar-models"]["spec"]["storageClassName"] == "big"


def test_claims_that_exist(rendered):
    objects = rendered("claims that exist")
    assert "PersistentVolumeClaim" not in kinds(objects)
    found = volumes(spec_of(objects))
    assert found["o3-state"]["persistentVolumeClaim"] == {"claimName": "mine"}
    assert found["models"]["persistentVolumeClaim"] == {"claimName": "theirs"}


def test_without_persistence_a_summary_is_kept_with_the_presets(rendered):
    assert volumes(spec_of(rendered("bundled")))["o3-state"] == {"name": "o3-state", "emptyDir": {}}
    for case, is_kept in (("bundled", True), ("attach", True), ("claims", False), ("claims that exist", False)):
        config = yaml.safe_load(rendered(case)["ConfigMap", "o3-o3-sidecar-config"]["data"]["o3.yaml"])
        assert config["publish"]["state"] is is_kept, case


@pytest.mark.parametrize("case, name, is_made", [
    ("standalone", "o3-o3-sidecar", True), ("an account with a name", "mine", True),
    ("an account that exists", "mine", False), ("the default account", "default", False)])
def test_service_account(rendered, case, name, is_made):
    objects = rendered(case)
    assert spec_of(objects)["serviceAccountName"] == name
    assert only(objects, "RoleBinding")["subjects"][0]["name"] == name
    assert (("ServiceAccount", name) in objects) == is_made
    if case == "an account with a name":
        assert objects["ServiceAccount", "mine"]["metadata"]["annotations"] == {"role": "r"}


@pytest.mark.parametrize("case, name", [
    ("attach", "o3-o3-sidecar"), ("one name", "ozone"), ("names", "o3-ozone"), ("a name that the release holds", "o3")])
def test_names(rendered, case, name):
    objects = rendered(case)
    assert only(objects, "Role")["metadata"]["name"] == name
    namespace = "elsewhere" if case == "names" else "ollama"
    assert {o["metadata"]["namespace"] for o in objects.values()} == {namespace}


def test_release_names_with_dots_make_names_without():
    assert [name for kind, name in charts.render(name="llm.v2") if kind == "Service"] == ["llm-v2-o3-sidecar"]
    assert [name for kind, name in charts.render(name="o3-sidecar.v2") if kind == "Service"] == ["o3-sidecar-v2"]


def test_long_release_names_fit():
    objects = charts.render(CASES["starting presets"], name="a" * 53)
    assert max(len(name) for _, name in objects) <= 63


def test_further_objects_are_templates(rendered):
    assert {("ConfigMap", "o3-a"), ("ConfigMap", "o3-b")} <= set(rendered("further objects"))


# ---- monitoring -----------------------------------------------------------------------------------------------------


def test_nothing_of_an_operator_unless_asked(rendered):
    for case in ("attach", "standalone", "bundled"):
        assert not {"PodMonitor", "ServiceMonitor", "PrometheusRule", "NetworkPolicy"} & set(kinds(rendered(case)))


def test_pod_monitor(rendered):
    plain = only(rendered("pod monitor"), "PodMonitor")
    assert plain["spec"] == {
        "selector": {"matchLabels": {"app.kubernetes.io/name": "ollama"}}, "sampleLimit": 20000,
        "podMetricsEndpoints": [{"port": "o3-metrics", "path": "/metrics", "scheme": "http"}]}
    assert "sampleLimit" not in only(rendered("pod monitor without a limit"), "PodMonitor")["spec"]
    whole = only(rendered("pod monitor, all of it"), "PodMonitor")
    check_endpoint(whole, whole["spec"]["podMetricsEndpoints"])


def test_service_monitor(rendered):
    objects = rendered("service monitor")
    plain = only(objects, "ServiceMonitor")
    assert plain["spec"]["endpoints"] == [{"port": "o3-metrics", "path": "/metrics", "scheme": "http"}]
    service = only(objects, "Service")
    assert plain["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert plain["spec"]["endpoints"][0]["port"] in [p["name"] for p in service["spec"]["ports"]]
    assert "sampleLimit" not in only(rendered("service monitor without a limit"), "ServiceMonitor")["spec"]
    whole = only(rendered("service monitor, all of it"), "ServiceMonitor")
    check_endpoint(whole, whole["spec"]["endpoints"])


def check_endpoint(monitor, endpoints):
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    passed_on = ("interval", "scrapeTimeout", "tlsConfig", "basicAuth", "relabelings", "metricRelabelings")
    assert endpoints == [{"port": "o3-metrics", "path": "/metrics", "scheme": "http", **{k: ENDPOINT[k] for k in passed_on}}]


def test_rules_are_those_of_the_file(rendered):
    rule = only(rendered("rules"), "PrometheusRule")
    assert rule["metadata"]["labels"]["release"] == "prometheus"
    assert rule["spec"] == yaml.safe_load((charts.FIXTURE / "alerts/x.rules.yaml").read_text())


def test_rules_can_be_left_out_and_changed(rendered):
    records, alerts = only(rendered("rules, changed"), "PrometheusRule")["spec"]["groups"]
    assert records["rules"] == [{"record": "level:metric:operation", "expr": "vector(1)"}]
    assert alerts["interval"] == "1m"
    assert alerts["rules"] == [{
        "alert": "First", "expr": "vector(2)", "for": "1h", "keep_firing_for": "5m", "labels": {"severity": "info", "team": "llm"},
        "annotations": {"summary": "It is {{ $value | humanize }}.", "runbook_url": "https://runbooks.example/RUNBOOKS.md#first",
                        "dashboard_url": "https://grafana.example/d/x"}}]


def test_dashboards_are_the_bytes_of_the_files(rendered):
    o = rendered("dashboards")["ConfigMap", "o3-o3-sidecar-x"]
    assert o["metadata"]["namespace"] == "grafana"
    assert o["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert o["metadata"]["annotations"] == {"grafana_folder": "Ollama"}
    assert o["data"] == {"x.json": (charts.FIXTURE / "dashboards/x.json").read_text().rstrip("\n")}


# ---- network --------------------------------------------------------------------------------------------------------


def ports(rules):
    return [[p["port"] for p in rule["ports"]] for rule in rules]


def test_policy_of_a_standalone_sidecar(rendered):
    policy = only(rendered("standalone, a policy"), "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert ports(policy["ingress"]) == [[21434]]
    assert ports(policy["egress"]) == [[53, 53], [443, 6443, 11434], [9]]
    for case, port in (("standalone, a policy, https", 443), ("standalone, a policy, http", 80)):
        assert ports(only(rendered(case), "NetworkPolicy")["spec"]["egress"]) == [[53, 53], [443, 6443, port]]


def test_policy_beside_ollama_leaves_its_users_in(rendered):
    for case, port in (("attach, a policy", 8080), ("bundled, a policy", 11434)):
        policy = only(rendered(case), "NetworkPolicy")["spec"]
        assert policy["policyTypes"] == ["Ingress"]
        metrics, users = policy["ingress"]
        assert users == {"ports": [{"port": port, "protocol": "TCP"}]}
        assert metrics["from"][0] == {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
        # The pod of `helm test` gets in as well, where there is one.
        assert len(metrics["from"]) == (1 if case.startswith("attach") else 2)


# ---- helm test ---------------------------------------------------------------------------------------------------


def test_test_pod_asks_the_service_and_is_no_part_of_it(rendered):
    objects = rendered("bundled, all of the pod")
    pod = objects["Pod", "o3-o3-sidecar-test"]
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    (container,) = pod["spec"]["containers"]
    assert container["args"] == ["healthcheck", "--web.listen=o3-o3-sidecar:9000", "--web.config_file=/etc/o3/web/web-config.yaml"]
    assert container["volumeMounts"][0]["mountPath"] == "/etc/o3/web" and pod["spec"]["volumes"][0]["secret"] == {"secretName": "web"}
    assert "volumes" not in rendered("bundled")["Pod", "o3-o3-sidecar-test"]["spec"]
    for o in objects.values():
        if o["kind"] == "Service":
            assert not o["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
        if o["kind"] == "Deployment":
            assert not o["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
            assert o["spec"]["selector"]["matchLabels"].items() <= o["spec"]["template"]["metadata"]["labels"].items()
