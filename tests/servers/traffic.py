"""Numbered stanzas between two components, and what became of each."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import Counter
from dataclasses import dataclass, field
from itertools import count, product
from xml.parsers import expat

COMPONENT = "jabber:component:accept"
STREAMS = "http://etherx.jabber.org/streams"


@dataclass
class Stanza:
    """One that was sent."""

    pair: tuple[str, str]
    at: float
    life: int  # of the sender's link


@dataclass
class Ledger:
    """What was sent one way, and what came of it; what is sent to try the way is not counted."""

    sent: dict[str, Stanza] = field(default_factory=dict)
    delivered: list[tuple[str, float]] = field(default_factory=list)
    bounced: Counter[str] = field(default_factory=Counter)
    tried: dict[str, Stanza] = field(default_factory=dict)
    got_through: list[tuple[str, float]] = field(default_factory=list)

    def arrives(self, name: str, at: float) -> None:
        """One came to where it was sent."""
        (self.got_through if name in self.tried else self.delivered).append((name, at))

    def comes_back(self, name: str) -> None:
        """An error for one came to its sender."""
        if name not in self.tried:
            self.bounced[name] += 1

    def outcomes(self) -> dict[str, int]:
        """Counts, by the words of the comparison."""
        delivered = Counter(name for name, _ in self.delivered)
        both = sum(1 for name in self.sent if delivered[name] and self.bounced[name])
        neither = sum(1 for name in self.sent if not delivered[name] and not self.bounced[name])
        lost = len(self.lost())
        return {
            "sent": len(self.sent),
            "delivered": sum(1 for name in self.sent if delivered[name]),
            "bounced": sum(1 for name in self.sent if self.bounced[name]),
            "false bounce": both,
            "lost": lost,
            "unread": neither - lost,
            "doubled": sum(count - 1 for count in delivered.values() if count > 1),
            "out of order": self._disorder(),
        }

    def lost(self) -> list[str]:
        """Those with no outcome.

        The last ones of a link that ended are none of them: their sender cannot know whether they
        were read.
        """
        seen = {name for name, _ in self.delivered} | set(self.bounced)
        last_life = max((stanza.life for stanza in (self.sent | self.tried).values()), default=0)
        known: dict[int, int] = {}
        for at, (name, stanza) in enumerate(self.sent.items()):
            if name in seen:
                known[stanza.life] = at
        return [
            name
            for at, (name, stanza) in enumerate(self.sent.items())
            if name not in seen and (stanza.life == last_life or at < known.get(stanza.life, 0))
        ]

    def _disorder(self) -> int:
        last: dict[tuple[str, str], int] = {}
        seen: set[str] = set()
        wrong = 0
        for name, _ in self.delivered:
            if name in seen or name not in self.sent:
                continue
            seen.add(name)
            pair, number = self.sent[name].pair, int(name.rpartition("-")[2])
            wrong += number < last.get(pair, -1)
            last[pair] = max(number, last.get(pair, -1))
        return wrong

    def flows_after(self, moment: float) -> dict[tuple[str, str], float]:
        """Seconds from `moment` until something sent behind it arrived, for each pair."""
        sent, first = self.sent | self.tried, dict[tuple[str, str], float]()
        for name, at in (*self.delivered, *self.got_through):
            stanza = sent.get(name)
            if stanza is not None and stanza.at >= moment:
                first[stanza.pair] = min(first.get(stanza.pair, at - moment), at - moment)
        return first

    def rate(self) -> float:
        """Stanzas a second that were sent."""
        moments = [stanza.at for stanza in self.sent.values()]
        return (len(moments) - 1) / (moments[-1] - moments[0]) if len(moments) > 1 else 0.0

    def tail(self) -> float:
        """Seconds from the last that was sent to the last that arrived."""
        last = self.delivered[-1][1] if self.delivered else 0.0
        return last - max(stanza.at for stanza in self.sent.values())


class Party:
    """All components of one side, and what they have sent and got."""

    def __init__(self) -> None:
        self.outgoing = Ledger()
        self.incoming = Ledger()
        self.by_domain: dict[str, Component] = {}

    def attach(self, address: tuple[str, int], domains: tuple[str, ...], secret: str) -> None:
        """One component for all of these domains, opened under the first."""
        component = Component(self, address, domains[0], secret)
        self.by_domain |= dict.fromkeys(domains, component)

    async def start(self) -> None:
        """Attaches all."""
        await asyncio.gather(*(component.start() for component in set(self.by_domain.values())))

    async def stop(self) -> None:
        """Detaches all for good."""
        await asyncio.gather(*(component.stop() for component in set(self.by_domain.values())))

    def send(self, pair: tuple[str, str], number: int, size: int) -> bool:
        """One numbered stanza, if there is a link to send it on."""
        return self.by_domain[pair[0]].send(f"{pair[0]}-{pair[1]}-{number}", pair, size)

    def knock(self, pair: tuple[str, str], number: int) -> bool:
        """One that only tries the way."""
        return self.by_domain[pair[0]].send(f"try-{pair[0]}-{pair[1]}-{number}", pair, 0, True)


class Component:
    """A component that comes back whenever its link is gone."""

    def __init__(self, party: Party, address: tuple[str, int], domain: str, secret: str) -> None:
        self.party = party
        self.address = address
        self.domain = domain
        self.secret = secret
        self.life = 0
        self.paused = asyncio.Event()
        self.paused.set()
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None
        self._up = asyncio.Event()

    async def start(self) -> None:
        """Attaches."""
        self._task = asyncio.ensure_future(self._stay())
        await asyncio.wait_for(self._up.wait(), 60)

    async def stop(self) -> None:
        """Detaches for good."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _stay(self) -> None:
        while True:
            with contextlib.suppress(OSError, expat.ExpatError):
                await self._attach()
            self._up.clear()
            self._writer = None
            await asyncio.sleep(0.05)

    async def _attach(self) -> None:
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            header = (
                f"<stream:stream xmlns='{COMPONENT}' xmlns:stream='{STREAMS}' to='{self.domain}'>"
            )
            writer.write(header.encode())
            parser = expat.ParserCreate()
            depth = 0

            def began(name: str, attributes: dict[str, str]) -> None:
                nonlocal depth
                depth += 1
                if depth == 1:
                    digest = hashlib.sha1((attributes["id"] + self.secret).encode()).hexdigest()
                    writer.write(f"<handshake>{digest}</handshake>".encode())
                elif depth == 2 and name == "handshake":
                    self.life += 1
                    self._writer = writer
                    self._up.set()
                elif depth == 2:
                    self._came(name, attributes, writer)

            def ended(_name: str) -> None:
                nonlocal depth
                depth -= 1

            parser.StartElementHandler = began
            parser.EndElementHandler = ended
            while block := await reader.read(1 << 16):
                parser.Parse(block)
                await self.paused.wait()
        finally:
            writer.close()

    def _came(self, name: str, attributes: dict[str, str], writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        number = attributes.get("id", "")
        if name == "iq" and attributes.get("type") == "get":
            answer = (
                f"<iq type='result' id='{number}' from='{attributes['to']}'"
                f" to='{attributes['from']}'/>"
            )
            writer.write(answer.encode())
        elif attributes.get("type") == "error":
            self.party.outgoing.comes_back(number)
        elif name == "message":
            self.party.incoming.arrives(number, loop.time())

    def send(self, name: str, pair: tuple[str, str], size: int, trying: bool = False) -> bool:
        """One stanza, if there is a link to send it on."""
        if self._writer is None or self._writer.is_closing():
            return False
        ledger = self.party.outgoing
        stanza = Stanza(pair, asyncio.get_running_loop().time(), self.life)
        (ledger.tried if trying else ledger.sent)[name] = stanza
        text = (
            f"<message from='u@{pair[0]}/r' to='v@{pair[1]}' id='{name}'>"
            f"<body>{'x' * size}</body></message>"
        )
        self._writer.write(text.encode())
        return True


def both_ways(
    one: Party, other: Party, domains: tuple[tuple[str, ...], tuple[str, ...]]
) -> tuple[tuple[Party, list[tuple[str, str]]], ...]:
    """Each party with the pairs that it sends on."""
    there = list(product(domains[0], domains[1]))
    return (one, there), (other, [(b, a) for a, b in there])


async def talk(
    one: Party,
    other: Party,
    domains: tuple[tuple[str, ...], tuple[str, ...]],
    stanzas: int,
    rate: float,
) -> None:
    """Half of the stanzas in each direction, evenly over the pairs and the time."""
    ways = both_ways(one, other, domains)
    loop = asyncio.get_running_loop()
    begin = loop.time()
    for number in range(stanzas // 2):
        due = begin + 2 * number / rate
        if due > loop.time():
            await asyncio.sleep(due - loop.time())
        for party, pairs in ways:
            party.send(pairs[number % len(pairs)], number, 100)


async def try_again(
    one: Party,
    other: Party,
    domains: tuple[tuple[str, ...], tuple[str, ...]],
    moment: float,
) -> None:
    """A stanza a second on each pair, until one that was sent after `moment` has come on each."""
    ways = both_ways(one, other, domains)
    for number in count():
        silent = [
            (party, pair)
            for party, pairs in ways
            for pair in set(pairs) - party.outgoing.flows_after(moment).keys()
        ]
        if not silent:
            return
        for party, pair in silent:
            party.knock(pair, number)
        await asyncio.sleep(1.0)


async def settled(ledgers: tuple[Ledger, Ledger], patience: float) -> None:
    """Waits until every stanza has an outcome, or nothing has happened for so long."""
    loop = asyncio.get_running_loop()
    before, since = (-1, -1), loop.time()
    while any(ledger.lost() for ledger in ledgers):
        now = tuple(len(ledger.delivered) + sum(ledger.bounced.values()) for ledger in ledgers)
        if now != before:
            before, since = (now[0], now[1]), loop.time()
        if loop.time() > since + patience:
            return
        await asyncio.sleep(0.5)
    # What comes twice comes soon.
    await asyncio.sleep(1.0)
