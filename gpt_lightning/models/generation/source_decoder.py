"""Decoder of an encoder-decoder with its encoded sources."""

from collections.abc import Sequence

from torch import Tensor

from gpt_lightning.errors import InputError
from gpt_lightning.models.encoder_decoder import EncoderDecoder
from gpt_lightning.models.generation.decoder import Decoder, TextDecoder
from gpt_lightning.models.source_cache import SourceCache

# B sources, S source tokens


class SourceDecoder(Decoder):
    """``Decoder`` that attends to sources. They are encoded once, and their keys and values are kept.

    Args:
        backbone: the encoder-decoder, in ``eval`` mode.
        source_ids: (B, S) int64, the sources, padded on the right.
        source_mask: (B, S), nonzero for tokens, 0 for padding; None without padding.

    Raises:
        InputError: a source is longer than ``block_size``.
    """

    def __init__(self, backbone: EncoderDecoder, source_ids: Tensor, source_mask: Tensor | None = None) -> None:
        super().__init__(backbone)
        memory = backbone.encode(source_ids, source_mask)
        self._sources, self._source_mask = backbone.keys_and_values(memory), memory.mask
        self._num_sources = len(source_ids)

    def make_cache(self, rows: int, capacity: int) -> SourceCache:
        """Return an empty cache; row i belongs to source i.

        Raises:
            InputError: ``rows`` differs from the number of sources.
        """
        if rows != self._num_sources:
            raise InputError(
                f"{rows} prompts for {self._num_sources} sources: each source needs one prompt of the decoder"
            )
        weight = self._backbone.token_embedding.weight
        options = {"capacity": capacity, "device": weight.device, "dtype": weight.dtype}
        return SourceCache(self.config, rows, self._sources, self._source_mask, **options)


def num_forced(decoder: TextDecoder, start_ids: Sequence[Sequence[int]]) -> int:
    """Return how many start tokens of a target follow the first one.

    transformers generates them as new tokens (``forced_bos_token_id``), so they count in the length of the target.

    Args:
        decoder: the model; only an encoder-decoder has such tokens.
        start_ids: ids that the new tokens of each prompt follow.
    """
    return max(map(len, start_ids)) - 1 if isinstance(decoder, SourceDecoder) else 0
