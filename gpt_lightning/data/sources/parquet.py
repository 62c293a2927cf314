"""Reader of Parquet files."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from gpt_lightning.data.sources.read_file import BLOCK_BYTES, open_file
from gpt_lightning.data.sources.row_formats import Row
from gpt_lightning.errors import InputError


def parquet_rows(path: Path, column: str | None) -> Iterator[Row]:
    """Yield the rows of a Parquet file, with only ``column`` if the file has it, otherwise with all columns."""
    import pyarrow
    import pyarrow.parquet

    number = 0
    with open_file(path) as stream, tempfile.TemporaryFile() as unpacked:
        if path.suffix.lower() == ".gz":
            # Reading Parquet starts at its end. In a gzip stream, each seek backward would decompress from the start.
            shutil.copyfileobj(stream, unpacked)
            stream = unpacked
        try:
            # With a buffer size, pyarrow streams the column chunks, which can be gigabytes, instead of loading them.
            table = pyarrow.parquet.ParquetFile(stream, buffer_size=BLOCK_BYTES, page_checksum_verification=True)
            columns = [column] if column in table.schema_arrow.names else None
            for batch in table.iter_batches(batch_size=256, columns=columns):
                for fields in batch.to_pylist():
                    number += 1
                    yield Row(fields, f"{path}:row {number}")
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"{path}: not a complete Parquet file (after row {number}: {reason}); download or write it again"
            ) from error
