"""Safetensors files, in one piece or in shards."""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from gpt_lightning.atomic_files import atomic_write
from gpt_lightning.errors import InputError

SINGLE: Final = "model.safetensors"
INDEX: Final = "model.safetensors.index.json"
_SHARD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.safetensors")
_DTYPES: Final = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
}
FLOATING: Final = tuple(_DTYPES.values())
"""The kinds of tensor that weights may be; narrower ones need scales that are not in them."""

Parts = tuple[Tensor, ...]
"""A tensor of a file in memory: one tensor, or several whose rows lie one below the other in the file."""


class Stored(NamedTuple):
    """A tensor in a file, as the file's head describes it."""

    file: Path
    shape: tuple[int, ...]
    dtype: str


# --- reading


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object.

    Raises:
        InputError: it is absent, damaged or something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({str(error)[:200]})") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds no JSON object")
    return content


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights of ``folder``, in the order of their names.

    Raises:
        InputError: there are none, both one file and an index of several, or an index that names anything but files
            of this folder.
    """
    single, index = folder / SINGLE, folder / INDEX
    if single.is_file() and index.is_file():
        raise InputError(f"{folder}: has both {SINGLE} and {INDEX}; delete the one that is not meant")
    if single.is_file():
        return [single]
    if index.is_file():
        return sorted({folder / name for name in _weight_map(index).values()})
    if pickles := sorted(folder.glob("*.bin")):
        raise InputError(
            f"{folder}: its weights are pickles ({pickles[0].name}), which could run anything; convert them where they "
            "may: python -c \"import transformers as t; t.AutoModelForCausalLM.from_pretrained('HERE')"
            ".save_pretrained('THERE', safe_serialization=True)\", with the class that its config.json names"
        )
    raise InputError(f"{folder}: has neither {SINGLE} nor {INDEX}")


def stored_tensors(folder: Path) -> dict[str, Stored]:
    """Every tensor in the weights of ``folder``; no weight is read yet.

    Raises:
        InputError: a file is absent, truncated or damaged, or does not hold what the index says.
    """
    found: dict[str, Stored] = {}
    for path in weight_files(folder):
        with opened(path) as file:
            for name in file.keys():  # noqa: SIM118 (no mapping)
                if name in found:
                    raise InputError(f"{path}: tensor {name} is in {found[name].file.name} too")
                part = file.get_slice(name)
                found[name] = Stored(path, tuple(part.get_shape()), part.get_dtype())
    if (folder / INDEX).is_file():
        index = _weight_map(folder / INDEX)
        for name in sorted(index.keys() | found.keys()):
            said, held = index.get(name), found[name].file.name if name in found else None
            if said != held:
                raise InputError(f"{folder / INDEX}: tensor {name} is in {held or 'no file'}, not in {said or 'any'}")
    return found


def read_tensor(name: str, stored: Stored) -> Tensor:
    """The tensor as a view of the file, which is mapped into memory only as long as the view lives.

    Raises:
        InputError: the file is truncated or damaged.
    """
    with opened(stored.file) as file:
        tensor: Tensor = file.get_tensor(name)
    return tensor


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A safetensors file, mapped into memory.

    Raises:
        InputError: it is absent, truncated or damaged.
    """
    try:
        file = safe_open(path, framework="pt")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: truncated, damaged or no safetensors file ({str(error)[:200]})") from None
    with file:
        yield file


def _weight_map(index: Path) -> dict[str, str]:
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise InputError(f"{index}: has no weight_map from tensors to files")
    for name, file in names.items():
        # A name must not lead out of the folder; a link in it may, as in the hub's cache.
        if not (isinstance(file, str) and _SHARD.fullmatch(file)):
            raise InputError(f"{index}: tensor {name} is in {file!r}, which is no name of a safetensors file beside it")
        if not (index.parent / file).is_file():
            raise InputError(f"{index}: tensor {name} is in {file}, which is not there; download it again")
    return names


def shape_of(parts: Parts) -> tuple[int, ...]:
    """Return the shape of the tensor in the file."""
    first = tuple(parts[0].shape)
    return first if len(parts) == 1 else (sum(map(len, parts)), *first[1:])


def fill(parts: Parts, tensor: Tensor) -> None:
    """Copy a tensor of a file into its parts."""
    rows = (tensor,) if len(parts) == 1 else torch.split(tensor, [len(part) for part in parts])
    for part, values in zip(parts, rows, strict=True):
        part.copy_(values)


# --- writing


def write_tensors(folder: Path, tensors: Mapping[str, Parts], dtype: torch.dtype | None, max_shard_bytes: int) -> None:
    """Write ``tensors`` as one file, or as several of at most ``max_shard_bytes`` with an index.

    A tensor that is larger has a file of its own. One tensor at a time is copied.

    Args:
        folder: where.
        tensors: by name; floating.
        dtype: what they are written as; None leaves each as it is.
        max_shard_bytes: of tensors in one file.
    """
    sizes = {name: math.prod(shape_of(parts)) * (dtype or parts[0].dtype).itemsize for name, parts in tensors.items()}
    shards: list[list[str]] = [[]]
    filled = 0
    for name, size in sizes.items():
        if shards[-1] and filled + size > max_shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    if len(shards) == 1:
        write_file(folder / SINGLE, tensors, shards[0], dtype)
        return
    weight_map = {}
    for number, names in enumerate(shards, start=1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        write_file(folder / file, tensors, names, dtype)
        weight_map.update(dict.fromkeys(names, file))
    write_json(folder / INDEX, {"metadata": {"total_size": sum(sizes.values())}, "weight_map": weight_map})


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file, whole or not at all."""
    with atomic_write(path) as file:
        file.write(json.dumps(content, indent=2, allow_nan=False).encode() + b"\n")


def write_file(path: Path, tensors: Mapping[str, Parts], names: Iterable[str], dtype: torch.dtype | None) -> None:
    """Write ``names`` of the tensors as safetensors: the head's length, the head as JSON, the bytes without gaps."""
    # The widest first, so that each begins at a multiple of its width.
    ordered = sorted(names, key=lambda name: (-(dtype or tensors[name][0].dtype).itemsize, name))
    head: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in ordered:
        start, kind, shape = end, dtype or tensors[name][0].dtype, shape_of(tensors[name])
        end += math.prod(shape) * kind.itemsize
        head[name] = {"dtype": _DTYPES[kind], "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with atomic_write(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for part in (part for name in ordered for part in tensors[name]):
            plain = part.detach().to(device="cpu", dtype=dtype).contiguous()
            file.write(plain.view(-1).view(torch.uint8).numpy().data)
