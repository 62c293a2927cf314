"""Decoding of token ids in pieces, while they are generated."""

from collections.abc import Callable, Iterable, Iterator, Sequence

Decode = Callable[[list[int]], str]


def decode_pieces(
    decode: Decode, ids: Iterable[int], *, context: Sequence[int], is_open: Callable[[int], bool]
) -> Iterator[str]:
    r"""Yield pieces of text as soon as further ids cannot change them.

    The pieces join to the text that ``ids`` add to the text of ``context``. Decoders treat the first token of a text
    differently: they drop its leading blank. A character may take several tokens, and U+FFFD at the end of a piece may
    be the start of one.

    Args:
        decode: function that decodes a complete text.
        ids: token ids, which may come from a model.
        context: ids of the text before.
        is_open: whether an id is a token such as ``<0xE4>``, or is not decoded. A run of such bytes is decoded as a
            whole, and a single invalid byte makes all of them U+FFFD. Ids that are not decoded do not end the run.
    """
    before = list(context)  # visible text, and the whitespace after it
    pending: list[int] = []
    for index in ids:
        pending.append(index)
        if is_open(index):
            continue
        piece = text_after(decode, before, pending)
        if piece and not piece.endswith("\ufffd"):
            yield piece
            before = [*before, *pending] if piece.isspace() else pending
            pending = []
    yield text_after(decode, before, pending)


def text_after(decode: Decode, before: list[int], pending: list[int]) -> str:
    """Return the text that ``pending`` adds to that of ``before``."""
    text_before, text = decode(before), decode(before + pending)
    # Invalid bytes in ``pending`` can make bytes before them invalid, too.
    return text[len(text_before) :] if text.startswith(text_before) else decode(pending)
