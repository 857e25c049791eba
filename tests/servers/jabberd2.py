"""jabberd2: four processes, accounts in SQLite.

Its S2S asks the name servers of /etc/resolv.conf, at port 53 only, and hosts in no file: it gets a
file of its own, and the DNS server of the test that port; both need root.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import AsyncExitStack, closing
from pathlib import Path
from string import Template
from typing import ClassVar

from authentication import Stream, Way
from guide import Guide, with_further_domains
from namespaces import require_private_files, with_private_file
from processes import Process, accepts
from servers import Local, Remote, Site
from sides import PASSWORD, Side

CONFIGURATIONS = Path(__file__).resolve().parent / "jabberd2"
SECRET = "s3cret"
ACI = '<aci><acl type="all"><user>jabberd</user></acl></aci>'
GUIDE = Guide("jabberd2.md", {"5347": "router"})
LET_IN = re.compile(r"(incoming|outgoing) route '([^/']+)/([^/']+)' is now valid TLS")


def modules() -> Path:
    """Where Debian's package has storage and modules."""
    found = sorted(Path("/usr/lib").glob("*/jabberd2/storage_sqlite.so"))
    if not found:
        raise RuntimeError("jabberd2 is not installed")
    return found[0].parent


def write_accounts(side: Side, database: Path) -> None:
    """The tables, and a row in two of them for each user: c2s looks at one, sm at the other."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.executescript((CONFIGURATIONS / "schema.sql").read_text())
        for jid in side.users:
            user, _, domain = jid.partition("@")
            account = (user, domain, PASSWORD)
            connection.execute("INSERT INTO authreg VALUES (?, ?, ?)", account)
            connection.execute('INSERT INTO active ("collection-owner") VALUES (?)', (jid,))


def configure(site: Site, aci: str = ACI) -> None:
    """Writes its configurations and accounts; `aci`: what users of its router may do."""
    side, folder = site.side, site.folder
    certified = ""
    for name in side.domains:
        certificate = folder / "certs" / name
        pem = certificate / "both.pem"
        parts = [certificate / part for part in ("fullchain.pem", "privkey.pem")]
        pem.write_text("".join(part.read_text() for part in parts))
        certified += f'<id pemfile="{pem}">{name}</id>'
    write_accounts(side, folder / "jabberd2.db")
    for template in CONFIGURATIONS.glob("*.xml"):
        settings = Template(template.read_text()).substitute(
            folder=folder,
            address=side.address,
            router_port=side.port("router"),
            client_port=side.port("client"),
            s2s_port=side.port("s2s"),
            secret=SECRET,
            modules=modules(),
            aci=aci,
            ids="".join(f"<id>{domain}</id>" for domain in side.user_domains),
            ids_with_certificates=certified,
        )
        (folder / template.name).write_text(settings)


async def start(site: Site, name: str, stack: AsyncExitStack, resolver: Path | None) -> Process:
    """Starts one of the processes."""
    command: tuple[str, ...] = (f"jabberd2-{name}", "-c", str(site.folder / f"{name}.xml"))
    if resolver is not None:
        command = with_private_file("/etc/resolv.conf", resolver, *command)
    title, log = f"jabberd2-{name} of {site.side.domain}", site.folder / f"{name}.log"
    process = await Process.start(title, log, *command)
    stack.push_async_callback(process.end)
    return process


async def logged(process: Process, text: str) -> None:
    """Waits for a line of its log."""

    async def said() -> bool:
        return text in process.log_text()

    await process.ready(f'says "{text}"', said)


async def start_local_part(site: Site, stack: AsyncExitStack) -> Process:
    """Router, session manager and the listener for clients; the router."""
    side = site.side
    router = await start(site, "router", stack, None)
    await router.ready("accepts", lambda: accepts(side.address, side.port("router")))
    await logged(await start(site, "sm", stack, None), "ready for sessions")
    for domain in side.user_domains:
        await logged(router, f"[{domain}] online")
    await logged(await start(site, "c2s", stack, None), "ready for connections")
    return router


class Bound(Local):
    """jabberd2 without its S2S: heteronym is the default route of its router."""

    kind: ClassVar[str] = "jabberd2"
    subdomains: ClassVar[tuple[str, ...]] = ()
    listener: ClassVar[str] = "router"
    others: ClassVar[int] = 2  # sm and c2s

    @property
    def logged(self) -> tuple[str, ...]:
        """That the router of the page is its default route."""
        return ("[heteronym] set as default route",)

    def settings(self, side: Side) -> str:
        """The page's, for the router."""
        return with_further_domains(GUIDE.block("3.", "toml", side), side)

    async def start(self, site: Site, stack: AsyncExitStack) -> Process:
        """All but S2S; the router."""
        users, aci = GUIDE.blocks("2.", "xml", site.side)
        configure(site, aci)
        (site.folder / "router-users.xml").write_text(users)
        return await start_local_part(site, stack)


class Alone(Remote):
    """jabberd2 with its own S2S, which knows dialback only."""

    subdomains: ClassVar[tuple[str, ...]] = ()

    async def start(self, site: Site, secure: bool, stack: AsyncExitStack) -> Process:
        """All four; the process of S2S."""
        if secure:
            raise RuntimeError("jabberd2 does not speak SASL EXTERNAL between servers")
        await require_private_files()
        await site.dns.use_port_53()
        resolver = site.folder / "resolv.conf"
        resolver.write_text(f"nameserver {site.dns.host}\n")
        site.certify()
        configure(site)
        await start_local_part(site, stack)
        s2s = await start(site, "s2s", stack, resolver)
        await logged(s2s, "ready for connections")
        return s2s

    def streams(self, log: str) -> list[Stream]:
        """Every pair of domains is let in by dialback of its own."""
        return [
            Stream(direction == "incoming", Way.DIALBACK, local, remote)
            for direction, local, remote in LET_IN.findall(log)
        ]
