"""Every cell of the table: a router with a server behind it, and a server on the other side.

    python tests/servers/matrix.py --heteronym target/release/heteronym [--only WORD]

Everything that users do, and that servers prove who they are as the cell says. Prints one line per
check, one per cell and a summary; ends what it has started. Needs the servers of the table, the
openssl command, requirements.txt, and root for private files and port 53.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import router
import zone
from authentication import Way, require_ways
from cells import Cell, cells
from certificates import Authority
from checks import Party, both_ways
from connections import established
from processes import NotReady, Process, until
from provider import Provider, drained, start_provider
from report import Report, require, run
from servers import Local, Site
from sides import Side, pessoa, saramago

DNS = "127.0.73.1"
FAILURES = 3  # in one cell; then the rest is not tried: each has waited for a minute or more


@contextlib.asynccontextmanager
async def world(
    cell: Cell, binary: Path, folder: Path
) -> AsyncIterator[tuple[Provider, Side, Process]]:
    """Both sides with a DNS server between them; ends what it started."""
    ours = cell.local.side(saramago())
    theirs = replace(pessoa(), subdomains=cell.remote.subdomains)
    records = zone.Zone()
    for side in (ours, theirs):
        records.address(side.host, side.address)
        # Our own are found in the same way.
        cell.remote.publish(records, side)
    dns = zone.Server(records)
    hosts = "".join(f"{side.address} {side.host}\n" for side in (ours, theirs))
    async with contextlib.AsyncExitStack() as stack:
        await dns.start(DNS)
        stack.callback(dns.stop)
        authority = Authority(folder / "authority", cell.trust.clients)
        other = authority
        if not cell.trust.one_authority:
            other = Authority(folder / "another", cell.trust.clients)
        here = Site(ours, folder / ours.host, authority, dns, hosts)
        there = Site(theirs, folder / theirs.host, other, dns, hosts)
        provider = await start_provider(binary, here, cell.local, stack)
        there.folder.mkdir()
        server = await cell.remote.start(there, cell.secure, stack)
        yield provider, theirs, server


async def attached(provider: Provider, local: Local) -> None:
    """In the way of the cell, and by one connection that the server gets its stanzas by."""
    side = provider.side
    link = (await router.Admin(side).status())["locals"][0]
    require((link["kind"], link["state"]) == (local.kind, "up"), f"{link}")
    missing = [text for text in local.logged if text not in provider.server.log_text()]
    require(not missing, f"not in the server's log: {missing}")

    # Who asks back does so by connections of its own, which end.
    async def by_one() -> bool:
        return established({(side.address, side.port(local.listener))}) == 1 + local.others

    await until(f"one connection to the port {local.listener}", by_one)


async def pairs_are_active(ours: Side, theirs: Side, via: str) -> None:
    """The status page says which way the pairs go."""
    _, body = await router.Admin(ours).get("/api/status")
    ways = {
        (pair["local"], pair["remote"]): (pair["via"], pair["state"])
        for pair in json.loads(body)["pairs"]
    }
    for pair in product(ours.user_domains, theirs.user_domains):
        require(ways.get(pair) == (via, "active"), f"{pair}: {ways.get(pair)}")


async def proved(
    cell: Cell, incoming: Way, outgoing: Way, server: Process, ours: Side, theirs: Side
) -> None:
    """The remote server's log says how both proved who they are."""
    log = server.log_text()
    require_ways(cell.remote.streams(log), incoming, outgoing, ours, theirs)
    missing = [text for text in cell.logged if text not in log]
    require(not missing, f"not in the log: {missing}")


async def run_checks(
    cell: Cell, provider: Provider, theirs: Side, server: Process, report: Report
) -> None:
    """What users see, and what the servers say about it."""
    ours = provider.side
    parties = Party(ours), Party(theirs)
    for party in parties:
        await party.log_in()
    for name, body in both_ways(*parties):
        if report.failed_here == FAILURES:
            report.note("the other checks", "not tried after so many failures")
            return
        if name == "logging out":
            via = cell.remote.via
            await report.check(f"pairs go by {via}", pairs_are_active(ours, theirs, via))
            await report.check("attached", attached(provider, cell.local))
            for further, check in cell.local.checks(*parties):
                await report.check(further, check())
        await report.check(name, body())
    if cell.incoming is not None and cell.outgoing is not None:
        ways = (cell.incoming, cell.outgoing)
        await report.check("way of authentication", proved(cell, *ways, server, ours, theirs))
    await report.check(f"{ours.host} drains", drained(provider.router))


async def run_cell(cell: Cell, binary: Path, folder: Path, report: Report) -> None:
    """One cell in `folder`; its logs if something failed."""
    report.begin(cell.name)
    started = time.monotonic()
    folder.mkdir()
    try:
        async with world(cell, binary, folder) as (provider, theirs, server):
            await run_checks(cell, provider, theirs, server, report)
    except (NotReady, RuntimeError, OSError) as error:
        report.note("set-up", str(error))
    print(f"# {report.result()} in {time.monotonic() - started:.1f} s", flush=True)
    if report.failed_here:
        for log in sorted(folder.glob("*/*.log")):
            print(f"--- {log.relative_to(folder.parent)}", file=sys.stderr)
            print("\n".join(log.read_text(errors="replace").splitlines()[-80:]), file=sys.stderr)


async def scenario(binary: Path, folder: Path, only: str) -> int:
    """Every cell, one after the other; the exit code."""
    report = Report()
    for number, cell in enumerate(cells(binary)):
        if only in cell.name:
            await run_cell(cell, binary, folder / f"cell-{number}", report)
    return report.finish()


async def main() -> int:
    """Reads the command line and runs the scenario."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--heteronym", type=Path, required=True, help="the router's binary")
    parser.add_argument("--only", default="", help="the cells with this word in their names")
    parser.add_argument("--keep", type=Path, help="an empty folder to keep everything in")
    arguments = parser.parse_args()
    binary = arguments.heteronym.resolve()
    if arguments.keep is not None:
        arguments.keep.mkdir(parents=True, exist_ok=True)
        return await scenario(binary, arguments.keep.resolve(), arguments.only)
    with tempfile.TemporaryDirectory(prefix="heteronym-matrix-") as folder:
        return await scenario(binary, Path(folder), arguments.only)


if __name__ == "__main__":
    sys.exit(run(main))
