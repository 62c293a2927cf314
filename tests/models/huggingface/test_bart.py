"""BART: logits and greedy targets of Hugging Face's class with the same weights, both ways."""

import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor

from gpt_lightning.errors import InputError
from gpt_lightning.models import GPTConfig
from gpt_lightning.models.generation.batched import generate_batched
from gpt_lightning.models.generation.decoding import choose_decoding
from gpt_lightning.models.lora import LoRA
from gpt_lightning.tasks import CausalLM, Seq2SeqLM
from gpt_lightning.tasks.continuation import completions
from gpt_lightning.tasks.export import export_adapter, export_task
from gpt_lightning.tasks.load import load_task
from gpt_lightning.tokenizers.build import bytes_tokenizer
from gpt_lightning.tokenizers.generation_config import decoding_defaults
from gpt_lightning.training import Checkpoints
from tests.models.test_gpt import randomize
from tests.pairs import reversed_lines
from tests.runs import trainer

VOCAB_SIZE = 257
OPTIONS: dict[str, dict[str, Any]] = {
    "bart": {},
    "scaled": {"scale_embedding": True, "activation_function": "relu", "decoder_layers": 3},
    "tanh": {"activation_function": "gelu_new", "encoder_layers": 1, "forced_bos_token_id": 7},
}
ALL = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


def reference_model(folder: Path, name: str = "BartForConditionalGeneration", **options: Any) -> Any:
    """Write a random model to ``folder``, with a tokenizer of bytes, and return it."""
    sides = {
        f"{side}_{key}": value
        for side in ("encoder", "decoder")
        for key, value in {"layers": 2, "attention_heads": 2, "ffn_dim": 20}.items()
    }
    ids = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 256, "decoder_start_token_id": 256}
    shape = {"vocab_size": VOCAB_SIZE, "d_model": 16, "max_position_embeddings": 24, "forced_eos_token_id": None}
    forced = options.pop("forced_bos_token_id", None)
    reference = getattr(transformers, name)(transformers.BartConfig(**(sides | ids | shape | options)))
    if forced is not None:
        reference.generation_config.forced_bos_token_id = forced
    randomize(reference)
    with torch.no_grad():  # both classes leave these rows at zero, or out
        if hasattr(reference, "final_logits_bias"):
            reference.final_logits_bias.zero_()
    reference.eval().save_pretrained(folder)
    bytes_tokenizer().save(folder / "tokenizer.json")
    return reference


def pairs() -> tuple[Tensor, Tensor, Tensor]:
    """Return sources without the id of padding, their mask, and targets."""
    generator = torch.Generator().manual_seed(1)
    sources = torch.randint(2, VOCAB_SIZE, (3, 9), generator=generator)
    mask = torch.arange(9) < torch.tensor([[9], [1], [5]])
    return sources.where(mask, 1), mask, torch.randint(2, VOCAB_SIZE, (3, 7), generator=generator)


@ALL
@torch.no_grad()
def test_logits_are_those_of_hugging_face_both_ways(tmp_path: Path, options: dict[str, Any]) -> None:
    reference = reference_model(tmp_path / "reference", **options)
    sources, mask, targets = pairs()
    expected = reference(sources, attention_mask=mask.long(), decoder_input_ids=targets).logits
    assert expected.std() > 1.0, "the logits are too small for a comparison"
    task, tokenizer = load_task(tmp_path / "reference")
    assert isinstance(task, Seq2SeqLM)
    torch.testing.assert_close(task(sources, mask, targets), expected, rtol=1e-4, atol=1e-4)

    assert export_task(task, tokenizer, tmp_path / "reference", tmp_path / "ours") is None
    again = transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "ours")
    assert type(again) is type(reference)
    for name, value in reference.state_dict().items():
        if "embed_positions" in name:  # no position uses the first two rows
            value = torch.cat((torch.zeros_like(value[:2]), value[2:]))
        assert again.state_dict()[name].equal(value), name
    for name in ("decoder_start_token_id", "forced_bos_token_id", "eos_token_id", "forced_eos_token_id"):
        expected_id = getattr(reference.generation_config, name)
        assert getattr(again.generation_config, name) == expected_id, name
    ours = load_task(tmp_path / "ours")[0]
    assert torch.equal(ours(sources, mask, targets), task(sources, mask, targets))


@ALL
def test_greedy_targets_are_those_of_hugging_face(tmp_path: Path, options: dict[str, Any]) -> None:
    reference = reference_model(tmp_path, **options)
    sources, mask, _ = pairs()
    task, tokenizer = load_task(tmp_path)
    assert isinstance(task, Seq2SeqLM)
    start = [256, 7] if "forced_bos_token_id" in options else [256]
    assert task.decoder_start_ids == start
    lengths = mask.sum(1).tolist()
    decoder, starts = task.text_decoder([row[:n].tolist() for row, n in zip(sources, lengths, strict=True)])
    found = generate_batched(decoder, task.head, starts, max_new_tokens=12, stop_ids=tokenizer.end_ids)
    for answer, source, length in zip(found, sources, lengths, strict=True):
        text = reference.generate(
            source[None, :length], max_new_tokens=12 + len(start) - 1, num_beams=1, do_sample=False
        )[0]
        expected = text[len(start) :].tolist()
        assert answer.ids == (expected[: expected.index(256)] if 256 in expected else expected)


def test_backbone_without_a_head_is_a_model_to_start_from(tmp_path: Path) -> None:
    reference = reference_model(tmp_path, "BartModel")
    shape = GPTConfig(
        n_layer=2,
        n_encoder_layer=2,
        n_head=2,
        n_embd=16,
        n_inner=20,
        vocab_size=VOCAB_SIZE,
        block_size=24,
        norm_placement="after_residual",
        norm_embeddings=True,
        mlp="gelu_exact",
    )
    task = Seq2SeqLM(backbone=shape, init_from=str(tmp_path)).eval()
    sources, mask, targets = pairs()
    with torch.no_grad():
        expected = reference(sources, attention_mask=mask.long(), decoder_input_ids=targets).last_hidden_state
        found = task.backbone(targets, source_ids=sources, source_mask=mask)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(InputError, match="this is an encoder-decoder, whose weights do not fit"):
        CausalLM(backbone=GPTConfig(vocab_size=VOCAB_SIZE), init_from=str(tmp_path))


def change_config(folder: Path, **options: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decoder_attention_heads": 4}, "Bart with encoder_attention_heads=2: must equal decoder_attention_heads=4"),
        ({"encoder_ffn_dim": 32}, "Bart with encoder_ffn_dim=32: must equal decoder_ffn_dim=20"),
        ({"normalize_before": True}, "Bart with normalize_before=True: only False is supported"),
        ({"activation_function": "silu"}, "Bart with activation_function='silu': supported are gelu"),
        ({"tie_word_embeddings": False}, "the output layer must have the weights of the embedding"),
        ({"architectures": ["BartForCausalLM"]}, r"supported are BartForConditionalGeneration, BartModel"),
    ],
)
def test_unsupported_options_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    reference_model(tmp_path)
    change_config(tmp_path, **options)
    with pytest.raises(InputError, match=message):
        load_task(tmp_path)


def test_tensors_without_an_equivalent_must_be_neutral(tmp_path: Path) -> None:
    reference_model(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    embedding = tensors["model.shared.weight"]
    extra = {f"model.{side}.embed_tokens.weight": embedding.clone() for side in ("encoder", "decoder")}
    extra["lm_head.weight"] = embedding.clone()
    save_file(tensors | extra, path)
    load_task(tmp_path)
    save_file(tensors | {"model.encoder.embed_tokens.weight": embedding + 1.0}, path)
    with pytest.raises(InputError, match=r"embed_tokens\.weight differs from model\.shared\.weight, but Bart"):
        load_task(tmp_path)
    save_file(tensors | {"final_logits_bias": torch.ones(1, VOCAB_SIZE)}, path)
    with pytest.raises(InputError, match="tensor final_logits_bias is not zero"):
        load_task(tmp_path)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing")  # peft uses it
def test_adapters_load_in_peft(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    base = tmp_path / "base"
    reference_model(base, encoder_layers=3, max_position_embeddings=64)
    shape = load_task(base)[0].backbone.config
    task = Seq2SeqLM(backbone=shape, init_from=str(base), lora=LoRA(r=2))
    data = reversed_lines(tmp_path, tokenizer=str(base / "tokenizer.json"))
    trainer(tmp_path, max_steps=2, callbacks=[Checkpoints()]).fit(task, datamodule=data)
    path = next((tmp_path / "checkpoints").glob("*.ckpt"))
    export_adapter(path, tmp_path / "adapters")
    reference = transformers.AutoModelForSeq2SeqLM.from_pretrained(base)
    sources, mask, targets = pairs()
    with torch.no_grad():
        before = reference(sources, attention_mask=mask.long(), decoder_input_ids=targets).logits
        adapted = peft.PeftModel.from_pretrained(reference, tmp_path / "adapters").eval()
        after = adapted(sources, attention_mask=mask.long(), decoder_input_ids=targets).logits
        found = task.eval()(sources, mask, targets)
    assert not after.allclose(before)
    torch.testing.assert_close(found, after, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        {"num_beams": 4},
        {"num_beams": 3, "length_penalty": 2.0, "early_stopping": True, "no_repeat_ngram_size": 2},
        {"num_beams": 2, "min_length": 8},
        {"num_beams": 1, "min_length": 8},
        {"num_beams": 1, "min_new_tokens": 6},
    ],
    ids=str,
)
@pytest.mark.parametrize("forced", [None, 7])
def test_decoding_with_generation_config_is_that_of_hugging_face(
    tmp_path: Path, settings: dict[str, Any], forced: int | None
) -> None:
    """A forced token counts as new, in the length penalty and in minimum lengths."""
    reference = reference_model(tmp_path, forced_bos_token_id=forced)
    reference.generation_config.update(**settings)
    with torch.no_grad():
        reference.model.shared.weight[256] *= 2.0  # short texts are likely, too
    reference.save_pretrained(tmp_path)
    reference.generation_config.save_pretrained(tmp_path)
    task, tokenizer = load_task(tmp_path)
    assert isinstance(task, Seq2SeqLM)
    generator = torch.Generator().manual_seed(2)
    sources = [torch.randint(2, VOCAB_SIZE, (length,), generator=generator).tolist() for length in range(3, 19)]
    given = {"temperature": 0.0} if settings["num_beams"] == 1 else {}
    decoding, _ = choose_decoding(given | {"max_new_tokens": 12}, decoding_defaults(tokenizer.generation_config))
    lengths = set()
    start = 1 if forced is None else 2
    for source, (found, *_) in zip(sources, completions(task, tokenizer, sources, decoding), strict=True):
        text = reference.generate(torch.tensor([source]), max_new_tokens=12)[0, start:].tolist()
        expected = text[: text.index(256)] if 256 in text else text
        assert found.token_ids == expected
        lengths.add(len(expected))
    assert len(lengths) > 1
