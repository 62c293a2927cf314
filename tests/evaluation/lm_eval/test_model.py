"""Adapter for lm-evaluation-harness, compared with the harness's own ``HFLM`` on the same weights."""

import random
from typing import Any

import pytest
import tokenizers
import torch

from gpt_lightning.errors import InputError
from gpt_lightning.evaluation.lm_eval.model import HarnessLM
from gpt_lightning.models import GPT
from gpt_lightning.tokenizers.tokenizer import Tokenizer
from tests.evaluation.lm_eval.models import BLOCK_SIZE, WORDS, ModelPair, model_pair, requests

pytestmark = pytest.mark.filterwarnings("ignore")  # from HFLM and libraries that it imports


@pytest.fixture(scope="module", params=[False, True], ids=["ends", "adds_bos"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ModelPair:
    """Return a model whose tokenizer adds no tokens, or adds a BOS token to every text."""
    return model_pair(tmp_path_factory.mktemp("harness") / "model", adds_bos=request.param)


def phrases(number: int, seed: int = 0) -> list[tuple[str, str]]:
    """Return (context, continuation) pairs; some contexts are empty, too long, or end in spaces."""
    draw, pairs = random.Random(seed), []
    for n in range(number):
        start, length = draw.randrange(300), draw.choice([0, 0, 1, 2, 5, 9, 60])
        context = " ".join(WORDS[start : start + length]) + "  " * (length > 0 and n % 5 == 0)
        for _ in range(draw.choice([1, 2, 4])):
            other = draw.randrange(300)
            pairs.append((context, " " * draw.randrange(2) + " ".join(WORDS[other : other + draw.choice([1, 1, 3])])))
    return pairs


def without_collisions(model: ModelPair, pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the pairs that HFLM (0.4.13) scores correctly.

    HFLM confuses pairs with the same input tokens that split them differently into context and continuation.
    """
    lengths: dict[tuple[int, ...], int] = {}
    kept = []
    for pair in pairs:
        context, tokens = model.reference._encode_pair(*pair) if pair[0] else ([], model.reference.tok_encode(pair[1]))
        text = [token for token in [*context, *tokens][:-1] if token != model.reference.prefix_token_id]
        if lengths.setdefault(tuple(text), len(tokens)) == len(tokens):
            kept.append(pair)
    return kept


def test_log_likelihoods(model: ModelPair) -> None:
    pairs = [*phrases(30), ("", "<|endoftext|>beer"), ("<|endoftext|>one", " beer"), ("<s>one", " beer"), ("é", "ñ")]
    texts = model.reference.generate_until(requests("generate_until", *((w, {"max_gen_toks": 3}) for w in WORDS[:9])))
    pairs += [(word, text) for word, text in zip(WORDS, texts, strict=False) if text]
    instances = requests("loglikelihood", *without_collisions(model, pairs))
    expected, actual = model.reference.loglikelihood(instances), model.ours.loglikelihood(instances)
    assert [value for value, _ in actual] == pytest.approx([value for value, _ in expected], abs=1e-4)
    assert [greedy for _, greedy in actual] == [greedy for _, greedy in expected]
    assert 0 < sum(greedy for _, greedy in actual) < len(actual), "the test needs both values of the flag"


def test_log_likelihoods_of_whole_texts(model: ModelPair) -> None:
    """Score an empty text, and texts of one and of several windows."""
    texts = [" ".join(WORDS[:n]) for n in (0, 1, 7, 25, 90)]
    instances = requests("loglikelihood_rolling", *((text,) for text in texts))
    expected, actual = model.reference.loglikelihood_rolling(instances), model.ours.loglikelihood_rolling(instances)
    assert actual == pytest.approx(expected, rel=1e-6, abs=1e-4)
    assert len(model.ours.tok_encode(texts[-1])) > 3 * BLOCK_SIZE


def test_generation(model: ModelPair) -> None:
    """Generate with and without stop strings of one or several tokens, and from prompts that must be truncated."""
    prompts = [" ".join(WORDS[n : n + size]) for n, size in enumerate([1, 1, 2, 3, 5, 8, 13, 60, 90, 2, 4])]
    settings: list[dict[str, Any]] = [
        {"until": ["e", "\n\n"], "max_gen_toks": 16},
        {"max_gen_toks": 7},
        {"until": " b", "max_gen_toks": 16, "do_sample": False},
    ]
    instances = requests("generate_until", *((p, settings[n % 3]) for n, p in enumerate(prompts)))
    expected, actual = model.reference.generate_until(instances), model.ours.generate_until(instances)
    assert actual == expected
    assert len({len(text) for text in actual}) > 3


def test_generation_ends_before_a_stop_string(model: ModelPair) -> None:
    settings = {"max_gen_toks": 20}
    instances = requests("generate_until", *((word, settings) for word in WORDS[:6]))
    for word, text in zip(WORDS, model.ours.generate_until(instances), strict=False):
        stop = text[6:9]
        (truncated,) = model.ours.generate_until(requests("generate_until", (word, {"until": [stop], **settings})))
        assert truncated == text[: text.index(stop)]


def test_every_end_token_ends_the_text(model: ModelPair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the end tokens from ``generation_config.json``, as transformers does."""
    instances = requests("generate_until", *((word, {"max_gen_toks": 20}) for word in WORDS[:6]))
    free, tokenizer = model.ours.generate_until(instances), model.ours._tokenizer
    ends = [tokenizer.end_of_text_id, tokenizer.encode(free[0][8:])[0]]
    monkeypatch.setattr(model.reference.model.generation_config, "eos_token_id", ends)
    inner = tokenizers.Tokenizer.from_file(str(model.folder / "tokenizer.json"))
    ended = HarnessLM(model.ours.task, Tokenizer(inner, tokenizer.config, {"eos_token_id": ends}))
    texts = ended.generate_until(instances)
    assert texts == model.reference.generate_until(instances) != free


def test_results_do_not_depend_on_the_batch(model: ModelPair) -> None:
    unbatched_lm = HarnessLM(model.ours.task, model.ours._tokenizer, batch_tokens=1)
    pairs = phrases(8, seed=1)
    batched = model.ours.loglikelihood(requests("loglikelihood", *pairs))
    unbatched = unbatched_lm.loglikelihood(requests("loglikelihood", *pairs))
    assert [value for value, _ in batched] == pytest.approx([value for value, _ in unbatched], abs=1e-4)
    instances = requests("generate_until", *((w, {"max_gen_toks": 12, "until": ["t"]}) for w in WORDS[:8]))
    assert model.ours.generate_until(instances) == unbatched_lm.generate_until(instances)


def test_sampling(model: ModelPair) -> None:
    """Check that samples do not depend on the batch, and that repeated requests get different ones."""
    instances = requests("generate_until", *[("beer", {"max_gen_toks": 12, "do_sample": True, "temperature": 1.5})] * 3)
    first = HarnessLM(model.ours.task, model.ours._tokenizer).generate_until(instances)
    for batch_tokens in (1, 40):
        assert first == HarnessLM(model.ours.task, model.ours._tokenizer, batch_tokens).generate_until(instances)
    assert len(set(first)) == 3
    (greedy,) = model.ours.generate_until(
        requests("generate_until", ("beer", {"max_gen_toks": 12, "do_sample": False}))
    )
    one = {"max_gen_toks": 12, "do_sample": True, "temperature": 1.5, "top_k": 1}
    assert model.ours.generate_until(requests("generate_until", ("beer", one))) == [greedy]


def test_chat_templates(model: ModelPair) -> None:
    chat = [
        {"role": "system", "content": "be"},
        {"role": "user", "content": " hi "},
        {"role": "assistant", "content": "x "},
    ]
    for messages, answer in ((chat[:2], True), (chat, False), (chat[1:2], True)):
        assert model.ours.apply_chat_template(messages, answer) == model.reference.apply_chat_template(messages, answer)
    text = model.ours.apply_chat_template(chat[:2], True)
    assert model.ours.tok_encode(text) == model.reference.tok_encode(text)
    assert model.ours.chat_template(True) == model.reference.chat_template(True)
    assert model.ours.chat_template(False) is None
    pair = requests("loglikelihood", (text, " beer"))
    assert model.ours.loglikelihood(pair)[0][0] == pytest.approx(model.reference.loglikelihood(pair)[0][0], abs=1e-4)


def test_token_ids(model: ModelPair) -> None:
    for text in ("beer on", " beer", "", "<|endoftext|>beer", "<s>beer", "a <|endoftext|> b", "日本\u2028\x00"):
        for add in (None, False, True):
            assert model.ours.tok_encode(text, add) == model.reference.tok_encode(text, add), (text, add)
    assert model.ours.prefix_token_id == model.reference.prefix_token_id
    assert model.ours.eot_token_id == model.reference.eot_token_id
    assert model.ours.max_length == model.reference.max_length == BLOCK_SIZE


@pytest.mark.parametrize(
    ("kind", "request_", "message"),
    [
        ("loglikelihood", ("a", " beer" * 50), r"a continuation of \d+ tokens does not fit the model's context of 40"),
        ("loglikelihood", ("a", ""), "a task requests the likelihood of an empty continuation"),
        (
            "generate_until",
            ("a", {"num_beams": 2}),
            "generation_kwargs num_beams are not supported.*are do_sample, max",
        ),
        ("generate_until", ("a", {}), "a task generates 256 tokens, but the model's context has 40"),
    ],
)
def test_unsupported_requests_are_refused(model: ModelPair, kind: str, request_: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        getattr(model.ours, kind)(requests(kind, request_))


# --- cost


def test_shared_prefixes_are_computed_once(model: ModelPair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute a question with four answers once, and logits only for the answers."""
    tokens, logits = [], []
    backbone, head = GPT.forward, torch.nn.Linear.forward

    def counted(self: GPT, input_ids: torch.Tensor, **arguments: Any) -> torch.Tensor:
        tokens.append(input_ids.numel())
        return backbone(self, input_ids, **arguments)

    def counted_head(self: torch.nn.Linear, x: torch.Tensor) -> torch.Tensor:
        if self is model.ours.task.head:
            logits.append(len(x))
        return head(self, x)

    monkeypatch.setattr(GPT, "forward", counted)
    monkeypatch.setattr(torch.nn.Linear, "forward", counted_head)
    context, answers = " ".join(WORDS[:9]), [" a", " b", " cc", " dd"]
    model.ours.loglikelihood(requests("loglikelihood", *((context, answer) for answer in answers)))
    question = len(model.ours.tok_encode(context))
    sizes = [len(model.ours.tok_encode(context + answer)) - question for answer in answers]
    assert sizes[0] < sizes[2], "the test needs answers of different lengths"
    # The last token of an answer is predicted, but not read.
    assert sum(tokens) <= question + sum(size - 1 for size in sizes)
    assert sum(logits) <= 1 + sum(size - 1 for size in sizes)


def test_adapter_does_not_copy_the_weights(model: ModelPair) -> None:
    before = sum(parameter.numel() for parameter in model.ours.task.parameters())
    owned = [value for value in vars(model.ours).values() if isinstance(value, torch.nn.Module)]
    assert owned == [model.ours.task]
    assert sum(parameter.numel() for parameter in owned[0].parameters()) == before
