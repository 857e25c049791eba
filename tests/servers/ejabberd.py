"""ejabberd: attached as the page of docs/servers/ says, or without a router; started without epmd
and ejabberdctl.

It looks up SRV records where it is told to, and addresses with the system's resolver: it gets a
hosts file of its own in a private mount namespace, which needs root.
"""

from __future__ import annotations

import re
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import yaml

from authentication import Stream, Way
from guide import Guide, with_further_domains
from namespaces import require_private_files, with_private_file
from processes import Process, accepts
from servers import Local, Remote, Site
from sides import PASSWORD, Side, pessoa

HERE = Path(__file__).resolve().parent
GUIDE = Guide("ejabberd.md")
LET_IN = re.compile(
    r"\(\w+\|(<[\d.]+>)\) Accepted (inbound|outbound) s2s (EXTERNAL|dialback) authentication "
    r"(\S+) -> (\S+)"
)


def merged(one: Any, other: Any) -> Any:
    """Two configurations as one: lists are appended, what both have is the other's."""
    if isinstance(one, dict) and isinstance(other, dict):
        both = {key: merged(one[key], other[key]) for key in one.keys() & other.keys()}
        return {**one, **other, **both}
    return one + other if isinstance(one, list) and isinstance(other, list) else other


def configure(site: Site, *settings: str) -> Path:
    """Writes the configuration, of an instance and of `settings`; its path."""
    side, folder = site.side, site.folder
    pem = folder / "pem"
    pem.mkdir()
    for name in side.domains:
        parts = [folder / "certs" / name / part for part in ("fullchain.pem", "privkey.pem")]
        (pem / f"{name}.pem").write_text("".join(part.read_text() for part in parts))
    instance = Template((HERE / "ejabberd.yml").read_text()).substitute(
        folder=folder,
        address=side.address,
        domains=", ".join(f'"{domain}"' for domain in side.user_domains),
        client_port=side.port("client"),
        proxy_port=side.port("proxy"),
        roots=site.authority.root,
    )
    configuration = yaml.safe_load(instance)
    for text in settings:
        configuration = merged(configuration, yaml.safe_load(text))
    path = folder / "ejabberd.yml"
    path.write_text(yaml.safe_dump(configuration))
    return path


def name_server(address: str) -> str:
    """Erlang's configuration of its resolver, with one name server."""
    host, _, port = address.partition(":")
    return (
        '{resolv_conf,""}. {hosts_file,""}. {lookup,[file,dns]}. '
        f"{{nameserver,{{{host.replace('.', ',')}}},{port}}}.\n"
    )


def library() -> Path:
    """Where Debian's package has ejabberd's applications."""
    found = sorted(Path("/usr/lib").glob("*/ejabberd-*/ebin"))
    if not found:
        raise RuntimeError("ejabberd is not installed")
    return found[0].parent.parent


async def start(site: Site, configuration: Path, resolver_settings: str, hosts: str) -> Process:
    """Starts ejabberd with its users, and waits until clients can connect."""
    await require_private_files()
    side, folder = site.side, site.folder
    resolver = folder / "inetrc"
    resolver.write_text(resolver_settings)
    (folder / "hosts").write_text(f"127.0.0.1 localhost\n{hosts}")
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


@dataclass(frozen=True)
class Attached(Local):
    """Attached in one of the ways of the page; with S2S, names lead to the router."""

    kind: str  # type: ignore[misc]  # a class variable elsewhere
    section: str
    by_s2s: bool = True
    starttls: str = "false"
    no_such_domain: str = "remote-server-not-found"  # type: ignore[misc]

    @property
    def listener(self) -> str:  # type: ignore[override]
        """The port that the router dials."""
        return "server_s2s" if self.kind == "s2s" else "server_component"

    @property
    def logged(self) -> tuple[str, ...]:
        """That the router was asked for TLS."""
        wanted = self.kind == "s2s" and self.starttls == "required"
        return ('Received XML on stream = <<"<starttls',) if wanted else ()

    def settings(self, side: Side) -> str:
        """The page's, for the router."""
        return with_further_domains(GUIDE.block(self.section, "toml", side), side)

    async def start(self, site: Site, stack: AsyncExitStack) -> Process:
        """ejabberd, with certificates and accounts; no name of another server is in its files."""
        side, settings = site.side, []
        resolver = name_server(site.dns.address)
        if self.by_s2s:
            shared = GUIDE.block("What A and B need", "yaml", side)
            settings.append(shared.replace("starttls: false", f"starttls: {self.starttls}"))
            resolver = GUIDE.block("What A and B need", "erlang", side)
        if self.kind == "dial-component":
            settings.append(self.component(side))
        ejabberd = await start(site, configure(site, *settings), resolver, "")
        stack.push_async_callback(ejabberd.end)
        return ejabberd

    def component(self, side: Side) -> str:
        """The page's listener; a closed federation has one more domain than the page."""
        text = GUIDE.block(self.section, "yaml", side)
        if self.by_s2s:
            return text
        others = {domain: {"password": "s3cret"} for domain in pessoa().user_domains[1:]}
        settings = yaml.safe_load(text)
        settings["listen"][0]["hosts"].update(others)
        return str(yaml.safe_dump(settings))


class Alone(Remote):
    """ejabberd without a router."""

    async def start(self, site: Site, secure: bool, stack: AsyncExitStack) -> Process:
        """ejabberd, with certificates and accounts."""
        site.certify()
        side = site.side
        settings = {
            "listen": [
                {
                    "port": side.port("s2s"),
                    "ip": side.address,
                    "module": "ejabberd_s2s_in",
                    "shaper": "none",
                }
            ],
            "s2s_use_starttls": "required",
            "outgoing_s2s_families": ["ipv4"],
            "s2s_max_retry_delay": 1,
            "modules": {} if secure else {"mod_s2s_dialback": {}},
        }
        path = configure(site, yaml.safe_dump(settings))
        ejabberd = await start(site, path, name_server(site.dns.address), site.hosts)
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
