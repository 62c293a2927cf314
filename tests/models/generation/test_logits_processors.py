"""Logits processors, compared token by token with those of Hugging Face."""

from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from gpt_lightning.errors import InputError
from gpt_lightning.models.generation.batched import generate_batched
from gpt_lightning.models.generation.decoder import Decoder
from gpt_lightning.models.generation.generate import Sampling, generate
from gpt_lightning.models.generation.logits_processors import (
    LogitsProcessor,
    MinNewTokens,
    NoRepeatNgrams,
    RepetitionPenalty,
    pad_left,
)
from tests.models.generation.test_batched import PROMPTS
from tests.models.generation.test_generate import ALL, GREEDY, VOCAB_SIZE, model, tokens
from tests.models.huggingface.test_parity import pair

STOP_IDS = (5, 17, 55)
CASES: dict[str, tuple[list[LogitsProcessor], dict[str, Any]]] = {
    "penalty": ([RepetitionPenalty(1.3)], {"repetition_penalty": 1.3}),
    "reward": ([RepetitionPenalty(0.7)], {"repetition_penalty": 0.7}),
    "unigrams": ([NoRepeatNgrams(1)], {"no_repeat_ngram_size": 1}),
    "bigrams": ([NoRepeatNgrams(2)], {"no_repeat_ngram_size": 2}),
    "trigrams": ([NoRepeatNgrams(3)], {"no_repeat_ngram_size": 3}),
    "long_ngrams": ([NoRepeatNgrams(40)], {"no_repeat_ngram_size": 40}),
    "min": ([MinNewTokens(5, STOP_IDS)], {"min_new_tokens": 5}),
    "all": (
        [RepetitionPenalty(1.1), NoRepeatNgrams(2), MinNewTokens(3, STOP_IDS)],
        {"repetition_penalty": 1.1, "no_repeat_ngram_size": 2, "min_new_tokens": 3},
    ),
}
EACH = pytest.mark.parametrize(("logits_processors", "settings"), CASES.values(), ids=CASES)


def reference_ids(reference: Any, prompt: list[int], max_new_tokens: int, settings: dict[str, Any]) -> list[int]:
    ids = torch.tensor([prompt])
    options = {"max_new_tokens": max_new_tokens, "eos_token_id": list(STOP_IDS), "pad_token_id": 0, **settings}
    new: list[int] = reference.generate(ids, attention_mask=torch.ones_like(ids), **options)[0, len(prompt) :].tolist()
    return new


@EACH
@pytest.mark.parametrize("name", ["gpt2", "llama_grouped"])
def test_greedy_texts_equal_those_of_hugging_face(
    name: str, logits_processors: list[LogitsProcessor], settings: dict[str, Any]
) -> None:
    """Compare single prompts, which use speculative decoding, and a batch of prompts of different lengths."""
    ours, reference = pair(name)
    decoder = Decoder(ours.backbone)
    expected = [reference_ids(reference, prompt, 9, settings) for prompt in PROMPTS[:4]]
    for prompt, ids in zip(PROMPTS[:4], expected, strict=True):
        steps = generate(
            decoder,
            ours.head,
            torch.tensor([prompt]),
            max_new_tokens=9,
            sampling=GREEDY,
            stop_ids=STOP_IDS,
            logits_processors=logits_processors,
        )
        assert [int(step) for step in steps] == ids
    answers = generate_batched(
        decoder, ours.head, PROMPTS[:4], max_new_tokens=9, stop_ids=STOP_IDS, logits_processors=logits_processors
    )
    assert [answer.ids for answer in answers] == [[i for i in ids if i not in STOP_IDS] for ids in expected]


@pytest.mark.parametrize(("logits_processors", "settings"), [CASES["penalty"], CASES["all"]], ids=["penalty", "all"])
def test_sampled_texts_equal_those_of_hugging_face(
    logits_processors: list[LogitsProcessor], settings: dict[str, Any]
) -> None:
    ours, reference = pair("llama_grouped")
    sampling = {"temperature": 1.5, "top_k": 9, "top_p": 0.9}
    for seed, prompt in enumerate(PROMPTS[:3]):
        torch.manual_seed(seed)
        expected = reference_ids(reference, prompt, 9, {"do_sample": True, **sampling, **settings})
        answers = generate_batched(
            Decoder(ours.backbone),
            ours.head,
            [prompt],
            max_new_tokens=9,
            sampling=Sampling(**sampling),  # type: ignore[arg-type]
            stop_ids=STOP_IDS,
            generator=[torch.Generator().manual_seed(seed)],
            logits_processors=logits_processors,
        )
        assert answers[0].ids == [token for token in expected if token not in STOP_IDS]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_padding_changes_nothing(size: int) -> None:
    """Each row of a padded batch has the logits of its text alone, which are those of Hugging Face."""
    numbers = torch.Generator().manual_seed(0)
    rows = [torch.randint(2, (length,), generator=numbers).tolist() for length in (1, 2, 3, 9, 30)]
    logits_BV = torch.randn(5, VOCAB_SIZE, generator=numbers)
    penalty = transformers.RepetitionPenaltyLogitsProcessor(1.7)
    ngrams = transformers.NoRepeatNGramLogitsProcessor(size)
    padded_BT = pad_left(rows, torch.device("cpu"))
    for ours, reference in ((RepetitionPenalty(1.7), penalty), (NoRepeatNgrams(size), ngrams)):
        alone = [reference(torch.tensor([row]), logits_BV[[index]])[0] for index, row in enumerate(rows)]
        assert torch.equal(ours(logits_BV, padded_BT, 0), torch.stack(alone))
    assert NoRepeatNgrams(size)(logits_BV, padded_BT, 0).isneginf().any()


@ALL
def test_the_penalty_covers_the_text_beyond_the_context(shape: dict[str, Any]) -> None:
    """Without repeated tokens, a text of all tokens has each of them once, whatever the length of the context."""
    gpt, head = model(**shape)
    steps = generate(
        Decoder(gpt),
        head,
        torch.tensor([[3, 4]]),
        max_new_tokens=VOCAB_SIZE - 2,
        sampling=GREEDY,
        logits_processors=[NoRepeatNgrams(1)],
    )
    (row,) = tokens(steps)
    assert sorted([3, 4, *row]) == list(range(VOCAB_SIZE))


@pytest.mark.parametrize("is_batched", [False, True])
def test_a_text_without_an_allowed_token_is_refused(is_batched: bool) -> None:
    gpt, head = model(block_size=99)
    settings: dict[str, Any] = {
        "max_new_tokens": VOCAB_SIZE,
        "sampling": GREEDY,
        "logits_processors": [NoRepeatNgrams(1)],
    }
    steps = generate(Decoder(gpt), head, torch.tensor([[1]]), **settings)
    with pytest.raises(InputError, match=r"no token is left that would not repeat an n-gram\. Raise --no_repeat_ngram"):
        _ = generate_batched(Decoder(gpt), head, [[1], [2, 3]], **settings) if is_batched else list(steps)


def test_finished_texts_may_run_out_of_tokens() -> None:
    """The first text ends before it has no allowed token left, and the other one continues."""
    gpt, head = model(block_size=99)
    prompt = [token for token in range(1, VOCAB_SIZE) if token != 7]

    def only_the_stop_token(hidden_BC: Tensor) -> Tensor:
        logits_BV = head(hidden_BC)
        return logits_BV.index_fill(1, torch.tensor([0]), -1e6)

    answers = generate_batched(
        Decoder(gpt),
        only_the_stop_token,
        [prompt, [1, 2]],
        max_new_tokens=20,
        stop_ids=[7],
        logits_processors=[NoRepeatNgrams(1)],
    )
    assert answers[0] == ([], True, (), 7)
    assert len(answers[1].ids) > 3


@ALL
@pytest.mark.parametrize("use_prompt_lookup", [False, True])
def test_logprobs_are_those_of_the_model(shape: dict[str, Any], use_prompt_lookup: bool) -> None:
    """Compare with a full forward pass: neither logits processors nor the temperature change them."""
    gpt, head = model(**shape, block_size=40)
    prompt, logprobs = [3, 4, 3, 4, 3], list[Tensor]()
    settings: dict[str, Any] = {"max_new_tokens": 30, "sampling": Sampling(temperature=2.0, top_k=5)}
    settings["logits_processors"] = [RepetitionPenalty(0.8)]
    steps = generate(
        Decoder(gpt),
        head,
        torch.tensor([prompt]),
        generator=torch.Generator().manual_seed(0),
        use_prompt_lookup=use_prompt_lookup,
        logprobs=logprobs,
        **settings,
    )
    (ids,) = tokens(steps)
    expected = head(gpt(torch.tensor([[*prompt, *ids]])))[0, 4:-1].log_softmax(-1)[range(30), ids].tolist()
    assert torch.cat(logprobs).tolist() == pytest.approx(expected, rel=1e-5, abs=1e-6)
    (answer,) = generate_batched(
        Decoder(gpt), head, [prompt], generator=[torch.Generator().manual_seed(0)], with_logprobs=True, **settings
    )
    assert answer.ids == ids
    assert answer.logprobs == pytest.approx(expected, rel=1e-5, abs=1e-6)
