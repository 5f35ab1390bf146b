# SPDX-License-Identifier: Apache-2.0
"""Guarded pages: certificates that end, passwords that are wrong."""

import shutil
import time

import requests
import yaml

import harness
import pki
from alerts.live import QUICK
from boards.induced import PASSWORD, PASSWORD_HASH, USER
from harness import Sidecar

DAY_S = 86400


def write_web(folder, **config):
    temporary = folder / "web.new"
    temporary.write_text(yaml.safe_dump(config))
    return temporary.replace(folder / "web.yml")


def show_certificate(stage, folder, name, start_s, end_s):
    """Made by the authority that Prometheus trusts, and put where the sidecar reads it."""
    for file in ("ca.pem", "ca.key"):
        shutil.copy(stage.watch.folder / file, folder / file)
    pki.make_cert_between(folder, name, start_s, end_s)
    for suffix in ("key", "pem"):
        (folder / f"{name}.{suffix}").replace(folder / f"server.{suffix}")


def ending_certificate(stage):
    """It warns, then Prometheus cannot scrape, which is held back; a broken renewal is told, and a good one ends all of it."""
    watch, folder, now = stage.watch, stage.folder / "web", time.time()
    folder.mkdir()
    show_certificate(stage, folder, "first", now - 10 * DAY_S, now + 3600)
    tls = {"cert_file": "server.pem", "key_file": "server.key"}
    web = write_web(folder, tls_server_config=tls, basic_auth_users={USER: PASSWORD_HASH})
    config = {**QUICK, "web.config_file": str(web), "web.listen": f"127.0.0.1:{harness.free_port()}"}
    sidecar = stage.start(Sidecar, stage.ollama().url, config)
    watch.add(sidecar, __scheme__="https")
    watch.wait_told(sidecar, "O3CertificateExpires", "tickets")
    good = web.read_text()
    (folder / "web.yml").write_text("basic_auth: {}\n")
    watch.wait_told(sidecar, "O3WebConfigReloadFailed", "tickets")
    (folder / "web.yml").write_text(good)
    watch.wait_resolved(sidecar, "O3WebConfigReloadFailed")
    # That it ends is seen on the connection that is open, if not before.
    show_certificate(stage, folder, "short", now - 10 * DAY_S, time.time() + 20)
    watch.wait_resolved(sidecar, "O3CertificateExpires")
    watch.wait_told(sidecar, "O3CertificateExpired", "pager")
    # The connection that Prometheus holds open goes on; a new one does not come about.
    assert sidecar.stop() == 0
    sidecar = stage.start(Sidecar, sidecar.config["ollama.url"], config)
    watch.wait_suppressed(sidecar, "O3SidecarDown")
    assert watch.told(sidecar, "O3SidecarDown") == []
    show_certificate(stage, folder, "second", now - DAY_S, now + 90 * DAY_S)
    watch.wait_resolved(sidecar, "O3CertificateExpired")
    watch.wait_gone(sidecar, "O3SidecarDown")


def refused_sign_ins(stage):
    """A program with an old password, and somebody who tries many: told apart."""
    watch, folder = stage.watch, stage.folder / "web"
    folder.mkdir()
    web = write_web(folder, basic_auth_users={USER: PASSWORD_HASH})
    sidecar = stage.start(Sidecar, stage.ollama().url, {**QUICK, "web.config_file": str(web)})
    watch.add(sidecar)
    ask = lambda password: requests.get(sidecar.url + "/metrics", auth=(USER, password), timeout=30).status_code

    def ask_with_an_old_one():
        assert ask("the old one") == 401
        return "tickets" in watch.told(sidecar, "O3SignInsRefused")

    watch.wait(sidecar, "O3SignInsRefused", ask_with_an_old_one)
    watch.wait_told(sidecar, "O3SignInsRefused", "tickets")
    assert watch.told(sidecar, "O3PasswordGuessing") == []
    watch.wait_resolved(sidecar, "O3SignInsRefused")
    guesses = iter(range(100000))

    def guess():
        codes = [ask(f"guess-{next(guesses)}") for _ in range(5)]
        assert set(codes) <= {401, 429}, codes
        return "tickets" in watch.told(sidecar, "O3PasswordGuessing")

    watch.wait(sidecar, "O3PasswordGuessing", guess)
    watch.wait_told(sidecar, "O3PasswordGuessing", "tickets")
    assert ask(PASSWORD) == 200
    watch.wait_resolved(sidecar, "O3PasswordGuessing")


ALL = [ending_certificate, refused_sign_ins]
