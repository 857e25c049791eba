"""Prosody: attached as the pages of docs/servers/ say, or without a router."""

from __future__ import annotations

import re
from abc import abstractmethod
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import ClassVar

from authentication import Stream, Way
from guide import Guide, with_further_domains
from processes import Process, accepts
from servers import Local, Remote, Site
from sides import PASSWORD, Side

HERE = Path(__file__).resolve().parent
MODULE = Guide("prosody.md")
STOCK = Guide("prosody-stock.md")
SESSION = re.compile(r"\b(s2s(in|out)[0-9a-f]{6,})\s+debug\s+(.*)")
LET_IN = re.compile(r"connection (\S+?)->(\S+) is now authenticated for ")


def virtual_hosts(domains: tuple[str, ...]) -> str:
    """Hosts beside the one of a page."""
    return "".join(f'VirtualHost "{domain}"\n' for domain in domains)


def write_accounts(side: Side, folder: Path) -> None:
    """The users' accounts, below the data folder in `folder`."""
    for jid in side.users:
        user, _, domain = jid.partition("@")
        accounts = folder / "data" / domain.replace(".", "%2e") / "accounts"
        accounts.mkdir(parents=True, exist_ok=True)
        (accounts / f"{user}.dat").write_text(f'return {{ ["password"] = "{PASSWORD}"; }};\n')


def configure(side: Side, folder: Path, settings: str, extra: str = "") -> Path:
    """Writes the configuration: what an instance needs, `extra`, and `settings`; its path."""
    write_accounts(side, folder)
    (folder / "certs").mkdir(exist_ok=True)
    instance = Template((HERE / "prosody.cfg.lua").read_text()).substitute(
        folder=folder,
        address=side.address,
        client_port=side.port("client"),
        proxy_port=side.port("proxy"),
    )
    path = folder / "prosody.cfg.lua"
    path.write_text(instance + extra + settings + virtual_hosts(side.user_domains[1:]))
    return path


def to_the_router(address: str, port: int) -> str:
    """Where the module finds the router, and that it comes back soon."""
    return f'heteronym_address = "{address}"\nheteronym_port = {port}\nheteronym_reconnect = 0.02\n'


async def start(side: Side, folder: Path, configuration: Path) -> Process:
    """Starts Prosody and waits until clients can connect."""
    prosody = await Process.start(
        f"prosody of {side.domain}",
        folder / "prosody.log",
        *("prosody", "-F", "--config", str(configuration)),
    )

    async def clients_accepted() -> bool:
        return await accepts(side.address, side.port("client"))

    try:
        await prosody.ready("accepts clients", clients_accepted)
    except BaseException:
        await prosody.end()
        raise
    return prosody


class Attached(Local):
    """A Prosody with the configuration of a page."""

    async def start(self, site: Site, stack: AsyncExitStack) -> Process:
        """Prosody, with the certificates and the accounts of the site."""
        path = configure(site.side, site.folder, self.prosody(site.side), self.extra(site.side))
        prosody = await start(site.side, site.folder, path)
        stack.push_async_callback(prosody.end)
        return prosody

    @abstractmethod
    def prosody(self, side: Side) -> str:
        """The page's configuration of Prosody."""

    def extra(self, side: Side) -> str:
        """What stands before it."""
        return ""


class WithModule(Attached):
    """Attached by mod_heteronym."""

    kind: ClassVar[str] = "component"
    listener: ClassVar[str] = "component"

    def settings(self, side: Side) -> str:
        """The page's, for the router."""
        return with_further_domains(MODULE.block("3.", "toml", side), side)

    def prosody(self, side: Side) -> str:
        """The page's."""
        return MODULE.block("2.", "lua", side)

    def extra(self, side: Side) -> str:
        """The module's way to the router."""
        return to_the_router(side.address, side.port("component"))


@dataclass(frozen=True)
class Stock(Attached):
    """Attached by loopback S2S in one direction or in both, without a module."""

    kind: str  # type: ignore[misc]  # a class variable elsewhere
    section: str
    secret: bool = True
    encrypted: bool = False

    @property
    def listener(self) -> str:  # type: ignore[override]
        """The port that the router dials."""
        return "server_s2s" if self.kind == "s2s" else "server_component"

    @property
    def logged(self) -> tuple[str, ...]:
        """That the router was asked for TLS, or that it has asked whether a key is right."""
        texts = {
            "Received[s2sin_unauthed]: <starttls": self.encrypted,
            "Received[s2sin_unauthed]: <verify": not self.secret,
        }
        return tuple(text for text, wanted in texts.items() if wanted)

    def settings(self, side: Side) -> str:
        """The page's, for the router."""
        settings = with_further_domains(STOCK.block(self.section, "toml", side), side)
        return settings if self.secret else settings.replace(', dialback_secret = "s3cret"', "")

    def prosody(self, side: Side) -> str:
        """The page's; what a variant leaves out or has otherwise is named there."""
        shared = STOCK.block("What both ways need", "lua", side)
        if not self.secret:
            shared = shared.replace('dialback_secret = "s3cret"\n', "")
        if self.encrypted:
            shared = shared.replace(
                "s2s_require_encryption = false", "s2s_require_encryption = true"
            )
        return shared + STOCK.block(self.section, "lua", side)


@dataclass(frozen=True)
class Alone(Remote):
    """Prosody without a router."""

    modules: str = '"dialback"'  # further ones, as they stand in modules_enabled

    async def start(self, site: Site, secure: bool, stack: AsyncExitStack) -> Process:
        """Prosody, with certificates and accounts."""
        side, folder = site.side, site.folder
        site.certify()
        write_accounts(side, folder)
        settings = Template((HERE / "prosody_remote.cfg.lua").read_text()).substitute(
            folder=folder,
            address=side.address,
            domain=side.domain,
            virtual_hosts=virtual_hosts(side.user_domains),
            client_port=side.port("client"),
            s2s_port=side.port("s2s"),
            proxy_port=side.port("proxy"),
            dns=site.dns.address.replace(":", "@"),
            roots=site.authority.root,
            secure_auth="true" if secure else "false",
            modules=self.modules,
        )
        path = folder / "prosody.cfg.lua"
        path.write_text(settings)
        prosody = await start(side, folder, path)
        stack.push_async_callback(prosody.end)
        return prosody

    def streams(self, log: str) -> list[Stream]:
        """By the last that was tried on a stream before it was let in."""
        tried: dict[str, Way] = {}
        found: dict[str, Stream] = {}
        for stream, direction, said in SESSION.findall(log):
            if said.startswith(
                ("Received[s2sin_unauthed]: <auth", "Sending[s2sout_unauthed]: <auth")
            ):
                tried[stream] = Way.EXTERNAL
            elif said.startswith(("Received[s2sin_unauthed]: <result", "sent dialback key")):
                tried[stream] = Way.DIALBACK
            elif let_in := LET_IN.match(said):
                incoming = direction == "in"
                local, remote = let_in.group(2, 1) if incoming else let_in.group(1, 2)
                found.setdefault(stream, Stream(incoming, tried[stream], local, remote))
        return list(found.values())
