"""Generation: the key/value cache, the generation loop and sampling."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from gpt_lightning.errors import InputError
from gpt_lightning.models import GPT, GPTConfig, KVCache
from gpt_lightning.models.generation.decoder import Decoder
from gpt_lightning.models.generation.generate import Sampling, generate
from tests.models.huggingface.test_parity import OTHER_FAMILIES, ROPE_SCALING, pair, random_ids
from tests.models.test_gpt import GEMMA3, OLMO2, randomize

VOCAB_SIZE = 61
BLOCK_SIZE = 16
GREEDY = Sampling(temperature=0.0)

SHAPES: dict[str, dict[str, Any]] = {
    "gpt2": {},
    "llama": {"position": "rotary", "norm": "rmsnorm", "mlp": "swiglu", "bias": False},
    "grouped": {"position": "rotary", "norm": "rmsnorm", "n_kv_head": 2, "qk_norm": True},
    "gpt2_one_kv": {"n_kv_head": 1},
    "olmo2": OLMO2,
    "gemma3": GEMMA3,
    "wide_heads": {"position": "rotary", "head_dim": 10, "bias": "qkv", "nope_interval": 2, **ROPE_SCALING},
}
ALL = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def model(**shape: Any) -> tuple[GPT, Callable[[Tensor], Tensor]]:
    """Return a random causal backbone and a head, in float64 and ``eval`` mode."""
    defaults = {"vocab_size": VOCAB_SIZE, "block_size": BLOCK_SIZE, "n_layer": 2, "n_head": 4, "n_embd": 32}
    gpt = GPT(GPTConfig(**(defaults | shape))).double().eval()
    randomize(gpt)
    return gpt, lambda hidden: hidden @ gpt.token_embedding.weight.mT


def tokens(steps: Any) -> list[list[int]]:
    """Return the tokens of each row from the steps that ``generate`` yields."""
    return torch.stack(list(steps), dim=1).tolist()


# --- the cache


@ALL
@pytest.mark.parametrize(
    "chunks",
    [[1] * BLOCK_SIZE, [5, 1, 7, 3], [BLOCK_SIZE], [15, 1], [1, 15]],
    ids=lambda chunks: "_".join(map(str, chunks)),
)
def test_decoding_with_a_cache_matches_a_full_forward_pass(shape: dict[str, Any], chunks: list[int]) -> None:
    gpt, _ = model(**shape)
    ids = random_ids(3, BLOCK_SIZE)
    cache = KVCache(gpt.config, 3, dtype=torch.float64)
    for _ in range(2):  # also after the cache was cleared
        hidden = torch.cat([gpt(chunk, cache=cache) for chunk in torch.split(ids, chunks, dim=1)], dim=1)
        assert cache.length == cache.capacity == BLOCK_SIZE
        torch.testing.assert_close(hidden, gpt(ids), rtol=1e-10, atol=1e-10)
        cache.clear()
        assert cache.length == 0
        ids = (ids + 1) % VOCAB_SIZE


def test_full_cache_refuses_more_tokens() -> None:
    gpt, _ = model()
    cache = KVCache(gpt.config, 1, dtype=torch.float64)
    gpt(random_ids(1, BLOCK_SIZE - 1), cache=cache)
    with pytest.raises(InputError, match=r"sequence of 17 tokens is longer than block_size=16"):
        gpt(random_ids(1, 2), cache=cache)
    assert cache.length == BLOCK_SIZE - 1


def test_documents_with_a_cache_are_refused() -> None:
    gpt, _ = model()
    with pytest.raises(InputError, match="document_ids cannot be used with a key/value cache"):
        gpt(
            random_ids(1, 3),
            cache=KVCache(gpt.config, 1, dtype=torch.float64),
            document_ids=torch.ones(1, 3, dtype=torch.int64),
        )


@ALL
def test_rows_of_different_lengths_match_full_forward_passes(shape: dict[str, Any]) -> None:
    """Rows append different numbers of tokens, also none, and some rows are removed."""
    gpt, _ = model(**shape)
    ids, rows = random_ids(4, BLOCK_SIZE), [0, 1, 2, 3]
    expected = gpt(ids)
    cache = KVCache(gpt.config, 4, capacity=12, dtype=torch.float64)
    lengths = torch.zeros(4, dtype=torch.int64)
    for counts, kept in (([5, 1, 3, 2], rows), ([1, 1, 1, 1], [0, 2, 3]), ([0, 3, 1], [1, 0]), ([2, 1], [0, 1])):
        new = torch.tensor(counts)
        positions = (lengths.unsqueeze(1) + torch.arange(int(new.max()))).clamp(max=BLOCK_SIZE - 1)
        mask = torch.arange(int(new.max())) < new.unsqueeze(1)
        chunk = ids[rows].gather(1, positions).where(mask, 7)  # the id of padding does not matter
        hidden = gpt(chunk, attention_mask=mask, cache=cache)
        for index, row in enumerate(rows):
            begin, count = int(lengths[index]), int(new[index])
            torch.testing.assert_close(
                hidden[index, :count], expected[row, begin : begin + count], rtol=1e-10, atol=1e-10
            )
        lengths = lengths + new
        assert cache.lengths_B is not None
        assert cache.lengths_B.tolist() == lengths.tolist()
        assert cache.length == int(lengths.max())
        cache.select_rows(torch.tensor(kept))
        lengths, rows = lengths[kept], [rows[index] for index in kept]
    assert rows == [2, 0]
    cache.clear()
    torch.testing.assert_close(gpt(ids[:2, :9], cache=cache), expected[:2, :9], rtol=1e-10, atol=1e-10)


@ALL
@pytest.mark.parametrize("is_ragged", [False, True])
def test_reordered_rows_continue_the_text_that_they_copy(shape: dict[str, Any], is_ragged: bool) -> None:
    gpt, _ = model(**shape)
    ids, rows = random_ids(4, 9), torch.tensor([2, 1, 1, 0])
    lengths = torch.tensor([6, 2, 5, 1] if is_ragged else [6] * 4)
    cache = KVCache(gpt.config, 4, dtype=torch.float64)
    gpt(ids[:, :6], attention_mask=torch.arange(6) < lengths.unsqueeze(1) if is_ragged else None, cache=cache)
    cache.reorder(rows)
    hidden = gpt(ids[:, 6:7], cache=cache)
    for index, row in enumerate(rows.tolist()):
        text = torch.cat((ids[row, : lengths[row]], ids[index, 6:7])).unsqueeze(0)
        torch.testing.assert_close(hidden[index], gpt(text)[0, -1:], rtol=1e-10, atol=1e-10)


# --- generation


@pytest.mark.parametrize("name", ["gpt2", "gpt2_untied", "llama", "llama_grouped", "llama_theta", *OTHER_FAMILIES])
def test_greedy_generation_matches_hugging_face(name: str) -> None:
    task, reference = pair(name)
    prompts = random_ids(4, 3)
    ids = reference.generate(
        prompts,
        attention_mask=torch.ones_like(prompts),
        max_new_tokens=BLOCK_SIZE - 3,
        do_sample=False,
        pad_token_id=0,
    )
    actual = tokens(
        generate(Decoder(task.backbone), task.head, prompts, max_new_tokens=BLOCK_SIZE - 3, sampling=GREEDY)
    )
    assert actual == ids[:, 3:].tolist()
    assert len(set(sum(actual, []))) > 5, "the text is too repetitive for a comparison"  # noqa: RUF017


def greedy_by_full_passes(
    gpt: GPT, head: Callable[[Tensor], Tensor], prompt: Tensor, max_new_tokens: int, block_size: int
) -> list[list[int]]:
    """Generate without a cache; a context longer than the block is cut to its last half."""
    context, drawn = prompt[:, -block_size:], []
    for _ in range(max_new_tokens):
        if context.size(1) > block_size:
            context = context[:, -(block_size // 2 or 1) :]
        drawn.append(head(gpt(context)[:, -1]).argmax(-1))
        context = torch.cat((context, drawn[-1][:, None]), dim=1)
    return tokens(drawn)


@ALL
@pytest.mark.parametrize("block_size", [1, 2, 7, 16])
@pytest.mark.parametrize("prompt_length", [1, 6, 16, 40])
@pytest.mark.parametrize("rows", [1, 2])
def test_generation_continues_beyond_the_context(
    shape: dict[str, Any], block_size: int, prompt_length: int, rows: int
) -> None:
    gpt, head = model(**shape, block_size=block_size)
    prompt = random_ids(rows, prompt_length)
    actual = tokens(generate(Decoder(gpt), head, prompt, max_new_tokens=41, sampling=GREEDY))
    assert actual == greedy_by_full_passes(gpt, head, prompt, 41, block_size)
    assert [len(row) for row in actual] == [41] * rows


def test_long_prompt_is_truncated_on_the_left() -> None:
    gpt, head = model()
    prompt = random_ids(1, 50)

    def first_logits(prompt: Tensor) -> Tensor:
        seen: list[Tensor] = []

        def recording(hidden_BC: Tensor) -> Tensor:
            seen.append(head(hidden_BC))
            return seen[-1]

        next(generate(Decoder(gpt), recording, prompt, max_new_tokens=1, sampling=GREEDY))
        return seen[0]

    expected = head(gpt(prompt[:, -BLOCK_SIZE:])[:, -1])
    torch.testing.assert_close(first_logits(prompt), expected, rtol=1e-10, atol=1e-10)
    prompt[0, -BLOCK_SIZE] = (prompt[0, -BLOCK_SIZE] + 1) % VOCAB_SIZE  # the first token after truncation
    assert not first_logits(prompt).allclose(expected)


def scripted_head(rows: list[list[int]]) -> Callable[[Tensor], Tensor]:
    """Return a head that makes the given tokens of each row certain, one step after the other."""
    steps = iter(zip(*rows, strict=True))

    def head(_: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(torch.tensor(next(steps)), VOCAB_SIZE).double() * 1000.0

    return head


@pytest.mark.parametrize("sampling", [GREEDY, Sampling()], ids=["greedy", "sampled"])
def test_stop_token_ends_its_row_and_finally_generation(sampling: Sampling) -> None:
    gpt, _ = model()
    script = [[5, 9, 6, 7, 8, 9, 1], [3, 4, 5, 6, 9, 2, 2]]
    prompt = torch.full((2, 2), 9)  # a stop token in the prompt has no effect
    actual = tokens(
        generate(Decoder(gpt), scripted_head(script), prompt, max_new_tokens=7, sampling=sampling, stop_ids=(9,))
    )
    assert actual == [[5, 9, 9, 9, 9], [3, 4, 5, 6, 9]]
    without = tokens(generate(Decoder(gpt), scripted_head(script), prompt, max_new_tokens=7, sampling=sampling))
    assert without == script


@pytest.mark.parametrize(("prompt_length", "max_new_tokens", "capacity"), [(3, 5, 8), (3, 90, BLOCK_SIZE), (40, 2, 16)])
def test_cache_is_no_larger_than_needed(
    monkeypatch: pytest.MonkeyPatch, prompt_length: int, max_new_tokens: int, capacity: int
) -> None:
    caches: list[KVCache] = []

    class RecordedCache(KVCache):
        def advance(self, num_tokens: int, attention_mask: Tensor | None = None) -> None:
            super().advance(num_tokens, attention_mask)
            caches.append(self)

    monkeypatch.setattr("gpt_lightning.models.generation.decoder.KVCache", RecordedCache)
    gpt, head = model()
    list(generate(Decoder(gpt), head, random_ids(1, prompt_length), max_new_tokens=max_new_tokens, sampling=GREEDY))
    assert {cache.capacity for cache in caches} == {capacity}


def test_max_new_tokens_limits_the_number_of_tokens() -> None:
    gpt, head = model()
    assert list(generate(Decoder(gpt), head, random_ids(1, 3), max_new_tokens=0, sampling=GREEDY)) == []
    steps = generate(Decoder(gpt), head, random_ids(3, 3), max_new_tokens=1, sampling=GREEDY)
    assert [(step.shape, step.dtype) for step in steps] == [((3,), torch.int64)]


def test_seed_determines_the_tokens() -> None:
    gpt, head = model()

    def run(seed: int) -> list[list[int]]:
        generator = torch.Generator().manual_seed(seed)
        # Smaller logits keep any token from being nearly certain.
        steps = generate(
            Decoder(gpt),
            lambda hidden: head(hidden) / 50.0,
            random_ids(1, 3),
            max_new_tokens=30,
            sampling=Sampling(),
            generator=generator,
        )
        torch.rand(3)  # torch's default generator must not matter
        return tokens(steps)

    first = run(0)
    assert run(0) == first
    assert run(1) != first


def test_bidirectional_backbone_is_refused() -> None:
    gpt, head = model(attention="bidirectional")
    with pytest.raises(InputError, match="only a causal backbone can generate"):
        list(generate(Decoder(gpt), head, random_ids(1, 3), max_new_tokens=1, sampling=GREEDY))


# --- sampling


def expected_probabilities(
    logits: list[float], temperature: float, top_k: int | None, top_p: float | None
) -> list[float]:
    """Apply temperature, top-k and top-p as defined in the papers."""
    weights = {token: math.exp(logit / temperature) for token, logit in enumerate(logits)}
    kept = sorted(weights, key=lambda token: -weights[token])[:top_k]
    if top_p is not None:
        total, mass, nucleus = sum(weights[token] for token in kept), 0.0, []
        for token in kept:
            nucleus.append(token)
            mass += weights[token] / total
            if mass >= top_p:
                break
        kept = nucleus
    total = sum(weights[token] for token in kept)
    return [weights[token] / total if token in kept else 0.0 for token in range(len(logits))]


LOGITS = [0.3, 2.0, -1.0, 1.2, 0.9, -3.0, 1.7, 0.0]
SETTINGS: list[dict[str, Any]] = [
    {},
    {"temperature": 0.5},
    {"temperature": 3.0},
    {"top_k": 3},
    {"top_k": 1},
    {"top_k": 100},
    {"top_p": 0.7},
    {"top_p": 0.01},
    {"top_p": 1.0},
    {"temperature": 2.0, "top_k": 5, "top_p": 0.6},
    {"temperature": 0.7, "top_k": 2, "top_p": 0.99},
]
EACH = pytest.mark.parametrize("settings", SETTINGS, ids=str)


@EACH
def test_probabilities_match_the_formula(settings: dict[str, Any]) -> None:
    rows = [LOGITS, LOGITS[::-1], [x * 3.0 for x in LOGITS]]
    expected = [
        expected_probabilities(row, **({"temperature": 1.0, "top_k": None, "top_p": None} | settings)) for row in rows
    ]
    for dtype in (torch.float32, torch.float64):
        actual = Sampling(**settings).probabilities(torch.tensor(rows, dtype=dtype))
        torch.testing.assert_close(actual, torch.tensor(expected), rtol=1e-5, atol=1e-6)


@EACH
def test_tokens_are_drawn_with_their_probabilities(settings: dict[str, Any]) -> None:
    draws = 20_000
    expected = expected_probabilities(LOGITS, **({"temperature": 1.0, "top_k": None, "top_p": None} | settings))
    generator = torch.Generator().manual_seed(0)
    drawn = Sampling(**settings).draw(torch.tensor([LOGITS]).expand(draws, -1), generator)
    assert drawn.shape == (draws, 1)
    counts = torch.bincount(drawn.flatten(), minlength=len(LOGITS)).tolist()
    assert all(count == 0 for count, p in zip(counts, expected, strict=True) if p == 0.0)
    chi_square = sum((count - draws * p) ** 2 / (draws * p) for count, p in zip(counts, expected, strict=True) if p)
    assert chi_square < 24.3  # the 99.9 % quantile with seven degrees of freedom


def test_top_p_keeps_the_fewest_tokens_that_reach_it() -> None:
    logits = torch.tensor([[0.5, 0.25, 0.125, 0.125]]).log()
    for top_p, kept in [(0.4, 1), (0.5, 1), (0.51, 2), (0.75, 2), (0.76, 3)]:
        assert int((Sampling(top_p=top_p).probabilities(logits) > 0.0).sum()) == kept


def test_temperature_0_takes_the_likeliest_token() -> None:
    logits = torch.randn(50, VOCAB_SIZE, generator=torch.Generator().manual_seed(3))
    for sampling in (GREEDY, Sampling(temperature=0.0, top_k=2, top_p=0.5)):
        assert sampling.draw(logits).tolist() == logits.argmax(-1, keepdim=True).tolist()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -0.1}, r"--temperature -0\.1 must be 0 \(greedy\), or 1e-06 or more"),
        ({"top_k": 0}, r"--top_k=0 must be at least 1"),
        ({"top_p": 0.0}, r"--top_p 0\.0 must lie in \(0, 1\]"),
        ({"top_p": 1.1}, r"--top_p 1\.1 must lie in \(0, 1\]"),
    ],
)
def test_invalid_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Sampling(**settings)
