"""A CA of our own and certificates with today's public profile, made with the openssl command.

Root, intermediate, leaf; leaves carry serverAuth and no other purpose, as public CAs issue them,
unless they are wanted for clients too.
"""

from __future__ import annotations

import secrets
import subprocess
from pathlib import Path

KEYS = {
    "rsa": ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
    "p256": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
}
KEY_USAGE = {"rsa": "digitalSignature, keyEncipherment", "p256": "digitalSignature"}

ROOT = """basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
"""
INTERMEDIATE = """basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
extendedKeyUsage = {purposes}
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""
LEAF = """basicConstraints = critical, CA:FALSE
keyUsage = critical, {usage}
extendedKeyUsage = {purposes}
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = DNS:{name}
"""


def openssl(*arguments: str | Path) -> None:
    """Runs one openssl command; its words come with the exception if it fails."""
    done = subprocess.run(("openssl", *arguments), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {arguments[0]}: {done.stderr.strip()}")


class Authority:
    """A root and the intermediate that signs; `root` is the file to trust."""

    def __init__(self, folder: Path, clients: bool = False) -> None:
        self.folder = folder
        self._purposes = "serverAuth, clientAuth" if clients else "serverAuth"
        folder.mkdir(parents=True)
        self.root = self._issue(folder / "root", "test root", "p256", ROOT, None)
        self.intermediate = self._issue(
            folder / "intermediate",
            "test intermediate",
            "p256",
            INTERMEDIATE.format(purposes=self._purposes),
            folder / "root",
        )

    def certify(self, name: str, key: str, certificates: Path) -> None:
        """Writes `certificates/name/{fullchain,privkey}.pem`."""
        folder = certificates / name
        leaf = self._issue(
            folder,
            name,
            key,
            LEAF.format(usage=KEY_USAGE[key], purposes=self._purposes, name=name),
            self.intermediate.parent,
        )
        chain = leaf.read_text() + self.intermediate.read_text()
        (folder / "fullchain.pem").write_text(chain)

    @staticmethod
    def _issue(folder: Path, name: str, key: str, extensions: str, issuer: Path | None) -> Path:
        folder.mkdir(parents=True)
        private, request = folder / "privkey.pem", folder / "request.pem"
        certificate, profile = folder / "cert.pem", folder / "profile.cnf"
        profile.write_text(extensions)
        openssl("genpkey", *KEYS[key], "-out", private)
        openssl("req", "-new", "-key", private, "-subj", f"/CN={name}", "-out", request)
        signer: tuple[str | Path, ...] = ("-signkey", private)
        if issuer is not None:
            signer = ("-CA", issuer / "cert.pem", "-CAkey", issuer / "privkey.pem")
        openssl(
            *(
                "x509",
                "-req",
                "-in",
                request,
                *signer,
                "-set_serial",
                f"0x01{secrets.token_hex(15)}",
            ),
            *("-sha256", "-days", "90", "-extfile", profile, "-out", certificate),
        )
        return certificate
