# SPDX-License-Identifier: Apache-2.0
"""What the sidecar's Role (get and patch on one name), as the chart makes it, allows on a real API server, and what it does not."""

import json
import threading

import pytest

import charts
import harness
from cluster import Place

APPLY = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"


class ChartPlace(Place):
    ACCOUNT = "o3-o3-sidecar"

    def fill(self):
        """The objects of the chart's own account, as `helm template` gives them."""
        self.make_ours(charts.render({"mode": "standalone", "ollama": {"url": "http://ollama:11434"}}, namespace=self.namespace))


@pytest.fixture
def place(cluster, namespace):
    return ChartPlace(cluster, namespace)


@pytest.fixture
def client(place):
    return place.client()


def applied(place, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": place.CONFIGMAP}, "data": data}


def version_of(place):
    return place.stored()["metadata"]["resourceVersion"]


def test_get_the_named_object(place, client):
    reply = client.get(place.path)
    assert reply.status_code == 200
    assert reply.json()["metadata"]["name"] == place.CONFIGMAP and "data" not in reply.json()


def test_get_another_configmap(place, client):
    assert client.get(f"{place.root}/configmaps/kube-root-ca.crt").status_code == 403


def test_list(place, client):
    assert client.get(f"{place.root}/configmaps").status_code == 403


def test_list_with_a_field_selector_of_the_name(place, client):
    assert client.get(f"{place.root}/configmaps?fieldSelector=metadata.name%3D{place.CONFIGMAP}").status_code == 403


def test_create(place, client):
    assert client.send("POST", f"{place.root}/configmaps", {"metadata": {"name": "another"}}).status_code == 403


def test_put(place, client):
    assert client.send("PUT", place.path, place.stored()).status_code == 403


def test_delete(place, client):
    assert client.send("DELETE", place.path).status_code == 403
    place.stored()


@pytest.mark.parametrize("path", ["secrets", "pods", "serviceaccounts", "endpoints"])
def test_other_kinds(place, client, path):
    assert client.get(f"{place.root}/{path}").status_code == 403


def test_another_namespace(place, client):
    assert client.get(f"/api/v1/namespaces/kube-system/configmaps/{place.CONFIGMAP}").status_code == 403


def test_its_own_role(place, client):
    assert client.patch(f"{place.rbac}/roles/{place.ACCOUNT}", {"rules": []}).status_code == 403


def test_merge_patch_with_the_current_version(place, client):
    body = {"metadata": {"resourceVersion": version_of(place)}, "data": {"a": "1"}}
    reply = client.patch(place.path + "?fieldManager=o3-sidecar", body)
    assert reply.status_code == 200 and reply.json()["data"] == {"a": "1"}
    assert "o3-sidecar" in [f["manager"] for f in place.stored()["metadata"]["managedFields"]]


def test_merge_patch_with_a_stale_version(place, client):
    stale = version_of(place)
    place.put_by_other(other="x")
    reply = client.patch(place.path, {"metadata": {"resourceVersion": stale}, "data": {"a": "1"}})
    assert reply.status_code == 409 and reply.json()["reason"] == "Conflict"
    assert place.stored()["data"] == {"other": "x"}


def test_merge_patch_that_names_another_incarnation(place, client):
    reply = client.patch(place.path, {"metadata": {"uid": "00000000-0000-0000-0000-000000000000"}, "data": {"a": "1"}})
    assert reply.status_code == 422  # the field cannot be changed


def test_json_patch(place, client):
    place.put_by_other(a="1")
    body = [{"op": "test", "path": "/data/a", "value": "1"}, {"op": "replace", "path": "/data/a", "value": "2"}]
    assert client.patch(place.path, body, JSON_PATCH).status_code == 200
    assert client.patch(place.path, body, JSON_PATCH).status_code == 422  # the test no longer holds


def test_apply_over_a_field_of_ours_by_merge_patch(place, client):
    assert client.patch(place.path + "?fieldManager=o3-sidecar", {"data": {"a": "1"}}).status_code == 200
    assert client.patch(place.path + "?fieldManager=o3-sidecar", applied(place, a="2"), APPLY).status_code == 409


def test_apply_over_a_field_of_helm(place, client):
    reply = place.admin.patch(place.path + "?fieldManager=helm&force=true", applied(place, a="1"), APPLY)
    assert reply.status_code == 200
    path = place.path + "?fieldManager=o3-sidecar"
    assert client.patch(path, applied(place, a="2"), APPLY).status_code == 409
    assert client.patch(path + "&force=true", applied(place, a="2"), APPLY).status_code == 200


def test_apply_of_a_missing_object(place, client):
    assert place.admin.send("DELETE", place.path).status_code == 200
    reply = client.patch(place.path + "?fieldManager=o3-sidecar", applied(place, a="1"), APPLY)
    assert reply.status_code == 403 and "create" in reply.json()["message"]


def test_merge_patch_of_a_missing_object(place, client):
    assert place.admin.send("DELETE", place.path).status_code == 200
    assert client.get(place.path).status_code == 404
    assert client.patch(place.path, {"data": {"a": "1"}}).status_code == 404


def test_dry_run(place, client):
    assert client.patch(place.path + "?dryRun=All", {"data": {"a": "1"}}).status_code == 200
    assert "data" not in place.stored()


def test_more_than_one_mebibyte(place, client):
    reply = client.patch(place.path, {"data": {"a": "x" * (1024 * 1024 + 1)}})
    assert reply.status_code == 422 and "1048576" in reply.text
    assert client.patch(place.path, {"data": {"a": "x" * 1000000}}).status_code == 200


def test_a_key_that_is_none(place, client):
    assert client.patch(place.path, {"data": {"a:b/c": "1"}}).status_code == 422


def test_garbage_token(place):
    assert place.client("garbage").get(place.path).status_code == 401


def test_token_of_a_deleted_pod(place):
    client = place.client(place.token(place.pod()))
    assert client.get(place.path).status_code == 200
    place.delete_pod()
    # A token once found good is remembered for seconds.
    harness.wait_for("401", lambda: client.get(place.path).status_code == 401)


def test_expired_token(place):
    assert place.client(place.expiring_token(30)).get(place.path).status_code == 200
    assert place.client(place.expiring_token(-1)).get(place.path).status_code == 401


def test_watch(place, client):
    """Only where the Role has the verb, and only by name."""
    path = f"{place.root}/configmaps?watch=true&timeoutSeconds=20&fieldSelector=metadata.name%3D{place.CONFIGMAP}"
    assert client.get(path).status_code == 403
    place.allow("get", "patch", "watch")
    assert client.get(f"{place.root}/configmaps?watch=true&timeoutSeconds=1").status_code == 403
    reply = client.send("GET", path, stream=True)
    assert reply.status_code == 200
    lines = reply.iter_lines()
    assert json.loads(next(lines))["type"] == "ADDED"
    threading.Timer(0.2, lambda: place.put_by_other(a="1")).start()
    event = json.loads(next(lines))
    assert event["type"] == "MODIFIED" and event["object"]["data"] == {"a": "1"}
    reply.close()
