"""Servers that speak classic S2S, without a router: one on each side of a scene.

Everything that a page of theirs recommends no other value for is as they come; nothing limits how
much is sent. Over TLS, with certificates that the other side trusts; jabberd2 knows dialback only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import ClassVar

import yaml

import zone
from ejabberd import library, name_server
from jabberd2 import ACI, CONFIGURATIONS
from namespaces import require_private_files, with_private_file
from processes import Process, accepts
from scene import HOSTS, SECRET, Host

PROSODY = """-- A Prosody with components, which speaks S2S.
run_as_root = true
pidfile = "$folder/prosody.pid"
data_path = "$folder/data"
certificates = "$folder/certs"
log = { { levels = { min = "$level" }, to = "console" } }
interfaces = { "$address" }
c2s_ports = {}
c2s_direct_tls_ports = {}
s2s_ports = { $s2s }
s2s_direct_tls_ports = {}
component_interfaces = { "$address" }
component_ports = { $components }
modules_enabled = { "disco"; "ping"; "tls"; "saslauth"; "dialback"; $smacks }
smacks_s2s_resend = $resend
s2s_require_encryption = true
s2s_secure_auth = true
network_settings = { nagle = false }
ssl = { cafile = "$roots"; capath = "/nonexistent" }
unbound = {
	resolvconf = false; hoststxt = false;
	forward = { "$dns" };
	options = { ["do-not-query-localhost:"] = "no" };
}
VirtualHost "$users"
"""


class Rival(Host):
    """A server of its own for each side, with a component for each domain."""

    clients: ClassVar[bool] = True

    def publish(self, records: zone.Zone) -> None:
        """Records of classic S2S."""
        for domain in self.domains:
            records.server(domain, self.name, self.proxy.port)

    def attach(self) -> None:
        """A link for each domain."""
        for domain in self.domains:
            self.party.attach((self.address, self.port("components")), (domain,), SECRET)

    async def listens(self) -> bool:
        """Whether components and the other side can connect."""
        return await accepts(self.address, self.port("components")) and await accepts(
            self.address, self.outside
        )


@dataclass
class Prosody(Rival):
    """Prosody, with XEP-0198 between servers unless that is left out."""

    level: ClassVar[str] = "info"
    smacks: ClassVar[bool] = True
    resend: ClassVar[bool] = False

    async def prepare(self) -> None:
        """One file; the module has to be asked for on components."""
        self.certify(self.users)
        self.attach()
        text = Template(PROSODY).substitute(
            folder=self.folder,
            address=self.address,
            s2s=self.outside,
            components=self.port("components"),
            roots=self.authority.root,
            level=self.level,
            smacks='"smacks"' if self.smacks else "",
            resend="true" if self.resend else "false",
            dns=self.names.address.replace(":", "@"),
            users=self.users,
        )
        for domain in self.domains:
            text += f'Component "{domain}"\n\tcomponent_secret = "{SECRET}"\n'
            if self.smacks:
                text += '\tmodules_enabled = { "smacks" }\n'
        (self.folder / "prosody.cfg.lua").write_text(text)

    async def start(self) -> None:
        """Starts it, or starts it again."""
        command = ("prosody", "-F", "--config", str(self.folder / "prosody.cfg.lua"))
        log = self.folder / "prosody.log"
        self.processes = [await Process.start(f"prosody of {self.name}", log, *command)]
        await self.processes[0].ready("listens", self.listens)


class ProsodyResends(Prosody):
    """Prosody that sends once more what the other side has not acknowledged."""

    resend: ClassVar[bool] = True


@dataclass
class Ejabberd(Rival):
    """ejabberd; it finds addresses in a hosts file of its own only, which needs root."""

    further: ClassVar[dict[str, object]] = {}  # settings that come over the others
    flags: ClassVar[tuple[str, ...]] = ()  # of Erlang

    async def prepare(self) -> None:
        """Its own file, and those of Erlang's resolver and of the system's."""
        await require_private_files()
        self.certify(self.users)
        self.join_certificates(self.folder / "pem")
        self.attach()
        passwords = {domain: {"password": SECRET} for domain in self.domains}
        components = {
            "port": self.port("components"),
            "ip": self.address,
            "module": "ejabberd_service",
            "hosts": passwords,
            # Each link is for its own domain only: with all on each, their order would be lost.
            "global_routes": False,
            "backlog": 128,
        }
        s2s = {
            "port": self.outside,
            "ip": self.address,
            "module": "ejabberd_s2s_in",
            "shaper": "none",
            "backlog": 128,
        }
        settings = {
            "hosts": [self.users],
            "loglevel": "info",
            "certfiles": [str(self.folder / "pem" / "*.pem")],
            "ca_file": str(self.authority.root),
            "listen": [components, s2s],
            "s2s_use_starttls": "required",
            "outgoing_s2s_families": ["ipv4"],
            "modules": {"mod_disco": {}, "mod_ping": {}},
        }
        (self.folder / "ejabberd.yml").write_text(yaml.safe_dump(settings | self.further))
        (self.folder / "inetrc").write_text(name_server(self.names.address))
        hosts = "".join(f"{self.address} {name}\n" for name in HOSTS)
        (self.folder / "hosts").write_text(f"127.0.0.1 localhost\n{hosts}")

    async def start(self) -> None:
        """Starts it, or starts it again."""
        environment = {
            "ERL_INETRC": self.folder / "inetrc",
            "ERL_LIBS": library(),
            "EJABBERD_CONFIG_PATH": self.folder / "ejabberd.yml",
            "EJABBERD_LOG_PATH": self.folder / "own.log",
            "HOME": self.folder,
        }
        spool = f'"{self.folder}/spool"'
        command = (
            *("env", *(f"{name}={value}" for name, value in environment.items())),
            *("erl", "+K", "true", *self.flags),
            *("-noinput", "-noshell", "-mnesia", "dir", spool),
            *("-ejabberd", "log_rotate_count", "0", "-s", "ejabberd"),
        )
        ejabberd = await Process.start(
            f"ejabberd of {self.name}",
            self.folder / "ejabberd.log",
            *with_private_file("/etc/hosts", self.folder / "hosts", *command),
        )
        self.processes = [ejabberd]
        await ejabberd.ready("listens", self.listens)


@dataclass
class Jabberd2(Rival):
    """The router and the S2S of jabberd2, whose resolver asks port 53 only, which needs root."""

    port_53: ClassVar[bool] = True

    async def prepare(self) -> None:
        """A file for each of the two."""
        await require_private_files()
        self.certify()
        pem = self.folder / "pem"
        self.join_certificates(pem)
        self.attach()
        ids = (f'<id pemfile="{pem}/{domain}.pem">{domain}</id>' for domain in self.domains)
        for template in ("router.xml", "router-users.xml", "s2s.xml"):
            settings = Template((CONFIGURATIONS / template).read_text()).substitute(
                folder=self.folder,
                address=self.address,
                router_port=self.port("components"),
                s2s_port=self.outside,
                secret=SECRET,
                aci=ACI,
                ids_with_certificates="".join(ids) if template == "s2s.xml" else "",
            )
            (self.folder / template).write_text(settings)
        (self.folder / "resolv.conf").write_text(f"nameserver {self.names.host}\n")

    async def start(self) -> None:
        """Starts both, or starts them again."""

        async def takes_components() -> bool:
            return await accepts(self.address, self.port("components"))

        router = await self._start("router")
        self.processes = [router]
        await router.ready("takes components", takes_components)
        private = with_private_file("/etc/resolv.conf", self.folder / "resolv.conf")
        s2s = await self._start("s2s", *private)
        self.processes = [router, s2s]
        await s2s.ready("listens", self.listens)

    async def _start(self, name: str, *before: str) -> Process:
        own: Path = self.folder / f"{name}.xml"
        command = (*before, f"jabberd2-{name}", "-c", str(own))
        return await Process.start(
            f"jabberd2-{name} of {self.name}", self.folder / f"{name}.log", *command
        )
