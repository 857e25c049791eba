"""The test vectors of protocol.md, computed with nothing but Python's hashlib and hmac.

python3 docs/vectors.py          prints them as they stand in the document
python3 docs/vectors.py check    fails unless the document has exactly these
"""

from __future__ import annotations

import hashlib
import hmac
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

DOCUMENT = Path(__file__).with_name("protocol.md")
PREFIX = b"XMPP federation 0, "
FENCE = "```vectors\n"


def field(data: bytes) -> bytes:
    """f(x)"""
    return len(data).to_bytes(2, "big") + data


def tbs(role: str, *fields: bytes) -> bytes:
    """TBS(role, x1..xn)"""
    return b" " * 64 + PREFIX + role.encode() + b"\0" + b"".join(map(field, fields))


def sha256(data: bytes) -> bytes:
    """H"""
    return hashlib.sha256(data).digest()


def mac(key: bytes, data: bytes) -> bytes:
    """HMAC with SHA-256"""
    return hmac.new(key, data, "sha256").digest()


def vectors() -> Iterator[tuple[str, str | bytes]]:
    """Inputs, then what follows from them, in the order of the protocol."""
    texts = {
        "host_I": "xmpp.other.isp",
        "host_R": "xmpp.my.isp",
        "domain_I": "pessoa.lit",
        "domain_R": "saramago.lit",
        "suite_I": "ecdsa-p256-sha256+hpke-x25519-sha256-aes128gcm",
        "suite_R": "rsa-pss-sha256+rsa-oaep-sha256",
    }
    yield from texts.items()
    given = {
        "E": bytes(range(64)),
        "aid": bytes(range(0x40, 0x50)),
        "leaf_I": bytes([0x11]) * 32,
        "leaf_R": bytes([0x22]) * 32,
        "kem_key": bytes([0x33]) * 32,
        "kem_not_before": (1_795_358_400).to_bytes(8, "big"),
        "kem_not_after": (1_795_444_800).to_bytes(8, "big"),
        "kem_signature": bytes([0x44]) * 8,
        "K_I": bytes([0x55]) * 32,
        "K_R": bytes([0x66]) * 32,
        "ct_I": bytes([0x77]) * 16,
        "sig_I": bytes([0x88]) * 8,
        "ct_R": bytes([0x99]) * 16,
        "sig_R": bytes([0xAA]) * 8,
        "E_2": bytes([0xBB]) * 64,
    }
    yield from given.items()
    yield from derived({name: text.encode() for name, text in texts.items()} | given)


def derived(g: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """Everything that is signed, MACed or kept."""
    kem = (g["kem_key"], g["kem_not_before"], g["kem_not_after"])
    statement = tbs("kem key", g["domain_I"], g["host_I"], g["leaf_I"], b"x25519", *kem)
    yield "K", statement
    kem_i = sha256(statement + field(g["kem_signature"]))
    yield "kem_I", kem_i
    names = ("host_I", "host_R", "domain_I", "domain_R", "leaf_I", "leaf_R")
    fields = [g["aid"], g["E"][:32], *(g[name] for name in names), kem_i, b""]
    fields += [g["suite_I"], g["suite_R"]]
    yield "request_label", sha256(tbs("request key", *fields))
    yield "response_label", sha256(tbs("response key", *fields))
    m1 = tbs("request", *fields) + field(g["ct_I"])
    yield "m1", m1
    th1 = sha256(m1 + field(g["sig_I"]))
    yield "th1", th1
    m2 = tbs("response", th1, g["ct_R"])
    yield "m2", m2
    th2 = sha256(m2 + field(g["sig_R"]))
    yield "th2", th2
    prk = mac(g["E"][32:], g["K_I"] + g["K_R"])
    yield "prk", prk

    def key(label: str) -> bytes:
        # The first block of HKDF-Expand is all that 32 bytes need.
        return mac(prk, PREFIX + label.encode() + b"\0" + th2 + b"\x01")

    yield "conf_R", mac(key("confirm responder"), th2)
    yield "conf_I", mac(key("confirm initiator"), th2)
    rs, rid = key("resume secret"), key("resume id")[:16]
    yield "rs", rs
    yield "rid", rid
    channel = (g["E_2"][:32], g["host_I"], g["host_R"])
    tag_1 = mac(rs, tbs("resume 1", *channel, rid))[:16]
    yield "tag_1", tag_1
    yield "tag_2", mac(rs, tbs("resume 2", *channel, rid, tag_1))[:16]


def block() -> str:
    """The lines of the document: `name = value`, longer values on indented lines."""
    lines = []
    for name, value in vectors():
        shown = f'"{value}"' if isinstance(value, str) else value.hex()
        wrapped = textwrap.wrap(shown, 96)
        lines.append(f"{name} = {shown}" if len(wrapped) == 1 else f"{name} =")
        lines += [f"    {line}" for line in wrapped if len(wrapped) > 1]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Prints, or checks."""
    if sys.argv[1:] != ["check"]:
        print(block(), end="")
        return 0
    _, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(FENCE)
    if rest.partition("```")[0] == block():
        return 0
    print(f"{DOCUMENT.name}: the test vectors are not those of {Path(__file__).name}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
