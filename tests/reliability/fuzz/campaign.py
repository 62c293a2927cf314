"""Numbered inputs of a seed, run one after the other or in several servers at once."""

import shlex
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from threading import Lock

from tests.reliability.fuzz.check import fault
from tests.reliability.fuzz.inputs import Input
from tests.reliability.fuzz.kinds import KINDS
from tests.reliability.fuzz.runner import LIMIT_S, Outcome, Server
from tests.reliability.fuzz.world import World, build


@dataclass
class Report:
    """Counts of a campaign, and its faults.

    Attributes:
        tried: kind of input -> number of inputs.
        succeeded: kind of input -> number of commands that ended with 0.
        busy: number of commands that were stopped during slow work.
        seconds: duration of all commands together.
        faults: kind of fault -> description of the first input that has it.
        counts: kind of fault -> number of inputs.
    """

    tried: Counter[str] = field(default_factory=Counter)
    succeeded: Counter[str] = field(default_factory=Counter)
    busy: int = 0
    seconds: float = 0.0
    faults: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)


def draw(seed: int, number: int, world: World, kind: str | None = None) -> tuple[str, Input]:
    """Return the kind and the input with a number; it does not depend on the inputs before it."""
    rng = Random(f"{seed} {number} {kind}")
    name = kind or list(KINDS)[number % len(KINDS)]
    return name, KINDS[name](rng, world)


class Campaign:
    """Servers and a world in a folder, for the inputs of one seed."""

    def __init__(self, folder: Path, seed: int, kind: str | None = None, seconds: float = LIMIT_S) -> None:
        self.folder, self.seed, self.kind, self.seconds = folder, seed, kind, seconds
        self.report = Report()
        self._lock = Lock()

    def run(self, numbers: Sequence[int], servers: int = 1, tell: Callable[[str], None] = print) -> Report:
        """Run the inputs with these numbers."""
        with Server(self.folder / "home_0") as first:
            world = build(first, self.folder / "world")
            # Each server takes the next number when it is free, because some kinds of input take longer than others.
            remaining = iter(numbers)
            if servers == 1:
                self._run(first, world, remaining, tell)
                return self.report
            with ThreadPoolExecutor(servers) as pool:
                done = [pool.submit(self._run, first, world, remaining, tell)]
                done += [pool.submit(self._run_apart, index, world, remaining, tell) for index in range(1, servers)]
                for each in done:
                    each.result()
        return self.report

    def _run_apart(self, index: int, world: World, numbers: Iterator[int], tell: Callable[[str], None]) -> None:
        with Server(self.folder / f"home_{index}") as server:
            self._run(server, world, numbers, tell)

    def _run(self, server: Server, world: World, numbers: Iterator[int], tell: Callable[[str], None]) -> None:
        for number in numbers:
            name, each = draw(self.seed, number, world, self.kind)
            folder = self.folder / "runs" / str(number) / "input"
            folder.parent.mkdir(parents=True)
            outcome = server.run(each, world.folder, folder, self.seconds)
            found = fault(each, outcome)
            with self._lock:
                self._count(name, outcome, found)
                if found is not None and self.report.counts[found] == 1:
                    self.report.faults[found] = self._keep(number, name, found, each, outcome, world)
                    tell(self.report.faults[found])
            shutil.rmtree(folder.parent)

    def _count(self, name: str, outcome: Outcome, found: str | None) -> None:
        self.report.tried[name] += 1
        self.report.succeeded[name] += outcome.code == 0
        self.report.busy += outcome.stopped == "busy"
        self.report.seconds += outcome.seconds
        self.report.counts.update([found] if found is not None else [])

    def _keep(self, number: int, name: str, found: str, each: Input, outcome: Outcome, world: World) -> str:
        """Write an input with a fault to a folder of its own, and return its description."""
        folder = self.folder / "faults" / f"{number}_{name}"
        each.write(world.folder, folder)
        return describe(self.seed, number, self.kind, found, each, outcome, folder)


def describe(
    seed: int, number: int, kind: str | None, found: str | None, each: Input, outcome: Outcome, folder: Path
) -> str:
    """Return a description of an input and its outcome, with a command that runs it again."""
    again = f"python -m tests.reliability.fuzz {seed} {number}" + (f" --kind {kind}" if kind else "")
    stdin = f" < STDIN ({len(each.stdin)} bytes: {each.stdin[:200]!r})" if each.stdin else ""
    lines = [
        found or "no fault",
        f"again: {again}",
        f"files: {', '.join(each.files) or 'none changed'}",
        f"line:  cd {folder} && {shlex.join(('gpt-lightning', *each.arguments))[:1000]}{stdin}",
        f"code {outcome.code}, {outcome.seconds:.1f} s, {outcome.steps} steps, {outcome.calls} calls, "
        f"{outcome.memory_mb} MB",
        *("--- stdout", outcome.out[-500:], "--- stderr", outcome.err[-3000:]),
    ]
    return "\n".join(_printable(line) for line in lines)


def _printable(text: str) -> str:
    """Return a text with escapes for characters that a terminal would not show."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)
