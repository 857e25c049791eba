"""The accepting side of XEP-0114, as far as the tests of mod_heteronym need a router."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any, cast
from xml.etree.ElementTree import Element, XMLPullParser

from report import CheckFailed

DEADLINE = 60.0
COMPONENT = "{jabber:component:accept}"
STREAMS = "http://etherx.jabber.org/streams"
STREAM_ERRORS = "urn:ietf:params:xml:ns:xmpp-streams"

Matches = Callable[[Element], bool]


STANZAS = tuple(COMPONENT + name for name in ("message", "presence", "iq"))


class Link:
    """One accepted stream; its elements are kept until a check asks for them."""

    def __init__(self, to: str, writer: asyncio.StreamWriter) -> None:
        self.to = to
        self.authenticated = False
        self.closed = asyncio.Event()  # the stream's end tag came
        self.ended = asyncio.Event()  # the connection is over
        self._writer = writer
        self._reader_transport = cast(asyncio.ReadTransport, writer.transport)
        self._seen: list[Element] = []
        self.stanzas = 0
        self._arrived = asyncio.Event()

    def send(self, xml: str) -> None:
        """Writes stanzas."""
        self._writer.write(xml.encode())

    def keep(self, element: Element) -> None:
        """Stores what arrived."""
        self.stanzas += element.tag in STANZAS
        self._seen.append(element)
        self._arrived.set()

    def unread(self) -> list[Element]:
        """What arrived and nobody asked for."""
        return list(self._seen)

    async def expect(self, what: str, matches: Matches, deadline: float = DEADLINE) -> Element:
        """The first element that `matches`: it may have arrived already."""

        async def search() -> Element:
            while True:
                self._arrived.clear()
                for index, element in enumerate(self._seen):
                    if matches(element):
                        return self._seen.pop(index)
                await self._arrived.wait()

        try:
            return await asyncio.wait_for(search(), deadline)
        except TimeoutError:
            unread = [f"{e.tag} {e.attrib}" for e in self._seen[-5:]]
            raise CheckFailed(
                f"the router got no {what} within {deadline} s; unread: {unread}"
            ) from None

    async def expect_stanza(self, name: str, sender: str, to: str, kind: str | None) -> Element:
        """A stanza with that name, sender, recipient and type; addresses may be bare."""
        return await self.expect(
            f"{name} of type {kind} from {sender} to {to}",
            lambda e: (
                e.tag == COMPONENT + name
                and sender in (e.get("from", ""), e.get("from", "").partition("/")[0])
                and to in (e.get("to", ""), e.get("to", "").partition("/")[0])
                and e.get("type") == kind
            ),
        )

    def pause(self) -> None:
        """Stops to read: the sender's buffers fill."""
        self._reader_transport.pause_reading()

    def resume(self) -> None:
        """Reads again."""
        self._reader_transport.resume_reading()

    def abort(self) -> None:
        """Breaks the connection without an end tag, as a crash does."""
        self._writer.transport.abort()

    def close(self) -> None:
        """Ends the stream in good order."""
        if not self._writer.is_closing():
            self._writer.write(b"</stream:stream>")
            self._writer.close()


class Acceptor:
    """Listens, and checks the handshake against `secret` and `domains`."""

    def __init__(self, address: str, port: int, secret: str, domains: tuple[str, ...]) -> None:
        self.address = address
        self.port = port
        self.secret = secret
        self.domains = domains
        self.refusals: asyncio.Queue[str] = asyncio.Queue()
        self._links: asyncio.Queue[Link] = asyncio.Queue()
        self._server: asyncio.Server | None = None
        self._open: set[Link] = set()

    async def listen(self) -> None:
        """Starts to accept."""
        self._server = await asyncio.start_server(self._serve, self.address, self.port)

    async def stop(self, *, crash: bool = False) -> None:
        """Stops to accept and ends every link."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for link in list(self._open):
            if crash:
                link.abort()
            else:
                link.close()
            await link.ended.wait()

    async def link(self) -> Link:
        """The next link that has authenticated."""
        try:
            return await asyncio.wait_for(self._links.get(), DEADLINE)
        except TimeoutError:
            raise CheckFailed(f"no link within {DEADLINE} s") from None

    async def refusal(self) -> str:
        """The condition that the next refused link was told."""
        return await asyncio.wait_for(self.refusals.get(), DEADLINE)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parser: XMLPullParser[Any] = XMLPullParser(["start", "end"])
        link: Link | None = None
        depth = 0
        try:
            while data := await reader.read(65536):
                parser.feed(data)
                for item in parser.read_events():
                    event, element = cast(tuple[str, Element], item)
                    if event == "start":
                        depth += 1
                        if depth == 1:
                            link = self._opened(element, writer)
                        continue
                    depth -= 1
                    if link is not None and depth == 1:
                        self._received(link, element, writer)
                    elif link is not None and depth == 0:
                        link.closed.set()
                        link.close()
        except ConnectionError:
            pass
        finally:
            writer.close()
            if link is not None:
                self._open.discard(link)
                link.ended.set()

    def _opened(self, header: Element, writer: asyncio.StreamWriter) -> Link:
        link = Link(header.get("to", ""), writer)
        self._open.add(link)
        link.send(
            f"<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' "
            f"xmlns:stream='{STREAMS}' id='a&amp;b' from='{link.to}'>"
        )
        if header.tag != f"{{{STREAMS}}}stream" or link.to not in self.domains:
            self._refuse(link, "host-unknown")
        return link

    def _received(self, link: Link, element: Element, writer: asyncio.StreamWriter) -> None:
        if link.authenticated:
            link.keep(element)
        elif element.tag == COMPONENT + "handshake" and not writer.is_closing():
            expected = hashlib.sha1(("a&b" + self.secret).encode()).hexdigest()
            if element.text != expected:
                self._refuse(link, "not-authorized")
                return
            link.authenticated = True
            link.send("<handshake/>")
            self._links.put_nowait(link)

    def _refuse(self, link: Link, condition: str) -> None:
        link.send(f"<stream:error><{condition} xmlns='{STREAM_ERRORS}'/></stream:error>")
        link.close()
        self.refusals.put_nowait(condition)
