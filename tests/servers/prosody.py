"""A Prosody instance with the configuration of docs/servers/prosody.md."""

from __future__ import annotations

import re
from pathlib import Path
from string import Template

from processes import Process, accepts
from sides import PASSWORD, Side, saramago

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
GUIDE = REPOSITORY / "docs" / "servers" / "prosody.md"
MODULES = REPOSITORY / "config" / "prosody"


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
