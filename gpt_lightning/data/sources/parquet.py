"""Reader of Parquet files."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpt_lightning.data.sources.class_labels import Names, class_names, with_class_names
from gpt_lightning.data.sources.open_file import BLOCK_BYTES, compression, open_file
from gpt_lightning.data.sources.row_formats import Row
from gpt_lightning.errors import InputError


def parquet_rows(path: Path, column: str | None) -> Iterator[Row]:
    """Yield the rows of a Parquet file.

    Args:
        path: the file.
        column: the only column that is read if the file has it, such as ``text`` or ``meta.text``.
    """
    import pyarrow
    import pyarrow.parquet

    number = 0
    with open_file(path, is_reported=True) as stream, tempfile.TemporaryFile() as unpacked:
        if compression(path) is not None:
            # Reading Parquet starts at its end. A compressed stream would be decompressed from its start each time.
            shutil.copyfileobj(stream, unpacked)
            stream = unpacked
        try:
            # With a buffer size, pyarrow streams the column chunks, which can be gigabytes, instead of loading them.
            table = pyarrow.parquet.ParquetFile(stream, buffer_size=BLOCK_BYTES, page_checksum_verification=True)
            names = _class_names(table.schema_arrow.metadata)
            is_found = column is not None and (
                column in table.schema_arrow.names or _has_nested(table.schema_arrow, column)
            )
            for batch in table.iter_batches(batch_size=256, columns=[column] if is_found else None):
                for fields in batch.to_pylist():
                    number += 1
                    yield Row(with_class_names(fields, names), f"{path}:row {number}")
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"{path}: not a complete Parquet file (after row {number}: {reason}); download or write it again"
            ) from error


def _has_nested(schema: Any, column: str) -> bool:
    """Return whether a schema has a column such as ``meta.text`` in a column of objects."""
    import pyarrow.types

    root, *path = column.split(".")
    found = schema.field(root).type if root in schema.names else None
    for name in path:
        if found is None or not pyarrow.types.is_struct(found) or found.get_field_index(name) < 0:
            return False
        found = found.field(name).type
    return bool(path)


def _class_names(metadata: dict[bytes, bytes] | None) -> Names:
    """Return the names of class labels in a file that ``datasets`` wrote."""
    try:
        return class_names(json.loads((metadata or {})[b"huggingface"])["info"]["features"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return {}
