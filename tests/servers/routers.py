"""heteronym on one side of a scene: with a Prosody behind it, or with components of its own."""

from __future__ import annotations

import asyncio
import re
import signal
from dataclasses import dataclass
from string import Template

import zone
from guide import MODULES
from processes import Process, accepts
from scene import SECRET, Host

CONFIGURATION = """host = {{ name = "{host.name}" }}
tls = {{ roots = ["{host.authority.root}"] }}
dns = {{ servers = ["{host.names.address}"] }}
[listen]
federation = ["{host.address}:{host.outside}"]
component = ["{host.address}:{component}"]
s2s = []
local_s2s = []
admin = ["{host.address}:{admin}"]
[log]
level = "info"
[[local]]
name = "one"
domains = [{domains}]
attach = {{ kind = "component", secret = "{secret}" }}
"""

PROSODY = """-- A Prosody with the module, and components.
run_as_root = true
pidfile = "$folder/prosody.pid"
data_path = "$folder/data"
log = { { levels = { min = "info" }, to = "console" } }
interfaces = { "$address" }
c2s_ports = { $clients }
c2s_direct_tls_ports = {}
component_interfaces = { "$address" }
component_ports = { $components }
plugin_paths = { "$modules" }
modules_enabled = { "disco"; "ping"; "heteronym" }
modules_disabled = { "s2s"; "s2s_auth_certs"; "dialback" }
network_settings = { nagle = false }
heteronym_address = "$address"
heteronym_port = $router
heteronym_domain = "$users"
heteronym_secret = "$secret"
heteronym_reconnect = 0.02
VirtualHost "$users"
"""


@dataclass
class Router(Host):
    """A router with one component for all domains."""

    async def prepare(self) -> None:
        """One link, to the router."""
        self.configure()
        self.party.attach((self.address, self.port("component")), self.domains, SECRET)

    def configure(self) -> None:
        """Writes the router's configuration, and its certificates."""
        self.certify(self.name, self.users)
        domains = ", ".join(f'"{domain}"' for domain in (*self.domains, self.users))
        text = CONFIGURATION.format(
            host=self,
            component=self.port("component"),
            admin=self.port("admin"),
            domains=domains,
            secret=SECRET,
        )
        (self.folder / "heteronym.toml").write_text(text)

    def publish(self, records: zone.Zone) -> None:
        """Federation records."""
        for domain in self.domains:
            records.host(domain, self.name, self.proxy.port)

    async def start(self) -> None:
        """Starts the router, or starts it again."""
        command = (str(self.binary), "run", "-c", str(self.folder / "heteronym.toml"))
        router = await Process.start(self.name, self.folder / "heteronym.log", *command)
        self.processes = [router]
        await router.ready("metrics", self.answers)

    async def answers(self) -> bool:
        """Whether the admin interface does."""
        return "heteronym_" in await self.metrics()

    async def metrics(self) -> str:
        """/metrics, or nothing."""
        try:
            reader, writer = await asyncio.open_connection(self.address, self.port("admin"))
        except OSError:
            return ""
        writer.write(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
        try:
            return (await reader.read()).decode()
        except OSError:
            return ""
        finally:
            writer.close()

    async def counters(self) -> dict[str, int]:
        """What was in doubt, and what was taken up again."""
        text = await self.metrics()
        found = {}
        for words in ("in doubt stanzas", "resumed pairs"):
            name = f"heteronym_{words.replace(' ', '_')}_total"
            line = re.search(rf"^{name} (\d+)", text, re.MULTILINE)
            found[words] = int(line.group(1)) if line else -1
        return found


@dataclass
class WithProsody(Router):
    """A router with a Prosody behind it, and a component for each domain there."""

    server: Process | None = None

    async def prepare(self) -> None:
        """All links, to Prosody."""
        self.configure()
        text = Template(PROSODY).substitute(
            folder=self.folder,
            address=self.address,
            clients=self.port("clients"),
            components=self.port("components of prosody"),
            modules=MODULES,
            router=self.port("component"),
            users=self.users,
            secret=SECRET,
        )
        for domain in self.domains:
            text += f'Component "{domain}"\n\tcomponent_secret = "{SECRET}"\n'
            self.party.attach((self.address, self.port("components of prosody")), (domain,), SECRET)
        (self.folder / "prosody.cfg.lua").write_text(text)

    async def start_server(self) -> None:
        """Starts Prosody, or starts it again."""
        command = ("prosody", "-F", "--config", str(self.folder / "prosody.cfg.lua"))
        log = self.folder / "prosody.log"
        self.server = await Process.start(f"prosody of {self.name}", log, *command)

        async def listens() -> bool:
            return await accepts(self.address, self.port("components of prosody"))

        await self.server.ready("takes components", listens)

    async def kill_server(self) -> None:
        """Prosody is gone."""
        if self.server is not None:
            self.server.signal(signal.SIGKILL)
            await self.server.child.wait()

    async def stop(self) -> None:
        """Ends Prosody, then the router."""
        if self.server is not None:
            await self.server.end()
        await super().stop()
