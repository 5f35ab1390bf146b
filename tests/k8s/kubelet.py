# SPDX-License-Identifier: Apache-2.0
"""What a kubelet puts into a container's folders, without one: projected tokens and ConfigMap volumes."""

import base64
import pathlib
import shutil
import tempfile
import threading

import harness
from cluster import Client


class Volume:
    """A folder whose content is replaced as a whole, in a kubelet's order: a new version beside the old one, `..data` swapped to
    it by a rename, links of new keys made, those of lost keys and the old version removed."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True)

    def write(self, files):
        version = pathlib.Path(tempfile.mkdtemp(prefix="..2026_", dir=self.folder))
        version.chmod(0o755)
        for name, content in files.items():
            (version / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        old = (self.folder / "..data").resolve() if (self.folder / "..data").is_symlink() else None
        new = self.folder / "..data_tmp"
        new.symlink_to(version.name)
        new.rename(self.folder / "..data")
        for name in files:
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")
        for path in self.folder.iterdir():
            if not path.name.startswith("..") and path.name not in files:
                path.unlink()
        if old:
            shutil.rmtree(old)


class Account(Volume):
    """The projected token of our container."""

    def __init__(self, folder, place, token=None):
        super().__init__(folder)
        self.place = place
        self.rotate(token or place.token())

    def rotate(self, token):
        self.write({"token": token, "ca.crt": self.place.cluster.ca.read_text(), "namespace": self.place.namespace})


class Mount(Volume):
    """The place's ConfigMap as a volume: what the API server holds is copied delay_s after it changed, unless it is held back."""

    def __init__(self, folder, place, delay_s=2.0, is_held=False):
        super().__init__(folder)
        self.place, self.delay_s = place, delay_s
        self.client = Client(place.cluster.url, place.admin.token, place.cluster.ca, "kubelet")
        self.over, self.allowed = threading.Event(), threading.Event()
        if not is_held:
            self.allowed.set()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join(harness.LIMIT_S)

    def hold(self):
        self.allowed.clear()

    def release(self):
        self.allowed.set()

    def content(self):
        """None: no answer. The volume is optional: without the object it is empty."""
        reply = self.client.get(self.place.path)
        if reply.status_code == 404:
            return {}
        if reply.status_code != 200:
            return None
        binary = {k: base64.b64decode(v) for k, v in reply.json().get("binaryData", {}).items()}
        return {**reply.json().get("data", {}), **binary}

    def run(self):
        mounted = None
        while not self.over.wait(0.3):
            content = self.content()
            if content is None or content == mounted or self.over.wait(self.delay_s) or not self.allowed.is_set():
                continue
            self.write(content)
            mounted = content
