# SPDX-License-Identifier: Apache-2.0
"""Certificates of tests, made by the command openssl: an authority NAME.{pem,key}, and what it signs."""

import datetime
import subprocess

NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1"
# What `openssl ca` wants to know; it alone can set the seconds at which a certificate begins and ends.
SIGNING = """[ca]
default_ca = signing
[signing]
database = index.txt
new_certs_dir = .
rand_serial = yes
default_md = sha256
unique_subject = no
policy = names
[names]
commonName = supplied
"""


def openssl(*args, cwd):
    subprocess.run(["openssl", *args], cwd=cwd, check=True, capture_output=True)


def key_args(name):
    return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key"]


def make_ca(folder, name="ca"):
    openssl("req", "-x509", *key_args(name), "-out", f"{name}.pem", "-days", "30", "-subj", f"/CN={name}", cwd=folder)


def make_cert(folder, name, ca="ca", names=NAMES, usage="serverAuth"):
    (folder / f"{name}.ext").write_text(f"{names}\nextendedKeyUsage={usage}\n")
    openssl("req", *key_args(name), "-out", f"{name}.csr", "-subj", f"/CN={name}", cwd=folder)
    openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-out", f"{name}.pem", "-days", "3",
            "-extfile", f"{name}.ext", cwd=folder)


def make_cert_between(folder, name, start_s, end_s, ca="ca"):
    """One that is good between two Unix times."""
    stamp = lambda s: datetime.datetime.fromtimestamp(s, datetime.timezone.utc).strftime("%Y%m%d%H%M%SZ")
    (folder / "signing.cnf").write_text(SIGNING)
    (folder / "index.txt").touch()
    (folder / f"{name}.ext").write_text(f"{NAMES}\nextendedKeyUsage=serverAuth\n")
    openssl("req", *key_args(name), "-out", f"{name}.csr", "-subj", f"/CN={name}", cwd=folder)
    openssl("ca", "-batch", "-notext", "-config", "signing.cnf", "-cert", f"{ca}.pem", "-keyfile", f"{ca}.key", "-in", f"{name}.csr",
            "-out", f"{name}.pem", "-extfile", f"{name}.ext", "-startdate", stamp(start_s), "-enddate", stamp(end_s), cwd=folder)
