"""Our side: a router, and a server behind it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import router
from processes import Process
from report import require
from servers import Local, Site
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
    site.folder.mkdir()
    site.certify(site.side.host)
    configuration = router.configure(site, local.settings(site.side))
    heteronym = await router.start(binary, site.side, site.folder, configuration)
    stack.push_async_callback(heteronym.end)
    server = await local.start(site, stack)
    await heteronym.ready("local link up", router.Admin(site.side).locals_up)
    return Provider(site.side, configuration, heteronym, server)


async def drained(process: Process) -> None:
    """SIGTERM: the router hands over what it has and exits with 0."""
    code = await process.end()
    require(code == 0, f"exit code {code}")
