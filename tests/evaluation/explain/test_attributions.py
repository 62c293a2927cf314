"""Attributions, compared with dense formulas in float64 and with the exact result for linear models."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gpt_lightning as gl
from gpt_lightning.api import Model
from gpt_lightning.errors import InputError, RunError
from gpt_lightning.evaluation.explain.attributions import MAX_GAP, Attributions
from gpt_lightning.evaluation.explain.explanation import ExplainedDecision
from gpt_lightning.evaluation.explain.model_input import LAYOUT
from gpt_lightning.evaluation.explain.sentences import completeness
from gpt_lightning.models import GPTConfig
from gpt_lightning.models.gpt import GPT
from gpt_lightning.models.layers import Memory
from gpt_lightning.tasks import (
    CausalLM,
    QuestionAnswering,
    Seq2SeqLM,
    SequenceClassification,
    SequenceRegression,
    Task,
    TokenClassification,
)
from gpt_lightning.tokenizers.build import bytes_tokenizer
from tests.evaluation.explain.models import ROWS, TAGS, make_model

END = 256  # end-of-text token of the tokenizer of bytes


def hidden_states(gpt: GPT, ids: Tensor, embeddings_BTC: Tensor, memory: Memory | None = None) -> Tensor:
    """Return the hidden states of copies of a text with other token embeddings, (B, T, C)."""
    x_BTC, inputs = gpt.prepare(ids.expand(len(embeddings_BTC), -1))
    x_BTC = x_BTC - gpt.token_embedding(ids) + embeddings_BTC
    hidden_BTC: Tensor = gpt.norm(gpt.run_blocks(x_BTC, inputs._replace(memory=memory)))
    return hidden_BTC


def score_function(task: Task, decision: ExplainedDecision) -> Callable[[Tensor], Tensor]:
    """Return the score of a decision as a function of token embeddings, (B, T, C) -> (B,)."""
    ids = torch.tensor([token.id for token in decision.tokens])
    target = decision.target

    def score(embeddings_BTC: Tensor) -> Tensor:
        if isinstance(task, Seq2SeqLM):
            encoded = hidden_states(task.backbone.encoder, ids, embeddings_BTC)
            starts = torch.tensor(task.start_ids())
            start_BTC = task.backbone.token_embedding(starts).expand(len(encoded), -1, -1)
            hidden_BTC = hidden_states(task.backbone, starts, start_BTC, Memory(encoded, None))
            return log_p(task.head(hidden_BTC[:, -1]), target)
        hidden_BTC = hidden_states(task.backbone, ids, embeddings_BTC)
        if isinstance(task, SequenceClassification):
            p_BL = task.head(hidden_BTC.mean(1))
            p_BL = p_BL.sigmoid() if task.multi_label else p_BL.softmax(1)
            odds_B: Tensor = p_BL[:, task.classes.index(target)].logit()
            return odds_B
        if isinstance(task, SequenceRegression):
            value_B: Tensor = task.head(hidden_BTC.mean(1))[:, 0] * 0.5 + 3.0
            return value_B
        if isinstance(task, CausalLM):
            return log_p(task.head(hidden_BTC[:, -1]), target)
        if isinstance(task, TokenClassification):
            first = [decision.subject.startswith(word.text) for word in decision.words].index(True)
            words = decision.words[first : first + len(target.split())]
            p_BWL = task.head(hidden_BTC[:, [first_token(decision, word.tokens) for word in words]]).softmax(2)
            return sum((p_BWL[:, n, TAGS.index(tag)].logit() for n, tag in enumerate(target.split())), torch.zeros(()))
        assert isinstance(task, QuestionAnswering)
        return answer_score(task, decision, hidden_BTC)

    return score


def log_p(logits_BV: Tensor, target: str) -> Tensor:
    """Return the log-probability of the byte that the tokenizer of bytes shows as a character."""
    tokenizer = bytes_tokenizer()
    index = next(n for n in range(END + 1) if target in (tokenizer.token(n), tokenizer.decode([n])))
    return F.log_softmax(logits_BV, 1)[:, index]


def first_token(decision: ExplainedDecision, places: list[int]) -> int:
    """Return the first token of a word that is no blank."""
    return next(place for place in places if decision.tokens[place].text.strip())


def answer_score(task: QuestionAnswering, decision: ExplainedDecision, hidden_BTC: Tensor) -> Tensor:
    """Return the log-odds of the first and the last token of an answer, among the tokens where it may be."""
    context = [place for place, token in enumerate(decision.tokens) if token.part == "context"]
    text = "".join(decision.tokens[place].text for place in context)
    # A token of bytes that adds no character shares that of the token before it.
    sizes = [len(character.encode()) for character in text]
    start = sum(sizes[: text.index(decision.target)])
    stop = start + len(decision.target.encode())
    data = text.encode()
    allowed = [place for number, place in enumerate(context) if not data[number : number + 1].isspace()]
    allowed.append(len(decision.tokens) - 1)
    logits_BT2 = task.head(hidden_BTC)[:, allowed]
    places = allowed.index(context[start]), allowed.index(context[stop - 1])
    return sum((logits_BT2[..., n].softmax(1)[:, place].logit() for n, place in enumerate(places)), torch.zeros(()))


@pytest.mark.parametrize("kind", ROWS)
def test_attributions_match_a_dense_integral(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare with the midpoint rule in float64, for each kind of decision."""
    monkeypatch.setattr("gpt_lightning.evaluation.explain.attributions.MAX_GAP", 1e-4)
    model = make_model(kind)
    (explanation,) = model.explain(ROWS[kind])
    decision = explanation.decisions[0]
    task = model.task.double()
    ids = torch.tensor([token.id for token in decision.tokens])
    baseline = torch.tensor([token.id if token.part == LAYOUT else END for token in decision.tokens])
    source: GPT = task.backbone.encoder if isinstance(task, Seq2SeqLM) else task.backbone
    inputs_TC, baseline_TC = source.token_embedding(ids).detach(), source.token_embedding(baseline).detach()
    steps, score = 300, score_function(task, decision)
    alphas = (torch.arange(steps, dtype=torch.float64) + 0.5) / steps
    path_NTC = (baseline_TC + alphas[:, None, None] * (inputs_TC - baseline_TC)).requires_grad_()
    (gradients_NTC,) = torch.autograd.grad(score(path_NTC).sum(), path_NTC)
    expected_T = ((inputs_TC - baseline_TC) * gradients_NTC.mean(0)).sum(1)
    found = decision.attributions
    torch.testing.assert_close(torch.tensor(found.tokens, dtype=torch.float64), expected_T, rtol=1e-3, atol=2e-4)
    ends = score(torch.stack((inputs_TC, baseline_TC))).tolist()
    assert (found.score, found.baseline_score) == pytest.approx(ends, abs=1e-4)
    assert found.gap <= 1e-3
    assert found.words == pytest.approx([sum(found.tokens[place] for place in word.tokens) for word in decision.words])
    assert expected_T.abs().max() > 0.01


def make_linear_model(kind: str) -> Model:
    """Return a model whose blocks add nothing and whose final norm does nothing."""
    model = make_model(kind)
    model.task.backbone.norm = nn.Identity()
    for name, parameter in model.task.backbone.named_parameters():
        if "proj" in name:
            nn.init.zeros_(parameter)
    return model


@pytest.mark.parametrize("kind", ["label", "value"])
def test_attributions_of_a_linear_model_are_exact(kind: str) -> None:
    """A model of embeddings and a mean gives each token its own share: (embedding - baseline) * weight / T."""
    model = make_linear_model(kind)
    task = model.task
    assert isinstance(task, SequenceClassification | SequenceRegression)
    assert isinstance(task.head, nn.Linear)
    if isinstance(task, SequenceClassification):  # two labels, whose log-odds are the difference of their logits
        task.head.weight.data[2] = 0.0
        task.head.bias.data[2] = -1e4
    (explanation,) = model.explain(ROWS[kind])
    (decision,) = explanation.decisions
    ids = torch.tensor([token.id for token in decision.tokens])
    weights = task.head.weight.detach()
    if kind == "label":
        place = task.classes.index(decision.target)
        direction_C = weights[place] - weights[1 - place]
    else:
        direction_C = weights[0] * 0.5
    embedding = task.backbone.token_embedding.weight.detach()
    expected_T = (embedding[ids] - embedding[END]) @ direction_C / len(ids)
    is_layout_T = torch.tensor([token.part == LAYOUT for token in decision.tokens])
    torch.testing.assert_close(
        torch.tensor(decision.attributions.tokens), expected_T.masked_fill(is_layout_T, 0.0), rtol=1e-3, atol=1e-5
    )
    assert decision.attributions.num_steps == 16
    assert decision.attributions.gap < 1e-4


@pytest.mark.parametrize("kind", ROWS)
def test_attributions_are_complete(kind: str) -> None:
    for explanation in make_model(kind, std=0.4, norm="rmsnorm", position="rotary").explain([ROWS[kind]]):
        for decision in explanation.decisions:
            found = decision.attributions
            error = abs(sum(found.tokens) - (found.score - found.baseline_score))
            assert found.gap == pytest.approx(error / abs(found.score - found.baseline_score), rel=1e-4)
            assert found.gap <= MAX_GAP
            assert found.is_complete


def test_more_steps_are_taken_until_the_attributions_are_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sharp models need more steps; with too few, the gap is reported as too large."""
    model = make_model("label", std=1.5)
    needed = model.explain(ROWS["label"])[0].decisions[0]
    assert needed.attributions.is_complete
    assert needed.attributions.num_steps > 16
    monkeypatch.setattr("gpt_lightning.evaluation.explain.attributions.MAX_STEPS", 16)
    found = model.explain(ROWS["label"])[0].decisions[0]
    assert found.attributions.num_steps == 16
    assert not found.attributions.is_complete
    assert "do not trust" in completeness(found)
    assert "do not trust" not in completeness(needed)


class Jump(nn.Module):
    """Linear layer whose output jumps from -1 to 1 at a threshold."""

    def __init__(self, linear: nn.Linear, threshold: float, slope: float) -> None:
        super().__init__()
        self.linear, self.threshold, self.slope = linear, threshold, slope

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.slope * (self.linear(x) - self.threshold))


def test_points_are_dense_where_the_score_changes_fast() -> None:
    """A jump within 0.1 % of the path is resolved, and each token has its share of the linear part."""
    model = make_linear_model("value")
    linear = model.task.head
    assert isinstance(linear, nn.Linear)
    before = model.explain(ROWS["value"])[0].decisions[0].attributions
    low, high = ((each - 3.0) / 0.5 for each in (before.baseline_score, before.score))
    model.task.head = Jump(linear, low + 0.3 * (high - low), 2_000.0 / (high - low))
    found = model.explain(ROWS["value"])[0].decisions[0].attributions
    assert found.is_complete
    assert found.score - found.baseline_score == pytest.approx(1.0, abs=1e-3)
    shares = torch.tensor(before.tokens) / sum(before.tokens)
    torch.testing.assert_close(torch.tensor(found.tokens), shares, rtol=0.02, atol=1e-4)
    assert 50 < found.num_steps < 400


def test_the_gap_of_a_constant_score_is_zero() -> None:
    found = make_model("label", std=0.0).explain(ROWS["label"])[0].decisions[0].attributions
    assert isinstance(found, Attributions)
    assert (found.gap, found.num_steps, set(found.tokens)) == (0.0, 16, {0.0})


def test_weights_that_are_not_finite_end_the_explanation() -> None:
    for kind, row in ROWS.items():
        model = make_model(kind)
        model.task.backbone.token_embedding.weight.data[:] = torch.nan
        with pytest.raises((InputError, RunError), match=r"not finite|NaN or infinite"):
            model.explain(row)


def test_missing_captum_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(InputError, match=r"pip install 'gpt-lightning\[explain\]'"):
        make_model("label").explain("a film")


def test_a_task_of_the_users_own_is_refused() -> None:
    class Own(Task):
        def step(self, batch: Any, stage: Any) -> Tensor:
            raise NotImplementedError

    own = Own(backbone=GPTConfig(n_layer=1, n_head=1, n_embd=8, vocab_size=257))
    model = Model(own, bytes_tokenizer(), Path("model"), gl.TextClassification)
    with pytest.raises(InputError, match="Own is not a task that explain reads"):
        model.explain("a film")


def test_an_explanation_leaves_the_model_as_it_was() -> None:
    model = make_model("target")
    before = {name: (value.requires_grad, value.clone()) for name, value in model.task.named_parameters()}
    model.explain(ROWS["target"])
    for name, value in model.task.named_parameters():
        assert value.requires_grad == before[name][0]
        assert value.grad is None
        assert torch.equal(value, before[name][1])
