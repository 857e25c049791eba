"""What two providers' users and servers do with each other, as seen by the users."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from itertools import product
from typing import Any

from slixmpp.exceptions import IqError

from client import PING, User
from report import LeftOut, require
from sides import PASSWORD, Side

BURST = 500
DISCO = "<query xmlns='http://jabber.org/protocol/disco#info'/>"

Check = tuple[str, Callable[[], Coroutine[Any, Any, None]]]


class Party:
    """A side and the sessions of one user of each of its domains."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.users = tuple(User(jid, PASSWORD) for jid in side.people)

    @property
    def first(self) -> User:
        """The user of the domain that has the subdomains."""
        return self.users[0]

    async def log_in(self) -> None:
        """Everybody becomes available."""
        for user in self.users:
            await user.log_in(self.side.address, self.side.port("client"))


def both_ways(one: Party, other: Party) -> Iterator[Check]:
    """Every check: in one direction, in the other, then with both at once.

    In each direction everybody of one side has to do with everybody and both domains of the other.
    """
    for a, b in ((one, other), (other, one)):
        way = f"{a.side.domain} -> {b.side.domain}"

        def named(name: str, body: Any, a: Party = a, b: Party = b, way: str = way) -> Check:
            return f"{name} {way}", lambda: body(a, b)

        yield named("chat", chat)
        yield named("subscription", subscription)
        yield named("presence", presence)
        yield named("iq ping", iq_ping)
        yield named("disco#info", disco_info)
        yield named("room", room)
        yield named("unknown user", unknown_user)
        yield named("unknown domain", unknown_domain)
    yield f"burst of {BURST} each way", lambda: bursts(one, other)
    yield "logging out", lambda: farewell(one, other)


async def chat(a: Party, b: Party) -> None:
    """To the bare and to the full address."""
    for sender, hearer in product(a.users, b.users):
        for to in (hearer.bare, hearer.full):
            body = f"olá {to} de {sender.bare} <&> \U0001f426"
            sender.chat(to, body)
            await hearer.expect_message(sender.full, body)


async def subscription(a: Party, b: Party) -> None:
    """Those of `a` ask for the presence of those of `b`, get it, and the roster says so."""
    for asker, asked in product(a.users, b.users):
        asker.send_presence(pto=asked.bare, ptype="subscribe")
        await asked.expect_presence(asker.bare, "subscribe")
        asked.send_presence(pto=asker.bare, ptype="subscribed")
        await asker.expect_presence(asked.bare, "subscribed")
        await asker.expect_presence(asked.full)
        state = asker.client_roster[asked.bare]["subscription"]
        require(state in ("to", "both"), f"the roster of {asker.bare} says {state}")


async def presence(a: Party, b: Party) -> None:
    """A change of those of `b` is seen by those of `a`, who have subscribed."""
    for show, seen in product(("away", None), b.users):
        status = f"{show} for {a.side.domain}"
        seen.send_presence(pshow=show, pstatus=status)
        for subscriber in a.users:
            await subscriber.expect_status(seen.full, status)


async def iq_ping(a: Party, b: Party) -> None:
    """The other domains and the other users' clients answer."""
    for asker, asked in product(a.users, b.users):
        await asker.ask(asked.domain, PING)
        try:
            await asker.ask(asked.full, PING)
        except IqError as error:  # the client does not speak XEP-0199, but it has answered
            require(error.condition == "feature-not-implemented", error.condition)


async def disco_info(a: Party, b: Party) -> None:
    """The other domains and their subdomains say what they are."""
    for asker, domain in product(a.users, b.side.domains):
        answer = await asker.ask(domain, DISCO)
        namespace = "{http://jabber.org/protocol/disco#info}"
        require(answer.xml.find(f".//{namespace}identity") is not None, f"{domain}: no identity")


async def room(a: Party, b: Party) -> None:
    """Those of `a`, of two domains, enter a room of the other side; all hear all; they leave."""
    if "chat" not in b.side.subdomains:
        raise LeftOut(f"the server of {b.side.domain} has no rooms")
    place = f"tertulia@chat.{b.side.domain}"
    visitors = {f"visita {number}": user for number, user in enumerate(a.users)}
    occupants = {"dono": b.first, **visitors}
    for nick, user in occupants.items():
        await user.enter_room(place, nick)
    for user, (nick, other) in product(occupants.values(), occupants.items()):
        if user is not other:
            await user.expect_presence(f"{place}/{nick}")
    for nick, speaker in occupants.items():
        speaker.chat(place, f"diz {nick}", "groupchat")
        for listener in occupants.values():
            await listener.expect_message(f"{place}/{nick}", f"diz {nick}")
    for nick, visitor in visitors.items():
        visitor.send_presence(pto=f"{place}/{nick}", ptype="unavailable")
        for user in (visitor, b.first):
            await user.expect_presence(f"{place}/{nick}", "unavailable")


async def unknown_user(a: Party, b: Party) -> None:
    """The other server's own error comes back."""
    for sender, domain in product(a.users, b.side.user_domains):
        nobody = f"ninguem@{domain}"
        sender.chat(nobody, "?", identifier=f"nobody of {domain}")
        condition = await sender.expect_error(nobody, f"nobody of {domain}")
        require(condition in ("service-unavailable", "item-not-found"), condition)


async def unknown_domain(a: Party, b: Party) -> None:
    """A domain without any record; a new one each time, for jabberd2 bounces so only once."""
    for number, sender in enumerate(a.users):
        nowhere = f"alguem@nao-existe-{number}.{b.side.domain}"
        sender.chat(nowhere, "?", identifier="nowhere")
        condition = await sender.expect_error(nowhere, "nowhere")
        require(condition == a.side.no_such_domain, condition)


async def bursts(a: Party, b: Party) -> None:
    """Many messages both ways at once arrive complete and in order."""
    pairs = tuple(zip(a.users, b.users, strict=True))
    for number in range(BURST):
        for one, other in pairs:
            one.chat(other.full, f"burst {number}")
            other.chat(one.full, f"burst {number}")

    async def in_order(listener: User) -> None:
        for number in range(BURST):
            message = await listener.expect(
                f"message {number} of {BURST}",
                lambda s: s.name == "message" and s["body"].startswith("burst "),
            )
            require(message["body"] == f"burst {number}", f"{message['body']}, not {number}")

    await asyncio.gather(*(in_order(user) for user in (*a.users, *b.users)))


async def farewell(a: Party, b: Party) -> None:
    """Who logs out is seen to leave."""
    for leaver in a.users:
        await leaver.log_out()
        for subscriber in b.users:
            await subscriber.expect_presence(leaver.full, "unavailable")
    for user in b.users:
        await user.log_out()
