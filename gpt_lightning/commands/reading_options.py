"""Names of the options for reading files, in commands that have them without the prefix of ``fit``."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from gpt_lightning.errors import InputError

_OPTIONS: Final = re.compile(r"--data\.(?=(text_column|delimiter|encoding)\b)")


@contextmanager
def unprefixed_options() -> Iterator[None]:
    """Name options without ``--data.`` in errors about files, such as ``--delimiter`` for ``--data.delimiter``."""
    try:
        yield
    except InputError as error:
        raise InputError(_OPTIONS.sub("--", str(error))) from error.__cause__
