"""What two providers' users and servers do with each other, as seen by the users."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from slixmpp.exceptions import IqError

from client import User
from report import require
from sides import Side

BURST = 500
PING = "<ping xmlns='urn:xmpp:ping'/>"
DISCO = "<query xmlns='http://jabber.org/protocol/disco#info'/>"

Check = tuple[str, Callable[[], Coroutine[Any, Any, None]]]


class Person:
    """A side and the session of its first user."""

    def __init__(self, side: Side, user: User) -> None:
        self.side = side
        self.user = user

    @property
    def bare(self) -> str:
        """The user's bare address."""
        return self.side.jid()

    @property
    def full(self) -> str:
        """The session's full address."""
        return str(self.user.boundjid.full)


def both_ways(one: Person, other: Person) -> Iterator[Check]:
    """Every check: in one direction, in the other, then with both at once."""
    for a, b in ((one, other), (other, one)):
        way = f"{a.side.domain} -> {b.side.domain}"

        def named(name: str, body: Any, a: Person = a, b: Person = b, way: str = way) -> Check:
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


async def chat(a: Person, b: Person) -> None:
    """To the bare and to the full address."""
    for to in (b.bare, b.full):
        a.user.chat(to, f"olá {to} <&> \U0001f426")
        await b.user.expect_message(a.full, f"olá {to} <&> \U0001f426")


async def subscription(a: Person, b: Person) -> None:
    """`a` asks for the presence of `b`, gets it, and the roster says so."""
    a.user.send_presence(pto=b.bare, ptype="subscribe")
    await b.user.expect_presence(a.bare, "subscribe")
    b.user.send_presence(pto=a.bare, ptype="subscribed")
    await a.user.expect_presence(b.bare, "subscribed")
    await a.user.expect_presence(b.full)
    state = a.user.client_roster[b.bare]["subscription"]
    require(state in ("to", "both"), f"the roster says {state}")


async def presence(a: Person, b: Person) -> None:
    """A change of `b` is seen by `a`, who has subscribed."""
    for show in ("away", None):
        status = f"{show} for {a.bare}"
        b.user.send_presence(pshow=show, pstatus=status)
        await a.user.expect_status(b.full, status)


async def iq_ping(a: Person, b: Person) -> None:
    """The other domain and the other user's client answer."""
    await a.user.ask(b.side.domain, PING)
    try:
        await a.user.ask(b.full, PING)
    except IqError as error:  # the client does not speak XEP-0199, but it has answered
        require(error.condition == "feature-not-implemented", error.condition)


async def disco_info(a: Person, b: Person) -> None:
    """The other domain and its subdomains say what they are."""
    for domain in b.side.domains:
        answer = await a.user.ask(domain, DISCO)
        namespace = "{http://jabber.org/protocol/disco#info}"
        require(answer.xml.find(f".//{namespace}identity") is not None, f"{domain}: no identity")


async def room(a: Person, b: Person) -> None:
    """`a` enters a room of the other side; both talk, both hear both; `a` leaves."""
    place = f"tertulia@chat.{b.side.domain}"
    await b.user.enter_room(place, "dono")
    await a.user.enter_room(place, "visita")
    await b.user.expect_presence(f"{place}/visita")
    await a.user.expect_presence(f"{place}/dono")
    for speaker, nick in ((a, "visita"), (b, "dono")):
        speaker.user.chat(place, f"diz {nick}", "groupchat")
        for listener in (a, b):
            await listener.user.expect_message(f"{place}/{nick}", f"diz {nick}")
    a.user.send_presence(pto=f"{place}/visita", ptype="unavailable")
    await b.user.expect_presence(f"{place}/visita", "unavailable")
    await a.user.expect_presence(f"{place}/visita", "unavailable")


async def unknown_user(a: Person, b: Person) -> None:
    """The other server's own error comes back."""
    nobody = f"ninguem@{b.side.domain}"
    a.user.chat(nobody, "?", identifier="nobody")
    condition = await a.user.expect_error(nobody, "nobody")
    require(condition in ("service-unavailable", "item-not-found"), condition)


async def unknown_domain(a: Person, b: Person) -> None:
    """A domain without any record."""
    nowhere = f"alguem@nao-existe.{b.side.domain}"
    a.user.chat(nowhere, "?", identifier="nowhere")
    condition = await a.user.expect_error(nowhere, "nowhere")
    require(condition == "remote-server-not-found", condition)


async def bursts(a: Person, b: Person) -> None:
    """Many messages both ways at once arrive complete and in order."""
    for number in range(BURST):
        a.user.chat(b.full, f"burst {number}")
        b.user.chat(a.full, f"burst {number}")

    async def in_order(listener: Person) -> None:
        for number in range(BURST):
            message = await listener.user.expect(
                f"message {number} of {BURST}",
                lambda s: s.name == "message" and s["body"].startswith("burst "),
            )
            require(message["body"] == f"burst {number}", f"{message['body']}, not {number}")

    await asyncio.gather(in_order(a), in_order(b))


async def farewell(a: Person, b: Person) -> None:
    """Who logs out is seen to leave."""
    await a.user.log_out()
    await b.user.expect_presence(a.full, "unavailable")
    await b.user.log_out()
