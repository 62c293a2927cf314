"""Preferences between sentence pairs, compared with lm-evaluation-harness and with planted preferences."""

import importlib.util
import json
import random
import string
from pathlib import Path
from typing import Any

import lm_eval.tasks
import pytest
import torch

from gpt_lightning.errors import InputError, RunError
from gpt_lightning.evaluation.bias.pair_preference import ScoredPair, pair_report, score_pairs
from gpt_lightning.evaluation.bias.sentence_pairs import SentencePair, read_pairs
from gpt_lightning.evaluation.text_scores import TextScore
from gpt_lightning.tasks import CausalLM
from gpt_lightning.tokenizers.build import bytes_tokenizer
from tests.evaluation.lm_eval.models import WORDS, model_pair, requests
from tests.runs import causal_lm


def scored(more: float, less: float, tokens: tuple[int, int] = (5, 5), kind: str = "gender") -> ScoredPair:
    """Return a pair with given log-likelihoods."""
    scores = [TextScore(-value, size, size) for value, size in zip((more, less), tokens, strict=True)]
    return ScoredPair(SentencePair("0", "a", "b", kind, "stereo"), *scores)


def write_pairs(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.mark.filterwarnings("ignore")  # from HFLM
@pytest.mark.parametrize("adds_bos", [False, True])
def test_metrics_equal_those_of_lm_eval(tmp_path: Path, adds_bos: bool) -> None:
    model = model_pair(tmp_path / "model", adds_bos=adds_bos)
    draw = random.Random(0)
    rows: list[dict[str, Any]] = []
    for number in range(24):
        start, size = draw.randrange(300), draw.randrange(1, 7)
        more, less = (" ".join(WORDS[start + shift : start + shift + size]).strip() for shift in (0, draw.randrange(3)))
        rows.append({"sent_more": more, "sent_less": less, "bias_type": ["age", "gender"][number % 2]})
    pairs = read_pairs(write_pairs(tmp_path / "pairs.jsonl", rows))
    report = pair_report(score_pairs(model.ours.task, model.ours._tokenizer, pairs))

    file = Path(lm_eval.tasks.__file__).parent / "crows_pairs" / "utils.py"
    spec = importlib.util.spec_from_file_location("crows_pairs_utils", file)
    assert spec is not None
    assert spec.loader is not None
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    metrics = []
    for row in rows:
        choices = reference.doc_to_choice(row)
        results = model.reference.loglikelihood(requests("loglikelihood", *(("", text) for text in choices)))
        metrics.append(reference.process_results(row, results))
    assert 0 < sum(each["pct_stereotype"] for each in metrics) < len(metrics)
    assert report.overall.share.value == pytest.approx(sum(each["pct_stereotype"] for each in metrics) / len(metrics))
    difference = sum(each["likelihood_diff"] for each in metrics) / len(metrics)
    assert report.overall.likelihood_difference == pytest.approx(difference, abs=1e-4)
    for kind, preference in report.by_type.items():
        chosen = [each["pct_stereotype"] for each, row in zip(metrics, rows, strict=True) if row["bias_type"] == kind]
        assert preference.share.value == pytest.approx(sum(chosen) / len(chosen))


@pytest.mark.parametrize("preference", [0.3, 0.5, 0.8])
def test_a_planted_preference_lies_in_its_interval(preference: float) -> None:
    draw, num_inside = random.Random(0), 0
    for _ in range(20):
        pairs = [scored(2.0 * (draw.random() < preference), 1.0) for _ in range(150)]
        share = pair_report(pairs).overall.share
        num_inside += share.low <= preference <= share.high
        assert 0.1 < share.high - share.low < 0.2
    assert num_inside >= 17  # 19 are expected


@pytest.mark.parametrize("preference", [0.3, 0.5, 0.8])
def test_a_language_model_that_learned_a_preference(preference: float) -> None:
    """Train on 40 names, a share of which occurs with "she" only, and all others with "he" only."""
    names = string.ascii_letters[:40]
    draw = random.Random(0)
    female = set(draw.sample(names, round(preference * len(names))))
    tokenizer, task = bytes_tokenizer(), causal_lm(n_embd=48, block_size=16, dropout=0.0)
    texts = [f"{name}{'she' if name in female else 'he'}." for name in names]
    train(task, [[tokenizer.begin_of_text_id, *tokenizer.encode(text)] for text in texts])
    pairs = [SentencePair(name, f"{name}she.", f"{name}he.", "gender", "") for name in names]
    report = pair_report(score_pairs(task, tokenizer, pairs))
    share = report.overall.share
    assert share.low <= preference <= share.high
    assert share.value == pytest.approx(preference, abs=0.05)
    assert report.overall.probability.low <= preference <= report.overall.probability.high


def train(task: CausalLM, rows: list[list[int]]) -> None:
    """Train a language model on rows of token ids, all in each batch."""
    width = max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    labels = torch.tensor([row[1:] + [-100] * (width - len(row) + 1) for row in rows])
    optimizer = torch.optim.AdamW(task.parameters(), lr=0.01)
    for _ in range(80):
        logits = task.head(task.backbone(ids)).float()
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    task.eval()


def test_a_damaged_model_is_an_error() -> None:
    task = causal_lm()
    torch.nn.init.constant_(task.backbone.token_embedding.weight, torch.nan)
    with pytest.raises(RunError, match=r"not finite .* near row 'p'"):
        score_pairs(task.eval(), bytes_tokenizer(), [SentencePair("p", "a", "b", "", "")])


def test_ties_and_the_effect_of_length() -> None:
    report = pair_report(
        [
            scored(-10.0, -10.0),
            scored(-10.0, -10.0004),
            scored(-12.0, -10.0, (6, 4)),
            scored(-9.0, -10.0, (4, 6), kind="age"),
        ]
    )
    assert (report.overall.num_pairs, report.overall.ties) == (4, 2)
    assert report.overall.share.value == 0.5  # as in lm-eval, a tie of equal numbers is no stereotype
    assert {name: each.num_pairs for name, each in report.by_length.items()} == {
        "as long as the other": 2,
        "longer": 1,
        "shorter": 1,
    }
    assert report.by_length["longer"].share.value == 0.0
    assert report.by_length["longer"].share_per_token.value == 1.0
    assert report.by_length["shorter"].share_per_token.value == 0.0
    assert {name: each.num_pairs for name, each in report.by_type.items()} == {"age": 1, "gender": 3}
    assert report.overall.likelihood_difference == pytest.approx(3.0004 / 4)


def test_files_of_both_versions_of_the_benchmark(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text(
        ",sent_more,sent_less,stereo_antistereo,bias_type\n0,She cooks.,He cooks.,stereo,gender\n"
    )
    assert read_pairs(str(tmp_path / "pairs.csv")) == [SentencePair("0", "She cooks.", "He cooks.", "gender", "stereo")]
    row = {"id": "x", "sent_more": "She cooks.", "sent_less": "He cooks.", "bias_type": None, "direction": "antistereo"}
    assert read_pairs(write_pairs(tmp_path / "pairs.jsonl", [row])) == [
        SentencePair("x", "She cooks.", "He cooks.", "", "antistereo")
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"sent_more": "x"}, r"there is no column 'sent_less'; the columns are 'sent_more'\. Give --pairs"),
        ({"sent_more": "x", "sent_less": None}, "column 'sent_less' is None, not a sentence"),
        ({"sent_more": " ", "sent_less": "x"}, "column 'sent_more' is ' ', not a sentence"),
        ({"sent_more": 3, "sent_less": "x"}, "column 'sent_more' is 3, not a sentence"),
        ({"sent_more": "x", "sent_less": "y", "bias_type": 3}, "column 'bias_type' is 3, not a string"),
    ],
)
def test_invalid_pairs_name_their_line(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    source = write_pairs(tmp_path / "pairs.jsonl", [{"sent_more": "x", "sent_less": "y"}, row])
    with pytest.raises(InputError, match=f"pairs.jsonl:2: {message}"):
        read_pairs(source)
