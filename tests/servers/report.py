"""One line per check, a summary, an exit code."""

from __future__ import annotations

import asyncio
import signal
import traceback
from collections.abc import Callable, Coroutine
from typing import Any

CHECK_DEADLINE = 180.0


class CheckFailed(AssertionError):
    """A check did not hold; the text says why."""


def require(holds: bool, why: str) -> None:
    """Fails the running check unless `holds`."""
    if not holds:
        raise CheckFailed(why)


class Report:
    """Counts and prints the results of checks, those of one cell of a table after the other."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed = 0
        self._title = ""
        self._before = (0, 0)

    def begin(self, title: str) -> None:
        """What follows belongs to a cell of that name."""
        self._title = title
        self._before = self.passed, self.failed

    @property
    def failed_here(self) -> int:
        """The failures of this cell."""
        return self.failed - self._before[1]

    def result(self) -> str:
        """This cell, in words."""
        passed = self.passed - self._before[0]
        return f"{self._title}: {passed} of {passed + self.failed_here} passed"

    async def check(self, name: str, body: Coroutine[Any, Any, None]) -> bool:
        """Runs one check and prints `ok NAME` or `FAIL NAME: why`."""
        try:
            await asyncio.wait_for(body, CHECK_DEADLINE)
        except TimeoutError:
            return self.note(name, f"not done within {CHECK_DEADLINE:.0f} s")
        except CheckFailed as failure:
            return self.note(name, str(failure))
        except Exception as error:  # the other checks still run
            traceback.print_exc()
            return self.note(name, f"{type(error).__name__}: {error}")
        return self.note(name)

    def note(self, name: str, problem: str | None = None) -> bool:
        """Counts and prints one result."""
        if self._title:
            name = f"{self._title}: {name}"
        if problem is None:
            self.passed += 1
            print(f"ok {name}", flush=True)
        else:
            self.failed += 1
            print(f"FAIL {name}: {problem}", flush=True)
        return problem is None

    def finish(self) -> int:
        """Prints the summary; the exit code."""
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        return 0 if self.failed == 0 and self.passed > 0 else 1


def run(main: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Runs a whole script; SIGTERM unwinds it, so that nothing it started stays behind."""

    async def interruptible() -> int:
        task = asyncio.ensure_future(main())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await task

    try:
        return asyncio.run(interruptible())
    except (asyncio.CancelledError, KeyboardInterrupt):
        print("interrupted", flush=True)
        return 1
