"""Our side: a router, and a server behind it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import router
import zone
from authentication import Stream
from processes import Process
from report import require
from servers import Local, Remote, Site
from sides import Side


@dataclass
class Provider:
    """One side with its running router and server."""

    side: Side
    configuration: Path
    router: Process
    server: Process


async def start_provider(binary: Path, site: Site, local: Local, stack: AsyncExitStack) -> Provider:
    """Certificates, configurations, router, server; ready when the local link is up."""
    site.folder.mkdir(exist_ok=True)
    site.certify(site.side.host)
    configuration = router.configure(site, local.settings(site.side))
    heteronym = await router.start(binary, site.side, site.folder, configuration)
    stack.push_async_callback(heteronym.end)
    server = await local.start(site, stack)
    await heteronym.ready("local link up", router.Admin(site.side).locals_up)
    return Provider(site.side, configuration, heteronym, server)


@dataclass(frozen=True)
class Routed(Remote):
    """Another router on the other side, with a server behind it."""

    local: Local
    binary: Path

    via: ClassVar[str] = "federation"

    def publish(self, records: zone.Zone, side: Side) -> None:
        """Its domains name the host."""
        for domain in side.domains:
            records.host(domain, side.host, side.port("federation"))

    async def start(self, site: Site, secure: bool, stack: AsyncExitStack) -> Process:
        """Router and server; the router."""
        return (await start_provider(self.binary, site, self.local, stack)).router

    def streams(self, log: str) -> list[Stream]:
        """None by classic S2S."""
        return []


async def drained(process: Process) -> None:
    """SIGTERM: the router hands over what it has and exits with 0."""
    code = await process.end()
    require(code == 0, f"exit code {code}")
