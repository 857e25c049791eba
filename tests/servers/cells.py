"""The table: which servers meet, and how each proves who it is."""

from __future__ import annotations

from dataclasses import dataclass

import ejabberd
import jabberd2
import prosody
from authentication import Way
from servers import Local, Remote


@dataclass(frozen=True)
class Trust:
    """Whether both sides trust one authority, and whether its certificates are for clients too."""

    one_authority: bool
    clients: bool = False


NONE = Trust(one_authority=False)
SERVERS = Trust(one_authority=True)  # as public authorities issue certificates now
BOTH = Trust(one_authority=True, clients=True)

PROSODY = prosody.WithModule()


@dataclass(frozen=True)
class Cell:
    """A server that knows no router on the other side; a router and a server on ours.

    `incoming` and `outgoing` are streams as the remote server sees them; `logged` is what its log
    must have.
    """

    name: str
    remote: Remote
    incoming: Way
    outgoing: Way
    trust: Trust
    logged: tuple[str, ...] = ()
    local: Local = PROSODY

    @property
    def secure(self) -> bool:
        """Whether the remote server insists on certificates that it trusts."""
        return self.incoming is self.outgoing is Way.EXTERNAL


CELLS = (
    # Further pairs of domains may join a stream by dialback, where there is dialback.
    Cell("Prosody by certificate", prosody.Alone(), Way.EXTERNAL, Way.EXTERNAL, SERVERS),
    Cell("Prosody by certificate only", prosody.Alone(""), Way.EXTERNAL, Way.EXTERNAL, SERVERS),
    Cell("Prosody by dialback", prosody.Alone(), Way.DIALBACK, Way.DIALBACK, NONE),
    Cell(
        name="Prosody by dialback, both ways",
        remote=prosody.Alone('"dialback"; "s2s_bidi"'),
        incoming=Way.DIALBACK,
        outgoing=Way.DIALBACK,
        trust=NONE,
        logged=("Requested bidirectional stream", "Requesting bidirectional stream"),
    ),
    Cell("ejabberd by certificate", ejabberd.Alone(), Way.EXTERNAL, Way.EXTERNAL, BOTH),
    Cell("ejabberd by dialback", ejabberd.Alone(), Way.DIALBACK, Way.DIALBACK, NONE),
    # ejabberd 23.01 offers EXTERNAL, and refuses certificates that are for servers only.
    Cell(
        name="ejabberd by dialback after EXTERNAL",
        remote=ejabberd.Alone(),
        incoming=Way.DIALBACK,
        outgoing=Way.EXTERNAL,
        trust=SERVERS,
        logged=("Failed inbound s2s EXTERNAL", "unsupported certificate purpose"),
    ),
    # jabberd2 2.7.0 has no SASL between servers: there is no cell by certificate.
    Cell("jabberd2 by dialback", jabberd2.Alone(), Way.DIALBACK, Way.DIALBACK, NONE),
)
