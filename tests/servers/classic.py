"""A router with a Prosody behind it, and servers that know no router: classic S2S.

    python tests/servers/classic.py --heteronym target/release/heteronym

Everything that users do, with Prosody and ejabberd on the other side: with certificates that each
side trusts, with dialback because neither does, and with dialback and both directions on one
stream. Prints one line per check and ends what it has started. Needs what prosody_pair.py needs,
Prosody with lua-unbound, ejabberd, and root for a private hosts file.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from string import Template

import ejabberd
import prosody
import router
import zone
from certificates import Authority
from checks import Party, both_ways
from processes import NotReady, Process
from prosody_pair import Provider, drained, start_provider
from report import Report, require, run
from sides import Side, pessoa, saramago

# Server, whether both trust one authority, whether it insists on that, further modules of Prosody.
VARIANTS = {
    "Prosody by certificates": ("prosody", True, True, ""),
    "Prosody by dialback": ("prosody", False, False, ""),
    "Prosody by dialback, both ways": ("prosody", False, False, '"s2s_bidi"'),
    "ejabberd by dialback": ("ejabberd", False, False, ""),
    # ejabberd 23.01 offers EXTERNAL, and refuses certificates that are for servers only.
    "ejabberd by dialback after EXTERNAL": ("ejabberd", True, False, ""),
}


async def start_remote(
    variant: str, sides: tuple[Side, Side], folder: Path, dns: str, authority: Authority
) -> Process:
    """The server without a router."""
    ours, side = sides
    server, _, secure, extra_modules = VARIANTS[variant]
    folder.mkdir()
    if server == "ejabberd":
        path = ejabberd.configure(side, folder, authority, secure)
        return await ejabberd.start(side, folder, path, dns, f"{ours.address} {ours.host}\n")
    for name in side.domains:
        authority.certify(name, side.key, folder / "certs")
    prosody.write_accounts(side, folder)
    settings = Template((prosody.HERE / "prosody_remote.cfg.lua").read_text()).substitute(
        folder=folder,
        address=side.address,
        domain=side.domain,
        virtual_hosts="".join(f'VirtualHost "{domain}"\n' for domain in side.user_domains),
        client_port=side.port("client"),
        s2s_port=side.port("s2s"),
        proxy_port=side.port("proxy"),
        dns=dns.replace(":", "@"),
        roots=authority.root,
        secure_auth="true" if secure else "false",
        extra_modules=extra_modules,
    )
    path = folder / "prosody.cfg.lua"
    path.write_text(settings)
    return await prosody.start(side, folder, path)


@contextlib.asynccontextmanager
async def world(variant: str, binary: Path, folder: Path) -> AsyncIterator[tuple[Provider, Side]]:
    """Both sides with a DNS server between them; ends what it started."""
    ours, theirs = saramago(), pessoa()
    records = zone.Zone()
    for side in (ours, theirs):
        records.address(side.host, side.address)
        for domain in side.domains:
            records.server(domain, side.host, side.port("s2s"))
    server = zone.Server(records)
    async with contextlib.AsyncExitStack() as stack:
        await server.start("127.0.73.1")
        stack.callback(server.stop)
        authority = Authority(folder / "authority")
        other = authority if VARIANTS[variant][1] else Authority(folder / "another")
        here = await start_provider(
            binary, ours, folder / ours.host, server.address, authority, stack
        )
        there = await start_remote(
            variant, (ours, theirs), folder / theirs.host, server.address, other
        )
        stack.push_async_callback(there.end)
        yield here, theirs


async def pairs_are_classic(ours: Side, theirs: Side) -> None:
    """The status page says which way the pairs go."""
    _, body = await router.Admin(ours).get("/api/status")
    pairs = [
        pair
        for pair in json.loads(body)["pairs"]
        if (pair["local"], pair["remote"]) == (ours.domain, theirs.domain)
    ]
    ways = {(pair["via"], pair["state"]) for pair in pairs}
    require(ways == {("classic", "active")}, f"{ways}")


async def run_checks(here: Provider, theirs: Side, report: Report) -> None:
    """What users see."""
    ours = here.side
    parties = Party(ours), Party(theirs)
    for party in parties:
        await party.log_in()
    for name, body in both_ways(*parties):
        if name == "logging out":
            await report.check("pairs are classic", pairs_are_classic(ours, theirs))
        await report.check(name, body())
    await report.check(f"{ours.host} drains", drained(here.router))


async def scenario(binary: Path, folder: Path, only: str) -> int:
    """Every variant in `folder`; the exit code."""
    report = Report()
    for variant in (name for name in VARIANTS if only in name):
        print(f"# {variant}", flush=True)
        place = folder / variant.replace(" ", "-").replace(",", "")
        place.mkdir()
        try:
            async with world(variant, binary, place) as (here, theirs):
                await run_checks(here, theirs, report)
        except (NotReady, RuntimeError) as error:
            report.note("set-up", str(error))
    if report.failed:
        for log in sorted(folder.glob("*/*/*.log")):
            print(f"--- {log.relative_to(folder)}", file=sys.stderr)
            print("\n".join(log.read_text(errors="replace").splitlines()[-80:]), file=sys.stderr)
    return report.finish()


async def main() -> int:
    """Reads the command line and runs the scenario."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--heteronym", type=Path, required=True, help="the router's binary")
    parser.add_argument("--only", help="the variants with this word in their names")
    parser.add_argument("--keep", type=Path, help="an empty folder to keep everything in")
    arguments = parser.parse_args()
    binary = arguments.heteronym.resolve()
    if arguments.keep is not None:
        arguments.keep.mkdir(parents=True, exist_ok=True)
        return await scenario(binary, arguments.keep.resolve(), arguments.only or "")
    with tempfile.TemporaryDirectory(prefix="heteronym-classic-") as folder:
        return await scenario(binary, Path(folder), arguments.only or "")


if __name__ == "__main__":
    sys.exit(run(main))
