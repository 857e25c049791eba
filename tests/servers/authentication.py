"""How streams of classic S2S were let in: by a certificate, or by dialback."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from report import require
from sides import Side


class Way(Enum):
    """SASL EXTERNAL with a certificate (XEP-0178), or Server Dialback (XEP-0220)."""

    EXTERNAL = "EXTERNAL"
    DIALBACK = "dialback"


class Stream(NamedTuple):
    """A stream as one of its servers sees it: what let its first pair of domains in."""

    incoming: bool
    way: Way
    local: str
    remote: str


def require_ways(
    streams: Iterable[Stream], incoming: Way, outgoing: Way, ours: Side, theirs: Side
) -> None:
    """Every stream of their server was let in that way; both directions have one."""
    streams = tuple(streams)
    for direction, way in ((True, incoming), (False, outgoing)):
        name = "incoming" if direction else "outgoing"
        these = [stream for stream in streams if stream.incoming is direction]
        others = [stream for stream in these if stream.way is not way]
        require(not others, f"{name} streams not by {way.value}: {others}")
        pairs = {(stream.local, stream.remote) for stream in these}
        require((theirs.domain, ours.domain) in pairs, f"{name}: {sorted(pairs)}")
