"""Losses of tokens, compared with the scores of whole texts and with the logits."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from gpt_lightning.errors import InputError, RunError
from gpt_lightning.evaluation.explain.candidates import TokenTexts
from gpt_lightning.evaluation.explain.token_losses import prompt_losses, token_losses
from gpt_lightning.evaluation.text_scores import score_texts
from gpt_lightning.tasks import CausalLM
from gpt_lightning.tokenizers.build import bytes_tokenizer, load_tokenizer
from gpt_lightning.tokenizers.token_texts import token_texts
from tests.models.test_gpt import GEMMA3, LLAMA, randomize
from tests.pairs import pairs, seq2seq
from tests.runs import causal_lm
from tests.tokenizers.published import FAMILIES, write_tokenizer

TEXT = "The café costs 3 €, and the bottles of beer fall."
SHAPES: dict[str, dict[str, Any]] = {
    "gpt2": {},
    "llama": LLAMA | {"tie_embeddings": False},
    "gemma3": GEMMA3 | {"logit_softcap": 3.0},
    "prefix": {"attention": "prefix"},
}


def language_model(**shape: Any) -> CausalLM:
    task = causal_lm(**({"n_layer": 2, "n_embd": 32, "dropout": 0.0} | shape)).eval()
    randomize(task)
    return task


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("text", ["", "a", TEXT[:8], TEXT[:9], TEXT], ids=len)
def test_losses_sum_to_the_score_of_the_text(text: str, shape: dict[str, Any]) -> None:
    task, tokenizer = language_model(**shape), bytes_tokenizer()  # the context has 8 tokens
    found = token_losses(task, tokenizer, tokenizer.encode(text))
    (expected,) = score_texts(task, tokenizer, [text])
    assert len(found) == expected.num_tokens
    assert sum(token.loss for token in found) == pytest.approx(expected.nll, rel=1e-5)
    assert "".join(token.text for token in found) == text


@pytest.mark.parametrize("prompt", ["ab<|endoftext|>cd", "<|endoftext|>ab", "a"])
@torch.no_grad()
def test_losses_of_a_prompt_are_those_of_the_ids_that_the_model_reads(prompt: str) -> None:
    task, tokenizer = language_model(), bytes_tokenizer()
    ids = tokenizer.encode_published(prompt, add_special_tokens=True)
    assert ("<|endoftext|>" in prompt) == (256 in ids)
    log_p_TV = task(torch.tensor([ids]))[0].log_softmax(-1)
    expected = {place: -float(log_p_TV[place - 1, ids[place]]) for place in range(1, len(ids)) if ids[place] != 256}
    found = prompt_losses(task, tokenizer, ids)
    assert "".join(each.text for each in found) == prompt.replace("<|endoftext|>", "")
    assert [each.id for each in found] == [index for index in ids if index != 256]
    if ids[0] != 256:  # no token is before the first one
        first = task(torch.tensor([[tokenizer.begin_of_text_id]]))[0, -1].log_softmax(-1)
        expected = {0: -float(first[ids[0]]), **expected}
    assert [each.loss for each in found] == pytest.approx(list(expected.values()), rel=1e-4)


@torch.no_grad()
def test_losses_ranks_and_alternatives_match_the_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpt_lightning.evaluation.explain.token_losses._LOGITS_PER_CHUNK", 3 * 257)
    task, tokenizer = language_model(block_size=64), bytes_tokenizer()
    ids = tokenizer.encode(TEXT)
    found = token_losses(task, tokenizer, ids, num_alternatives=4)
    logits = task(torch.tensor([[tokenizer.begin_of_text_id, *ids[:-1]]]))[0].double()
    losses = F.cross_entropy(logits, torch.tensor(ids), reduction="none")
    torch.testing.assert_close(torch.tensor([token.loss for token in found]), losses.float(), rtol=1e-4, atol=1e-4)
    for token, row in zip(found, logits, strict=True):
        order = row.argsort(descending=True).tolist()
        assert token.rank == order.index(token.id) + 1
        assert [each.id for each in token.alternatives] == order[:4]
        expected = row.softmax(-1)[order[:4]].tolist()
        assert [each.probability for each in token.alternatives] == pytest.approx(expected, rel=1e-4)
    assert [token.id for token in found] == ids


def test_losses_of_targets_sum_to_those_of_the_task() -> None:
    task = seq2seq(decoder_start_ids=[0]).eval()
    randomize(task)
    batch = pairs(rows=1)
    with torch.no_grad():
        (expected,) = task.predict_step(batch, 0)
    source, target = batch["input_ids"][0].tolist(), batch["labels"][0].tolist()
    found = token_losses(task, bytes_tokenizer(), target, source_ids=source)
    assert len(found) == expected["num_tokens"]
    assert sum(token.loss for token in found) == pytest.approx(expected["nll"], rel=1e-5)
    assert token_losses(task, bytes_tokenizer(), [], source_ids=source) == []


def test_unsuitable_texts_of_an_encoder_decoder_are_refused() -> None:
    task, tokenizer = seq2seq(decoder_start_ids=[0]).eval(), bytes_tokenizer()
    with pytest.raises(InputError, match=r"the target has \d+ tokens, but the model reads at most"):
        token_losses(task, tokenizer, [1] * 100, source_ids=[1])
    with pytest.raises(InputError, match=r"the source has \d+ tokens, but the model reads at most"):
        token_losses(task, tokenizer, [1], source_ids=[1] * 100)
    with pytest.raises(InputError, match="the source has no tokens"):
        token_losses(task, tokenizer, [1])
    with pytest.raises(InputError, match="decoder_start_ids is unknown"):
        token_losses(seq2seq().eval(), tokenizer, [1], source_ids=[1])


def test_losses_that_are_not_finite_are_refused() -> None:
    task, tokenizer = language_model(), bytes_tokenizer()
    torch.nn.init.constant_(task.backbone.get_parameter("norm.weight"), torch.nan)
    with pytest.raises(RunError, match="not finite"):
        token_losses(task, tokenizer, [1, 2])


@pytest.mark.parametrize("family", FAMILIES)
def test_texts_of_tokens_join_to_the_text(family: str, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(str(write_tokenizer(tmp_path, family)))
    ids = tokenizer.encode(TEXT)
    pieces = token_texts(tokenizer, ids)
    # Special tokens, such as the unknown token, have their names, and decoding skips them.
    texts_without_names = ["" if i in tokenizer.special_ids else each for i, each in zip(ids, pieces, strict=True)]
    for stop in range(1, len(ids) + 1):
        assert "".join(texts_without_names[:stop]) == tokenizer.decode(ids[:stop]).rstrip("\ufffd")
    texts = TokenTexts(tokenizer)
    names = {index: texts(index) for index in range(tokenizer.vocab_size + 1)}
    assert all(names.values())
    assert names[tokenizer.vocab_size] == f"<id {tokenizer.vocab_size}>"
    assert not any("\ufffd" in name for name in names.values())
    assert token_texts(tokenizer, []) == []
    if family not in ("wordpiece", "unigram"):  # they have no token for this word with a blank before it
        assert " the" in {names[index] for index in ids}
