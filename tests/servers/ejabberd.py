"""ejabberd without a router, started without epmd and ejabberdctl.

It looks up SRV records where it is told to, and addresses with the system's resolver: it gets a
hosts file of its own in a private mount namespace, which needs root.
"""

from __future__ import annotations

import re
from contextlib import AsyncExitStack
from pathlib import Path
from string import Template

from authentication import Stream, Way
from namespaces import require_private_files, with_private_file
from processes import Process, accepts
from servers import Remote, Site
from sides import PASSWORD

HERE = Path(__file__).resolve().parent
LET_IN = re.compile(
    r"\(\w+\|(<[\d.]+>)\) Accepted (inbound|outbound) s2s (EXTERNAL|dialback) authentication "
    r"(\S+) -> (\S+)"
)


def configure(site: Site, secure: bool) -> Path:
    """Writes configuration and certificates; the configuration's path."""
    side, folder = site.side, site.folder
    certificates = site.certify()
    pem = folder / "pem"
    pem.mkdir()
    for name in side.domains:
        parts = [certificates / name / part for part in ("fullchain.pem", "privkey.pem")]
        (pem / f"{name}.pem").write_text("".join(part.read_text() for part in parts))
    settings = Template((HERE / "ejabberd.yml").read_text()).substitute(
        folder=folder,
        address=side.address,
        domains=", ".join(f'"{domain}"' for domain in side.user_domains),
        client_port=side.port("client"),
        s2s_port=side.port("s2s"),
        proxy_port=side.port("proxy"),
        roots=site.authority.root,
        dialback="" if secure else "  mod_s2s_dialback: {}",
    )
    path = folder / "ejabberd.yml"
    path.write_text(settings)
    return path


def library() -> Path:
    """Where Debian's package has ejabberd's applications."""
    found = sorted(Path("/usr/lib").glob("*/ejabberd-*/ebin"))
    if not found:
        raise RuntimeError("ejabberd is not installed")
    return found[0].parent.parent


async def start(site: Site, configuration: Path) -> Process:
    """Starts ejabberd with its users, and waits until clients can connect."""
    await require_private_files()
    side, folder = site.side, site.folder
    address, _, port = site.dns.address.partition(":")
    resolver = folder / "inetrc"
    resolver.write_text(
        '{resolv_conf,""}. {hosts_file,""}. {lookup,[file,dns]}. '
        f"{{nameserver,{{{address.replace('.', ',')}}},{port}}}.\n"
    )
    (folder / "hosts").write_text(f"127.0.0.1 localhost\n{site.hosts}")
    users = "".join(
        f'ejabberd_auth:try_register(<<"{user}">>,<<"{domain}">>,<<"{PASSWORD}">>),'
        for user, _, domain in (jid.partition("@") for jid in side.users)
    )
    environment = {
        "ERL_INETRC": resolver,
        "ERL_LIBS": library(),
        "EJABBERD_CONFIG_PATH": configuration,
        "EJABBERD_LOG_PATH": folder / "own.log",
        "HOME": folder,
    }
    erl = ("erl", "+K", "true", "-noinput", "-noshell", "-mnesia", "dir", f'"{folder}/spool"')
    ejabberd = await Process.start(
        f"ejabberd of {side.domain}",
        folder / "ejabberd.log",
        *with_private_file(
            "/etc/hosts",
            folder / "hosts",
            *("env", *(f"{name}={value}" for name, value in environment.items())),
            *(*erl, "-ejabberd", "log_rotate_count", "0", "-s", "ejabberd"),
            *("-eval", f"{users}ok."),
        ),
    )

    async def clients_accepted() -> bool:
        return await accepts(side.address, side.port("client"))

    try:
        await ejabberd.ready("accepts clients", clients_accepted)
    except BaseException:
        await ejabberd.end()
        raise
    return ejabberd


class Alone(Remote):
    """ejabberd without a router."""

    async def start(self, site: Site, secure: bool, stack: AsyncExitStack) -> Process:
        """ejabberd, with certificates and accounts."""
        ejabberd = await start(site, configure(site, secure))
        stack.push_async_callback(ejabberd.end)
        return ejabberd

    def streams(self, log: str) -> list[Stream]:
        """By what the first pair of a stream was accepted for."""
        found: dict[str, Stream] = {}
        for process, direction, way, sender, receiver in LET_IN.findall(log):
            incoming = direction == "inbound"
            local, remote = (receiver, sender) if incoming else (sender, receiver)
            found.setdefault(process, Stream(incoming, Way(way), local, remote))
        return list(found.values())
