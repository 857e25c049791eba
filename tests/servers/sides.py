"""The two providers of the scenario, and where everything of theirs listens."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field

SUBDOMAINS = ("chat", "ft", "pubsub")
PASSWORD = "pw"


_given: set[tuple[str, int]] = set()


def free_port(address: str) -> int:
    """A TCP port that nothing uses on `address` at the moment, and that was not given before."""
    while True:
        with socket.socket() as probe:
            probe.bind((address, 0))
            port: int = probe.getsockname()[1]
        if (address, port) not in _given:
            _given.add((address, port))
            return port


@dataclass(frozen=True)
class Side:
    """One provider: a host, a server, two domains with users, the subdomains of the first.

    `users` are bare addresses; the domain of the first is the first domain.
    """

    host: str
    users: tuple[str, ...]
    key: str
    address: str
    subdomains: tuple[str, ...] = SUBDOMAINS
    no_such_domain: str = "remote-server-not-found"  # what its users are told of one
    ports: dict[str, int] = field(default_factory=dict)

    @property
    def domain(self) -> str:
        """The first domain."""
        return self.users[0].partition("@")[2]

    @property
    def user_domains(self) -> tuple[str, ...]:
        """The domains that have users."""
        return tuple(dict.fromkeys(user.partition("@")[2] for user in self.users))

    @property
    def domains(self) -> tuple[str, ...]:
        """All domains: those with users, and the subdomains of the first."""
        return (*self.user_domains, *(f"{name}.{self.domain}" for name in self.subdomains))

    @property
    def people(self) -> tuple[str, ...]:
        """The first user of each domain."""
        first: dict[str, str] = {}
        for user in self.users:
            first.setdefault(user.partition("@")[2], user)
        return tuple(first.values())

    def jid(self, user: int = 0) -> str:
        """The bare address of one of the users."""
        return self.users[user]

    def port(self, purpose: str) -> int:
        """The port for a purpose, chosen when first asked for."""
        if purpose not in self.ports:
            self.ports[purpose] = free_port(self.address)
        return self.ports[purpose]


def saramago() -> Side:
    """xmpp.my.isp, the provider of docs/servers/prosody.md; its certificates are RSA."""
    users = ("jose@saramago.lit", "pilar@saramago.lit", "baltasar@blimunda.lit")
    return Side("xmpp.my.isp", users, "rsa", "127.0.71.1")


def pessoa() -> Side:
    """xmpp.other.isp; its certificates are P-256."""
    users = ("fernando@pessoa.lit", "alvaro@campos.lit")
    return Side("xmpp.other.isp", users, "p256", "127.0.72.1")
