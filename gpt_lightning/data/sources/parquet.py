"""Rows of a Parquet file."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from gpt_lightning.data.sources.read_file import BLOCK_BYTES, open_file
from gpt_lightning.data.sources.row_formats import Row
from gpt_lightning.errors import InputError


def parquet_rows(path: Path, column: str | None) -> Iterator[Row]:
    """Yield the rows of a Parquet file, only ``column`` of them where it is given and exists."""
    import pyarrow
    import pyarrow.parquet

    number = 0
    with open_file(path) as stream, tempfile.TemporaryFile() as unpacked:
        if path.suffix.lower() == ".gz":
            # Parquet is read from its end: in a gzip stream every step back would decompress all over again.
            shutil.copyfileobj(stream, unpacked)
            stream = unpacked
        try:
            # buffer_size: stream the column chunks (a row group can be gigabytes) instead of reading them whole
            table = pyarrow.parquet.ParquetFile(stream, buffer_size=BLOCK_BYTES, page_checksum_verification=True)
            columns = [column] if column in table.schema_arrow.names else None
            for batch in table.iter_batches(batch_size=256, columns=columns):
                for fields in batch.to_pylist():
                    number += 1
                    yield Row(fields, f"{path}:row {number}")
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"{path}: not a whole Parquet file (after row {number}: {reason}); fetch or write it again"
            ) from error
