"""Logit lens, compared with the model's own outputs and with Hugging Face's hidden states."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gpt_lightning.errors import InputError
from gpt_lightning.evaluation.explain.logit_lens import layer_outputs, logit_lens, token_logits
from gpt_lightning.models.huggingface import read_config
from gpt_lightning.models.interventions import patch
from gpt_lightning.tasks import CausalLM, QuestionAnswering, SequenceRegression, Task
from gpt_lightning.tokenizers.build import bytes_tokenizer
from tests.models.huggingface.families import BLOCK_SIZE, FAMILIES, VOCAB_SIZE, our_task, random_task, save_reference
from tests.models.test_gpt import GEMMA3, LLAMA, randomize
from tests.pairs import seq2seq

IDS = [5, 3, 60, 7, 7, 1]
SHAPES: dict[str, dict[str, Any]] = {
    "gpt2": {},
    "llama": LLAMA | {"tie_embeddings": False},
    "gemma3": GEMMA3 | {"logit_softcap": 3.0},
    "post_norm": {"norm_placement": "after_residual"},
    "prefix": {"attention": "prefix"},
}
ALL = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def language_model(shape: dict[str, Any]) -> Task:
    return random_task("CausalLM", {"n_head": 4, "n_embd": 32, "n_layer": 3, **shape})


@ALL
@torch.no_grad()
def test_the_last_layer_gives_the_logits_of_the_model(shape: dict[str, Any]) -> None:
    task = language_model(shape)
    assert isinstance(task, CausalLM)
    expected = task(torch.tensor([IDS]))
    outputs = dict(layer_outputs(task.backbone, lambda: token_logits(task, IDS)))
    assert list(outputs) == ["embedding", "blocks.0", "blocks.1", "blocks.2"]
    assert outputs["blocks.2"].equal(expected)
    assert not outputs["blocks.1"].equal(expected)
    assert task(torch.tensor([IDS])).equal(expected)
    with torch.inference_mode():
        assert token_logits(task, IDS).equal(expected)


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma3"])
@torch.no_grad()
def test_other_layers_match_the_hidden_states_of_hugging_face(family: str, tmp_path: Path) -> None:
    reference = save_reference(tmp_path, family)
    task = our_task(read_config(tmp_path))
    assert isinstance(task, CausalLM)
    model = reference.transformer if family == "gpt2" else reference.model
    norm = model.ln_f if family == "gpt2" else model.norm
    hidden = model(torch.tensor([IDS]), output_hidden_states=True).hidden_states
    outputs = list(layer_outputs(task.backbone, lambda: token_logits(task, IDS)))
    assert len(outputs) == len(hidden)
    for (_, found), state in zip(outputs[:-1], hidden[:-1], strict=True):
        logits = reference.lm_head(norm(state))
        cap = FAMILIES[family][1].get("final_logit_softcapping")
        expected = logits if cap is None else cap * torch.tanh(logits / cap)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@ALL
def test_candidates_probabilities_and_ranks_match_the_logits(shape: dict[str, Any]) -> None:
    task = language_model(shape)
    assert isinstance(task, CausalLM)
    lenses = logit_lens(task, bytes_tokenizer(), IDS, num_candidates=3)
    with torch.no_grad():
        outputs = dict(layer_outputs(task.backbone, lambda: token_logits(task, IDS)))
    assert [lens.layer for lens in lenses] == list(outputs)
    for lens in lenses:
        p_TV = outputs[lens.layer][0].double().softmax(-1)
        for position, token in enumerate(lens.tokens):
            order = p_TV[position].argsort(descending=True).tolist()
            assert [each.id for each in token.candidates] == order[:3]
            assert [each.probability for each in token.candidates] == pytest.approx(
                [float(p_TV[position, index]) for index in order[:3]], rel=1e-4
            )
            if position + 1 < len(IDS):
                assert token.rank == order.index(IDS[position + 1]) + 1
                assert token.probability == pytest.approx(float(p_TV[position, IDS[position + 1]]), rel=1e-4)
        assert lens.tokens[-1].rank is None
        assert lens.tokens[-1].probability is None
    assert lenses[0].tokens[0].candidates[0].text
    for lens, of_last in zip(
        lenses, logit_lens(task, bytes_tokenizer(), IDS, num_candidates=3, num_last=2), strict=True
    ):
        assert [each.rank for each in of_last.tokens] == [each.rank for each in lens.tokens[-2:]]
        found, expected = of_last.tokens[0].probability, lens.tokens[-2].probability
        assert found == pytest.approx(expected, rel=1e-4)


@torch.no_grad()
def test_lens_of_an_encoder_decoder_is_that_of_its_decoder() -> None:
    task = seq2seq(shape={"n_layer": 2}).eval()
    randomize(task)
    source, target = [4, 5, 6], [256, 9, 8]
    batch = (torch.tensor([source]), torch.ones(1, 3, dtype=torch.bool), torch.tensor([target]))
    outputs = dict(layer_outputs(task.backbone, lambda: token_logits(task, target, source)))
    assert outputs["blocks.1"].shape == (1, 3, 257)
    torch.testing.assert_close(outputs["blocks.1"], task(*batch))
    assert outputs["blocks.1"].equal(token_logits(task, target, source))
    lenses = logit_lens(task, bytes_tokenizer(), target, source_ids=source)
    assert [lens.layer for lens in lenses] == list(outputs)
    with pytest.raises(InputError, match="the source has no tokens"):
        logit_lens(task, bytes_tokenizer(), target)


# --- heads


def batch(rows: int) -> dict[str, Any]:
    """Return a batch of texts that all heads can predict."""
    ids = torch.randint(1, VOCAB_SIZE, (rows, 8), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids, dtype=torch.bool)
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "scored": mask,
        "context_mask": mask,
        "null_positions": torch.full((rows,), 7),
        "examples": torch.arange(rows),
        "offsets": torch.stack((torch.arange(8), torch.arange(1, 9)), 1).expand(rows, 8, 2),
        "ids": [str(row) for row in range(rows)],
        "texts": ["abcdefgh"] * rows,
        "contexts": ["abcdefgh"] * rows,
        "words": [[(number, number + 1) for number in range(8)]] * rows,
    }


HEADS = ["SequenceClassification", "TokenClassification", "QuestionAnswering", "SequenceRegression"]


@pytest.mark.parametrize("name", HEADS)
@torch.inference_mode()
def test_the_last_layer_gives_the_predictions_of_a_head(name: str) -> None:
    shape = {"n_head": 4, "n_embd": 32, "n_layer": 3, "attention": "bidirectional"}
    task: Any = None
    if name == "SequenceRegression":
        reference: Any = random_task("QuestionAnswering", shape)
        task = SequenceRegression(backbone=reference.backbone.config).eval()
        randomize(task)
    else:
        task = random_task(name, shape)
    if isinstance(task, QuestionAnswering):
        task.no_answer_threshold = 0.0
    rows = batch(70)  # evaluated in two chunks
    expected = task.predict_step(rows, 0)
    records = dict(layer_outputs(task.backbone, lambda: task.predict_step(rows, 0)))
    assert list(records) == ["embedding", "blocks.0", "blocks.1", "blocks.2"]
    assert records["blocks.2"] == expected
    assert records["blocks.0"] != expected
    assert task.predict_step(rows, 0) == expected
    # The residual stream of an earlier layer in place of the last one gives the same.
    streams: list[Tensor] = []
    with patch(task.backbone, "blocks.1", lambda x: streams.append(x) or x):  # type: ignore[func-returns-value]
        task.predict_step(rows, 0)
    remaining = iter(streams)
    with patch(task.backbone, "blocks.2", lambda _: next(remaining)):
        assert task.predict_step(rows, 0) == records["blocks.1"]


def test_texts_that_do_not_fit_are_refused() -> None:
    task = language_model({})
    assert isinstance(task, CausalLM)
    with pytest.raises(InputError, match=rf"has {BLOCK_SIZE + 1} tokens, but the model reads at most {BLOCK_SIZE}"):
        logit_lens(task, bytes_tokenizer(), [1] * (BLOCK_SIZE + 1))
    assert "run_blocks" not in vars(task.backbone)
