"""The tables of docs/reliability.md, from docs/reliability.json.

    python3 tests/servers/reliability_page.py [--check]

With --check nothing is written: it ends with 1 where the page has other tables.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
PAGE, FIGURES = DOCS / "reliability.md", DOCS / "reliability.json"
BEGIN, END = "<!-- tables of {}: begin -->\n", "<!-- tables of {}: end -->\n"

FAULTS = {
    "nothing": "nothing",
    "reset": "every connection between the hosts is reset",
    "cuts": "the same, three times, 4 s apart",
    "stall": "nothing goes through for 5 s",
    "black-hole": "what is sent is swallowed, for good; new connections work",
    "corrupt": "a byte of each direction is changed",
    "no-names": "the name server ends, and every connection is reset",
    "stop": "the other side is stopped for 5 s (SIGSTOP)",
    "terminate": "the other side ends in order (SIGTERM) and is started again",
    "kill": "the other side is killed (SIGKILL) and started again",
    "hang-and-kill": "it hangs for 3 s, is killed, and started again",
    "kill-server": "the Prosody behind the other router is killed and started again",
}
SUBJECTS = {
    "heteronym": "heteronym",
    "prosody": "Prosody",
    "prosody-resends": "Prosody, resending",
    "ejabberd": "ejabberd",
    "jabberd2": "jabberd2",
}
COUNTS = (
    *("sent", "delivered", "bounced", "false bounce"),
    *("lost", "unread", "doubled", "out of order"),
)
HEADINGS = {"false bounce": "bounced and delivered"}

Row = dict[str, Any]


def table(headings: list[str], lines: list[list[str]]) -> str:
    """A table of Markdown."""
    rows = [headings, ["---"] * len(headings), *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def total(row: Row, word: str) -> int:
    """Of both directions."""
    return int(row["there"][word] + row["back"][word])


def seconds(row: Row | None) -> str:
    """Until all pairs flowed again, or how many did."""
    if row is None:
        return ""
    after = row["seconds until all pairs flow"]
    if after is None:
        return f"not within 310 s: {row['pairs that flow']} of 32 pairs"
    return f"{after:.1f}"


def in_words(row: Row | None) -> str:
    """What went wrong in a row."""
    if row is None:
        return ""
    found = {
        "lost": "**{} lost**",
        "unread": "{} unread",
        "false bounce": "**{} both**",
        "doubled": "**{} doubled**",
        "out of order": "**{} out of order**",
    }
    said = [
        text.format(f"{total(row, word):,}") for word, text in found.items() if total(row, word)
    ]
    if told := total(row, "bounced") - total(row, "false bounce"):
        said.insert(0, f"{told:,} bounced")
    return ", ".join(said) or "–"


def details(rows: list[Row]) -> str:
    """Everything that was counted, in both directions."""
    lines = []
    for row in rows:
        counts = (f"{row['there'][word]} / {row['back'][word]}" for word in COUNTS)
        lines.append([FAULTS[row["fault"]], *counts, seconds(row)])
    counted = (HEADINGS.get(word, word) for word in COUNTS)
    return table(["what happens", *counted, "all pairs flow after (s)"], lines)


def tables() -> dict[str, str]:
    """The tables of both kinds, by the name between the marks."""
    figures = json.loads(FIGURES.read_text())
    rows = figures["rows"]
    slow = {(row["subject"], row["fault"]): row for row in rows if row["rate"] == 500}
    compared = [
        [said, *(in_words(slow.get((subject, fault))) for subject in SUBJECTS)]
        for fault, said in FAULTS.items()
        if fault != "kill-server"
    ]
    recovered = [
        [said, *(seconds(slow.get((subject, fault))) for subject in SUBJECTS)]
        for fault, said in FAULTS.items()
        if fault not in ("nothing", "kill-server")
    ]
    versions = ", ".join(f"{name} {version}" for name, version in figures["versions"].items())
    headings = ["what happens", *SUBJECTS.values()]
    text = {
        "comparison": f"Versions: {versions}.\n\n{table(headings, compared)}",
        "recovery": table(headings, recovered),
    }
    for subject in SUBJECTS:
        for rate in (500, 2000):
            own = [row for row in rows if (row["subject"], row["rate"]) == (subject, rate)]
            if own:
                name = subject if rate == 500 else f"{subject} at {rate}"
                text[name] = details(own)
    return text


def page(text: str) -> str:
    """The page with today's tables."""
    for name, content in tables().items():
        begin, end = BEGIN.format(name), END.format(name)
        before, found, rest = text.partition(begin)
        _, ended, after = rest.partition(end)
        if not found or not ended:
            raise SystemExit(f"{PAGE.name} has no place for the tables of {name}")
        text = f"{before}{begin}\n{content}\n{end}{after}"
    return text


def write() -> None:
    """Puts the tables into the page."""
    PAGE.write_text(page(PAGE.read_text()))


def main() -> int:
    """Writes, or looks."""
    if "--check" not in sys.argv[1:]:
        write()
        return 0
    text = PAGE.read_text()
    if page(text) == text:
        return 0
    print(f"{PAGE.name}: the tables are not those of {FIGURES.name}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
