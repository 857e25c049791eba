"""A heteronym instance."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from pathlib import Path
from string import Template
from typing import Any

from guide import without_listeners
from processes import Process
from servers import Site
from sides import Side

HERE = Path(__file__).resolve().parent


def configure(site: Site, settings: str) -> Path:
    """Writes the configuration: `settings`, and what a test instance needs; its path."""
    side = site.side
    listen, settings = without_listeners(settings)
    if "component" not in listen:
        listen += f'component = ["{side.address}:{side.port("component")}"]\n'
    instance = Template((HERE / "heteronym.toml").read_text()).substitute(
        address=side.address,
        federation_port=side.port("federation"),
        s2s_port=side.port("s2s"),
        admin_port=side.port("admin"),
        listen=listen,
        dns=site.dns.address,
        roots=site.authority.root,
    )
    path = site.folder / "heteronym.toml"
    path.write_text(instance + settings)
    return path


class Admin:
    """The admin interface of one router."""

    def __init__(self, side: Side) -> None:
        self.base = f"http://{side.address}:{side.port('admin')}"

    async def get(self, path: str) -> tuple[int, str]:
        """Status and body; status 0 if nothing answers."""
        return await asyncio.to_thread(self._get, path)

    def _get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self.base + path, timeout=5) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    async def healthy(self) -> bool:
        """Whether it runs, with its listeners bound; a server that it dials may still be down."""
        status, _ = await self.get("/health")
        return status == 200

    async def status(self) -> dict[str, Any]:
        """/api/status."""
        code, body = await self.get("/api/status")
        if code != 200:
            raise RuntimeError(f"/api/status: {code} {body[:200]}")
        document: dict[str, Any] = json.loads(body)
        return document

    async def locals_up(self) -> bool:
        """Whether every local link is up."""
        links = (await self.status())["locals"]
        return bool(links) and all(link["state"] == "up" for link in links)


async def start(binary: Path, side: Side, folder: Path, configuration: Path) -> Process:
    """Starts a router and waits until it runs."""
    router = await Process.start(
        f"heteronym of {side.host}",
        folder / "heteronym.log",
        *(str(binary), "run", "-c", str(configuration)),
    )
    try:
        await router.ready("GET /health", Admin(side).healthy)
    except BaseException:
        await router.end()
        raise
    return router
