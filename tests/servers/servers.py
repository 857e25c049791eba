"""What a server is to the scenario, whatever its name: without a router, or behind one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import zone
from authentication import Stream
from certificates import Authority
from checks import Check, Party
from processes import Process
from sides import SUBDOMAINS, Side


@dataclass(frozen=True)
class Site:
    """Where the server of a side runs, whom it trusts, and whom it asks for addresses."""

    side: Side
    folder: Path
    authority: Authority
    dns: zone.Server
    hosts: str = ""  # lines of a hosts file

    def certify(self, *names: str) -> Path:
        """Makes certificates for the side's domains and for `names`; their folder."""
        certificates = self.folder / "certs"
        for name in (*names, *self.side.domains):
            self.authority.certify(name, self.side.key, certificates)
        return certificates


class Remote(ABC):
    """The other side: a server that knows no router, and speaks classic S2S with everybody."""

    subdomains: ClassVar[tuple[str, ...]] = SUBDOMAINS
    via: ClassVar[str] = "classic"  # as the status of the router calls the way there

    def publish(self, records: zone.Zone, side: Side) -> None:
        """The records of its domains."""
        for domain in side.domains:
            records.server(domain, side.host, side.port("s2s"))

    @abstractmethod
    async def start(self, site: Site, secure: bool, stack: AsyncExitStack) -> Process:
        """Starts it; `stack` ends it. `secure`: it insists on certificates that it trusts.

        The process whose log has the streams of S2S.
        """

    @abstractmethod
    def streams(self, log: str) -> list[Stream]:
        """The streams that were let in, as that log tells."""


class Local(ABC):
    """A server that is attached to a router, and the way it is."""

    kind: ClassVar[str]  # as the status of the router calls the link
    subdomains: ClassVar[tuple[str, ...]] = SUBDOMAINS
    no_such_domain: ClassVar[str] = "remote-server-not-found"
    listener: ClassVar[str]  # the port of the one connection that it gets its stanzas by
    others: ClassVar[int] = 0  # connections to it from the server's own processes

    @property
    def logged(self) -> tuple[str, ...]:
        """What its log must have, so that it was attached in this way."""
        return ()

    def side(self, side: Side) -> Side:
        """The side with this server."""
        return replace(side, subdomains=self.subdomains, no_such_domain=self.no_such_domain)

    @abstractmethod
    def settings(self, side: Side) -> str:
        """The router's `[host]` and `[[local]]`."""

    def checks(self, ours: Party, theirs: Party) -> Iterator[Check]:
        """What is to be seen besides what every server does."""
        return iter(())

    @abstractmethod
    async def start(self, site: Site, stack: AsyncExitStack) -> Process:
        """Starts it; `stack` ends it."""
