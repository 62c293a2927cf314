"""Model folders with changed configurations, weights and tokenizer settings."""

import json
import struct
from random import Random
from typing import Final

from tests.reliability.fuzz.inputs import Content, Input, Odd
from tests.reliability.fuzz.nasty import as_json, change, changed_json, damage
from tests.reliability.fuzz.world import World

_OTHERS: Final = (
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "adapter_config.json",
)
_MODEL_TYPES: Final = (
    "gpt2",
    "llama",
    "qwen2",
    "qwen3",
    "gemma3_text",
    "mistral",
    "smollm3",
    "olmo2",
    "bert",
    "",
    None,
    5,
)


def draw(rng: Random, world: World) -> Input:
    """Return a command that reads a changed model folder."""
    folder, name = rng.choice((("model", "lm"), ("head", "topics")))
    own = [("generate", "model", "--max_new_tokens=3"), ("lm-eval", "model", "--tasks=beer", "--include_path=tasks")]
    head = [("predict", "--model=head", "--input=topics.jsonl"), ("test", "-c", "topics.yaml", "--ckpt_path=head")]
    reads = [
        *(own if folder == "model" else head),
        ("fit", "-c", f"{name}.yaml", "--experiment=new", f"--model.init_from={folder}", f"--data.tokenizer={folder}"),
        ("export", folder, "new"),
        ("evaluate", folder, f"--test={name}.jsonl" if name == "topics" else "--test=text.txt"),
        ("init", "classification", "--train=topics.jsonl", f"--model={folder}"),
        ("tokenizer", "show", folder, "--text=1 bottle"),
    ]
    if rng.random() < 0.05:
        return Input(reads[0], is_valid=True)
    names = [each for each in world.files(f"{folder}/*") if not each.endswith(".md")]
    names += [f"{folder}/{rng.choice(_OTHERS)}"]
    files = {each: _changed(rng, world, each) for each in rng.sample(names, rng.choice((1, 1, 2)))}
    return Input(rng.choice(reads), files)


def _changed(rng: Random, world: World, name: str) -> Content:
    if not (world.folder / name).is_file():
        contents: list[Content] = [
            b"",
            b"{}",
            b'{"weight_map": {"x": "../model/x"}}',
            b"[]",
            b'{"weight_map": 5}',
            *Odd,
        ]
        return rng.choice(contents)
    content = world.read(name)
    if name.endswith(".safetensors"):
        return _changed_safetensors(rng, content)
    if not name.endswith(".json"):
        return damage(rng, content)
    if name.endswith("/config.json") and rng.random() < 0.2:
        return as_json(json.loads(content) | {"model_type": rng.choice(_MODEL_TYPES)})
    return changed_json(rng, content)


def _changed_safetensors(rng: Random, content: bytes) -> Content:
    """Return a safetensors file with a changed header, which is JSON after its length, or with changed bytes."""
    if rng.random() < 0.4:
        return damage(rng, content)
    size: int = struct.unpack("<Q", content[:8])[0]
    header = as_json(change(rng, json.loads(content[8 : 8 + size])))
    length = rng.choice((len(header), len(header), len(header), 0, 1 << 62, len(header) + 1))
    return struct.pack("<Q", length) + header + content[8 + size :]
