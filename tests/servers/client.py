"""An XMPP user whose stanzas can be waited for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Literal
from xml.etree import ElementTree

from slixmpp import ClientXMPP
from slixmpp.xmlstream import StanzaBase
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import StanzaPath

from report import CheckFailed

DEADLINE = 60.0
PING = "<ping xmlns='urn:xmpp:ping'/>"
ERRORS = "{urn:ietf:params:xml:ns:xmpp-stanzas}"

Matches = Callable[[Any], bool]
Kind = Literal["chat", "groupchat", "normal"]

logging.getLogger("slixmpp").setLevel(logging.CRITICAL)


def error_condition(stanza: Any) -> str:
    """The condition of an error stanza, or nothing."""
    for element in stanza.xml.iter():
        if element.tag.startswith(ERRORS) and not element.tag.endswith("}text"):
            return str(element.tag.removeprefix(ERRORS))
    return ""


class User(ClientXMPP):
    """A client session; everything that arrives is kept until a check asks for it."""

    def __init__(self, jid: str, password: str, resource: str = "t") -> None:
        unencrypted = {"unencrypted_scram": True}  # loopback only
        super().__init__(
            f"{jid}/{resource}", password, plugin_config={"feature_mechanisms": unencrypted}
        )
        self.enable_starttls = False
        self.enable_direct_tls = False
        self.enable_plaintext = True
        self.roster.auto_authorize = None  # type: ignore[assignment]  # "ask", says its guide
        self.roster.auto_subscribe = False
        self._seen: list[StanzaBase] = []
        self._waiting: list[tuple[Matches, asyncio.Future[Any]]] = []
        for kind in ("message", "presence"):
            self.register_handler(Callback(f"keep {kind}", StanzaPath(kind), self._keep))

    @property
    def bare(self) -> str:
        """The user's bare address."""
        return str(self.requested_jid.bare)

    @property
    def domain(self) -> str:
        """The user's domain."""
        return str(self.requested_jid.domain)

    @property
    def full(self) -> str:
        """The session's full address."""
        return str(self.boundjid.full)

    def _keep(self, stanza: StanzaBase) -> None:
        for index, (matches, future) in enumerate(self._waiting):
            if not future.done() and matches(stanza):
                del self._waiting[index]
                future.set_result(stanza)
                return
        self._seen.append(stanza)

    async def log_in(self, address: str, port: int) -> None:
        """Connects, authenticates, asks for the roster, and is available to its server."""
        started = asyncio.get_running_loop().create_future()
        self.add_event_handler("session_start", started.set_result, disposable=True)
        self.connect(address, port)
        try:
            await asyncio.wait_for(started, DEADLINE)
        except TimeoutError:
            raise CheckFailed(f"{self.requested_jid} could not log in") from None
        await self.get_roster()
        self.send_presence()
        await self.ask(self.domain, PING)  # jabberd2 does not show one's own presence

    async def log_out(self) -> None:
        """Ends the stream."""
        await self.disconnect()

    async def expect(self, what: str, matches: Matches, deadline: float = DEADLINE) -> Any:
        """The first stanza that `matches`: it may have arrived already."""
        for index, stanza in enumerate(self._seen):
            if matches(stanza):
                return self._seen.pop(index)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((matches, future))
        try:
            return await asyncio.wait_for(future, deadline)
        except TimeoutError:
            unread = "; ".join(str(stanza)[:300] for stanza in self._seen[-5:]) or "nothing"
            raise CheckFailed(
                f"{self.boundjid}: no {what} within {deadline} s; unread: {unread}"
            ) from None

    async def expect_message(self, sender: str, body: str) -> Any:
        """A message with that text from that address, whatever its resource."""
        return await self.expect(
            f"message {body!r} from {sender}",
            lambda s: s.name == "message"
            and s["type"] != "error"
            and sender in (s["from"].full, s["from"].bare)
            and s["body"] == body,
        )

    async def expect_presence(self, sender: str, kind: str = "available") -> Any:
        """A presence of that type from that address, whatever its resource."""
        return await self.expect(
            f"presence {kind} from {sender}",
            lambda s: s.name == "presence"
            and sender in (s["from"].full, s["from"].bare)
            and s["type"] == kind,
        )

    async def expect_status(self, sender: str, status: str) -> Any:
        """A presence with that status text from that full address."""
        return await self.expect(
            f"presence {status!r} from {sender}",
            lambda s: s.name == "presence" and s["from"] == sender and s["status"] == status,
        )

    async def expect_error(self, sender: str, identifier: str) -> str:
        """The condition of an error for a stanza with that id."""
        stanza = await self.expect(
            f"error from {sender}",
            lambda s: s["type"] == "error"
            and s["id"] == identifier
            and sender in (s["from"].full, s["from"].bare),
        )
        return error_condition(stanza)

    def unread(self) -> list[StanzaBase]:
        """What arrived and nobody asked for."""
        return list(self._seen)

    def chat(self, to: str, body: str, kind: Kind = "chat", identifier: str = "") -> None:
        """Sends a message."""
        message = self.make_message(mto=to, mbody=body, mtype=kind)
        if identifier:
            message["id"] = identifier
        self.send(message)

    async def ask(self, to: str, payload: str) -> Any:
        """Sends an `<iq type='get'/>` and gives the result; errors are raised by slixmpp."""
        request = self.make_iq_get(ito=to)
        request.append(ElementTree.fromstring(payload))
        return await request.send(timeout=DEADLINE)  # type: ignore[no-untyped-call]

    async def enter_room(self, room: str, nick: str) -> None:
        """Joins a room, and unlocks it if that has created it."""
        presence = self.make_presence(pto=f"{room}/{nick}")
        presence.append(ElementTree.fromstring("<x xmlns='http://jabber.org/protocol/muc'/>"))
        self.send(presence)
        own = await self.expect_presence(f"{room}/{nick}")
        codes = {e.get("code") for e in own.xml.iter("{http://jabber.org/protocol/muc#user}status")}
        if "110" not in codes:
            raise CheckFailed(f"the presence of {room}/{nick} is not marked as one's own: {own}")
        if "201" in codes:
            form = self.make_iq_set(ito=room)
            form.append(
                ElementTree.fromstring(
                    "<query xmlns='http://jabber.org/protocol/muc#owner'>"
                    "<x xmlns='jabber:x:data' type='submit'/></query>"
                )
            )
            await form.send(timeout=DEADLINE)  # type: ignore[no-untyped-call]
