"""Every fault with two routers, and with two of each classic server: the whole of docs/reliability.md.

    python tests/servers/reliability.py --heteronym target/release/heteronym [RUN...]

Writes what was counted to docs/reliability.json after each scene, and at the end the tables of the
page. With names of runs only these are measured again, and the other figures stay.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import reliability_page
from faults import BEHIND, RIVALS, Subject, one_fault, verdict
from processes import NotReady
from report import run

PACKAGES = ("prosody", "ejabberd", "jabberd2")
AT_ONCE = 2  # slow scenes; a fast one has the machine for itself


@dataclass(frozen=True)
class Part:
    """One run of all faults."""

    subject: str
    stanzas: int = 5000
    rate: int = 500

    def made_with(self, binary: Path) -> Subject:
        """What is measured."""
        kind = RIVALS.get(self.subject, BEHIND["prosody"])
        return Subject(kind, binary, self.stanzas, self.rate)

    @property
    def at_once(self) -> int:
        """Scenes beside each other."""
        return AT_ONCE if self.rate <= 500 else 1


PARTS = {
    "heteronym": Part("heteronym"),
    "heteronym-fast": Part("heteronym", 40_000, 2000),
    **{rival: Part(rival) for rival in RIVALS},
}


def versions(binary: Path) -> dict[str, str]:
    """Of the router, and of Debian's packages."""
    asked: dict[str, tuple[str, ...]] = {"heteronym": (str(binary), "--version")}
    for package in PACKAGES:
        asked[package] = ("dpkg-query", "-W", "-f", "${Version}", package)
    found = {}
    for name, command in asked.items():
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[name] = done.stdout.strip().rpartition(" ")[2]
    return found


class Figures:
    """The file of all results."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []
        self.versions: dict[str, str] = {}
        if path.exists():
            known = json.loads(path.read_text())
            self.rows, self.versions = known["rows"], known["versions"]

    def take(self, subject: str, row: dict[str, object]) -> None:
        """One more row, or one instead of what was there; the file is written."""
        new = {"subject": subject, **row}
        self.rows = [old for old in self.rows if key(old) != key(new)] + [new]
        order = {(part.subject, part.rate): at for at, part in enumerate(PARTS.values())}
        faults = list(reliability_page.FAULTS)
        self.rows.sort(
            key=lambda row: (order[row["subject"], row["rate"]], faults.index(row["fault"]))
        )
        lines = ",\n".join(f"  {json.dumps(row)}" for row in self.rows)
        text = f'{{"versions": {json.dumps(self.versions)},\n "rows": [\n{lines}\n]}}\n'
        self.path.write_text(text)


def key(row: dict[str, Any]) -> tuple[object, ...]:
    """What there is one row for."""
    return row["subject"], row["rate"], row["fault"]


async def measure(figures: Figures, name: str, binary: Path, keep: Path | None) -> bool:
    """One part; whether all was well."""
    part = PARTS[name]
    subject = part.made_with(binary)
    turn = asyncio.Semaphore(part.at_once)
    folder = None if keep is None else keep / name

    async def in_turn(fault: str) -> bool:
        async with turn:
            try:
                result = await one_fault(subject, fault, folder)
            except NotReady as reason:
                print(f"FAIL {fault}: {reason}", flush=True)
                return False
        figures.take(part.subject, result)
        return verdict(subject, result)

    print(f"# {name}", flush=True)
    return all(await asyncio.gather(*(in_turn(fault) for fault in subject.faults())))


async def main() -> int:
    """Reads the command line and runs each part."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--heteronym", type=Path, required=True, help="the router's binary")
    parser.add_argument("--keep", type=Path, help="an empty folder to keep everything in")
    parser.add_argument("runs", nargs="*", metavar="RUN", help=f"of {', '.join(PARTS)}")
    arguments = parser.parse_args()
    if unknown := set(arguments.runs) - PARTS.keys():
        parser.error(f"no such run: {', '.join(sorted(unknown))}")
    binary = arguments.heteronym.resolve()
    figures = Figures(reliability_page.FIGURES)
    figures.versions = versions(binary)
    good = [
        await measure(figures, name, binary, arguments.keep) for name in arguments.runs or PARTS
    ]
    reliability_page.write()
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(run(main))
