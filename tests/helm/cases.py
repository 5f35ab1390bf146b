# SPDX-License-Identifier: Apache-2.0
"""Values that together take every branch of the templates, both ways; test_branches.py proves it."""

import charts

STANDALONE = {"mode": "standalone", "ollama": {"url": "http://ollama.ollama.svc:11434"}}
BUNDLED = {"mode": "bundled"}
DIGEST = "sha256:" + "0123456789abcdef" * 4
ENDPOINT = {
    "enabled": True,
    "additionalLabels": {"release": "prometheus"},
    "interval": "30s",
    "scrapeTimeout": "10s",
    "tlsConfig": {"insecureSkipVerify": True},
    "basicAuth": {"username": {"name": "s", "key": "u"}, "password": {"name": "s", "key": "p"}},
    "relabelings": [{"action": "labeldrop", "regex": "pod"}],
    "metricRelabelings": [{"action": "drop", "sourceLabels": ["__name__"], "regex": "process_.*"}],
}
POD = {
    "image": {"registry": "registry.example:5000", "digest": DIGEST, "pullSecrets": [{"name": "pull"}]},
    "podLabels": {"team": "llm"},
    "podAnnotations": {"note": "here"},
    "nodeSelector": {"gpu": "yes"},
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "high",
    "extraArgs": ["--log.level=debug"],
    "extraEnv": [{"name": "TZ", "value": "UTC"}],
    "extraVolumes": [{"name": "more", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
    "commonLabels": {"cost": "7"},
    "commonAnnotations": {"owner": "me"},
    "web": {"port": 9000, "scheme": "HTTPS", "configSecret": "web", "tokenSecret": {"name": "api", "key": "bearer"}},
}
BARE = {
    "resources": {"requests": None, "limits": None},
    "containerSecurityContext": {k: None for k in charts.defaults()["containerSecurityContext"]},
    "podSecurityContext": {k: None for k in charts.defaults()["podSecurityContext"]},
    "bundled": {"resources": {"requests": None, "limits": None}},
    "service": {"enabled": False},
    "rbac": {"create": False},
    "presets": {"configMap": {"keep": False}},
}

CASES = {
    "attach": {},
    "attach, all of the pod": {**POD, "mode": "attach"},
    "attach, bare": BARE,
    "attach, a policy": {"networkPolicy": {"enabled": True}, "attach": {"ollamaPort": 8080}, "test": {"enabled": False}},
    "standalone": STANDALONE,
    "standalone, all of the pod": {**POD, **STANDALONE},
    "standalone, a policy": {**STANDALONE, "networkPolicy": {"enabled": True, "extraEgress": [{"ports": [{"port": 9, "protocol": "TCP"}]}]}},
    "standalone, a policy, https": {"mode": "standalone", "ollama": {"url": "https://o.example"}, "networkPolicy": {"enabled": True}},
    "standalone, a policy, http": {"mode": "standalone", "ollama": {"url": "http://o.example"}, "networkPolicy": {"enabled": True}},
    "standalone, bare": {**BARE, **STANDALONE},
    "bundled": BUNDLED,
    "bundled, all of the pod": {**POD, **BUNDLED, "shareProcessNamespace": True, "bundled": {
        "image": {"registry": "registry.example", "digest": DIGEST}, "runtimeClassName": "nvidia",
        "env": [{"name": "OLLAMA_KEEP_ALIVE", "value": "1h"}], "resources": {"limits": {"nvidia.com/gpu": 1}}}},
    "bundled, bare": {**BARE, **BUNDLED},
    "bundled, a policy": {**BUNDLED, "networkPolicy": {"enabled": True}},
    "claims": {**BUNDLED, "persistence": {"type": "pvc"}, "bundled": {"models": {"persistence": "pvc"}}},
    "claims of a class": {**BUNDLED, "persistence": {"type": "pvc", "storageClass": "fast", "keep": False},
                          "bundled": {"models": {"persistence": "pvc", "storageClass": "big"}}},
    "claims that exist": {**BUNDLED, "persistence": {"type": "pvc", "existingClaim": "mine"},
                          "bundled": {"models": {"persistence": "pvc", "existingClaim": "theirs"}}},
    "an account that exists": {**STANDALONE, "serviceAccount": {"create": False, "name": "mine"}},
    "an account with a name": {**STANDALONE, "serviceAccount": {"name": "mine", "annotations": {"role": "r"}}},
    "the default account": {**STANDALONE, "serviceAccount": {"create": False}},
    "a ConfigMap that exists": {"presets": {"configMap": {"create": False, "name": "ours"}}},
    "starting presets": {"presets": {"starting": {"m.yaml": "model: m\n"}, "configMap": {"annotations": {"a": "b"}}}},
    "names": {"nameOverride": "ozone", "namespaceOverride": "elsewhere"},
    "a name that the release holds": {"nameOverride": "o3"},
    "one name": {"fullnameOverride": "ozone"},
    "pod monitor": {"podMonitor": {"enabled": True}},
    "pod monitor, all of it": {"podMonitor": ENDPOINT},
    "pod monitor without a limit": {"podMonitor": {"enabled": True, "sampleLimit": 0}},
    "service monitor": {"serviceMonitor": {"enabled": True}},
    "service monitor, all of it": {"serviceMonitor": ENDPOINT},
    "service monitor without a limit": {"serviceMonitor": {"enabled": True, "sampleLimit": 0}},
    "rules": {"prometheusRule": {"enabled": True, "additionalLabels": {"release": "prometheus"}}},
    "rules, changed": {"prometheusRule": {
        "enabled": True, "disabled": ["Second", "Alone"], "additionalAlertLabels": {"team": "llm"},
        "runbookUrlPrefix": "https://runbooks.example/", "dashboardUrlPrefix": "https://grafana.example",
        "overrides": {"First": {"for": "1h", "severity": "info", "expr": "vector(2)", "keep_firing_for": "5m"}}}},
    "dashboards": {"grafanaDashboard": {"enabled": True, "annotations": {"grafana_folder": "Ollama"}, "namespace": "grafana"}},
    "values of an older version": {"resources": None, "containerSecurityContext": None, "podSecurityContext": None, "bundled": None},
    "further objects": {"extraManifests": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-a"}},
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-b\n"]},
}

# (values, part of the message)
REFUSED = {
    "standalone without a url": ({"mode": "standalone"}, "set ollama.url"),
    "attach with a url": ({"ollama": {"url": "http://x"}}, "leave ollama.url out"),
    "both monitors": ({"podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}}, "scrape the same pods twice"),
    "a monitor without its service": ({"serviceMonitor": {"enabled": True}, "service": {"enabled": False}}, "needs the Service"),
    "a key of the chart": ({"config": {"web": {"listen": "0.0.0.0:1"}}}, "use the value web.port"),
    "no such alert": ({"prometheusRule": {"enabled": True, "disabled": ["Thrid"]}}, "there is no alert Thrid; there are First, Second"),
}
