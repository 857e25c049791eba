"""Two routers with numbered stanzas between them, and something that goes wrong in the middle.

    python tests/servers/faults.py --heteronym target/release/heteronym [FAULT...]

Everything between the two hosts goes through a proxy of its own. Prints one line for each fault and
ends with 1 where a stanza was lost, doubled, out of order, or came back although it had arrived.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from string import Template

import zone
from certificates import Authority
from guide import MODULES
from processes import Process, accepts, until
from proxy import Proxy
from report import run
from traffic import Ledger, Party, settled, talk

HOSTS = ("xmpp.my.isp", "xmpp.other.isp")
DOMAINS = (
    ("saramago.lit", "camoes.lit", "sophia.lit", "blimunda.lit"),
    ("pessoa.lit", "campos.lit", "reis.lit", "caeiro.lit"),
)
SECRET = "s3cret"
PATIENCE = 40.0  # longer than anything waits in a router by default
# An address of its own for each scene: no port is anybody else's.
ADDRESSES = (f"127.0.{number}.1" for number in range(100, 250))


@dataclass
class Host:
    """One router, the proxy before it, and its component."""

    name: str
    domains: tuple[str, ...]
    folder: Path
    binary: Path
    ports: dict[str, int]
    address: str
    proxy: Proxy
    party: Party
    process: Process | None = None
    server: Process | None = None

    async def start(self) -> None:
        """Starts the router, or starts it again."""
        command = (str(self.binary), "run", "-c", str(self.folder / "heteronym.toml"))
        self.process = await Process.start(self.name, self.folder / "heteronym.log", *command)
        await self.process.ready("metrics", self.answers)

    async def answers(self) -> bool:
        """Whether the admin interface does."""
        return "heteronym_" in await self.metrics()

    async def metrics(self) -> str:
        """/metrics, or nothing."""
        try:
            reader, writer = await asyncio.open_connection(self.address, self.ports["admin"])
        except OSError:
            return ""
        writer.write(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
        try:
            return (await reader.read()).decode()
        except OSError:
            return ""
        finally:
            writer.close()

    async def metric(self, name: str) -> int:
        """The value of one counter."""
        found = re.search(rf"^{name} (\d+)", await self.metrics(), re.MULTILINE)
        return int(found.group(1)) if found else -1

    async def start_server(self) -> None:
        """Starts Prosody, or starts it again."""
        config = str(self.folder / "prosody.cfg.lua")
        log = self.folder / "prosody.log"
        self.server = await Process.start(
            f"prosody of {self.name}", log, "prosody", "-F", "--config", config
        )

        async def listens() -> bool:
            return await accepts(self.address, self.ports["components of prosody"])

        await self.server.ready("takes components", listens)

    async def stop(self) -> None:
        """Ends what runs now."""
        for process in (self.server, self.process):
            if process is not None:
                await process.end()

    def running(self) -> Process:
        """The router that was started."""
        if self.process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self.process


@dataclass
class Scene:
    """Both hosts, and the name server."""

    one: Host
    other: Host
    names: zone.Server

    def proxies(self) -> tuple[Proxy, Proxy]:
        """Both."""
        return self.one.proxy, self.other.proxy


async def reset(scene: Scene) -> None:
    """Every connection between the hosts is reset."""
    for proxy in scene.proxies():
        proxy.reset()


async def cuts(scene: Scene) -> None:
    """A reset every 4 seconds."""
    for _ in range(2):
        await reset(scene)
        await asyncio.sleep(4)
    await reset(scene)


async def stall(scene: Scene) -> None:
    """Nothing goes through for 5 seconds."""
    for proxy in scene.proxies():
        proxy.stall()
    await asyncio.sleep(5)
    for proxy in scene.proxies():
        proxy.flow()


async def black_hole(scene: Scene) -> None:
    """What is sent is taken and goes nowhere, for good; new connections work."""
    for proxy in scene.proxies():
        proxy.swallow()


async def corrupt(scene: Scene) -> None:
    """A byte of each direction changes."""
    for proxy in scene.proxies():
        proxy.corrupt = 2


async def terminate(scene: Scene) -> None:
    """The other router is told to end, and started again."""
    await scene.other.running().end()
    await scene.other.start()


async def kill(scene: Scene) -> None:
    """The other router is gone, and started again."""
    scene.other.running().signal(signal.SIGKILL)
    await scene.other.running().child.wait()
    await scene.other.start()


async def hang_and_kill(scene: Scene) -> None:
    """The other router hangs for 3 seconds, is killed, and started again."""
    scene.other.running().signal(signal.SIGSTOP)
    await asyncio.sleep(3)
    await kill(scene)


async def stop(scene: Scene) -> None:
    """The other router is stopped for 5 seconds."""
    scene.other.running().signal(signal.SIGSTOP)
    await asyncio.sleep(5)
    scene.other.running().signal(signal.SIGCONT)


async def no_names(scene: Scene) -> None:
    """The name server is gone, and so is the connection."""
    scene.names.stop()
    await reset(scene)


async def kill_server(scene: Scene) -> None:
    """The server behind the other router is gone, and started again."""
    if scene.other.server is None:
        raise RuntimeError("no server: --behind prosody")
    scene.other.server.signal(signal.SIGKILL)
    await scene.other.server.child.wait()
    await scene.other.start_server()


async def nothing(_scene: Scene) -> None:
    """Nothing goes wrong."""


FAULTS: dict[str, Callable[[Scene], Awaitable[None]]] = {
    "nothing": nothing,
    "reset": reset,
    "cuts": cuts,
    "stall": stall,
    "black-hole": black_hole,
    "corrupt": corrupt,
    "terminate": terminate,
    "kill": kill,
    "hang-and-kill": hang_and_kill,
    "stop": stop,
    "no-names": no_names,
    "kill-server": kill_server,
}
# A router that is killed takes with it what its own server had given it: there is no disk.
KILLS = ("kill", "hang-and-kill")


def configuration(host: Host, names: str, roots: Path, port: int) -> str:
    """A router with one component."""
    domains = ", ".join(f'"{domain}"' for domain in (*host.domains, users(host)))
    return f"""host = {{ name = "{host.name}" }}
tls = {{ roots = ["{roots}"] }}
dns = {{ servers = ["{names}"] }}
[listen]
federation = ["{host.address}:{port}"]
component = ["{host.address}:{host.ports["component"]}"]
s2s = []
local_s2s = []
admin = ["{host.address}:{host.ports["admin"]}"]
[log]
level = "info"
[[local]]
name = "one"
domains = [{domains}]
attach = {{ kind = "component", secret = "{SECRET}" }}
"""


async def free_ports(address: str, count: int) -> list[int]:
    """Ports that nobody uses at the moment."""
    servers = [await asyncio.start_server(lambda *_: None, address, 0) for _ in range(count)]
    ports = [server.sockets[0].getsockname()[1] for server in servers]
    for server in servers:
        server.close()
        await server.wait_closed()
    return ports


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


def prosody(host: Host) -> str:
    """A Prosody with a component for each domain."""
    instance = Template(PROSODY).substitute(
        folder=host.folder,
        address=host.address,
        clients=host.ports["clients"],
        components=host.ports["components of prosody"],
        modules=MODULES,
        router=host.ports["component"],
        users=users(host),
        secret=SECRET,
    )
    components = (
        f'Component "{domain}"\n\tcomponent_secret = "{SECRET}"\n' for domain in host.domains
    )
    return instance + "".join(components)


def users(host: Host) -> str:
    """The domain of Prosody's own, which nobody uses."""
    return f"users.{host.domains[0]}"


async def build(binary: Path, folder: Path, behind: str, stack: AsyncExitStack) -> Scene:
    """Everything but the traffic."""
    records = zone.Zone()
    names = zone.Server(records)
    address = next(ADDRESSES)
    await names.start(address)
    stack.callback(names.stop)
    authority = Authority(folder / "authority")
    hosts = []
    ports = await free_ports(address, 10)
    for at, (name, domains) in enumerate(zip(HOSTS, DOMAINS, strict=True)):
        federation, component_port, admin, clients, inner = ports[5 * at : 5 * at + 5]
        own = folder / name
        for domain in (name, f"users.{domains[0]}", *domains):
            authority.certify(domain, "p256", own / "certs")
        proxy = Proxy(address, (address, federation))
        await proxy.start()
        stack.push_async_callback(proxy.stop)
        places = {"component": component_port, "admin": admin, "clients": clients}
        places["components of prosody"] = inner
        host = Host(name, domains, own, binary, places, address, proxy, Party())
        if behind == "prosody":
            (own / "prosody.cfg.lua").write_text(prosody(host))
            for domain in domains:
                host.party.attach((address, inner), (domain,), SECRET)
        else:
            host.party.attach((address, component_port), domains, SECRET)
        text = configuration(host, names.address, authority.root, federation)
        (own / "heteronym.toml").write_text(text)
        records.address(name, address)
        for domain in domains:
            records.host(domain, name, proxy.port)
        hosts.append(host)
    scene = Scene(hosts[0], hosts[1], names)
    for host in hosts:
        stack.push_async_callback(host.stop)
        await host.start()
        if behind == "prosody":
            await host.start_server()
        await host.party.start()
        stack.push_async_callback(host.party.stop)
    begin_ledgers(scene)
    return scene


def begin_ledgers(scene: Scene) -> None:
    """Nothing was sent yet."""
    one, other = scene.one.party, scene.other.party
    one.outgoing, other.outgoing = Ledger(), Ledger()
    one.incoming, other.incoming = other.outgoing, one.outgoing


async def warm_up(scene: Scene) -> None:
    """Every pair is active."""
    one, other = scene.one.party, scene.other.party
    await talk(one, other, DOMAINS, 32, 1000)
    ledgers = (one.outgoing, other.outgoing)

    async def arrived() -> bool:
        return not any(ledger.lost() for ledger in ledgers)

    await until("every pair active", arrived, 60)
    begin_ledgers(scene)


async def measure(scene: Scene, fault: str, stanzas: int, rate: float) -> dict[str, object]:
    """One fault in the middle of the traffic; what came of it."""
    loop = asyncio.get_running_loop()
    one, other = scene.one.party, scene.other.party
    talking = asyncio.ensure_future(talk(one, other, DOMAINS, stanzas, rate))
    await asyncio.sleep(stanzas / rate / 4)
    moment = loop.time()
    await FAULTS[fault](scene)
    over = loop.time()
    await talking
    ledgers = (one.outgoing, other.outgoing)
    await settled(ledgers, PATIENCE)
    there, back = (ledger.outcomes() for ledger in ledgers)
    flows = [ledger.flows_after(over) for ledger in ledgers]
    in_doubt = await scene.one.metric("heteronym_in_doubt_stanzas_total")
    in_doubt_other = await scene.other.metric("heteronym_in_doubt_stanzas_total")
    resumed = await scene.one.metric("heteronym_resumed_pairs_total")
    return {
        "fault": fault,
        "seconds": round(over - moment, 2),
        "there": there,
        "back": back,
        "flows after": [None if after is None else round(after, 2) for after in flows],
        "in doubt": [in_doubt, in_doubt_other],
        "resumed pairs": resumed,
    }


def wrong(result: dict[str, object]) -> list[str]:
    """What must not be."""
    killed = result["fault"] in KILLS
    server_killed = result["fault"] == "kill-server"
    problems = []
    for way in ("there", "back"):
        counts = result[way]
        assert isinstance(counts, dict)
        if killed and way == "back":
            # The side that died could not keep what its server had given it.
            continue
        # A server that dies behind its router may have read what it gets once more.
        at_least_once = killed or (server_killed and way == "there")
        wanted: tuple[str, ...] = ("lost",) if server_killed else ("lost", "out of order")
        if not at_least_once:
            wanted = ("lost", "doubled", "false bounce", "out of order")
        problems += [f"{way}: {counts[word]} {word}" for word in wanted if counts[word]]
        if counts["delivered"] == 0:
            problems.append(f"{way}: nothing delivered")
    return problems


async def one_fault(arguments: argparse.Namespace, fault: str) -> bool:
    """A scene of its own for each fault; whether all was well."""
    binary, keep = arguments.heteronym.resolve(), arguments.keep
    stanzas, rate, behind = arguments.stanzas, arguments.rate, arguments.behind
    with tempfile.TemporaryDirectory(prefix="heteronym-faults-") as temporary:
        folder = Path(temporary) if keep is None else keep / fault
        folder.mkdir(parents=True, exist_ok=True)
        async with AsyncExitStack() as stack:
            scene = await build(binary, folder, behind, stack)
            await warm_up(scene)
            result = await measure(scene, fault, stanzas, rate)
        problems = wrong(result)
        print(json.dumps(result), flush=True)
        print(f"{'FAIL' if problems else 'ok'} {fault} {'; '.join(problems)}".rstrip(), flush=True)
        return not problems


async def main() -> int:
    """Reads the command line and runs each fault."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--heteronym", type=Path, required=True, help="the router's binary")
    parser.add_argument("--stanzas", type=int, default=5000, help="in both directions together")
    parser.add_argument("--rate", type=float, default=500, help="stanzas a second")
    parser.add_argument("--behind", choices=("component", "prosody"), default="component")
    parser.add_argument("--at-once", type=int, default=1, help="faults, each in a scene of its own")
    parser.add_argument("--keep", type=Path, help="an empty folder to keep everything in")
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=f"of {', '.join(FAULTS)}")
    arguments = parser.parse_args()
    faults = arguments.faults or [name for name in FAULTS if name != "kill-server"]
    turn = asyncio.Semaphore(arguments.at_once)

    async def in_turn(fault: str) -> bool:
        async with turn:
            return await one_fault(arguments, fault)

    good = sum(await asyncio.gather(*(in_turn(fault) for fault in faults)))
    print(f"{good} passed, {len(faults) - good} failed", flush=True)
    return 0 if good == len(faults) else 1


if __name__ == "__main__":
    sys.exit(run(main))
