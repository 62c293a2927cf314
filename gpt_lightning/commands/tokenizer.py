"""``gpt-lightning tokenizer``: train a tokenizer, or show the tokens of a text."""

from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final, Literal

from gpt_lightning.commands.parser import Parser
from gpt_lightning.commands.reading_options import unprefixed_options
from gpt_lightning.output_files import check_new, output_file

_REMEDY: Final = "Choose another file with --output"
_SAMPLE_PIECES: Final = 64  # up to 4 Mi characters: bytes per token are then accurate to about 1 %


def parser() -> Parser:
    """Return the command's options."""
    p = Parser(
        prog="gpt-lightning tokenizer",
        description="Train a tokenizer, or show the tokens of a text.",
        examples=["gpt-lightning tokenizer show bytes --text 'Last summer'"],
    )
    training = Parser(
        description="Train a tokenizer on your text, and write it as a tokenizer.json. "
        "fit reads it with --data.tokenizer=FILE.",
        examples=[
            "gpt-lightning tokenizer train --train data/toy_world/text/train.jsonl --vocab_size 2048 \\\n"
            "    --output tokenizer.json"
        ],
    )
    training.add_function_arguments(train, as_group=False, skip={"overwrite"})
    training.add_argument("--overwrite", action="store_true", help="replace the output file if it exists")
    showing = Parser(
        description="Print the id of each token of a text, and the characters of the token.",
        examples=["gpt-lightning tokenizer show tokenizer.json --text 'Last summer'"],
    )
    showing.add_argument(
        "tokenizer", type=str, metavar="TOKENIZER", help="a tokenizer.json, a folder with one, hub:OWNER/NAME, or bytes"
    )
    showing.add_argument("--text", type=str, required=True, help="text to encode")
    commands = p.add_subcommands()
    commands.add_subcommand("train", training, help="train a tokenizer on your text")
    commands.add_subcommand("show", showing, help="print the tokens of a text")
    return p


def main(argv: list[str] | None = None) -> int:
    """Train a tokenizer or show one, and return 0.

    Args:
        argv: the arguments; None takes those of the command line.

    Raises:
        InputError: a source, a size or a file is invalid.
    """
    chosen = parser().parse_args(argv)
    if chosen.subcommand == "train":
        with unprefixed_options():
            train(**vars(chosen.train))
    else:
        show(chosen.show.tokenizer, chosen.show.text)
    return 0


def train(
    train: str | list[str],
    output: Path = Path("tokenizer.json"),
    kind: Literal["bpe", "characters", "bytes"] = "bpe",
    vocab_size: int = 4096,
    text_column: str = "text",
    delimiter: str | None = None,
    encoding: str | None = None,
    overwrite: bool = False,
) -> None:
    """Train a tokenizer and write it as a ``tokenizer.json``.

    Args:
        train: text to train on: a file, a folder, a glob, hub:NAME[:CONFIG][@SPLIT], or a list of them.
        output: file to write.
        kind: bpe (byte-level), characters (one id for each character) or bytes (fixed, nothing is trained).
        vocab_size: number of ids, for bpe.
        text_column: column with the text, in sources with columns.
        delimiter: character between the fields of CSV and TSV files; null detects it.
        encoding: character encoding of text files, such as cp1252; null detects it.
        overwrite: replace the output file if it exists.
    """
    from gpt_lightning.data.sources.source import ReadOptions, read_texts
    from gpt_lightning.tokenizers.build import bytes_tokenizer, train_bpe, train_characters

    check_new(output, overwrite, _REMEDY)

    options = ReadOptions(delimiter, encoding)
    read = partial(read_texts, train, split="train", text_column=text_column, key="--train", options=options)
    texts = (piece.text for piece in read())
    if kind == "bpe":
        tokenizer = train_bpe(texts, vocab_size, key="--vocab_size")
    else:
        tokenizer = train_characters(texts) if kind == "characters" else bytes_tokenizer()
    sample = [piece.text for piece in islice(read(), _SAMPLE_PIECES)]
    num_tokens = sum(len(ids) for ids in tokenizer.encode_batch(sample))
    num_bytes = sum(len(text.encode()) for text in sample)
    with output_file(output, overwrite, _REMEDY) as file:  # trained tokenizers have no configuration file
        file.write(tokenizer.to_bytes())
    print(f"{output}: {tokenizer.name}")
    print(f"vocabulary size: {tokenizer.vocab_size}")
    print(f"bytes per token: {num_bytes / num_tokens:.2f} (measured on the first {num_bytes:,} bytes)")


def show(spec: str, text: str) -> None:
    """Print the id and the characters of each token of ``text``, encoded by the tokenizer that ``spec`` names."""
    from gpt_lightning.data.sources.row_formats import without_surrogates
    from gpt_lightning.tokenizers.build import bytes_tokenizer, load_tokenizer

    text = without_surrogates(text)  # the shell may pass bytes that are not UTF-8
    tokenizer = bytes_tokenizer() if spec == "bytes" else load_tokenizer(spec, key="TOKENIZER")
    ids = tokenizer.encode(text)
    print(f"{tokenizer.name}: {len(ids)} tokens, {len(text.encode())} bytes")
    for index in ids:
        print(f"{index:>8}  {tokenizer.decode([index])!r}")
