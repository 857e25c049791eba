"""The two providers of the scenario, and where everything of theirs listens."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field

SUBDOMAINS = ("chat", "ft", "pubsub")
PASSWORD = "pw"


def free_port(address: str) -> int:
    """A TCP port that nothing uses on `address` at the moment."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True)
class Side:
    """One provider: a router, a Prosody, one domain with its subdomains, its users."""

    host: str
    domain: str
    users: tuple[str, ...]
    key: str
    address: str
    ports: dict[str, int] = field(default_factory=dict)

    @property
    def domains(self) -> tuple[str, ...]:
        """The domain and its subdomains."""
        return (self.domain, *(f"{name}.{self.domain}" for name in SUBDOMAINS))

    def jid(self, user: int = 0) -> str:
        """The bare address of one of the users."""
        return f"{self.users[user]}@{self.domain}"

    def port(self, purpose: str) -> int:
        """The port for a purpose, chosen when first asked for."""
        if purpose not in self.ports:
            self.ports[purpose] = free_port(self.address)
        return self.ports[purpose]


def saramago() -> Side:
    """xmpp.my.isp, the provider of docs/servers/prosody.md; its certificates are RSA."""
    return Side("xmpp.my.isp", "saramago.lit", ("jose", "pilar"), "rsa", "127.0.71.1")


def pessoa() -> Side:
    """xmpp.other.isp; its certificates are P-256."""
    return Side("xmpp.other.isp", "pessoa.lit", ("fernando",), "p256", "127.0.72.1")
