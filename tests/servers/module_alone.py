"""mod_heteronym against a router of our own: `python tests/servers/module_alone.py`.

One Prosody with the configuration of docs/servers/prosody.md and a XEP-0114 acceptor that plays
the router and, with it, all remote domains.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import prosody
from acceptor import COMPONENT, Acceptor, Link
from client import User, error_condition
from processes import Process, until
from report import Report, require, run
from sides import PASSWORD, saramago

SECRET = "s3cret"
REMOTE = "fernando@pessoa.lit"
BURST = 500
STANZA_LIMIT = 20_000
SLOW = 2_000


class Scenario:
    """What the checks share: they run in order, each goes on where the one before ended."""

    def __init__(self, folder: Path) -> None:
        self.side = saramago()
        self.folder = folder
        self.acceptor = Acceptor("127.0.71.2", 0, SECRET, self.side.domains)
        self.prosody: Process | None = None
        self.jose = User(self.side.jid(), PASSWORD)
        self.link: Link

    @property
    def me(self) -> str:
        """The local user's full address."""
        return str(self.jose.boundjid.full)

    async def start(self) -> None:
        """Prosody first and the acceptor after it: Prosody has to try again."""
        self.acceptor.port = self.side.port("component")
        self.configure()
        path = self.folder / "prosody.cfg.lua"
        self.prosody = await prosody.start(self.side, self.folder, path)
        await self.jose.log_in(self.side.address, self.side.port("client"))

    def configure(self, secret: str = SECRET) -> None:
        """Writes Prosody's configuration."""
        extra = prosody.to_the_router(self.acceptor.address, self.acceptor.port)
        extra += f"heteronym_stanza_size_limit = {STANZA_LIMIT}\n"
        settings = prosody.WithModule().prosody(self.side)
        path = prosody.configure(self.side, self.folder, settings, extra)
        path.write_text(path.read_text().replace(f'"{SECRET}"', f'"{secret}"'))

    async def end(self) -> None:
        """Ends what was started."""
        if self.prosody is not None:
            await self.prosody.end()
        await self.acceptor.stop()

    def log(self) -> str:
        """Prosody's log."""
        return "" if self.prosody is None else self.prosody.log_text()

    async def logged(self, text: str, after: int = 0) -> None:
        """Waits for a line of Prosody's log, beyond its first `after` characters."""

        async def found() -> bool:
            return text in self.log()[after:]

        await until(f"{text!r} in the log", found)

    async def barrier(self) -> None:
        """What was sent to Prosody before has been handled when this returns."""
        self.link.send(
            f"<iq type='get' id='barrier' from='pessoa.lit' to='{self.side.domain}'>"
            "<ping xmlns='urn:xmpp:ping'/></iq>"
        )
        await self.link.expect(
            "answer to a ping", lambda e: e.get("id") == "barrier" and e.get("type") == "result"
        )

    async def linked(self) -> None:
        """The next link, once Prosody takes it for usable too."""
        self.link = await self.acceptor.link()
        await self.barrier()

    # The checks, in order.

    async def bounce_before_first_link(self) -> None:
        """No router yet: the sender hears at once."""
        self.jose.chat(REMOTE, "too early", identifier="early")
        condition = await self.jose.expect_error(REMOTE, "early")
        require(condition == "remote-server-timeout", condition)

    async def handshake(self) -> None:
        """The stream names heteronym_domain and the handshake holds."""
        await self.acceptor.listen()
        await self.linked()
        require(self.link.to == self.side.domain, f"stream to={self.link.to}")

    async def message_out(self) -> None:
        """A chat message leaves in the stream's namespace."""
        self.jose.chat(REMOTE, "olá <&> \U0001f426")
        stanza = await self.link.expect_stanza("message", self.me, REMOTE, "chat")
        require(stanza.findtext(COMPONENT + "body") == "olá <&> \U0001f426", "another text")

    async def message_in(self) -> None:
        """To the full and to the bare address."""
        for to in (self.me, self.side.jid()):
            self.link.send(
                f"<message from='{REMOTE}/r' to='{to}' type='chat'><body>{to}</body></message>"
            )
            await self.jose.expect_message(f"{REMOTE}/r", to)

    async def answers_of_the_server(self) -> None:
        """Ping, disco, unknown user, unknown room: answered over the link, to the asker."""
        domain = self.side.domain
        disco = "<query xmlns='http://jabber.org/protocol/disco#info'/>"
        for to, payload, kind, condition in (
            (domain, "<ping xmlns='urn:xmpp:ping'/>", "result", ""),
            (domain, disco, "result", ""),
            (f"chat.{domain}", disco, "result", ""),
            (f"pubsub.{domain}", disco, "result", ""),
            (f"ft.{domain}", disco, "result", ""),
            (
                f"nobody@{domain}",
                "<query xmlns='jabber:iq:version'/>",
                "error",
                "service-unavailable",
            ),
            (f"none@chat.{domain}", disco, "error", "item-not-found"),
        ):
            self.link.send(f"<iq type='get' id='q' from='bot@eca.lit/x' to='{to}'>{payload}</iq>")
            answer = await self.link.expect_stanza("iq", to, "bot@eca.lit/x", kind)
            found = "" if kind == "result" else next(iter(conditions(answer)), "")
            require(found == condition, f"{to}: {found}")

    async def unknown_user(self) -> None:
        """A message for nobody is refused by Prosody itself."""
        nobody = f"nobody@{self.side.domain}"
        self.link.send(f"<message from='{REMOTE}' to='{nobody}' id='n1'><body>?</body></message>")
        answer = await self.link.expect_stanza("message", nobody, REMOTE, "error")
        require(conditions(answer) == ["service-unavailable"], str(conditions(answer)))

    async def iq_from_a_client(self) -> None:
        """A local user's question and the answer of the other side."""
        asked = asyncio.ensure_future(self.jose.ask("pessoa.lit", "<ping xmlns='urn:xmpp:ping'/>"))
        question = await self.link.expect_stanza("iq", self.me, "pessoa.lit", "get")
        self.link.send(
            f"<iq type='result' id='{question.get('id')}' from='pessoa.lit' to='{self.me}'/>"
        )
        await asked

    async def subscription(self) -> None:
        """Both directions, with the presence that follows."""
        bare = self.side.jid()
        self.link.send(f"<presence type='subscribe' from='{REMOTE}' to='{bare}'/>")
        await self.jose.expect_presence(REMOTE, "subscribe")
        self.jose.send_presence(pto=REMOTE, ptype="subscribed")
        await self.link.expect_stanza("presence", bare, REMOTE, "subscribed")
        await self.link.expect_stanza("presence", self.me, REMOTE, None)
        self.jose.send_presence(pto=REMOTE, ptype="subscribe")
        await self.link.expect_stanza("presence", bare, REMOTE, "subscribe")
        self.link.send(
            f"<presence type='subscribed' from='{REMOTE}' to='{bare}'/>"
            f"<presence from='{REMOTE}/r' to='{bare}'/>"
        )
        await self.jose.expect_presence(REMOTE, "subscribed")
        await self.jose.expect_presence(f"{REMOTE}/r")

    async def offline_message(self) -> None:
        """A message for a user who is away is not refused."""
        pilar = self.side.jid(1)
        self.link.send(f"<message from='{REMOTE}' to='{pilar}' id='o1'><body>zzz</body></message>")
        await self.barrier()
        refused = [e for e in self.link.unread() if e.get("id") == "o1"]
        require(not refused, "it was refused")

    async def remote_occupant(self) -> None:
        """A remote user enters a local room, talks, and hears the others."""
        room = f"tertulia@chat.{self.side.domain}"
        await self.jose.enter_room(room, "jose")
        self.link.send(
            f"<presence from='{REMOTE}/r' to='{room}/nando'>"
            "<x xmlns='http://jabber.org/protocol/muc'/></presence>"
        )
        await self.link.expect_stanza("presence", f"{room}/nando", f"{REMOTE}/r", None)
        await self.jose.expect_presence(f"{room}/nando")
        self.link.send(
            f"<message from='{REMOTE}/r' to='{room}' type='groupchat'><body>boa</body></message>"
        )
        await self.jose.expect_message(f"{room}/nando", "boa")
        await self.link.expect_stanza("message", f"{room}/nando", f"{REMOTE}/r", "groupchat")
        self.jose.chat(room, "viva", "groupchat")
        await self.link.expect(
            "the room's message",
            lambda e: e.get("from") == f"{room}/jose" and e.findtext(COMPONENT + "body") == "viva",
        )

    async def remote_room(self) -> None:
        """A local user enters a room of the other side."""
        room = "orpheu@chat.pessoa.lit"
        entering = asyncio.ensure_future(self.jose.enter_room(room, "jose"))
        await self.link.expect_stanza("presence", self.me, f"{room}/jose", None)
        self.link.send(
            f"<presence from='{room}/jose' to='{self.me}'>"
            "<x xmlns='http://jabber.org/protocol/muc#user'>"
            "<item affiliation='none' role='participant'/><status code='110'/></x></presence>"
        )
        await entering

    async def own_sender_refused(self) -> None:
        """What claims to come from a host of Prosody is neither delivered nor answered."""
        for forged in ("pilar@saramago.lit/x", "chat.saramago.lit", "PILAR@SARAMAGO.LIT/x"):
            for to in (self.me, f"nobody@{self.side.domain}"):
                self.link.send(
                    f"<message from='{forged}' to='{to}' id='f1'><body>forged</body></message>"
                )
        self.link.send(f"<message to='{self.me}' id='f1'><body>forged</body></message>")
        await self.nothing_came_of("f1")
        await self.logged("its sender PILAR@SARAMAGO.LIT/x is not remote")

    async def other_recipient_refused(self) -> None:
        """What is not for a host of Prosody is neither relayed nor answered."""
        for to in ("x@eca.lit", "eca.lit", "jose@", ""):
            self.link.send(
                f"<message from='{REMOTE}' to='{to}' id='r1'><body>relayed</body></message>"
            )
        await self.nothing_came_of("r1")
        await self.logged("its recipient x@eca.lit is not local")

    async def nothing_came_of(self, identifier: str) -> None:
        """No stanza with that id has arrived anywhere."""
        await self.barrier()
        self.link.send(f"<message from='{REMOTE}' to='{self.me}'><body>marker</body></message>")
        await self.jose.expect_message(REMOTE, "marker")
        answers = [e for e in self.link.unread() if e.get("id") == identifier]
        require(not answers, f"answered: {answers}")
        delivered = [s for s in self.jose.unread() if s["id"] == identifier]
        require(not delivered, f"delivered: {delivered}")

    async def link_pings(self) -> None:
        """The router's own pings are answered, whatever name the router has."""
        for sender in ("from='xmpp.my.isp'", "", f"from='{self.side.domain}'"):
            for to in self.side.domains:
                self.link.send(
                    f"<iq type='get' id='lp' to='{to}' {sender}><ping xmlns='urn:xmpp:ping'/></iq>"
                )
                await self.link.expect(
                    f"answer to a ping {sender}",
                    lambda e: e.get("id") == "lp" and e.get("type") in ("result", "error"),
                )

    async def unknown_element_ignored(self) -> None:
        """An element that is no stanza does no harm."""
        self.link.send("<resumed xmlns='urn:xmpp:sm:3'/><log/> ")
        await self.barrier()

    async def too_large(self) -> None:
        """A stanza above the limit is refused to its sender; the link stays."""
        self.jose.chat(REMOTE, "x" * STANZA_LIMIT, identifier="large")
        condition = await self.jose.expect_error(REMOTE, "large")
        require(condition == "policy-violation", condition)
        await self.barrier()

    async def bursts_in_order(self) -> None:
        """Many messages each way at once."""
        for number in range(BURST):
            self.jose.chat(REMOTE, f"out {number}")
            self.link.send(
                f"<message from='{REMOTE}' to='{self.me}' type='chat'>"
                f"<body>in {number}</body></message>"
            )
        for number in range(BURST):
            stanza = await self.link.expect_stanza("message", self.me, REMOTE, "chat")
            body = stanza.findtext(COMPONENT + "body")
            require(body == f"out {number}", f"{body} instead of {number}")
            incoming = await self.jose.expect(
                "a message in", lambda s: s.name == "message" and s["body"].startswith("in ")
            )
            require(incoming["body"] == f"in {number}", f"{incoming['body']} instead of {number}")

    async def slow_router(self) -> None:
        """The router does not read: what waits is bounded, the rest is refused, nothing is lost."""
        self.link.pause()
        for number in range(SLOW):
            self.jose.chat(REMOTE, f"slow {number} " + "x" * 15_000, identifier=f"slow{number}")
        await self.jose.expect_error(REMOTE, f"slow{SLOW - 1}")
        self.link.resume()

        def arrived() -> list[int]:
            found = [e.get("id", "") for e in self.link.unread()]
            return [int(i.removeprefix("slow")) for i in found if i.startswith("slow")]

        def refused() -> list[str]:
            errors = [s for s in self.jose.unread() if s["type"] == "error"]
            return [error_condition(s) for s in errors]

        async def accounted_for() -> bool:
            return len(arrived()) + len(refused()) + 1 == SLOW

        await until("every message accounted for", accounted_for)
        require(set(refused()) == {"resource-constraint"}, f"refused with {set(refused())}")
        require(
            arrived() == sorted(arrived()) and len(arrived()) > SLOW // 4, "lost or out of order"
        )
        await self.barrier()

    async def bounce_while_down(self) -> None:
        """The router is gone: errors at once, and a room loses its remote occupant."""
        room = f"tertulia@chat.{self.side.domain}"
        before = len(self.log())
        await self.acceptor.stop(crash=True)
        await self.logged("No link with the router", before)
        self.jose.chat(REMOTE, "anyone?", identifier="down")
        stanza = await self.jose.expect(
            "an error", lambda s: s["type"] == "error" and s["id"] == "down", 5
        )
        require(error_condition(stanza) == "remote-server-timeout", str(stanza))
        require(stanza["error"]["type"] == "wait", str(stanza))
        require("router" in stanza["error"]["text"], "no text that names the router")
        self.jose.chat(room, "still there?", "groupchat")
        await self.jose.expect_message(f"{room}/jose", "still there?")
        await self.jose.expect_presence(f"{room}/nando", "unavailable")

    async def reconnect(self) -> None:
        """The router is back, and so is the link."""
        await self.acceptor.listen()
        await self.linked()
        self.jose.chat(REMOTE, "again")
        await self.link.expect_stanza("message", self.me, REMOTE, "chat")

    async def unacknowledged_stanzas(self) -> None:
        """A router that counts gets again what it has not acknowledged, and nothing else."""
        sm = "{urn:xmpp:sm:3}"
        await self.link.expect("<enable/>", lambda e: e.tag == f"{sm}enable")
        self.link.send("<enabled xmlns='urn:xmpp:sm:3'/>")
        self.jose.chat(REMOTE, "taken")
        await self.link.expect_stanza("message", self.me, REMOTE, "chat")
        taken = self.link.stanzas
        self.jose.chat(REMOTE, "under way")
        await self.link.expect_stanza("message", self.me, REMOTE, "chat")
        await self.link.expect("<r/>", lambda e: e.tag == f"{sm}r")
        self.link.send(f"<a xmlns='urn:xmpp:sm:3' h='{taken}'/>")
        await self.barrier()
        self.link.abort()
        await self.linked()
        again = await self.link.expect_stanza("message", self.me, REMOTE, "chat")
        body = again.findtext("{jabber:component:accept}body")
        require(body == "under way", f"{body} came first")

    async def graceful_restart(self) -> None:
        """The router ends its stream: Prosody answers with its own end, and dials again."""
        ended = self.link
        ended.send("</stream:stream>")
        await asyncio.wait_for(ended.closed.wait(), 5)
        await self.linked()

    async def broken_stream(self) -> None:
        """What is no XML ends the link, and a new one is dialled."""
        self.link.send("<message><body>&undefined;</message>")
        await asyncio.wait_for(self.link.ended.wait(), 10)
        await self.linked()

    async def wrong_secret(self) -> None:
        """The log says what to do, once; a reload with the right secret connects."""
        await self.acceptor.stop()
        self.acceptor.secret = "another"
        await self.acceptor.listen()
        for _ in range(3):
            condition = await self.acceptor.refusal()
            require(condition == "not-authorized", condition)
        advice = [line for line in self.log().splitlines() if "heteronym_secret must equal" in line]
        warnings = [line for line in advice if " warn" in line]
        require(len(warnings) == 1, f"{len(warnings)} warnings")
        self.configure("another")
        await self.reload()
        await self.linked()

    async def reload(self) -> None:
        """`prosodyctl reload`."""
        assert self.prosody is not None
        await self.prosody.signal_at_rest(signal.SIGHUP)

    async def changed_secret(self) -> None:
        """A reload replaces a link that was opened with another secret, and only such a one."""
        kept = self.link
        before = len(self.log())
        await self.reload()
        await self.logged("Reloading configuration file", before)
        await self.barrier()
        self.acceptor.secret = "third"
        self.configure("third")
        await self.reload()
        await self.linked()
        require(kept.closed.is_set(), "the old stream was not ended")
        await self.barrier()

    async def unknown_domain(self) -> None:
        """The router does not know the domain: the log says so."""
        await self.acceptor.stop()
        self.acceptor.domains = ()
        await self.acceptor.listen()
        require(await self.acceptor.refusal() == "host-unknown", "another condition")
        await self.logged("name the domain in a [[local]] entry")
        self.acceptor.domains = self.side.domains
        await self.linked()

    async def shutdown(self) -> None:
        """The users' farewell goes out, then the stream's end, and Prosody exits well."""
        assert self.prosody is not None
        bare = self.side.jid()
        await self.prosody.signal_at_rest(signal.SIGTERM)
        await self.link.expect_stanza("presence", bare, REMOTE, "unavailable")
        await asyncio.wait_for(self.link.closed.wait(), 10)
        code = await asyncio.wait_for(self.prosody.child.wait(), 20)
        require(code == 0, f"exit code {code}")

    async def no_traceback(self) -> None:
        """Nothing went wrong inside Prosody."""
        bad = [
            line
            for line in self.log().splitlines()
            if "raceback" in line or "Error while handling" in line or "Error calling" in line
        ]
        require(not bad, "; ".join(bad[:3]))


def conditions(stanza: Any) -> list[str]:
    """The error conditions of an element."""
    space = "{urn:ietf:params:xml:ns:xmpp-stanzas}"
    tags = (element.tag for element in stanza.iter())
    return [t.removeprefix(space) for t in tags if t.startswith(space) and t != f"{space}text"]


async def main() -> int:
    """Runs every check; the exit code."""
    report = Report()
    with tempfile.TemporaryDirectory(prefix="heteronym-module-") as folder:
        scenario = Scenario(Path(folder))
        checks: tuple[Callable[[], Coroutine[Any, Any, None]], ...] = (
            scenario.start,
            scenario.bounce_before_first_link,
            scenario.handshake,
            scenario.message_out,
            scenario.message_in,
            scenario.answers_of_the_server,
            scenario.unknown_user,
            scenario.iq_from_a_client,
            scenario.subscription,
            scenario.offline_message,
            scenario.remote_occupant,
            scenario.remote_room,
            scenario.own_sender_refused,
            scenario.other_recipient_refused,
            scenario.link_pings,
            scenario.unknown_element_ignored,
            scenario.too_large,
            scenario.bursts_in_order,
            scenario.slow_router,
            scenario.bounce_while_down,
            scenario.reconnect,
            scenario.unacknowledged_stanzas,
            scenario.graceful_restart,
            scenario.broken_stream,
            scenario.wrong_secret,
            scenario.changed_secret,
            scenario.unknown_domain,
            scenario.shutdown,
            scenario.no_traceback,
        )
        try:
            for check in checks:
                if not await report.check(check.__name__, check()):
                    break  # each builds on the one before
        finally:
            await scenario.end()
        if report.failed and scenario.prosody is not None:
            print(scenario.prosody.log_tail(), file=sys.stderr)
        return report.finish()


if __name__ == "__main__":
    sys.exit(run(main))
