# SPDX-License-Identifier: Apache-2.0
"""Presets in a ConfigMap: the real binary and an API server over TLS, with what goes wrong between them; and in a folder
that looks like a mounted one."""

import base64
import gzip
import hashlib
import json
import os
import socket
import threading

import pytest
import yaml

import harness
from fakes import api_server
from fakes.api_server import ApiServer
from harness import STEADY, STEADY_TTFT, Sidecar, Simulator, wait_for

MODEL = Simulator.MODEL
STEM = "sim-small_latest"
QUICK = harness.QUICK
TOKEN = "good-token"


class Account:
    """What a pod gets mounted: token, authority, namespace."""

    def __init__(self, folder, server):
        self.folder = folder / "serviceaccount"
        self.folder.mkdir()
        self.write("token", TOKEN + "\n")
        self.write("ca.crt", server.ca.read_text())
        self.write("namespace", api_server.NAMESPACE)

    def write(self, name, text):
        (self.folder / name).write_text(text)

    def config(self, uid="pod-a", **more):
        return {**QUICK, "publish.configmap": api_server.NAME, "kubernetes.token_file": str(self.folder / "token"),
                "kubernetes.ca_file": str(self.folder / "ca.crt"), "kubernetes.pod_uid": uid, "kubernetes.timeout": "30s", **more}


@pytest.fixture
def api(tmp_path):
    folder = tmp_path / "api"
    folder.mkdir()
    server = ApiServer(folder)
    yield server
    server.stop()


@pytest.fixture
def account(tmp_path, api):
    return Account(tmp_path, api)


def environment(server):
    return {"KUBERNETES_SERVICE_HOST": server.host, "KUBERNETES_SERVICE_PORT": str(server.port)}


def serve(start, url, api, config):
    return start(Sidecar, url, config, env=environment(api))


@pytest.fixture
def publish(start, ollama, knowing):
    """publish(api, config): a sidecar that has presets to publish to that server."""
    return lambda api, config: serve(start, ollama.url, api, knowing(config))


def wait_written(api, limit_s=120):
    return wait_for("the presets in the ConfigMap", lambda: api.data.get(f"{STEM}.yaml") and api.data, limit_s)


def remount(api, folder):
    """As the kubelet does: a new folder, and ..data swapped."""
    folder.mkdir(exist_ok=True)
    version = folder / f"..{len(list(folder.iterdir()))}"
    version.mkdir()
    for name, text in api.data.items():
        (version / name).write_text(text)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    (folder / "..data_tmp").symlink_to(version.name)
    os.rename(folder / "..data_tmp", folder / "..data")


def shown(sidecar):
    """What /api/v1/status says of the ConfigMap."""
    return next(t for t in sidecar.json("/api/v1/status")["publishing"]["targets"] if t["target"] == "configmap")


def page_of_places(sidecar):
    return sidecar.get("/").text.partition("<h2>Where presets are published</h2>")[2].partition("</section>")[0]


def stop_until(sidecar, is_done, again):
    """A stop gives the server a third of a second, in which a busy machine may do something else: then the pod comes again, and goes."""
    for _ in range(10):
        assert sidecar.stop() == 0
        if is_done():
            return
        sidecar = again()
        sidecar.wait_metric("o3_preset_writer", lambda v: v == 1)
    raise AssertionError(sidecar.log[-4000:])


def errors(sidecar, reason):
    return sidecar.metrics().get("o3_preset_write_errors_total", target="configmap", reason=reason) or 0


def test_presets_reach_the_configmap_and_its_readers(start, api, account, tmp_path):
    mounted = tmp_path / "mounted"
    simulator = start(Simulator, events=[STEADY_TTFT])
    config = account.config(**STEADY, **{"publish.mounted": str(mounted), "results.path": str(tmp_path / "results")})
    sidecar = serve(start, simulator.url, api, config)
    data = wait_written(api)
    document = yaml.safe_load(data[f"{STEM}.yaml"])
    assert document["model"] == MODEL
    for preset, what in document["presets"].items():
        assert data[f"{STEM}.{preset}.num_ctx"] == str(what["num_ctx"]) == data[f"{preset}.num_ctx"]
        assert data[f"{STEM}.{preset}.batch"] == str(what["batch"])
    assert api.annotation("generation") == "1" and api.annotation("reason")
    assert api.annotation("writer").startswith("pod-a 20")
    text = "".join(f"{k}={v}\n" for k, v in sorted(data.items()))
    assert api.annotation("checksum") == "sha256:" + hashlib.sha256(text.encode()).hexdigest()

    sidecar.wait_metric("o3_preset_writer", lambda v: v == 1)
    sidecar.wait_metric("o3_preset_writes_total", lambda v: v == 1, target="configmap", result="written")
    metrics = sidecar.metrics()
    assert metrics.get("o3_preset_last_write_success_timestamp_seconds", target="configmap") > 1.7e9
    sidecar.wait_metric("o3_preset_in_effect", lambda v: v == 0, model=MODEL, preset="balanced")  # nothing is mounted yet
    seen = lambda: {(p["model"], p["preset"]): p["in_effect"] for p in sidecar.json("/api/v1/status")["publishing"]["mounted"]["presets"]}
    wait_for("the comparison", lambda: seen().get((MODEL, "balanced")) is False)
    page = page_of_places(sidecar)
    assert f"configmap {api_server.NAMESPACE}/{api_server.NAME}</td><td><b class=\"good\">published</b>" in page
    assert f"Readers of {mounted} see" in page and f"{MODEL} balanced" in page
    remount(api, mounted)
    sidecar.wait_metric("o3_preset_in_effect", lambda v: v == 1, limit_s=90, model=MODEL, preset="balanced")
    assert set(seen().values()) == {True} and "not yet" not in page_of_places(sidecar)
    assert shown(sidecar)["generation"] == 1 and shown(sidecar)["state"] == "published"
    for name in ("presets_published", "preset_writer_taken", "preset_in_effect"):
        assert name in sidecar.log, name

    # A change of what is mounted is seen by the swap, long before the next look.
    api.object["data"][f"{STEM}.yaml"] = api.object["data"][f"{STEM}.yaml"].replace("num_ctx: ", "num_ctx: 1")
    remount(api, mounted)
    sidecar.wait_metric("o3_preset_in_effect", lambda v: v == 0, limit_s=30, model=MODEL, preset="balanced")

    # Where nothing is mounted any more nobody sees a preset, whatever was seen before.
    api.object["data"][f"{STEM}.yaml"] = api.object["data"][f"{STEM}.yaml"].replace("num_ctx: 1", "num_ctx: ")
    remount(api, mounted)
    wait_for("the comparison", lambda: set(seen().values()) == {True})
    os.unlink(mounted / "..data")
    for name in os.listdir(mounted):
        if not name.startswith(".."):
            os.unlink(mounted / name)
    wait_for("the comparison", lambda: set(seen().values()) == {False})

    assert {(m, p.partition("?")[0]) for m, p, _ in api.requests} == {("GET", api_server.PATH), ("PATCH", api_server.PATH)}
    for text in (sidecar.log, sidecar.get("/config").text, sidecar.get("/metrics").text, sidecar.get("/api/v1/events").text):
        assert TOKEN not in text
    # The next pod need not wait.
    stop_until(sidecar, lambda: api.annotation("writer") is None, lambda: serve(start, simulator.url, api, config))
    assert api.annotation("generation") == "1"


def test_what_is_there_is_not_written_again(publish, start, ollama, api, account):
    first = publish(api, account.config())
    wait_written(api)
    first.kill()
    version = api.copy()["metadata"]["resourceVersion"]
    again = serve(start, ollama.url, api, account.config(**{"results.path": first.config["results.path"]}))
    again.wait_metric("o3_preset_writes_total", lambda v: v == 1, target="configmap", result="unchanged")
    assert api.copy()["metadata"]["resourceVersion"] == version
    assert again.metrics().get("o3_preset_writer") == 1


def test_a_lost_race_is_run_again(publish, api, account):
    def race():
        api.object.setdefault("data", {})["of-somebody-else"] = "stays"
        api.touch()

    api.before_patch += [race, race]
    sidecar = publish(api, account.config())
    assert wait_written(api)["of-somebody-else"] == "stays"
    assert api.count("PATCH", 409) == 2
    sidecar.wait_metric("o3_preset_writes_total", lambda v: v == 1, target="configmap", result="written")
    assert errors(sidecar, "conflict") == 0


def test_an_expired_token_is_read_again(publish, api, account):
    api.tokens = {"rotated"}
    sidecar = publish(api, account.config())
    wait_for("a refusal", lambda: errors(sidecar, "unauthorized") >= 1, 120)
    account.write("token", "rotated")
    wait_written(api)
    assert "rotated" not in sidecar.log and TOKEN not in sidecar.log
    wait_for("the status", lambda: shown(sidecar)["state"] == "published")


def test_no_token_is_named(publish, api, account):
    (account.folder / "token").unlink()
    sidecar = publish(api, account.config())
    wait_for("a failure", lambda: errors(sidecar, "no_token") >= 1, 120)
    assert api.requests == []
    account.write("token", TOKEN)
    wait_written(api)


@pytest.mark.parametrize("status,reason", [(403, "forbidden"), (429, "throttled")])
def test_refusals_are_named_and_overcome(publish, api, account, status, reason):
    api.fail = status
    sidecar = publish(api, account.config())
    wait_for("a failure", lambda: errors(sidecar, reason) >= 1, 120)
    sidecar.wait_log(rf"preset_write_failed.*{reason}")
    assert sidecar.metrics().get("o3_preset_writes_total", target="configmap", result="failed") >= 1
    assert sidecar.get("/-/ready").status_code == 200
    told = shown(sidecar)
    assert (told["state"], told["reason"], told["writes"], told["written_at"]) == ("failing", reason, 0, None)
    assert told["failures"] >= 1 and told["failing_since"] and f"status {status}" in told["error"]
    assert f"failing: {reason}</b>" in page_of_places(sidecar)
    api.fail = None
    wait_written(api)
    told = wait_for("the status", lambda: (t := shown(sidecar))["state"] == "published" and t)
    assert (told["reason"], told["error"], told["failing_since"], told["failures"], told["generation"], told["writes"]) == (None, None, None, 0, 1, 1)
    assert told["written_at"] and told["there_at"] and told["written_for"] == "what was known at the start"


def test_deleted_object_is_filled_again_when_it_is_back(publish, api, account):
    api.delete()
    sidecar = publish(api, account.config())
    wait_for("a failure", lambda: errors(sidecar, "not_found") >= 1, 120)
    api.restore()
    wait_written(api)
    assert api.count("POST") == 0


def test_server_away_and_back(publish, api, account):
    api.stop()
    sidecar = publish(api, account.config())
    wait_for("a failure", lambda: errors(sidecar, "unreachable") >= 1, 120)
    api.start()
    wait_written(api)


def test_a_server_of_another_authority_never_gets_the_token(publish, api, account, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    account.write("ca.crt", api_server.make_authority(other, "other")[0].read_text())
    sidecar = publish(api, account.config())
    wait_for("a failure", lambda: errors(sidecar, "unreachable") >= 1, 120)
    assert api.requests == []
    account.write("ca.crt", api.ca.read_text())  # the authority was changed: no restart is needed
    wait_written(api)


def test_outside_a_pod_it_says_what_is_missing(start, ollama, knowing, account):
    sidecar = start(Sidecar, ollama.url, knowing(account.config()))
    wait_for("a failure", lambda: errors(sidecar, "unreachable") >= 1, 120)
    assert "KUBERNETES_SERVICE_HOST is not set" in sidecar.log


def test_a_second_pod_is_not_the_writer(publish, api, account):
    publish(api, account.config())
    wait_written(api)
    version = api.copy()["metadata"]["resourceVersion"]
    second = publish(api, account.config(uid="pod-b"))
    second.wait_metric("o3_preset_writes_total", lambda v: v and v >= 1, limit_s=120, target="configmap", result="not_writer")
    assert second.metrics().get("o3_preset_writer") == 0
    assert "preset_not_writer" in second.log and "pod-a" in second.log
    assert api.copy()["metadata"]["resourceVersion"] == version
    assert (shown(second)["state"], shown(second)["writer"]) == ("not_writer", "pod-a")
    assert "another pod is the writer: pod-a" in page_of_places(second)


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
        return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
def test_ipv6(publish, tmp_path):
    folder = tmp_path / "api6"
    folder.mkdir()
    server = ApiServer(folder, host="::1")
    try:
        publish(server, Account(tmp_path, server).config())
        wait_written(server)
    finally:
        server.stop()


def test_folder_is_swapped_as_a_whole(start, ollama, knowing, tmp_path):
    """Each change of the primary model is another set of keys; who reads all the time always finds a whole one."""
    folder = tmp_path / "shared" / "presets"
    sidecar = start(Sidecar, ollama.url, knowing({**QUICK, "publish.folder": str(folder), "publish.writes_per_hour": 60}))
    key, flat = folder / f"{STEM}.max_context.num_ctx", folder / "max_context.num_ctx"
    broken, over = [], threading.Event()

    def read():
        while not over.wait(0.002):
            if key.exists():
                version = os.open(folder / "..data", os.O_RDONLY | os.O_DIRECTORY)
                try:
                    names = os.listdir(version)
                    if f"{STEM}.yaml" not in names or f"{STEM}.max_context.num_ctx" not in names:
                        if str(os.readlink(f"/proc/self/fd/{version}")).find("(deleted)") < 0 and os.listdir(version):
                            broken.append(names)
                finally:
                    os.close(version)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    wait_for("the folder", lambda: key.exists() and flat.exists(), 120)
    sidecar.wait_metric("o3_preset_in_effect", lambda v: v == 1, model=MODEL, preset="max_context")
    for include in ([], [MODEL], [], [MODEL]):
        before = os.readlink(folder / "..data")
        sidecar.write_config({**sidecar.config, "models.include": include})
        sidecar.reload()
        wait_for("the next version", lambda: os.readlink(folder / "..data") != before)
        wait_for("its keys", lambda: flat.exists() == flat.is_symlink() == bool(include))
    wait_for("no old version", lambda: len([p for p in folder.iterdir() if p.name.startswith("..o3-")]) == 1)
    over.set()
    reader.join()
    assert broken == []
    sidecar.wait_metric("o3_preset_writes_total", lambda v: v == 5, target="folder", result="written")
    assert oct((folder / f"{STEM}.yaml").stat().st_mode & 0o777) == "0o644"


def test_a_name_that_a_killed_writer_did_not_come_to_is_made(start, ollama, knowing, tmp_path):
    """Killed between the swap and the links, it left a whole version of which readers see only a part."""
    folder = tmp_path / "presets"
    config = knowing({**QUICK, "publish.folder": str(folder), "publish.writes_per_hour": 60})
    sidecar = start(Sidecar, ollama.url, config)
    key = folder / f"{STEM}.yaml"
    wait_for("the folder", key.exists, 120)
    sidecar.stop()
    key.unlink()
    version = os.readlink(folder / "..data")
    sidecar = start(Sidecar, ollama.url, config)
    wait_for("the name", key.exists)
    assert os.readlink(folder / "..data") != version
    assert sidecar.wait_metric("o3_preset_writes_total", lambda v: v == 1, target="folder", result="written")


def test_wrong_settings_are_refused(tmp_path):
    for config, expected in (({"publish.configmap": "../secrets/x"}, "publish.configmap"),
                             ({"kubernetes.url": "http://10.0.0.1:443"}, "https://"),
                             ({"kubernetes.namespace": "a/b"}, "kubernetes.namespace"),
                             ({"publish.writes_per_hour": 0}, "publish.writes_per_hour")):
        path = tmp_path / "o3.yaml"
        path.write_text(yaml.safe_dump(harness.nest(config)))
        result = harness.run_o3("check-config", "--config.file", path)
        assert result.returncode == 2 and expected in result.stdout + result.stderr, (config, result)


def test_a_new_pod_knows_what_the_old_one_knew(start, api, account, tmp_path):
    """No volume: baselines and presets come with the ConfigMap, and another version of the server is compared with them."""
    simulator = start(Simulator, port=harness.free_port())
    config = account.config(**{"publish.state": True, "results.path": str(tmp_path / "old")})
    old = serve(start, simulator.url, api, config)
    assert "baselines begin anew" in old.wait_log(r".*state_not_taken_over.*")[0]
    wait_written(api)
    before = old.wait_metric("o3_baseline_samples", lambda v: v and v >= 8, model=MODEL, signal="decode_rate")
    level = old.metrics().get("o3_baseline_value", model=MODEL, signal="decode_rate")
    stop_until(old, lambda: "o3-state.json" in api.data and api.annotation("writer") is None, lambda: serve(start, simulator.url, api, config))
    text = api.data["o3-state.json"]
    assert len(text) <= 32 * 1024
    states = json.loads(gzip.decompress(base64.b64decode(json.loads(text)["states"])))
    assert f"preset/{MODEL}" in states and any("/decode_rate/" in k for k in states)
    checksum = "".join(f"{k}={v}\n" for k, v in sorted(api.data.items()) if k != "o3-state.json")
    assert api.annotation("checksum") == "sha256:" + hashlib.sha256(checksum.encode()).hexdigest()

    port = simulator.port
    assert simulator.stop() == 0
    upgraded = start(Simulator, port=port, flags=["--version", "0.33.0"])
    new = serve(start, upgraded.url, api, account.config(uid="pod-b", **{"publish.state": True}))
    new.wait_log(r"state_taken_over.*states")
    new.wait_log(r"epoch_changed.*server_version")
    new.wait_metric("o3_release_change_ratio", lambda v: v is not None, limit_s=120, model=MODEL, signal="decode_rate")
    assert new.metrics().get("o3_preset_context_tokens", model=MODEL, preset="balanced") > 0
    assert before >= 8 and level > 0


def test_a_start_without_a_server_does_not_stop_the_probes(start, simulator, api, account):
    api.stop()
    sidecar = serve(start, simulator.url, api, account.config(**{"publish.state": True, "kubernetes.timeout": "1s"}))
    assert sidecar.get("/-/ready").status_code == 200
    sidecar.wait_sum("o3_probes_total", 1, limit_s=120)
    assert "could not be read in time" in sidecar.log
