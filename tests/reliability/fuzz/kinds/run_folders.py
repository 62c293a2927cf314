"""Run folders with changed, missing and odd files."""

import json
from random import Random

import yaml

from tests.reliability.fuzz.inputs import Content, Input, Odd
from tests.reliability.fuzz.kinds.checkpoints import commands
from tests.reliability.fuzz.kinds.configs import dump
from tests.reliability.fuzz.nasty import as_json, change, damage
from tests.reliability.fuzz.world import RUNS, World


def draw(rng: Random, world: World) -> Input:
    """Return a command that reads a run folder in which some files are changed."""
    name = rng.choice(RUNS)
    run = f"logs/{name}/version_0"
    reads = [
        *commands(name, run),
        ("evaluate", run),
        ("fit", "-c", f"{run}/config.yaml", f"--ckpt_path={run}"),
        ("compare", run, "logs/lm/version_0"),
        ("inspect", "-c", f"{run}/config.yaml"),
        ("without", run, "--rows=odd/empty.jsonl"),
        ("without", run, f"--rows={name}.jsonl"),
    ]
    if rng.random() < 0.05:
        return Input(rng.choice(reads[3:6]), is_valid=True)
    names = [each for each in world.files(f"{run}/**/*") if not each.endswith(".ckpt")]
    names += [*(f"{run}/{each}" for each in ("metrics.json", "run.lock", "checkpoints/step_3.ckpt", "checkpoints"))]
    files = {each: _changed(rng, world, each) for each in rng.sample(names, rng.choice((1, 1, 1, 2)))}
    return Input(rng.choice(reads), files)


def _changed(rng: Random, world: World, name: str) -> Content:
    if rng.random() < 0.35 or not (world.folder / name).is_file():
        return rng.choice(list(Odd))
    content = world.read(name)
    if name.endswith(".json") and rng.random() < 0.7:
        return as_json(change(rng, json.loads(content)))
    if name.endswith(".yaml") and rng.random() < 0.7:
        return dump(change(rng, yaml.safe_load(content)))
    return damage(rng, content)
