"""Certificates for a TLS server on loopback, made with the `openssl` command."""

from __future__ import annotations

import subprocess
from pathlib import Path

# Python 3.13 checks strictly: key identifiers, and a critical statement of who is an authority.
_CONFIG = """
[req]
distinguished_name = name
prompt = no
[name]
CN = qd-test
[ca]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = DNS:localhost, IP:127.0.0.1
"""


def make_certificates(folder: Path) -> None:
    """Write ca, server and client `.crt` and `.key`, valid for a day, into `folder`."""
    (folder / "openssl.cnf").write_text(_CONFIG)
    _make(folder, "ca", "-extensions", "ca", "-subj", "/CN=qd-test-ca")
    for name in ("server", "client"):
        signed = ("-CA", "ca.crt", "-CAkey", "ca.key", "-extensions", "leaf")
        _make(folder, name, *signed, "-subj", f"/CN={name}")


def _make(folder: Path, name: str, *options: str) -> None:
    command = ["openssl", "req", "-x509", "-config", "openssl.cnf", "-days", "1", "-nodes"]
    command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-keyout", f"{name}.key", "-out", f"{name}.crt", *options]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
