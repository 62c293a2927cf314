"""Check of a checkpoint's zip archive and of its pickle's opcodes, before torch reads either."""

import itertools
import pickletools
import zipfile
from pathlib import Path
from typing import Final

from gpt_lightning.bounded_files import open_regular
from gpt_lightning.errors import InputError

_MAX_PICKLE_BYTES: Final = 2**29
"""Size limit of the pickle, which holds names, shapes, settings and the tokenizer, but no weights."""
_REMEDY: Final = "Use a checkpoint of gpt-lightning"
_MAX_OPCODES: Final = 5_000_000
"""Limit of the pickle's opcodes; a model of 1,000 tensors has about 100,000 with its optimizer."""
_OBJECTS: Final = frozenset(
    {
        "_codecs encode",
        "__builtin__ set",
        "builtins set",
        "collections Counter",
        "collections OrderedDict",
        "torch Size",
        "torch._utils _rebuild_parameter",
        "torch._utils _rebuild_tensor_v2",
    }
)
"""Classes and functions that checkpoints of gpt-lightning name, apart from dtypes and storages."""
_TYPES: Final = ("float", "bfloat", "int", "uint", "bool")
"""Beginnings of the names of dtypes in ``torch``."""


def check_archive(path: Path) -> None:
    """Refuse a zip archive that decompresses to more than its own size, or whose pickle names unusual objects.

    torch can rebuild sparse, quantized, nested and meta tensors and byte arrays of any size, which no checkpoint needs.
    A file that is no zip archive passes, because it is refused later.

    Raises:
        InputError: the archive or its pickle is not one that gpt-lightning writes.
    """
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            # torch stores the members without compression, so their sizes sum to at most that of the file.
            if any(each.compress_type != zipfile.ZIP_STORED for each in members) or (
                sum(each.file_size for each in members) > path.stat().st_size
            ):
                raise InputError(f"{path}: its zip archive is compressed, unlike those of torch. {_REMEDY}")
            pickles = [each for each in members if each.filename.rpartition("/")[2] == "data.pkl"]
            if len(pickles) != 1 or pickles[0].file_size > _MAX_PICKLE_BYTES:
                raise InputError(f"{path}: not a checkpoint, because it has no data.pkl of a valid size. {_REMEDY}")
            content = archive.read(pickles[0])
    except (OSError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile):
        return
    except InputError:
        raise
    except ValueError:
        return
    _check_pickle(path, content)


def _check_pickle(path: Path, content: bytes) -> None:
    count = 0
    try:
        for opcode, argument, _ in itertools.islice(pickletools.genops(content), _MAX_OPCODES + 1):
            count += 1
            if opcode.name in ("GLOBAL", "STACK_GLOBAL", "INST") and not _is_usual(str(argument)):
                name = str(argument).replace(" ", ".")[:100]
                raise InputError(
                    f"{path}: not a checkpoint that can be read safely: it has an object {name}. {_REMEDY}"
                )
    except InputError:
        raise
    except Exception as error:  # the parser raises many kinds for damaged pickles
        raise InputError(f"{path}: damaged or not a checkpoint: {str(error)[:200]}. {_REMEDY}") from None
    if count > _MAX_OPCODES:
        raise InputError(f"{path}: its pickle has more than {_MAX_OPCODES:,} opcodes. {_REMEDY}")


def _is_usual(name: str) -> bool:
    module, _, attribute = name.partition(" ")
    is_type = module == "torch" and attribute.isidentifier() and attribute.startswith(_TYPES)
    is_storage = module in ("torch", "torch.storage") and attribute.endswith("Storage")
    return name in _OBJECTS or is_type or is_storage
