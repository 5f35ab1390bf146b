# SPDX-License-Identifier: Apache-2.0
"""The conversations that C tests replay, as a real API server has them today.

`./dev record` writes the files; `./dev test k8s` holds that each is what the server says.
"""

import contextlib
import signal
import threading

import pytest
import requests

import harness
from cluster import Place
from conftest import FAILED
from conversations import FOLDER, Recorder

MANAGER = "?fieldManager=o3-sidecar"
PRESET = "model: sim-small:latest\npresets:\n  balanced:\n    num_ctx: 8192\n    batch: 512\n"
recorded = set()


def names():
    """by-hand holds what this server cannot be made to say."""
    return {p.stem for p in FOLDER.glob("*.json")} - {"by-hand"}


@pytest.fixture
def conversation(place, request, is_recording):
    """conversation.read() and .write() as the sidecar does them; what was said is written or compared after the test."""
    spoken = Conversation(place, request.function.__doc__)
    yield spoken
    if FAILED in request.node.stash:
        return
    name = request.node.name.removeprefix("test_").replace("_", "-")
    recorded.add(name)
    spoken.recorder.finish(name, is_recording)


class Conversation:
    def __init__(self, place, what, token=None):
        self.place = place
        self.recorder = Recorder(place, what)
        self.use(place.client(token))

    def use(self, client):
        self.client = self.recorder.listen(client)

    def read(self, code=200):
        reply = self.client.send("GET", self.place.path)
        assert reply.status_code == code, reply.text
        return reply.json()

    def write(self, seen, code=200, data=None, writer="pod-a", generation="1"):
        about = {"o3-sidecar/generation": generation, "o3-sidecar/reason": "drift_confirmed",
                 "o3-sidecar/writer": f"{writer} 2026-11-21T12:00:00Z"}
        body = {"metadata": {"resourceVersion": seen["metadata"]["resourceVersion"], "annotations": about},
                "data": data or {"sim-small_latest.yaml": PRESET, "sim-small_latest.balanced.num_ctx": "8192"}}
        reply = self.client.patch(self.place.path + MANAGER, body)
        assert reply.status_code == code, reply.text
        return reply.json()


def test_first_write(conversation):
    """An object without data is read and patched."""
    conversation.write(conversation.read())
    assert conversation.read()["data"]["sim-small_latest.balanced.num_ctx"] == "8192"


def test_second_write(conversation):
    """A patch of one key leaves the others; null takes a key away."""
    seen = conversation.write(conversation.read())
    seen = conversation.write(seen, data={"sim-small_latest.balanced.num_ctx": "4096"}, generation="2")
    assert set(seen["data"]) == {"sim-small_latest.yaml", "sim-small_latest.balanced.num_ctx"}
    seen = conversation.write(seen, data={"sim-small_latest.balanced.num_ctx": None}, generation="3")
    assert set(seen["data"]) == {"sim-small_latest.yaml"}


def test_unchanged_write(conversation):
    """A patch that changes nothing is answered 200 with the old resourceVersion."""
    first = conversation.write(conversation.read())
    again = conversation.write(first)
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


def test_conflict(conversation):
    """Somebody writes between read and patch: 409; read again, and the patch is taken."""
    seen = conversation.read()
    conversation.place.put_by_other(other="x")
    conversation.write(seen, 409)
    conversation.write(conversation.read())


def test_two_writers(conversation):
    """Two pods read the same version; the second one's patch is refused and it reads the first one's name."""
    seen = conversation.read()
    conversation.write(seen, writer="pod-a")
    conversation.write(seen, 409, writer="pod-b")
    assert conversation.read()["metadata"]["annotations"]["o3-sidecar/writer"].startswith("pod-a")


def test_missing(conversation):
    """The object does not exist."""
    seen = conversation.place.stored()
    assert conversation.place.admin.send("DELETE", conversation.place.path).status_code == 200
    conversation.read(404)
    conversation.write(seen, 404)


def test_deleted_and_restored(conversation):
    """Deleted after it was read and made anew: another uid, and the old resourceVersion conflicts."""
    place = conversation.place
    seen = conversation.write(conversation.read())
    assert place.admin.send("DELETE", place.path).status_code == 200
    conversation.write(seen, 404)
    place.make_configmap()
    conversation.write(seen, 409)
    assert "data" not in conversation.read()
    conversation.write(conversation.read())


def test_forbidden(conversation):
    """The Role allows nothing."""
    seen = conversation.place.stored()
    conversation.place.allow()
    conversation.read(403)
    conversation.write(seen, 403)


def test_forbidden_to_write(conversation):
    """The Role lost the verb patch."""
    conversation.place.allow("get")
    conversation.write(conversation.read(), 403)


def test_no_token(conversation):
    """Without a credential the server answers 403 for system:anonymous."""
    conversation.client.token = None
    conversation.read(403)


def test_garbage_token(conversation):
    """A token that is none."""
    conversation.use(conversation.place.client("garbage"))
    conversation.read(401)


def test_expired_token(conversation):
    """The token expires between read and patch; the one that was written to its file in the meantime is taken."""
    place = conversation.place
    seen = conversation.read()
    conversation.use(place.client(place.expiring_token(-1)))
    conversation.write(seen, 401)
    conversation.use(place.client())
    conversation.write(seen)


def test_token_of_a_deleted_pod(conversation):
    """The pod that the token was made for is gone."""
    place = conversation.place
    token = place.token(place.pod())
    place.delete_pod()
    conversation.use(place.client(token))
    conversation.read(401)


def test_too_large(conversation):
    """More than 1 MiB of data."""
    seen = conversation.read()
    conversation.write(seen, 422, data={"sim-small_latest.yaml": "#" * (1 << 20) + PRESET})
    conversation.write(seen)


def test_invalid_key(conversation):
    """A key with a character that keys may not have."""
    conversation.write(conversation.read(), 422, data={"sim:small.yaml": PRESET})


def test_not_json(conversation):
    """Half a body, and a value that is no string."""
    conversation.read()
    for body, code in (('{"data":{"a":', 400), ('{"data":{"a":1}}', 422)):
        reply = conversation.client.patch(conversation.place.path + MANAGER, body)
        assert reply.status_code == code, reply.text


def test_wrong_media_type(conversation):
    """A patch that does not say which kind of patch it is."""
    reply = conversation.client.send("PATCH", conversation.place.path + MANAGER, {"data": {"a": "1"}})
    assert reply.status_code == 415, reply.text


def test_data_of_others(conversation):
    """An object with keys and annotations of others, a chart's labels among them."""
    body = {"metadata": {"annotations": {"helm.sh/resource-policy": "keep", "meta.helm.sh/release-name": "o3"},
                         "labels": {"app.kubernetes.io/managed-by": "Helm"}},
            "data": {"notes.txt": "line 1\nline 2 \"quoted\" \u00fc\n"}, "binaryData": {"logo.png": "iVBORw0KGgo="}}
    assert conversation.place.admin.patch(conversation.place.path, body).status_code == 200
    assert "logo.png" in conversation.write(conversation.read())["binaryData"]


def test_overloaded(narrow, is_recording):
    """The store hangs and another request waits for it: 429 with Retry-After; an answer later."""
    place = Place(narrow, "overloaded")
    conversation = Conversation(place, test_overloaded.__doc__)
    other, is_over = place.client(), threading.Event()

    def occupy():
        while not is_over.is_set():
            # The server gives a late one 504, or closes the connection.
            with contextlib.suppress(requests.ConnectionError):
                other.get(place.path)

    conversation.read()
    assert other.get(place.path).status_code == 200  # its token is known from now on, without asking the store
    occupant = threading.Thread(target=occupy, daemon=True)
    narrow.etcd.send(signal.SIGSTOP)
    try:
        occupant.start()
        refused = harness.wait_for("429", lambda: refused_now(conversation.client, place))[0]
    finally:
        is_over.set()
        narrow.etcd.send(signal.SIGCONT)
        occupant.join()
    conversation.recorder.note("GET", place.path, refused.request.headers, None, refused)
    harness.wait_for("an answer", lambda: other.get(place.path).status_code == 200)
    conversation.read()
    conversation.recorder.finish("overloaded", is_recording)
    recorded.add("overloaded")


def refused_now(client, place):
    record, client.record = client.record, None
    try:
        reply = client.get(place.path, is_patient=False)
        return (reply,) if reply.status_code == 429 else None  # by itself it is false
    except requests.ConnectionError:
        return None
    finally:
        client.record = record


def test_every_file_is_still_spoken():
    """Runs last: a file that no test above makes would never be checked."""
    assert names() == recorded
