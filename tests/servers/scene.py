"""Two hosts with a proxy between them and components on either, for faults to happen to."""

from __future__ import annotations

import asyncio
import signal
from abc import ABC, abstractmethod
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import ClassVar

import zone
from certificates import Authority
from processes import Process, until
from proxy import Proxy
from sides import free_port
from traffic import Ledger, Party, talk

HOSTS = ("xmpp.my.isp", "xmpp.other.isp")
DOMAINS = (
    ("saramago.lit", "camoes.lit", "sophia.lit", "blimunda.lit"),
    ("pessoa.lit", "campos.lit", "reis.lit", "caeiro.lit"),
)
PAIRS = len(list(product(*DOMAINS)))  # in each direction
SECRET = "s3cret"
WARM_UPS = 5  # stanzas on each pair until it has to work
# An address of its own for each scene: no port is anybody else's.
ADDRESSES = (f"127.0.{number}.1" for number in range(100, 250))


@dataclass(frozen=True)
class Plan:
    """Who is on either side, and where everything is."""

    domains: tuple[tuple[str, ...], tuple[str, ...]]
    names: str  # the address of the name server
    proxies: tuple[Proxy, Proxy]  # before each host; a proxy that does not run is somebody else's


@dataclass
class Host(ABC):
    """One side: what speaks with the other one, the proxy before it, and its components."""

    name: str
    domains: tuple[str, ...]
    folder: Path
    address: str
    proxy: Proxy
    authority: Authority
    names: zone.Server
    binary: Path  # the router's, where there is one
    ports: dict[str, int] = field(default_factory=dict)
    party: Party = field(default_factory=Party)
    processes: list[Process] = field(default_factory=list)

    clients: ClassVar[bool] = False  # whether certificates are for TLS clients too
    port_53: ClassVar[bool] = False  # whether it can ask no other port for names

    @property
    def users(self) -> str:
        """The domain of the server's own, which nobody uses."""
        return f"users.{self.domains[0]}"

    @property
    def outside(self) -> int:
        """The port that the proxy leads to."""
        return self.proxy.target[1]

    def port(self, purpose: str) -> int:
        """The port for a purpose, chosen when first asked for."""
        if purpose not in self.ports:
            self.ports[purpose] = free_port(self.address)
        return self.ports[purpose]

    def certify(self, *names: str) -> None:
        """Makes certificates for these and for the domains, in `certs` of the folder."""
        for name in (*names, *self.domains):
            self.authority.certify(name, "p256", self.folder / "certs")

    def join_certificates(self, folder: Path) -> None:
        """Writes `NAME.pem` with certificate and key for each name that has one."""
        folder.mkdir()
        for own in (self.folder / "certs").iterdir():
            parts = (own / "fullchain.pem", own / "privkey.pem")
            joined = "".join(part.read_text() for part in parts)
            (folder / f"{own.name}.pem").write_text(joined)

    @abstractmethod
    async def prepare(self) -> None:
        """Writes the configuration, and says where the components attach."""

    @abstractmethod
    def publish(self, records: zone.Zone) -> None:
        """The records that lead to the proxy."""

    @abstractmethod
    async def start(self) -> None:
        """Starts what speaks with the other side, or starts it again."""

    async def start_server(self) -> None:
        """Starts the server behind it, or starts it again; there may be none."""

    async def kill_server(self) -> None:
        """The server behind it is gone."""
        raise RuntimeError(f"{self.name}: there is no server behind it")

    async def counters(self) -> dict[str, int]:
        """What it has counted itself."""
        return {}

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to what speaks with the other side."""
        for process in reversed(self.processes):
            process.signal(number)

    async def kill(self) -> None:
        """It is gone."""
        self.signal(signal.SIGKILL)
        for process in self.processes:
            await process.child.wait()

    async def end(self) -> None:
        """It ends in order."""
        for process in reversed(self.processes):
            await process.end()

    async def stop(self) -> None:
        """Ends everything, for good."""
        self.signal(signal.SIGCONT)
        await self.end()


@dataclass
class Scene:
    """Both hosts, and the name server."""

    one: Host
    other: Host
    names: zone.Server
    domains: tuple[tuple[str, ...], tuple[str, ...]]

    def proxies(self) -> tuple[Proxy, Proxy]:
        """Both."""
        return self.one.proxy, self.other.proxy

    def ledgers(self) -> tuple[Ledger, Ledger]:
        """What was sent to the other host, and what from it."""
        return self.one.party.outgoing, self.other.party.outgoing

    def begin_ledgers(self) -> None:
        """Nothing was sent yet."""
        one, other = self.one.party, self.other.party
        one.outgoing, other.outgoing = Ledger(), Ledger()
        one.incoming, other.incoming = other.outgoing, one.outgoing

    async def warm_up(self) -> None:
        """Every pair is active; a server may need a moment until its link is up."""

        async def arrived() -> bool:
            return not any(ledger.lost() for ledger in self.ledgers())

        pairs = len(list(product(*self.domains)))
        for _ in range(WARM_UPS):
            await talk(self.one.party, self.other.party, self.domains, 2 * pairs, 1000)
            await until("every pair active", arrived, 60)
            bounced = sum(len(ledger.bounced) for ledger in self.ledgers())
            self.begin_ledgers()
            if not bounced:
                return
            await asyncio.sleep(1)
        raise RuntimeError(f"{bounced} pairs do not work")


async def set_up(
    kind: type[Host], binary: Path, folder: Path, stack: AsyncExitStack, plan: Plan
) -> Scene:
    """Both hosts, without components."""
    records = zone.Zone()
    names = zone.Server(records)
    await names.start(plan.names)
    stack.callback(names.stop)
    if kind.port_53:
        await names.use_port_53()
    authority = Authority(folder / "authority", clients=kind.clients)
    hosts = []
    for name, domains, proxy in zip(HOSTS, plan.domains, plan.proxies, strict=True):
        (folder / name).mkdir()
        address = proxy.address
        host = kind(name, domains, folder / name, address, proxy, authority, names, binary)
        await host.prepare()
        records.address(name, address)
        host.publish(records)
        hosts.append(host)
    for host in hosts:
        stack.push_async_callback(host.stop)
        await host.start()
        await host.start_server()
    return Scene(hosts[0], hosts[1], names, plan.domains)


async def build(kind: type[Host], binary: Path, folder: Path, stack: AsyncExitStack) -> Scene:
    """Everything but the traffic."""
    address = next(ADDRESSES)
    proxies = (
        Proxy(address, (address, free_port(address))),
        Proxy(address, (address, free_port(address))),
    )
    for proxy in proxies:
        await proxy.start()
        stack.push_async_callback(proxy.stop)
    scene = await set_up(kind, binary, folder, stack, Plan(DOMAINS, address, proxies))
    hosts = scene.one, scene.other
    await asyncio.gather(*(host.party.start() for host in hosts))
    for host in hosts:
        stack.push_async_callback(host.party.stop)
    scene.begin_ledgers()
    return scene
