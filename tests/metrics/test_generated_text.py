"""Metrics of generated texts, compared with sacrebleu and rouge_score over all texts at once."""

import math
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from gpt_lightning.metrics import GenerationMetrics
from gpt_lightning.metrics.generated_text import sacrebleu_scorers, signatures
from gpt_lightning.metrics.span import exact_match, token_f1

WORDS = [
    "the",
    "cat",
    "sat",
    "on",
    "a",
    "mat",
    "U.S.",
    "naïve",
    "l'été,",
    "1905",
    "don't",
    "東京",
    "🙂",
    "x_y",
    "\n",
    ".",
]


@dataclass(frozen=True)
class Example:
    text: str
    is_complete: bool
    references: tuple[str, ...]


def random_examples(number: int, seed: int, most_references: int = 3) -> list[Example]:
    """Return texts that share words with their references, some empty and some correct."""
    rng = random.Random(seed)

    def sentence(least: int) -> str:
        return " ".join(rng.choices(WORDS, k=rng.randint(least, 14)))

    examples = []
    for _ in range(number):
        references = tuple(sentence(1) for _ in range(rng.randint(1, most_references)))
        text = rng.choice([*references, sentence(0), references[0][: len(references[0]) // 2], ""])
        examples.append(Example(text, rng.random() < 0.7, references))
    return examples


def build(examples: list[Example], size: int) -> GenerationMetrics:
    """Return the metric of the examples in batches of ``size``, each with a loss of 1."""
    metric = GenerationMetrics()
    for start in range(0, len(examples), size):
        batch = examples[start : start + size]
        metric.add_texts([e.text for e in batch], [e.is_complete for e in batch], [e.references for e in batch])
        metric.update(torch.tensor(1.0), torch.tensor(len(batch)), torch.tensor([len(batch)]))
    return metric


def scalars(metric: GenerationMetrics) -> dict[str, float]:
    return {name: float(value) for name, value in metric.compute().items() if value.ndim == 0}


def expected(examples: list[Example]) -> dict[str, float]:
    """Return the scores of sacrebleu and rouge_score, and plain means of the others."""
    texts, width = [e.text for e in examples], max(len(e.references) for e in examples)
    streams = [[e.references[n] if n < len(e.references) else None for e in examples] for n in range(width)]
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"])
    rouge = [scorer.score_multi(list(e.references), e.text) for e in examples]
    means = {
        **{name: [scores[name].fmeasure for scores in rouge] for name in scorer.rouge_types},
        "exact_match": [exact_match(e.text, e.references) for e in examples],
        "token_f1": [token_f1(e.text, e.references) for e in examples],
        "complete": [float(e.is_complete) for e in examples],
    }
    return {
        "bleu": BLEU().corpus_score(texts, streams).score,  # type: ignore[arg-type]
        "chrf": CHRF().corpus_score(texts, streams).score,  # type: ignore[arg-type]
        **{name: math.fsum(values) / len(values) for name, values in means.items()},
        "loss": 1.0,
        "perplexity": math.e,
        "bits_per_byte": 1 / math.log(2),
    }


@pytest.mark.parametrize("size", [1, 7, 200])
@pytest.mark.parametrize("most_references", [1, 3])
def test_scores_equal_those_of_the_published_packages(size: int, most_references: int) -> None:
    examples = random_examples(200, most_references, most_references)
    assert scalars(build(examples, size)) == pytest.approx(expected(examples), rel=1e-6)


def test_scores_by_hand() -> None:
    metric = build([Example("the cat sat on the mat", True, ("The cat sat on a mat.", "a mat"))], 1)
    values = scalars(metric)
    assert values["exact_match"] == 1.0, "without articles and punctuation"
    assert values["token_f1"] == values["complete"] == 1.0
    assert values["rouge1"] == pytest.approx(5 / 6)  # of "the" twice, one is in the reference
    assert values["rouge2"] == pytest.approx(3 / 5)
    assert values["rougeL"] == pytest.approx(5 / 6)
    mean_of_batches = sum(scalars(build([e], 1))["bleu"] for e in random_examples(50, 0)) / 50
    assert abs(mean_of_batches - scalars(build(random_examples(50, 0), 1))["bleu"]) > 1, "means would pass the tests"


def test_ranks_sum_to_the_result_of_one_process() -> None:
    examples = random_examples(90, 5)
    ranks = [build(examples[:1], 1), build(examples[1:60], 8), build(examples[60:], 30)]
    for rank in ranks[1:]:
        ranks[0].merge_state(rank)
    single_process = build(examples, 90)
    for name, value in single_process.compute().items():
        torch.testing.assert_close(ranks[0].compute()[name], value, rtol=0, atol=0)


def test_signatures_are_those_of_sacrebleu() -> None:
    for most_references in (1, 3):
        examples = random_examples(40, 2, most_references)
        padded = [[*e.references, *[None] * (most_references - len(e.references))] for e in examples]
        texts, streams = [e.text for e in examples], list(zip(*padded, strict=True))
        bleu, chrf = BLEU(), CHRF()
        bleu.corpus_score(texts, streams)
        chrf.corpus_score(texts, streams)
        num_texts, fewest, most = build(examples, 3).compute()["references"].tolist()
        assert num_texts == 40
        found = signatures(fewest, most)
        assert (found["bleu"], found["chrf"]) == (str(bleu.get_signature()), str(chrf.get_signature()))
        assert ("nrefs:1|" in found["bleu"]) == (most_references == 1)


def test_without_texts_only_the_language_model_is_measured() -> None:
    metric = build(random_examples(3, 1), 3)
    metric.reset()
    metric.update(torch.tensor(1.0), torch.tensor(2), torch.tensor([2]))
    assert metric.compute().keys() == {"loss", "perplexity", "bits_per_byte"}


def test_rouge_is_left_out_for_scripts_that_it_ignores() -> None:
    metric = build([Example("Привет, мир", True, ("Привет, мир",))], 1)
    values = scalars(metric)
    assert not {"rouge1", "rouge2", "rougeL"} & values.keys()
    assert values["exact_match"] == 1.0
    assert values["chrf"] == pytest.approx(100.0)
    assert "rouge1" in scalars(build([Example("3", True, ("Привет 3",))], 1))


@pytest.fixture
def _no_sacrebleu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics.bleu", None)
    sacrebleu_scorers.cache_clear()
    yield
    sacrebleu_scorers.cache_clear()


@pytest.mark.usefixtures("_no_sacrebleu")
def test_bleu_and_chrf_are_left_out_without_sacrebleu() -> None:
    examples = random_examples(20, 3)
    values = scalars(build(examples, 6))
    assert values == pytest.approx({k: v for k, v in expected(examples).items() if k not in ("bleu", "chrf")}, rel=1e-6)
    assert signatures(1, 1).keys() == {"rouge"}


def test_counts_stay_integers_in_a_bfloat16_module() -> None:
    examples = random_examples(30, 4)
    module = torch.nn.ModuleList([build(examples, 5)]).bfloat16()
    metric = module[0]
    assert isinstance(metric, GenerationMetrics)
    assert scalars(metric) == pytest.approx(expected(examples), rel=1e-6)
