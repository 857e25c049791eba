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


class LeftOut(Exception):
    """A check is about what a server does not have; the text says what that is."""


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
        except LeftOut as reason:
            print(f"left out {self._full(name)}: {reason}", flush=True)
            return True
        except CheckFailed as failure:
            return self.note(name, str(failure))
        except Exception as error:  # the other checks still run
            traceback.print_exc()
            return self.note(name, f"{type(error).__name__}: {error}")
        return self.note(name)

    def note(self, name: str, problem: str | None = None) -> bool:
        """Counts and prints one result."""
        if problem is None:
            self.passed += 1
            print(f"ok {self._full(name)}", flush=True)
        else:
            self.failed += 1
            print(f"FAIL {self._full(name)}: {problem}", flush=True)
        return problem is None

    def _full(self, name: str) -> str:
        return f"{self._title}: {name}" if self._title else name

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
