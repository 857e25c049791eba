"""Prosody: with the module, as docs/servers/prosody.md says, or without a router."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import ClassVar

from authentication import Stream, Way
from processes import Process, accepts
from servers import Local, Remote, Site
from sides import PASSWORD, Side, saramago

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
GUIDE = REPOSITORY / "docs" / "servers" / "prosody.md"
MODULES = REPOSITORY / "config" / "prosody"
SESSION = re.compile(r"\b(s2s(in|out)[0-9a-f]{6,})\s+debug\s+(.*)")
LET_IN = re.compile(r"connection (\S+?)->(\S+) is now authenticated for ")


def from_the_guide(language: str, side: Side) -> str:
    """The guide's configuration in that language, with the names of `side`."""
    found = re.search(rf"^```{language}\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    if found is None:
        raise LookupError(f"{GUIDE.name} has no block in {language}")
    example = saramago()
    text = (
        found[1]
        .replace("/usr/local/lib/prosody/modules", str(MODULES))
        .replace(example.domain, side.domain)
        .replace(example.host, side.host)
    )
    return with_further_domains(text, side)


def with_further_domains(text: str, side: Side) -> str:
    """The guide has one domain with users; the others are added to what is cut out of it."""
    further = side.user_domains[1:]
    if "VirtualHost" in text:
        return text + "".join(f'VirtualHost "{domain}"\n' for domain in further)
    added = "".join(f', "{domain}"' for domain in further)
    text, count = re.subn(r"^(domains = \[.*)\]$", rf"\1{added}]", text, flags=re.MULTILINE)
    if count != 1:
        raise LookupError(f"{GUIDE.name} has {count} lists of domains")
    return text


def write_accounts(side: Side, folder: Path) -> None:
    """The users' accounts, below the data folder in `folder`."""
    for jid in side.users:
        user, _, domain = jid.partition("@")
        accounts = folder / "data" / domain.replace(".", "%2e") / "accounts"
        accounts.mkdir(parents=True, exist_ok=True)
        (accounts / f"{user}.dat").write_text(f'return {{ ["password"] = "{PASSWORD}"; }};\n')


def configure(
    side: Side, folder: Path, router_address: str, router_port: int, extra: str = ""
) -> Path:
    """Writes configuration and accounts into `folder`; the configuration's path."""
    write_accounts(side, folder)
    (folder / "certs").mkdir(exist_ok=True)
    settings = Template((HERE / "prosody.cfg.lua").read_text()).substitute(
        folder=folder,
        address=side.address,
        client_port=side.port("client"),
        proxy_port=side.port("proxy"),
        router_address=router_address,
        router_port=router_port,
        extra=extra,
    )
    path = folder / "prosody.cfg.lua"
    path.write_text(settings + from_the_guide("lua", side))
    return path


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


class WithModule(Local):
    """Attached by mod_heteronym, as the guide says."""

    kind: ClassVar[str] = "component"

    def settings(self, side: Side) -> str:
        """The guide's."""
        return from_the_guide("toml", side)

    async def start(self, site: Site, stack: AsyncExitStack) -> Process:
        """Prosody, with the certificates and the accounts of the site."""
        side = site.side
        path = configure(side, site.folder, side.address, side.port("component"))
        prosody = await start(side, site.folder, path)
        stack.push_async_callback(prosody.end)
        return prosody


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
            virtual_hosts="".join(f'VirtualHost "{name}"\n' for name in side.user_domains),
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
