"""lm-evaluation-harness is told of a model what its own adapter of Hugging Face's classes tells it."""

import random
from typing import Any

import pytest
import torch

from gpt_lightning.errors import InputError
from gpt_lightning.evaluation.lm_eval.model import HarnessLM
from gpt_lightning.models import GPT
from tests.evaluation.lm_eval.models import BLOCK_SIZE, WORDS, Both, both, requests

pytestmark = pytest.mark.filterwarnings("ignore")  # HFLM's, and those of what it imports


@pytest.fixture(scope="module", params=[False, True], ids=["ends", "begins"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Both:
    """With a tokenizer that adds nothing, and with one that puts a token before every text."""
    return both(tmp_path_factory.mktemp("harness") / "model", begins=request.param)


def phrases(number: int, seed: int = 0) -> list[tuple[str, str]]:
    """Contexts (some empty, some too long, some ending in blanks) with several continuations each."""
    draw, pairs = random.Random(seed), []
    for n in range(number):
        start, length = draw.randrange(300), draw.choice([0, 0, 1, 2, 5, 9, 60])
        context = " ".join(WORDS[start : start + length]) + "  " * (length > 0 and n % 5 == 0)
        for _ in range(draw.choice([1, 2, 4])):
            other = draw.randrange(300)
            pairs.append((context, " " * draw.randrange(2) + " ".join(WORDS[other : other + draw.choice([1, 1, 3])])))
    return pairs


def cut_alike(model: Both, pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those whose tokens but the last are not another pair's, cut elsewhere: HFLM (0.4.13) scores one as the other."""
    lengths: dict[tuple[int, ...], int] = {}
    kept = []
    for pair in pairs:
        context, tokens = model.theirs._encode_pair(*pair) if pair[0] else ([], model.theirs.tok_encode(pair[1]))
        text = [token for token in [*context, *tokens][:-1] if token != model.theirs.prefix_token_id]
        if lengths.setdefault(tuple(text), len(tokens)) == len(tokens):
            kept.append(pair)
    return kept


def test_log_likelihoods(model: Both) -> None:
    pairs = [*phrases(30), ("", "<|endoftext|>beer"), ("<|endoftext|>one", " beer"), ("<s>one", " beer"), ("é", "ñ")]
    texts = model.theirs.generate_until(requests("generate_until", *((w, {"max_gen_toks": 3}) for w in WORDS[:9])))
    pairs += [(word, text) for word, text in zip(WORDS, texts, strict=False) if text]
    asked = requests("loglikelihood", *cut_alike(model, pairs))
    expected, actual = model.theirs.loglikelihood(asked), model.ours.loglikelihood(asked)
    assert [value for value, _ in actual] == pytest.approx([value for value, _ in expected], abs=1e-4)
    assert [greedy for _, greedy in actual] == [greedy for _, greedy in expected]
    assert 0 < sum(greedy for _, greedy in actual) < len(actual), "flags that are all alike say little"


def test_whole_texts(model: Both) -> None:
    """Also the empty one, and those of several windows."""
    texts = [" ".join(WORDS[:n]) for n in (0, 1, 7, 25, 90)]
    asked = requests("loglikelihood_rolling", *((text,) for text in texts))
    expected, actual = model.theirs.loglikelihood_rolling(asked), model.ours.loglikelihood_rolling(asked)
    assert actual == pytest.approx(expected, rel=1e-6, abs=1e-4)
    assert len(model.ours.tok_encode(texts[-1])) > 3 * BLOCK_SIZE


def test_what_the_model_writes(model: Both) -> None:
    """With and without stop strings, of one token and of several, and from prompts of which only the end fits."""
    prompts = [" ".join(WORDS[n : n + size]) for n, size in enumerate([1, 1, 2, 3, 5, 8, 13, 60, 90, 2, 4])]
    settings: list[dict[str, Any]] = [
        {"until": ["e", "\n\n"], "max_gen_toks": 16},
        {"max_gen_toks": 7},
        {"until": " b", "max_gen_toks": 16, "do_sample": False},
    ]
    asked = requests("generate_until", *((p, settings[n % 3]) for n, p in enumerate(prompts)))
    expected, actual = model.theirs.generate_until(asked), model.ours.generate_until(asked)
    assert actual == expected
    assert len({len(text) for text in actual}) > 3


def test_it_stops_at_a_string_that_its_own_text_holds(model: Both) -> None:
    whole = {"max_gen_toks": 20}
    asked = requests("generate_until", *((word, whole) for word in WORDS[:6]))
    for word, text in zip(WORDS, model.ours.generate_until(asked), strict=False):
        stop = text[6:9]
        (cut,) = model.ours.generate_until(requests("generate_until", (word, {"until": [stop], **whole})))
        assert cut == text[: text.index(stop)]


def test_texts_are_those_of_one_at_a_time(model: Both) -> None:
    """Whatever shares a batch."""
    narrow = HarnessLM(model.ours.task, model.ours._ours, batch_tokens=1)
    pairs = phrases(8, seed=1)
    together = model.ours.loglikelihood(requests("loglikelihood", *pairs))
    alone = narrow.loglikelihood(requests("loglikelihood", *pairs))
    assert [value for value, _ in together] == pytest.approx([value for value, _ in alone], abs=1e-4)
    asked = requests("generate_until", *((w, {"max_gen_toks": 12, "until": ["t"]}) for w in WORDS[:8]))
    assert model.ours.generate_until(asked) == narrow.generate_until(asked)


def test_sampling(model: Both) -> None:
    """The same numbers for a new adapter, others for the same request again."""
    asked = requests("generate_until", *[("beer", {"max_gen_toks": 12, "do_sample": True, "temperature": 1.5})] * 3)
    first = HarnessLM(model.ours.task, model.ours._ours).generate_until(asked)
    assert first == HarnessLM(model.ours.task, model.ours._ours).generate_until(asked)
    assert len(set(first)) == 3
    (greedy,) = model.ours.generate_until(
        requests("generate_until", ("beer", {"max_gen_toks": 12, "do_sample": False}))
    )
    one = {"max_gen_toks": 12, "do_sample": True, "temperature": 1.5, "top_k": 1}
    assert model.ours.generate_until(requests("generate_until", ("beer", one))) == [greedy]


def test_chats(model: Both) -> None:
    said = [
        {"role": "system", "content": "be"},
        {"role": "user", "content": " hi "},
        {"role": "assistant", "content": "x "},
    ]
    for messages, answer in ((said[:2], True), (said, False), (said[1:2], True)):
        assert model.ours.apply_chat_template(messages, answer) == model.theirs.apply_chat_template(messages, answer)
    text = model.ours.apply_chat_template(said[:2], True)
    assert model.ours.tok_encode(text) == model.theirs.tok_encode(text)
    assert model.ours.chat_template(True) == model.theirs.chat_template(True)
    assert model.ours.chat_template(False) is None
    pair = requests("loglikelihood", (text, " beer"))
    assert model.ours.loglikelihood(pair)[0][0] == pytest.approx(model.theirs.loglikelihood(pair)[0][0], abs=1e-4)


def test_tokens(model: Both) -> None:
    for text in ("beer on", " beer", "", "<|endoftext|>beer", "<s>beer", "a <|endoftext|> b", "日本\u2028\x00"):
        for add in (None, False, True):
            assert model.ours.tok_encode(text, add) == model.theirs.tok_encode(text, add), (text, add)
    assert model.ours.prefix_token_id == model.theirs.prefix_token_id
    assert model.ours.eot_token_id == model.theirs.eot_token_id
    assert model.ours.max_length == model.theirs.max_length == BLOCK_SIZE


@pytest.mark.parametrize(
    ("kind", "request_", "message"),
    [
        ("loglikelihood", ("a", " beer" * 50), r"a continuation of \d+ tokens does not fit the model's context of 40"),
        ("loglikelihood", ("a", ""), "a task asks how likely an empty continuation is"),
        ("generate_until", ("a", {"num_beams": 2}), "generation_kwargs num_beams: known are do_sample, max_gen_toks"),
        ("generate_until", ("a", {}), "a task generates 256 tokens, the model's context holds 40"),
    ],
)
def test_what_cannot_be_asked(model: Both, kind: str, request_: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        getattr(model.ours, kind)(requests(kind, request_))


# --- what it costs


def test_shared_beginnings_are_computed_once(model: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four answers to one question, the question; and the output layer only where an answer is."""
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
    assert sizes[0] < sizes[2], "answers of one length say little"
    # Of an answer, all but the last token are read.
    assert sum(tokens) <= question + sum(size - 1 for size in sizes)
    assert sum(logits) <= 1 + sum(size - 1 for size in sizes)


def test_its_weights_are_the_models(model: Both) -> None:
    before = sum(parameter.numel() for parameter in model.ours.task.parameters())
    owned = [value for value in vars(model.ours).values() if isinstance(value, torch.nn.Module)]
    assert owned == [model.ours.task]
    assert sum(parameter.numel() for parameter in owned[0].parameters()) == before
