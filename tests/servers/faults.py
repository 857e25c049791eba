"""Two hosts with numbered stanzas between them, and something that goes wrong in the middle.

    python tests/servers/faults.py --heteronym target/release/heteronym [FAULT...]
    python tests/servers/faults.py --between ejabberd [FAULT...]

Everything between the two hosts goes through a proxy of its own. Prints one line for each fault.
Between two routers it ends with 1 where a stanza was lost, doubled, out of order, or came back
although it had arrived; what classic servers do is only counted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from signal import SIGCONT, SIGSTOP

from report import run
from rivals import Ejabberd, Jabberd2, Prosody, ProsodyResends
from routers import Router, WithProsody
from scene import DOMAINS, PAIRS, Host, Scene, build
from traffic import settled, talk, try_again

PATIENCE = 40.0  # longer than anything waits in a router by default
PATIENCE_WITH_RIVALS = 75.0
RECOVERY = 310.0  # so long after the fault, traffic is waited for: ejabberd pauses for up to 300 s


async def nothing(_scene: Scene) -> None:
    """Nothing goes wrong."""


async def reset(scene: Scene) -> None:
    """Every connection between the hosts is reset."""
    for proxy in scene.proxies():
        proxy.reset()


async def cuts(scene: Scene) -> None:
    """A reset every 4 seconds."""
    for _ in range(2):
        await reset(scene)
        await asyncio.sleep(4)
    await reset(scene)


async def stall(scene: Scene) -> None:
    """Nothing goes through for 5 seconds."""
    for proxy in scene.proxies():
        proxy.stall()
    await asyncio.sleep(5)
    for proxy in scene.proxies():
        proxy.flow()


async def black_hole(scene: Scene) -> None:
    """What is sent is taken and goes nowhere, for good; new connections work."""
    for proxy in scene.proxies():
        proxy.swallow()


async def corrupt(scene: Scene) -> None:
    """A byte of each direction changes."""
    for proxy in scene.proxies():
        proxy.corrupt = 2


async def terminate(scene: Scene) -> None:
    """The other side is told to end, and started again."""
    await scene.other.end()
    await scene.other.start()


async def kill(scene: Scene) -> None:
    """The other side is gone, and started again."""
    await scene.other.kill()
    await scene.other.start()


async def hang_and_kill(scene: Scene) -> None:
    """The other side hangs for 3 seconds, is killed, and started again."""
    scene.other.signal(SIGSTOP)
    await asyncio.sleep(3)
    await kill(scene)


async def stop(scene: Scene) -> None:
    """The other side is stopped for 5 seconds."""
    scene.other.signal(SIGSTOP)
    await asyncio.sleep(5)
    scene.other.signal(SIGCONT)


async def no_names(scene: Scene) -> None:
    """The name server is gone, and so is every connection."""
    scene.names.stop()
    await reset(scene)


async def kill_server(scene: Scene) -> None:
    """The server behind the other router is gone, and started again."""
    await scene.other.kill_server()
    await scene.other.start_server()


FAULTS: dict[str, Callable[[Scene], Awaitable[None]]] = {
    "nothing": nothing,
    "reset": reset,
    "cuts": cuts,
    "stall": stall,
    "black-hole": black_hole,
    "corrupt": corrupt,
    "no-names": no_names,
    "stop": stop,
    "terminate": terminate,
    "kill": kill,
    "hang-and-kill": hang_and_kill,
    "kill-server": kill_server,
}
# A router that is killed takes with it what its own server had given it: there is no disk.
KILLS = ("kill", "hang-and-kill")
RIVALS: dict[str, type[Host]] = {
    "prosody": Prosody,
    "prosody-resends": ProsodyResends,
    "ejabberd": Ejabberd,
    "jabberd2": Jabberd2,
}
BEHIND: dict[str, type[Host]] = {"component": Router, "prosody": WithProsody}


@dataclass(frozen=True)
class Subject:
    """What stands on each side, and what it is given to do."""

    kind: type[Host]
    binary: Path
    stanzas: int
    rate: float

    @property
    def is_router(self) -> bool:
        """Whether the two sides are routers."""
        return issubclass(self.kind, Router)

    @property
    def patience(self) -> float:
        """How long nothing has to happen until nothing more is expected."""
        return PATIENCE if self.is_router else PATIENCE_WITH_RIVALS

    def faults(self) -> list[str]:
        """Those that can happen to it."""
        return [name for name in FAULTS if name != "kill-server" or self.kind is WithProsody]


async def measure(subject: Subject, scene: Scene, fault: str) -> dict[str, object]:
    """One fault in the middle of the traffic; what came of it."""
    loop = asyncio.get_running_loop()
    parties = scene.one.party, scene.other.party
    talking = asyncio.ensure_future(talk(*parties, DOMAINS, subject.stanzas, subject.rate))
    await asyncio.sleep(subject.stanzas / subject.rate / 4)
    moment = loop.time()
    await FAULTS[fault](scene)
    over = loop.time()
    await talking
    trying = asyncio.ensure_future(try_again(*parties, DOMAINS, over))
    await settled(scene.ledgers(), subject.patience)
    await asyncio.wait((trying,), timeout=max(over + RECOVERY - loop.time(), 0))
    trying.cancel()
    there, back = (ledger.outcomes() for ledger in scene.ledgers())
    flows = [ledger.flows_after(over) for ledger in scene.ledgers()]
    every = all(len(pairs) == PAIRS for pairs in flows)
    seconds = [after for pairs in flows for after in pairs.values()]
    tail = max(ledger.tail() for ledger in scene.ledgers())
    return {
        "fault": fault,
        "stanzas": subject.stanzas,
        "rate": subject.rate,
        "rate reached": round(sum(ledger.rate() for ledger in scene.ledgers())),
        "seconds of the fault": round(over - moment, 2),
        "there": there,
        "back": back,
        "seconds until one pair flows": round(min(seconds), 2) if seconds else None,
        "seconds until all pairs flow": round(max(seconds), 2) if every else None,
        "pairs that flow": sum(len(pairs) for pairs in flows),
        "seconds from the last sent to the last delivered": round(tail, 2),
        **{
            words: [value, (await scene.other.counters())[words]]
            for words, value in (await scene.one.counters()).items()
        },
    }


def wrong(result: dict[str, object]) -> list[str]:
    """What must not be, between two routers."""
    killed = result["fault"] in KILLS
    server_killed = result["fault"] == "kill-server"
    problems = []
    for way in ("there", "back"):
        counts = result[way]
        assert isinstance(counts, dict)
        if killed and way == "back":
            # The side that died could not keep what its server had given it.
            continue
        # A server that dies behind its router may have read what it gets once more.
        at_least_once = killed or (server_killed and way == "there")
        wanted: tuple[str, ...] = ("lost",) if server_killed else ("lost", "out of order")
        if not at_least_once:
            wanted = ("lost", "doubled", "false bounce", "out of order")
        problems += [f"{way}: {counts[word]} {word}" for word in wanted if counts[word]]
        if counts["delivered"] == 0:
            problems.append(f"{way}: nothing delivered")
    return problems


async def one_fault(subject: Subject, fault: str, keep: Path | None) -> dict[str, object]:
    """A scene of its own for a fault; what came of it."""
    with tempfile.TemporaryDirectory(prefix="heteronym-faults-") as temporary:
        folder = Path(temporary) if keep is None else keep.resolve() / fault
        folder.mkdir(parents=True, exist_ok=True)
        async with AsyncExitStack() as stack:
            scene = await build(subject.kind, subject.binary, folder, stack)
            await scene.warm_up()
            result = await measure(subject, scene, fault)
    return result


def verdict(subject: Subject, result: dict[str, object]) -> bool:
    """Prints a result; whether it is as it has to be."""
    problems = wrong(result) if subject.is_router else []
    print(json.dumps(result), flush=True)
    word = "FAIL" if problems else "ok" if subject.is_router else "counted"
    print(f"{word} {result['fault']} {'; '.join(problems)}".rstrip(), flush=True)
    return not problems


async def main() -> int:
    """Reads the command line and runs each fault."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--heteronym", type=Path, help="the router's binary")
    parser.add_argument("--between", choices=("heteronym", *RIVALS), default="heteronym")
    parser.add_argument("--behind", choices=BEHIND, default="component")
    parser.add_argument("--stanzas", type=int, default=5000, help="in both directions together")
    parser.add_argument("--rate", type=float, default=500, help="stanzas a second")
    parser.add_argument("--at-once", type=int, default=1, help="faults, each in a scene of its own")
    parser.add_argument("--keep", type=Path, help="an empty folder to keep everything in")
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=f"of {', '.join(FAULTS)}")
    arguments = parser.parse_args()
    if arguments.between == "heteronym" and arguments.heteronym is None:
        parser.error("two routers need --heteronym")
    kind = RIVALS.get(arguments.between, BEHIND[arguments.behind])
    binary = (arguments.heteronym or Path("heteronym")).resolve()
    subject = Subject(kind, binary, arguments.stanzas, arguments.rate)
    faults = arguments.faults or subject.faults()
    turn = asyncio.Semaphore(arguments.at_once)

    async def in_turn(fault: str) -> bool:
        async with turn:
            return verdict(subject, await one_fault(subject, fault, arguments.keep))

    good = sum(await asyncio.gather(*(in_turn(fault) for fault in faults)))
    print(f"{good} passed, {len(faults) - good} failed", flush=True)
    return 0 if good == len(faults) else 1


if __name__ == "__main__":
    sys.exit(run(main))
