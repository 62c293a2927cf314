"""``gpt-lightning tokenizer``: train a tokenizer, or show the tokens of a text."""

from itertools import islice
from pathlib import Path
from typing import Final, Literal

from gpt_lightning.commands.parser import Parser
from gpt_lightning.errors import InputError

_SAMPLE_PIECES: Final = 64  # up to 4 Mi characters: enough to know bytes per token to a per cent


def main(argv: list[str] | None = None) -> int:
    """Run ``tokenizer`` with ``argv`` (default: the command line's) and return 0.

    Raises:
        InputError: a source, a size or a file that cannot work.
    """
    parser = Parser(prog="gpt-lightning tokenizer", description="Train a tokenizer, or look at one.")
    training = Parser(description="Train a tokenizer and write it as a tokenizer.json.")
    training.add_function_arguments(train, as_group=False, skip={"overwrite"})
    training.add_argument("--overwrite", action="store_true", help="replace the output where it exists")
    showing = Parser(description="Print the ids that a tokenizer gives a text, and what each spells.")
    showing.add_argument("tokenizer", type=str, help="tokenizer.json, a folder that holds one, hub:NAME, or bytes")
    showing.add_argument("--text", type=str, required=True, help="the text to encode")
    commands = parser.add_subcommands()
    commands.add_subcommand("train", training, help="train a tokenizer on your text")
    commands.add_subcommand("show", showing, help="print ids and pieces of a text")
    chosen = parser.parse_args(argv)
    if chosen.subcommand == "train":
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
    overwrite: bool = False,
) -> None:
    """Train a tokenizer and write it as a ``tokenizer.json``.

    Args:
        train: file, folder, glob, hub:NAME[:CONFIG][@SPLIT], or a list of them.
        output: the file to write.
        kind: bpe (byte-level), characters (one id each) or bytes (no training).
        vocab_size: number of ids of a bpe.
        text_column: the column that holds the text, of sources with columns.
        overwrite: replace output where it exists.
    """
    from gpt_lightning.data.sources.source import read_texts
    from gpt_lightning.tokenizers.build import bytes_tokenizer, train_bpe, train_characters

    if output.exists() and not overwrite:
        raise InputError(f"--output: {output} exists; choose another name or add --overwrite")
    if not output.parent.is_dir():
        raise InputError(f"--output: the folder {output.parent} does not exist; make it first")

    texts = (piece.text for piece in read_texts(train, split="train", text_column=text_column, key="--train"))
    if kind == "bpe":
        tokenizer = train_bpe(texts, vocab_size, key="--vocab_size")
    else:
        tokenizer = train_characters(texts) if kind == "characters" else bytes_tokenizer()
    pieces = read_texts(train, split="train", text_column=text_column, key="--train")
    sample = [piece.text for piece in islice(pieces, _SAMPLE_PIECES)]
    num_tokens = sum(len(ids) for ids in tokenizer.encode_batch(sample))
    num_bytes = sum(len(text.encode()) for text in sample)
    try:
        tokenizer.save(output)
    except OSError as error:
        raise InputError(f"--output: cannot write {output} ({error.strerror}); choose another place") from error
    print(f"{output}: {tokenizer.name}")
    print(f"vocabulary size: {tokenizer.vocab_size}")
    print(f"bytes per token: {num_bytes / num_tokens:.2f} (first {num_bytes:,} bytes of the text)")


def show(spec: str, text: str) -> None:
    """Print the ids that ``spec`` gives ``text``, and what each spells."""
    from gpt_lightning.data.sources.row_formats import without_surrogates
    from gpt_lightning.tokenizers.build import bytes_tokenizer, load_tokenizer

    text = without_surrogates(text)  # what the shell gave may not be UTF-8
    tokenizer = bytes_tokenizer() if spec == "bytes" else load_tokenizer(spec, key="TOKENIZER")
    ids = tokenizer.encode(text)
    print(f"{tokenizer.name}: {len(ids)} tokens, {len(text.encode())} bytes")
    for index in ids:
        print(f"{index:>8}  {tokenizer.decode([index])!r}")
