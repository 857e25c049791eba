"""The bot of docs/servers/gateways.md, beside a Prosody with the module."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from itertools import product
from typing import ClassVar

import prosody
from checks import Check, Party
from client import User
from guide import Guide
from processes import Process
from servers import Site
from sides import SUBDOMAINS, Side

GUIDE = Guide("gateways.md")


def bot(side: Side) -> str:
    """Its domain."""
    return f"bot.{side.domain}"


async def answers(asker: User, to: str) -> None:
    """What it is told comes back from where it went."""
    body = f"olá de {asker.full}"
    asker.chat(to, body)
    await asker.expect_message(to, body)


async def answers_everybody(side: Side, *parties: Party) -> None:
    """Users of both sides, at once, whatever stands before the domain."""
    users = (user for party in parties for user in party.users)
    addresses = (bot(side), f"eco@{bot(side)}/a")
    await asyncio.gather(*(answers(user, to) for user, to in product(users, addresses)))


class WithBot(prosody.WithModule):
    """Two `[[local]]` entries: the bot's, and Prosody's."""

    subdomains: ClassVar[tuple[str, ...]] = (*SUBDOMAINS, "bot")
    others: ClassVar[int] = 1  # the bot's

    def settings(self, side: Side) -> str:
        """Those of both pages."""
        return super().settings(side) + GUIDE.block("1.", "toml", side)

    async def start(self, site: Site, stack: AsyncExitStack) -> Process:
        """Prosody, and the page's bot; Prosody."""
        program = site.folder / "bot.py"
        program.write_text(GUIDE.block("2.", "python", site.side))
        log = site.folder / "bot.log"
        process = await Process.start("the bot", log, sys.executable, str(program))
        stack.push_async_callback(process.end)
        return await super().start(site, stack)

    def checks(self, ours: Party, theirs: Party) -> Iterator[Check]:
        """That it answers."""
        yield "bot", lambda: answers_everybody(ours.side, ours, theirs)
