"""Reading and writing of safetensors files, single or in shards."""

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
from gpt_lightning.bounded_files import read_json_object
from gpt_lightning.errors import InputError

SINGLE_FILE: Final = "model.safetensors"
INDEX_FILE: Final = "model.safetensors.index.json"
_SHARD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.safetensors")
_DTYPES: Final = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
}
FLOATING: Final = tuple(_DTYPES.values())
"""Dtypes that weights may have; narrower ones would need scales, which safetensors files do not define."""

Parts = tuple[Tensor, ...]
"""One tensor of a file as parameters in memory: one parameter, or several that the file stores concatenated."""


class StoredTensor(NamedTuple):
    """Tensor in a file, as the header of the file describes it."""

    file: Path
    shape: tuple[int, ...]
    dtype: str


# --- reading


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        InputError: the file is missing, damaged, too large or not a JSON object.
    """
    return read_json_object(path, "Copy or download it again")


def weight_files(folder: Path) -> list[Path]:
    """Return the weight files of ``folder``, sorted by name.

    Raises:
        InputError: the folder has no weight files, has both a single file and an index, or has an index that names
            files outside of the folder.
    """
    single, index = folder / SINGLE_FILE, folder / INDEX_FILE
    if single.is_file() and index.is_file():
        raise InputError(f"{folder}: has both {SINGLE_FILE} and {INDEX_FILE}. Delete the one that is out of date")
    if single.is_file():
        return [single]
    if index.is_file():
        return sorted({folder / name for name in _weight_map(index).values()})
    if pickles := sorted(folder.glob("*.bin")):
        raise InputError(
            f"{folder}: its weights are pickles ({pickles[0].name}), which can run any code. Convert them in a "
            "sandbox: python -c \"import transformers as t; t.AutoModelForCausalLM.from_pretrained('HERE')"
            ".save_pretrained('THERE', safe_serialization=True)\". Replace AutoModelForCausalLM by the class named "
            "in the folder's config.json"
        )
    raise InputError(f"{folder}: has neither {SINGLE_FILE} nor {INDEX_FILE}. Copy or download the folder again")


def stored_tensors(folder: Path) -> dict[str, StoredTensor]:
    """Return all tensors in the weight files of ``folder``, without reading their values.

    Raises:
        InputError: a file is missing, truncated or damaged, or does not match the index.
    """
    found: dict[str, StoredTensor] = {}
    for path in weight_files(folder):
        with open_tensors(path) as file:
            for name in file.keys():  # noqa: SIM118 (not a mapping)
                if name in found:
                    raise InputError(
                        f"{path}: tensor {name} is also in {found[name].file.name}. Copy or download the folder again"
                    )
                part = file.get_slice(name)
                found[name] = StoredTensor(path, tuple(part.get_shape()), part.get_dtype())
    if (folder / INDEX_FILE).is_file():
        index = _weight_map(folder / INDEX_FILE)
        for name in sorted(index.keys() | found.keys()):
            expected, actual = index.get(name), found[name].file.name if name in found else None
            if expected != actual:
                raise InputError(
                    f"{folder / INDEX_FILE}: tensor {name} is in {actual or 'no file'}, but the index says "
                    f"{expected or 'no file'}. Copy or download the folder again"
                )
    return found


def read_tensor(name: str, stored: StoredTensor) -> Tensor:
    """Return a tensor as a view of its file, which stays mapped into memory as long as the view exists.

    Raises:
        InputError: the file is truncated or damaged.
    """
    with open_tensors(stored.file) as file:
        tensor: Tensor = file.get_tensor(name)
    return tensor


@contextmanager
def open_tensors(path: Path) -> Iterator[Any]:
    """Open a safetensors file, mapped into memory.

    Raises:
        InputError: the file is missing, truncated or damaged.
    """
    try:
        file = safe_open(path, framework="pt")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file. Copy or download it again") from None
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path}: truncated, damaged or not a safetensors file ({str(error)[:200]}). Copy or download it again"
        ) from None
    with file:
        yield file


def _weight_map(index: Path) -> dict[str, str]:
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise InputError(f"{index}: 'weight_map' must map tensors to files. Copy or download it again")
    for name, file in names.items():
        # A name must not point outside of the folder. Symbolic links in the folder may, as in the hub's cache.
        if not (isinstance(file, str) and _SHARD.fullmatch(file)):
            raise InputError(
                f"{index}: tensor {name} is in {file!r}, which is not the name of a safetensors file in the folder. "
                "Copy or download the folder again"
            )
        if not (index.parent / file).is_file():
            raise InputError(f"{index}: tensor {name} is in {file}, which is missing. Copy or download it again")
    return names


def shape_of(parts: Parts) -> tuple[int, ...]:
    """Return the shape of the concatenated tensor in the file."""
    first = tuple(parts[0].shape)
    return first if len(parts) == 1 else (sum(map(len, parts)), *first[1:])


def fill(parts: Parts, tensor: Tensor) -> None:
    """Copy a tensor of a file into its parts in memory."""
    rows = (tensor,) if len(parts) == 1 else torch.split(tensor, [len(part) for part in parts])
    for part, values in zip(parts, rows, strict=True):
        part.copy_(values)


# --- writing


def write_tensors(folder: Path, tensors: Mapping[str, Parts], dtype: torch.dtype | None, max_shard_bytes: int) -> None:
    """Write ``tensors`` as one file, or as several of at most ``max_shard_bytes`` with an index.

    A larger tensor has a file of its own. Only one tensor at a time is copied in memory.

    Args:
        folder: path of the folder.
        tensors: floating-point tensors by name.
        dtype: dtype of the written tensors; None keeps the dtype of each.
        max_shard_bytes: maximum size of the tensors in a file.
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
        write_file(folder / SINGLE_FILE, tensors, shards[0], dtype)
        return
    weight_map = {}
    for number, names in enumerate(shards, start=1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        write_file(folder / file, tensors, names, dtype)
        weight_map.update(dict.fromkeys(names, file))
    write_json(folder / INDEX_FILE, {"metadata": {"total_size": sum(sizes.values())}, "weight_map": weight_map})


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically."""
    with atomic_write(path) as file:
        file.write(json.dumps(content, indent=2, allow_nan=False).encode() + b"\n")


def write_file(path: Path, tensors: Mapping[str, Parts], names: Iterable[str], dtype: torch.dtype | None) -> None:
    """Write the tensors called ``names`` as a safetensors file: length of the header, JSON header, values."""
    # Sorting by item size aligns each tensor to its item size.
    ordered = sorted(names, key=lambda name: (-(dtype or tensors[name][0].dtype).itemsize, name))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in ordered:
        start, kind, shape = end, dtype or tensors[name][0].dtype, shape_of(tensors[name])
        end += math.prod(shape) * kind.itemsize
        header[name] = {"dtype": _DTYPES[kind], "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with atomic_write(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for part in (part for name in ordered for part in tensors[name]):
            values = part.detach().to(device="cpu", dtype=dtype).contiguous()
            file.write(values.view(-1).view(torch.uint8).numpy().data)
