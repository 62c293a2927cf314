"""``python -m tests.reliability.fuzz SEED NUMBER``: run one input again, or a range of inputs."""

import argparse
import tempfile
from pathlib import Path

from tests.reliability.fuzz.campaign import Campaign, describe, draw
from tests.reliability.fuzz.check import fault
from tests.reliability.fuzz.kinds import KINDS
from tests.reliability.fuzz.runner import LIMIT_S, Server
from tests.reliability.fuzz.world import build


def main() -> None:
    """Run one input and print what it did, or run a range and print its faults."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("number", type=int, help="number of the input, or the first one of a range")
    parser.add_argument("--until", type=int, help="end of a range")
    parser.add_argument("--kind", choices=KINDS, help="draw inputs of one kind only")
    parser.add_argument("--servers", type=int, default=1, help="inputs at the same time")
    parser.add_argument("--seconds", type=float, default=LIMIT_S, help="time limit of one input")
    parser.add_argument("--folder", type=Path, help="folder for faults; by default a new one")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="fuzz_"))
    if options.until is not None:
        campaign = Campaign(folder, options.seed, options.kind, options.seconds)
        report = campaign.run(
            range(options.number, options.until), options.servers, lambda text: print(text, "\n", flush=True)
        )
        print(f"inputs: {dict(report.tried)}, exit code 0: {dict(report.succeeded)}, slow work: {report.busy}")
        print(f"{report.seconds:.0f} s of commands, {report.counts.total()} faults of {len(report.faults)} kinds")
        for kind, number in report.counts.most_common():
            print(f"{number:5} {kind}")
        return
    with Server(folder / "home") as server:
        world = build(server, folder / "world")
        _, each = draw(options.seed, options.number, world, options.kind)
        outcome = server.run(each, world.folder, folder / "input", options.seconds)
        print(
            describe(options.seed, options.number, options.kind, fault(each, outcome), each, outcome, folder / "input")
        )


if __name__ == "__main__":
    main()
