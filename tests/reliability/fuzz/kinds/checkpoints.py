"""Checkpoints with changed fields, tensors and bytes."""

import io
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, Final

import torch

from gpt_lightning.atomic_files import sha256
from gpt_lightning.checkpoints.manifest import FILE, Manifest
from tests.reliability.fuzz.inputs import Content, Input, Odd
from tests.reliability.fuzz.nasty import VALUES, change, damage, deep
from tests.reliability.fuzz.world import GENERATORS, RUNS, World

TENSORS: Final[list[Callable[[torch.Tensor], Any]]] = [
    lambda x: x.to_sparse(),
    lambda x: x.to("meta"),
    lambda x: x * float("nan"),
    lambda x: x * float("inf"),
    lambda x: x[:0],
    lambda x: x.reshape(-1),
    lambda x: x.double(),
    lambda x: x.to(torch.int8),
    lambda x: x.to(torch.complex64),
    lambda x: x[None],
    lambda _: torch.zeros(1).expand(1 << 40),
    lambda x: x.tolist(),
    lambda _: None,
    lambda _: torch.tensor(1.0),
    lambda x: x.bool(),
    lambda x: x.to(torch.bfloat16),
    lambda x: torch.nn.Parameter(x.float()),
    lambda x: x.to(torch.float8_e4m3fn),
    lambda _: torch.zeros(0, 1 << 50),
    lambda x: x * 1e30,
]
"""Changes of a tensor."""


def draw(rng: Random, world: World) -> Input:
    """Return a command that reads a changed checkpoint."""
    name = rng.choice(RUNS)
    file = world.checkpoint(name)
    is_valid = rng.random() < 0.05
    content: Content = world.read(file) if is_valid else _changed(rng, world.read(file))
    files: dict[str, Content] = {file: content}
    manifest = str(Path(file).with_name(FILE))
    if isinstance(content, bytes) and rng.random() < 0.8:
        files[manifest] = _manifest(world, file, content)
    elif not is_valid and rng.random() < 0.5:
        files[manifest] = Odd.MISSING
    model = rng.choice((file, f"logs/{name}/version_0"))
    return Input(rng.choice(commands(name, model)[: 1 if is_valid else None]), files, is_valid=is_valid)


def commands(name: str, model: str) -> list[tuple[str, ...]]:
    """Return command lines that read a model of a task; the first one needs nothing but the model."""
    config = ("-c", f"{name}.yaml")
    own = (
        ("generate", model, "--prompt=1 bottle", "--max_new_tokens=3")
        if name in GENERATORS
        else ("predict", f"--model={model}", f"--input={name}.jsonl")
    )
    return [
        own,
        ("fit", *config, f"--ckpt_path={model}", "--trainer.max_steps=4"),
        ("fit", *config, "--resume=auto", "--trainer.max_steps=4"),
        ("fit", *config, "--experiment=new", f"--model.init_from={model}"),
        ("validate", *config, f"--ckpt_path={model}"),
        ("test", *config, f"--ckpt_path={model}"),
        ("export", model, "new"),
        ("evaluate", f"logs/{name}/version_0", "--again"),
        ("explain", model, *(("--text=1 bottle",) if name in GENERATORS else (f"--input={name}.jsonl", "--limit=1"))),
        ("bias", model, "--pairs=pairs.jsonl" if name in GENERATORS else f"--input={name}.jsonl"),
    ]


def _changed(rng: Random, content: bytes) -> Content:
    if rng.random() < 0.2:
        return damage(rng, content)
    checkpoint = torch.load(io.BytesIO(content), weights_only=True)
    kind = rng.random()
    if kind < 0.3:
        place, key = rng.choice(list(_tensors(checkpoint)))
        place[key] = rng.choice(TENSORS)(place[key])
    elif kind < 0.4:
        key = rng.choice(list(checkpoint))
        checkpoint[key] = rng.choice([*VALUES, deep([], 300), torch.zeros(3), torch.zeros(0)])
    elif kind < 0.7:
        key = rng.choice([key for key in checkpoint if "state" not in key])
        checkpoint[key] = change(rng, checkpoint[key])
    else:
        checkpoint = change(rng, checkpoint)
    file = io.BytesIO()
    torch.save(checkpoint, file)
    return file.getvalue()


def _tensors(value: Any) -> Any:
    """Yield every (container, key) of a tensor in nested dicts and lists."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in pairs:
        if isinstance(item, torch.Tensor):
            yield value, key
        else:
            yield from _tensors(item)


def _manifest(world: World, file: str, content: bytes) -> bytes:
    """Return the manifest with the size and the digest of a changed checkpoint."""
    with tempfile.TemporaryDirectory() as name:
        folder, old = Path(name), Manifest.read((world.folder / file).parent)
        path = folder / Path(file).name
        path.write_bytes(content)
        entries = (
            replace(each, size=len(content), sha256=sha256(path)) if each.file == path.name else each
            for each in old.checkpoints
        )
        replace(old, checkpoints=tuple(entries)).write(folder)
        return (folder / FILE).read_bytes()
