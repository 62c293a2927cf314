"""Check of the output files that a configuration names, as a configuration may come from a stranger."""

from pathlib import Path
from typing import Final

from gpt_lightning.commands.run.value_layers import Value, Values
from gpt_lightning.errors import InputError
from gpt_lightning.paths import expand_home

PATH: Final = "predictions.path"
OVERWRITE: Final = "predictions.overwrite"
_DEFAULTS: Final = {PATH: "predictions.jsonl", "log_dir": "logs", "data.init_args.cache_dir": "~/.cache/gpt_lightning"}


def check_outputs(values: Values) -> None:
    """Refuse an output file that is not the user's own choice, unless it is in the folder of the logs or of the cache.

    Raises:
        InputError: a file names another place, or asks to overwrite files, or the output file is one of the data.
    """
    if PATH in values:
        _refuse_data(Path(str(values[PATH].value)), values)
    if OVERWRITE in values and values[OVERWRITE].value and not _is_chosen(OVERWRITE, values[OVERWRITE]):
        raise InputError(
            f"{values[OVERWRITE].origin.name}: {OVERWRITE} is allowed on the command line only. "
            "Remove it here, and add --overwrite"
        )
    if PATH not in values or _is_chosen(PATH, values[PATH]):
        return
    path = Path(str(values[PATH].value)).resolve()
    folders = [
        value if key not in values else str(values[key].value)
        for key, value in _DEFAULTS.items()
        if key != PATH and (key not in values or _is_chosen(key, values[key]))
    ]
    if not any(path.is_relative_to(expand_home(folder).resolve()) for folder in folders):
        raise InputError(
            f"{values[PATH].origin.name}: {PATH}={values[PATH].value} is neither in log_dir nor in the cache. "
            f"Give it on the command line: --{PATH}={values[PATH].value}"
        )


def _refuse_data(path: Path, values: Values) -> None:
    """Refuse to replace a file of the data, whose labels would be lost."""
    for split in ("train", "validation", "test", "without"):
        source = values[key].value if (key := f"data.init_args.{split}") in values else None
        for each in source if isinstance(source, list) else [source]:
            if isinstance(each, str) and Path(each).resolve() == path.resolve():
                raise InputError(
                    f"--{PATH}={path} is also the file of --data.{split}, whose rows would be lost. Choose another file"
                )


def _is_chosen(key: str, value: Value) -> bool:
    """Return whether a value is the default, or has a flag of its own; a flag of its group may name a file."""
    flags = (f"--{key}", f"--{key.replace('.init_args.', '.')}")
    is_flag = value.origin.kind == "flag" and value.origin.name.removesuffix("+") in flags
    return is_flag or value.value == _DEFAULTS.get(key)
