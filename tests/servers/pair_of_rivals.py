"""Two of a classic server that speak S2S with each other, for the load harness.

    python tests/servers/pair_of_rivals.py prosody --near d0.a.lit,d1.a.lit --far d0.b.lit,d1.b.lit

Prints one line of JSON when components can attach: where, for each domain of both sides; the
processes whose work counts; the ports of S2S. Runs until its standard input closes, and ends
everything it has started. Exit code 2: the server is not installed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import shutil
import sys
import tempfile
import threading
from contextlib import AsyncExitStack
from pathlib import Path
from typing import ClassVar

from processes import NotReady
from proxy import Proxy
from report import run
from rivals import Ejabberd, Jabberd2, Prosody, Rival
from scene import SECRET, Host, Plan, Scene, set_up
from sides import free_port

ADDRESS = "127.0.0.1"
DESCRIPTORS = 65_536  # Prosody and ejabberd have two connections for each pair
NOT_INSTALLED = 2
INTRODUCTION = "introduction"  # below the first domain of a side: a domain that only we use
# Stanzas that may wait in one process of Erlang; ejabberd ends a stream with more than 10,000.
QUEUE = 10_000_000


class UnderLoad(Rival):
    """It keeps nothing, and would take long to end thousands of streams."""

    async def stop(self) -> None:
        """Ends it at once."""
        await self.kill()


class ProsodyUnderLoad(UnderLoad, Prosody):
    """Nothing is limited as it comes; without XEP-0198, which components do not have by themselves."""

    level: ClassVar[str] = "warn"
    smacks: ClassVar[bool] = False


class EjabberdUnderLoad(UnderLoad, Ejabberd):
    """With longer queues, new attempts soon, and Erlang's sockets without Nagle's algorithm."""

    further: ClassVar[dict[str, object]] = {
        "loglevel": "warning",
        "max_fsm_queue": QUEUE,
        "s2s_max_retry_delay": 1,  # seconds
    }
    flags: ClassVar[tuple[str, ...]] = (
        *("-kernel", "inet_default_connect_options", "[{nodelay,true}]"),
        *("-kernel", "inet_default_listen_options", "[{nodelay,true}]"),
    )


class Jabberd2UnderLoad(UnderLoad, Jabberd2):
    """Nothing is limited as it comes, and Nagle's algorithm cannot be switched off."""


KINDS: dict[str, type[Host]] = {
    "prosody": ProsodyUnderLoad,
    "ejabberd": EjabberdUnderLoad,
    "jabberd2": Jabberd2UnderLoad,
}
COMMANDS = {
    "prosody": ("prosody",),
    "ejabberd": ("ejabberdctl", "erl", "unshare"),
    "jabberd2": ("jabberd2-router", "jabberd2-s2s", "unshare"),
}


def names_address() -> str:
    """Of the name server, whose port 53 no other pair has that runs at the same time."""
    return f"127.{20 + os.getpid() % 200}.{os.getpid() // 200 % 250}.1"


def attachments(host: Host) -> list[dict[str, str]]:
    """A component for each domain."""
    address = f"{host.address}:{host.port('components')}"
    own, *wanted = host.domains
    assert own.startswith(INTRODUCTION)
    return [{"address": address, "domain": domain, "secret": SECRET} for domain in wanted]


async def introduce(scene: Scene) -> None:
    """A stanza each way between the two domains of our own, so that both connections are there.

    While one connection of jabberd2 goes over to TLS, another that has much to carry may break:
    what OpenSSL has to say of the one is taken for the other's.
    """
    ends = [host.party.by_domain[host.domains[0]] for host in (scene.one, scene.other)]
    for end in ends:
        await end.start()
    scene.domains = (scene.one.domains[:1], scene.other.domains[:1])
    scene.begin_ledgers()
    await scene.warm_up()
    for end in ends:
        await end.stop()


def description(scene: Scene) -> dict[str, object]:
    """What the harness has to know."""
    hosts = scene.one, scene.other
    return {
        "sides": [attachments(host) for host in hosts],
        "pids": [process.child.pid for host in hosts for process in host.processes],
        "ports": [host.outside for host in hosts],
    }


async def one_ends(scene: Scene) -> None:
    """Waits until one of the servers has ended by itself, and says so."""
    processes = [process for host in (scene.one, scene.other) for process in host.processes]
    ends = [asyncio.ensure_future(process.child.wait()) for process in processes]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    for process in processes:
        if process.child.returncode is not None:
            print(f"{process.name} has ended: {process.log_tail(5)}", file=sys.stderr)


async def serve(server: str, plan: Plan, folder: Path) -> int:
    """Both, until this is cancelled; the exit code if it ends before."""
    async with AsyncExitStack() as stack:
        scene = await set_up(KINDS[server], Path(server), folder, stack, plan)
        if server == "jabberd2":
            await introduce(scene)
        print(json.dumps(description(scene)), flush=True)
        await one_ends(scene)
    return 1


async def until_input_closes(serving: asyncio.Task[int]) -> int:
    """Cancels it when standard input closes; the exit code."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        with contextlib.suppress(RuntimeError):  # all is over by another cause
            loop.call_soon_threadsafe(serving.cancel)

    threading.Thread(target=read, daemon=True).start()
    try:
        return await serving
    except asyncio.CancelledError:
        this = asyncio.current_task()
        if this is not None and this.cancelling():
            raise
        return 0


def by_comma(text: str) -> tuple[str, ...]:
    """The domains of one side, or the ports of both."""
    return tuple(text.split(","))


def planned(arguments: argparse.Namespace) -> Plan:
    """Everything is on 127.0.0.1, but for the name server."""
    ports = [int(port) for port in arguments.s2s or (free_port(ADDRESS), free_port(ADDRESS))]
    near, far = (Proxy(ADDRESS, (ADDRESS, port)) for port in ports)
    near.port, far.port = (int(port) for port in arguments.reached_at or ports)
    domains = (
        (f"{INTRODUCTION}.{arguments.near[0]}", *arguments.near),
        (f"{INTRODUCTION}.{arguments.far[0]}", *arguments.far),
    )
    return Plan(domains, names_address(), (near, far))


async def main() -> int:
    """Reads the command line, and runs the pair."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("server", choices=KINDS)
    parser.add_argument("--near", type=by_comma, required=True, metavar="DOMAIN,...")
    parser.add_argument("--far", type=by_comma, required=True, metavar="DOMAIN,...")
    parser.add_argument("--s2s", type=by_comma, metavar="NEAR,FAR", help="where they listen")
    parser.add_argument(
        "--reached-at",
        type=by_comma,
        metavar="NEAR,FAR",
        help="the ports that names lead to, where something stands between the two",
    )
    parser.add_argument("--folder", type=Path, help="an empty folder to keep everything in")
    arguments = parser.parse_args()
    for command in COMMANDS[arguments.server]:
        if shutil.which(command) is None:
            print(f"{arguments.server} is not installed: no {command}", file=sys.stderr)
            return NOT_INSTALLED
    with contextlib.suppress(ValueError, OSError):  # what there is may do
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    with tempfile.TemporaryDirectory(prefix="heteronym-rivals-") as temporary:
        folder = Path(temporary)
        if arguments.folder is not None:
            folder = arguments.folder.resolve()
            folder.mkdir(parents=True, exist_ok=True)
        try:
            serving = serve(arguments.server, planned(arguments), folder)
            return await until_input_closes(asyncio.ensure_future(serving))
        except (NotReady, RuntimeError) as error:
            print(f"{arguments.server}: {error}", file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(run(main))
