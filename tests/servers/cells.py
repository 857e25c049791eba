"""The table: which servers meet, how each is attached, and how each proves who it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import ejabberd
import gateway
import jabberd2
import prosody
from authentication import Way
from provider import Routed
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

LOCALS: dict[str, Local] = {
    "Prosody with the module": PROSODY,
    "a bot beside Prosody": gateway.WithBot(),
    "Prosody by S2S": prosody.Stock("s2s", "A."),
    "Prosody by S2S, asked back": prosody.Stock("s2s", "A.", secret=False),
    "Prosody by S2S over TLS": prosody.Stock("s2s", "A.", encrypted=True),
    "Prosody by a component": prosody.Stock("dial-component", "B."),
    "ejabberd by S2S": ejabberd.Attached("s2s", "A."),
    "ejabberd by S2S over TLS": ejabberd.Attached("s2s", "A.", starttls="required"),
    "ejabberd by a component": ejabberd.Attached("dial-component", "B."),
    "ejabberd in a closed federation": ejabberd.Attached(
        "dial-component", "C.", by_s2s=False, no_such_domain="forbidden"
    ),
    "jabberd2 by its router": jabberd2.Bound(),
}


@dataclass(frozen=True)
class Cell:
    """A router and a server on our side; on the other, a server that knows no router, or a router.

    `incoming` and `outgoing` are streams as the remote server sees them; `logged` is what its log
    must have.
    """

    name: str
    remote: Remote
    incoming: Way | None
    outgoing: Way | None
    trust: Trust
    logged: tuple[str, ...] = ()
    local: Local = PROSODY

    @property
    def secure(self) -> bool:
        """Whether the remote server insists on certificates that it trusts."""
        return self.incoming is self.outgoing is Way.EXTERNAL


REMOTES = (
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


def cells(binary: Path) -> Iterator[Cell]:
    """Every remote server with one of ours; every one of ours with a remote one and a router."""
    yield from REMOTES
    for name, local in LOCALS.items():
        if local is not PROSODY:
            classic = prosody.Alone("")
            ways = (Way.EXTERNAL, Way.EXTERNAL)
            yield Cell(f"{name}, and a Prosody", classic, *ways, SERVERS, local=local)
        yield Cell(
            f"{name}, and a router", Routed(PROSODY, binary), None, None, SERVERS, local=local
        )
