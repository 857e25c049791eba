"""TCP connections between the two hosts, counted in the kernel's socket table."""

from __future__ import annotations

import ipaddress
from pathlib import Path

ESTABLISHED = "01"
TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


def endpoint(text: str) -> tuple[str, int]:
    """Address and port of an entry: hex, the address in the machine's byte order by 32 bits."""
    address, _, port = text.partition(":")
    words = (bytes.fromhex(address[i : i + 8])[::-1] for i in range(0, len(address), 8))
    ip = ipaddress.ip_address(b"".join(words))
    mapped = getattr(ip, "ipv4_mapped", None)
    return str(mapped or ip), int(port, 16)


def established(listeners: set[tuple[str, int]]) -> int:
    """How many connections those listeners have accepted and still hold."""
    count = 0
    for table in TABLES:
        if not table.exists():
            continue
        for line in table.read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            if state == ESTABLISHED and endpoint(local) in listeners:
                count += 1
    return count
