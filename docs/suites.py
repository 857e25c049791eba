"""Whole runs between real keys of every suite of protocol.md, made by another implementation.

python3 docs/suites.py > docs/suites.vectors

Keys, signatures with salts and encapsulated keys are random: each call makes other ones. It needs
the package `cryptography` (OpenSSL); HPKE is RFC 9180 by hand. The crates check that they verify,
decrypt and derive what stands there: net/src/keys/vectors.rs, proto/tests/suite_vectors.rs.
"""

from __future__ import annotations

import datetime
import textwrap

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.x509.oid import NameOID

from vectors import PREFIX, field, mac, sha256, tbs

HPKE = "hpke-x25519-sha256-aes128gcm"
NOT_BEFORE, NOT_AFTER = 1_795_358_400, 1_795_444_800
ROOT = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)


class Identity:
    """A domain with its certificate, and with a KEM key where its suite needs one."""

    def __init__(self, suite: str, domain: str, host: str, key) -> None:
        self.suite, self.domain, self.host, self.key = suite, domain, host, key
        self.certificate = certificate(domain, key, "oaep" in suite)
        self.leaf = sha256(self.certificate)
        self.kem = b""
        if HPKE in suite:
            self.kem_secret = x25519.X25519PrivateKey.generate()
            self.kem_key = raw(self.kem_secret.public_key())
            dates = (NOT_BEFORE.to_bytes(8, "big"), NOT_AFTER.to_bytes(8, "big"))
            names = (domain.encode(), host.encode())
            self.statement = tbs("kem key", *names, self.leaf, b"x25519", self.kem_key, *dates)
            self.kem_signature = self.sign(self.statement)
            self.kem = sha256(self.statement + field(self.kem_signature))

    def sign(self, message: bytes) -> bytes:
        """By the kind of the key."""
        if isinstance(self.key, rsa.RSAPrivateKey):
            pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
            return self.key.sign(message, pss, hashes.SHA256())
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return self.key.sign(message)
        digest = hashes.SHA384() if self.key.curve.name == "secp384r1" else hashes.SHA256()
        return self.key.sign(message, ec.ECDSA(digest))

    def seal(self, label: bytes, plaintext: bytes) -> bytes:
        """Enc(domain, plaintext; label)"""
        if HPKE in self.suite:
            return hpke_seal(self.kem_secret.public_key(), label, plaintext)
        oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), label)
        return self.key.public_key().encrypt(plaintext, oaep)

    def values(self):
        """What a test needs to know of it."""
        pkcs8 = (serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        yield from (("suite", self.suite), ("domain", self.domain), ("host", self.host))
        yield from (("certificate", self.certificate), ("private_key", self.key.private_bytes(*pkcs8)))
        if self.kem:
            yield from (("kem_secret", self.kem_secret.private_bytes_raw()), ("kem_key", self.kem_key))
            yield from (("K", self.statement), ("kem_signature", self.kem_signature), ("kem", self.kem))


def raw(key: x25519.X25519PublicKey) -> bytes:
    """The 32 bytes."""
    return key.public_bytes_raw()


def certificate(domain: str, key, enciphers: bool) -> bytes:
    """A leaf as short as can be, in DER."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, domain)])
    usage = x509.KeyUsage(True, False, enciphers, False, False, False, False, False, False)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, ROOT, ROOT + datetime.timedelta(3650))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(domain)]), False)
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    signed = builder.add_extension(usage, True).sign(key, digest)
    return signed.public_bytes(serialization.Encoding.DER)


def expand(prk: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand of up to 32 bytes."""
    return mac(prk, info + b"\x01")[:length]


def hpke_seal(public: x25519.X25519PublicKey, info: bytes, plaintext: bytes) -> bytes:
    """RFC 9180, base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM, an empty aad."""
    kem, suite = b"KEM\x00\x20", b"HPKE\x00\x20\x00\x01\x00\x01"

    def extract(suite_id: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
        return mac(salt, b"HPKE-v1" + suite_id + label + ikm)

    def derive(suite_id: bytes, prk: bytes, label: bytes, data: bytes, length: int) -> bytes:
        return expand(prk, length.to_bytes(2, "big") + b"HPKE-v1" + suite_id + label + data, length)

    ephemeral = x25519.X25519PrivateKey.generate()
    enc = raw(ephemeral.public_key())
    eae = extract(kem, b"", b"eae_prk", ephemeral.exchange(public))
    shared = derive(kem, eae, b"shared_secret", enc + raw(public), 32)
    context = b"\0" + extract(suite, b"", b"psk_id_hash", b"") + extract(suite, b"", b"info_hash", info)
    secret = extract(suite, shared, b"secret", b"")
    key, nonce = derive(suite, secret, b"key", context, 16), derive(suite, secret, b"base_nonce", context, 12)
    return enc + AESGCM(key).encrypt(nonce, plaintext, b"")


def run(number: int, i: Identity, r: Identity):
    """Steps 2 to 5 between two domains."""
    aid, exported = bytes([number]) * 16, bytes(range(number, number + 64))
    k_i, k_r = bytes([0x50 + number]) * 32, bytes([0x60 + number]) * 32
    texts = (i.host, r.host, i.domain, r.domain)
    fields = [aid, exported[:32], *(text.encode() for text in texts), i.leaf, r.leaf, i.kem, r.kem]
    fields += [i.suite.encode(), r.suite.encode()]
    request_label, response_label = sha256(tbs("request key", *fields)), sha256(tbs("response key", *fields))
    ct_i = r.seal(request_label, k_i)
    m1 = tbs("request", *fields) + field(ct_i)
    sig_i = i.sign(m1)
    ct_r = i.seal(response_label, k_r)
    m2 = tbs("response", sha256(m1 + field(sig_i)), ct_r)
    sig_r = r.sign(m2)
    th2 = sha256(m2 + field(sig_r))
    prk = mac(exported[32:], k_i + k_r)

    def key(label: str) -> bytes:
        return expand(prk, PREFIX + label.encode() + b"\0" + th2, 32)

    yield from (("aid", aid), ("E", exported), ("K_I", k_i), ("K_R", k_r), ("request_label", request_label))
    yield from (("ct_I", ct_i), ("m1", m1), ("sig_I", sig_i), ("response_label", response_label))
    yield from (("ct_R", ct_r), ("m2", m2), ("sig_R", sig_r), ("conf_R", mac(key("confirm responder"), th2)))
    yield from (("conf_I", mac(key("confirm initiator"), th2)), ("rs", key("resume secret")))
    yield ("rid", key("resume id")[:16])


def show(title: str, values) -> None:
    """A section: `name = value`, longer values on indented lines."""
    print(f"[{title}]")
    for name, value in values:
        wrapped = textwrap.wrap(f'"{value}"' if isinstance(value, str) else value.hex(), 96)
        print(f"{name} = {wrapped[0]}" if len(wrapped) == 1 else f"{name} =")
        for line in wrapped if len(wrapped) > 1 else []:
            print(f"    {line}")


def main() -> None:
    """Five domains, each of which asks the next one."""
    kinds = [
        ("rsa-pss-sha256+rsa-oaep-sha256", rsa.generate_private_key(65537, 2048)),
        (f"ecdsa-p256-sha256+{HPKE}", ec.generate_private_key(ec.SECP256R1())),
        (f"rsa-pss-sha256+{HPKE}", rsa.generate_private_key(65537, 2048)),
        (f"ed25519+{HPKE}", ed25519.Ed25519PrivateKey.generate()),
        (f"ecdsa-p384-sha384+{HPKE}", ec.generate_private_key(ec.SECP384R1())),
    ]
    identities = [Identity(suite, f"d{n}.lit", f"xmpp.h{n}.isp", key) for n, (suite, key) in enumerate(kinds)]
    for n, identity in enumerate(identities):
        show(f"identity {n}", identity.values())
    for n, identity in enumerate(identities):
        show(f"run {n}", run(n, identity, identities[(n + 1) % len(identities)]))


if __name__ == "__main__":
    main()
