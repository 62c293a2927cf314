"""Beam search, compared with that of Hugging Face's ``generate`` and with greedy decoding."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from gpt_lightning.errors import InputError
from gpt_lightning.models.generation.answer import Answer
from gpt_lightning.models.generation.batched import generate_batched
from gpt_lightning.models.generation.beam_search import beam_search
from gpt_lightning.models.generation.decoder import Decoder
from gpt_lightning.models.generation.logits_processors import MinNewTokens, NoRepeatNgrams, RepetitionPenalty
from gpt_lightning.models.lm_head import LMHead
from tests.models.generation.test_batched import PROMPTS
from tests.models.generation.test_generate import ALL, VOCAB_SIZE, model
from tests.models.huggingface.test_parity import pair

NEW_TOKENS = 9


def reference_answers(reference: Any, prompt: list[int], stop_ids: Sequence[int], **settings: Any) -> list[Answer]:
    """Return the texts of Hugging Face's beam search, best first."""
    ids = torch.tensor([prompt])
    rows = reference.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=NEW_TOKENS,
        num_return_sequences=settings["num_beams"],
        eos_token_id=list(stop_ids) or None,
        pad_token_id=0,
        **settings,
    )[:, len(prompt) :].tolist()
    ends = [next((n for n, token in enumerate(row) if token in stop_ids), NEW_TOKENS) for row in rows]
    return [Answer(row[:end], end < NEW_TOKENS) for row, end in zip(rows, ends, strict=True)]


def without_logprobs(answers: list[list[Answer]]) -> list[list[Answer]]:
    return [[Answer(answer.ids, answer.is_complete) for answer in found] for found in answers]


@pytest.mark.parametrize(
    ("name", "num_beams", "length_penalty", "num_stops"),
    [
        ("gpt2", 4, 1.0, 0),
        ("gpt2", 2, 0.0, 3),
        ("gpt2", 5, 2.5, 2),
        ("gpt2", 3, -1.0, 2),
        ("llama_grouped", 4, 1.0, 2),
        ("llama_theta", 3, 1.0, 1),
        ("qwen3", 4, 0.5, 3),
    ],
)
def test_texts_equal_those_of_hugging_face(name: str, num_beams: int, length_penalty: float, num_stops: int) -> None:
    """The stop tokens are the most frequent tokens of texts without them, so that many texts end early."""
    ours, reference = pair(name)
    assert isinstance(ours.head, LMHead)
    with torch.no_grad():
        for head in (ours.head, reference.lm_head):  # flatter distributions, so that many texts compete
            head.weight.mul_(0.2)

    def search(stop_ids: Sequence[int]) -> list[list[Answer]]:
        answers = beam_search(
            Decoder(ours.backbone),
            ours.head,
            PROMPTS,
            max_new_tokens=NEW_TOKENS,
            num_beams=num_beams,
            length_penalty=length_penalty,
            stop_ids=stop_ids,
        )
        return without_logprobs(answers)

    counts = Counter(token for found in search([]) for answer in found for token in answer.ids[2:])
    stop_ids = [token for token, _ in counts.most_common(num_stops)]
    settings = {"num_beams": num_beams, "length_penalty": length_penalty}
    answers = search(stop_ids)
    assert answers == [reference_answers(reference, prompt, stop_ids, **settings) for prompt in PROMPTS]
    assert len({len(answer.ids) for found in answers for answer in found}) > 3 * (num_stops > 0)


def test_logits_processors_change_log_probabilities() -> None:
    ours, reference = pair("llama_grouped")
    stop_ids = (7, 9)
    answers = beam_search(
        Decoder(ours.backbone),
        ours.head,
        PROMPTS,
        max_new_tokens=NEW_TOKENS,
        num_beams=4,
        stop_ids=stop_ids,
        logits_processors=[RepetitionPenalty(1.3), NoRepeatNgrams(2), MinNewTokens(4, stop_ids)],
    )
    settings = {"num_beams": 4, "repetition_penalty": 1.3, "no_repeat_ngram_size": 2, "min_new_tokens": 4}
    assert without_logprobs(answers) == [reference_answers(reference, p, stop_ids, **settings) for p in PROMPTS]


@ALL
def test_one_beam_is_greedy_decoding(shape: dict[str, Any]) -> None:
    gpt, head = model(**shape)
    decoder, settings = Decoder(gpt), {"max_new_tokens": NEW_TOKENS, "stop_ids": range(10)}
    greedy = generate_batched(decoder, head, PROMPTS, with_logprobs=True, **settings)  # type: ignore[arg-type]
    found = beam_search(decoder, head, PROMPTS, num_beams=1, **settings)  # type: ignore[arg-type]
    for (answer,), expected in zip(found, greedy, strict=True):
        assert answer[:2] == expected[:2]
        assert answer.logprobs == pytest.approx(expected.logprobs, rel=1e-6)
    assert len({len(answer.ids) for answer in greedy}) > 1


@ALL
def test_texts_do_not_depend_on_other_prompts(shape: dict[str, Any]) -> None:
    gpt, head = model(**shape)

    def search(prompts: list[list[int]]) -> list[list[Answer]]:
        return beam_search(
            Decoder(gpt),
            lambda hidden: head(hidden) / 10.0,
            prompts,
            max_new_tokens=NEW_TOKENS,
            num_beams=3,
            stop_ids=range(0, VOCAB_SIZE, 4),
            logits_processors=[NoRepeatNgrams(2)],
        )

    assert without_logprobs(search(PROMPTS)) == without_logprobs([search([prompt])[0] for prompt in PROMPTS])


def test_logprobs_are_those_of_the_model() -> None:
    gpt, head = model(position="rotary")
    (found,) = beam_search(
        Decoder(gpt), head, [[3, 4]], max_new_tokens=5, num_beams=3, logits_processors=[RepetitionPenalty(3.0)]
    )
    for answer in found:
        logits = head(gpt(torch.tensor([[3, 4, *answer.ids]])))[0, 1:-1]
        expected = logits.log_softmax(-1)[range(5), answer.ids]
        assert answer.logprobs == pytest.approx(expected.tolist(), rel=1e-5)


def test_finished_texts_are_recognized_by_the_given_function() -> None:
    """A function that recognizes a token gives the texts of a stop token, with that token."""
    gpt, head = model(position="rotary")
    decoder = Decoder(gpt)

    def flat(hidden_RC: Tensor) -> Tensor:
        return head(hidden_RC) / 10.0

    settings: dict[str, Any] = {"max_new_tokens": NEW_TOKENS, "num_beams": 3}
    stopped = beam_search(decoder, flat, PROMPTS, stop_ids=(55,), **settings)
    finished = beam_search(decoder, flat, PROMPTS, is_finished=lambda ids: ids[-1] == 55, **settings)
    assert any(answer.is_complete for found in stopped for answer in found)
    with_stop = [[Answer(a.ids + [55] * a.is_complete, a.is_complete) for a in found] for found in stopped]
    assert without_logprobs(finished) == with_stop


def test_prompt_without_an_allowed_continuation_is_refused() -> None:
    gpt, head = model(position="rotary", block_size=99)
    with pytest.raises(InputError, match="no token is left that would not repeat an n-gram"):
        beam_search(
            Decoder(gpt), head, [[1]], max_new_tokens=VOCAB_SIZE + 2, num_beams=2, logits_processors=[NoRepeatNgrams(1)]
        )
