"""What a page of docs/servers/ tells to configure: its blocks, with other names and ports."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from sides import Side, saramago

REPOSITORY = Path(__file__).resolve().parent.parent.parent
MODULES = REPOSITORY / "config" / "prosody"

# The ports of the pages, and what they are for.
PORTS = {
    "5268": "local_s2s",
    "5353": "steering_dns",
    "15269": "server_s2s",
    "5348": "server_component",
    "5347": "component",
}


@dataclass(frozen=True)
class Guide:
    """A page, and ports that mean something else there."""

    name: str
    ports: dict[str, str] = field(default_factory=dict)

    def block(self, section: str, language: str, side: Side) -> str:
        """The only block in that language below the heading that begins so, for `side`."""
        (block,) = self.blocks(section, language, side)
        return block

    def blocks(self, section: str, language: str, side: Side) -> list[str]:
        """All blocks in that language below the heading that begins so, for `side`."""
        text = (REPOSITORY / "docs" / "servers" / self.name).read_text()
        part = re.search(
            rf"^##? {re.escape(section)}.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL
        )
        found = re.findall(
            rf"^```{language}\n(.*?)^```", part[0] if part else "", re.MULTILINE | re.DOTALL
        )
        if not found:
            raise LookupError(f"{self.name}: no block in {language} below {section!r}")
        return [adapted(block, side, PORTS | self.ports) for block in found]


def adapted(text: str, side: Side, ports: dict[str, str]) -> str:
    """The text with the names of `side`, its addresses and its ports."""
    example = saramago()
    for port, purpose in ports.items():
        if port in text:
            text = re.sub(rf"\b{port}\b", str(side.port(purpose)), text)
    return (
        text.replace("/usr/local/lib/prosody/modules", str(MODULES))
        .replace("127.0.0.1", side.address)
        .replace("127,0,0,1", side.address.replace(".", ","))
        .replace(example.domain, side.domain)
        .replace(example.host, side.host)
    )


def with_further_domains(toml: str, side: Side) -> str:
    """A page has one domain with users; the others are added to the router's list of domains."""
    added = "".join(f', "{domain}"' for domain in side.user_domains[1:])
    toml, count = re.subn(r"^(domains = \[.*)\]$", rf"\1{added}]", toml, flags=re.MULTILINE)
    if count != 1:
        raise LookupError(f"{count} lists of domains in:\n{toml}")
    return toml


def without_listeners(toml: str) -> tuple[str, str]:
    """The lines of `[listen]`, and everything else."""
    found = re.search(r"^\[listen\]\n(.*?)(?=^\[)", toml, re.MULTILINE | re.DOTALL)
    if found is None:
        return "local_s2s = []\nsteering_dns = []\n", toml
    return found[1], toml.replace(found[0], "")
