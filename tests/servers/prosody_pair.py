"""Two routers and two Prosodys on this machine, and what their users do with each other.

    python tests/servers/prosody_pair.py --heteronym target/release/heteronym

Writes certificates, a DNS zone and all configurations into a temporary folder, starts everything
on loopback addresses, prints one line per check and ends what it has started. Needs Prosody 0.12
or later, the openssl command and requirements.txt.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path

import prosody
import zone
from certificates import Authority
from checks import Party, both_ways
from connections import established
from processes import POLL, NotReady
from provider import Provider, drained, start_provider
from report import Report, require, run
from servers import Site
from sides import Side, pessoa, saramago

SETTLING = 5.0  # both hosts may have dialled: one of the two connections ends


@contextlib.asynccontextmanager
async def providers(binary: Path, folder: Path) -> AsyncIterator[tuple[Provider, Provider]]:
    """Both sides with a DNS server between them; ends what it started."""
    sides = (saramago(), pessoa())
    records = zone.Zone()
    for side in sides:
        records.address(side.host, side.address)
        for domain in side.domains:
            records.host(domain, side.host, side.port("federation"))
    server = zone.Server(records)
    async with contextlib.AsyncExitStack() as stack:
        await server.start("127.0.73.1")
        stack.callback(server.stop)
        authority = Authority(folder / "authority")
        one, other = [
            await start_provider(
                binary,
                Site(side, folder / side.host, authority, server),
                prosody.WithModule(),
                stack,
            )
            for side in sides
        ]
        yield one, other


async def connected_once(listeners: set[tuple[str, int]]) -> int:
    """The number of host connections, once it is 1 or has not become so in time."""
    loop = asyncio.get_running_loop()
    end = loop.time() + SETTLING
    while (count := established(listeners)) != 1 and loop.time() < end:
        await asyncio.sleep(POLL)
    return count


async def status_command(binary: Path, provider: Provider, peer: Side) -> None:
    """`heteronym status` shows the host, the pairs and the local link."""
    child = await asyncio.create_subprocess_exec(
        *(str(binary), "status", "--json", "-c", str(provider.configuration)),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await child.communicate()
    require(child.returncode == 0, f"exit code {child.returncode}")
    document = json.loads(output)
    hosts = [host["name"] for host in document["hosts"] if host["state"] == "active"]
    require(hosts == [peer.host], f"active hosts: {hosts}")
    local = [(link["kind"], link["state"]) for link in document["locals"]]
    require(local == [("component", "up")], f"local links: {local}")
    pairs = {
        (pair["local"], pair["remote"])
        for pair in document["pairs"]
        if pair["state"] == "active" and pair["via"] == "federation"
    }
    wanted = set(product(provider.side.user_domains, peer.domains))
    require(wanted <= pairs, f"not active: {sorted(wanted - pairs)}")


async def run_checks(binary: Path, one: Provider, other: Provider, report: Report) -> None:
    """Everything that is asserted, and the number of host connections after each check."""
    parties = Party(one.side), Party(other.side)
    for party in parties:
        await party.log_in()
    listeners = {(p.side.address, p.side.port("federation")) for p in (one, other)}
    counts = set()
    for name, body in both_ways(*parties):
        await report.check(name, body())
        counts.add(await connected_once(listeners))
    for provider, peer in ((one, other), (other, one)):
        name = f"heteronym status on {provider.side.host}"
        await report.check(name, status_command(binary, provider, peer.side))
    print(f"host connections: {', '.join(str(count) for count in sorted(counts))}", flush=True)
    report.note("one host connection", None if counts == {1} else f"counted {sorted(counts)}")
    for provider in (one, other):
        await report.check(f"{provider.side.host} drains", drained(provider.router))


async def scenario(binary: Path, folder: Path) -> int:
    """The whole run in `folder`; the exit code."""
    report = Report()
    try:
        async with providers(binary, folder) as (one, other):
            await run_checks(binary, one, other, report)
    except (NotReady, RuntimeError) as error:
        report.note("set-up", str(error))
    if report.failed:
        for log in sorted(folder.glob("*/*.log")):
            print(f"--- {log.relative_to(folder)}", file=sys.stderr)
            print("\n".join(log.read_text(errors="replace").splitlines()[-80:]), file=sys.stderr)
    return report.finish()


async def main() -> int:
    """Reads the command line and runs the scenario."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--heteronym", type=Path, required=True, help="the router's binary")
    parser.add_argument("--keep", type=Path, help="an empty folder to keep everything in")
    arguments = parser.parse_args()
    binary = arguments.heteronym.resolve()
    if arguments.keep is not None:
        arguments.keep.mkdir(parents=True, exist_ok=True)
        return await scenario(binary, arguments.keep.resolve())
    with tempfile.TemporaryDirectory(prefix="heteronym-prosody-") as folder:
        return await scenario(binary, Path(folder))


if __name__ == "__main__":
    sys.exit(run(main))
