"""Attention probabilities, compared with the outputs of the fused kernels and with Hugging Face's models."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gpt_lightning.errors import InputError, RunError
from gpt_lightning.evaluation.explain.attention_maps import AttentionRecorder, attention_maps
from gpt_lightning.models import GPT
from gpt_lightning.models.huggingface import read_config
from gpt_lightning.models.interventions import record
from gpt_lightning.models.layers import Attention
from gpt_lightning.tasks import Seq2SeqLM
from gpt_lightning.tasks.load import load_task
from tests.models import test_encoder_decoder, test_gpt
from tests.models.huggingface import test_bart
from tests.models.huggingface.families import BLOCK_SIZE, FAMILIES, VOCAB_SIZE, our_task, save_reference

IDS = torch.randint(1, VOCAB_SIZE, (1, BLOCK_SIZE - 3), generator=torch.Generator().manual_seed(0))


def probabilities(backbone: GPT, **inputs: Any) -> dict[str, Tensor]:
    """Return the maps of a text by layer, (1, H, T, S) each."""
    maps = attention_maps(backbone, IDS[0].tolist(), **inputs)
    return {each.layer: torch.tensor([each.heads], dtype=torch.float64) for each in maps}


def check_outputs(backbone: GPT, found: dict[str, Tensor]) -> None:
    """Compare the product of probabilities and values with the outputs of the heads, in float64."""
    layers = [name for name in found if name.endswith(".attention") and "encoder." not in name]
    values: dict[str, Tensor] = {}
    handles = [
        backbone.get_submodule(f"{name}.qkv").register_forward_hook(
            lambda _, __, output, name=name: values.update({name: output})
        )
        for name in layers
    ]
    with record(backbone, [f"{name}.heads" for name in layers]) as outputs:
        backbone(IDS)
    for handle in handles:
        handle.remove()
    assert len(layers) == backbone.config.n_layer
    for name in layers:
        layer = backbone.get_submodule(name)
        assert isinstance(layer, Attention)
        v_BTGD = values[name].view(1, IDS.size(1), -1, layer.head_width)[:, :, -layer.n_kv_head :]
        v_BHTD = v_BTGD.repeat_interleave(layer.n_head // layer.n_kv_head, dim=2).transpose(1, 2)
        expected_BTHD = outputs[f"{name}.heads"][0]
        torch.testing.assert_close((found[name] @ v_BHTD).transpose(1, 2), expected_BTHD, rtol=1e-10, atol=1e-10)


def check_sums(found: dict[str, Tensor]) -> None:
    for p_BHTS in found.values():
        torch.testing.assert_close(p_BHTS.sum(-1), torch.ones(p_BHTS.shape[:-1], dtype=p_BHTS.dtype))
        assert (p_BHTS >= 0.0).all()


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_maps_match_those_of_hugging_face(family: str, tmp_path: Path) -> None:
    reference = save_reference(tmp_path, family)
    backbone = our_task(read_config(tmp_path)).backbone
    reference.set_attn_implementation("eager")
    expected = reference(IDS, output_attentions=True).attentions
    found = probabilities(backbone)
    assert list(found) == [f"blocks.{number}.attention" for number in range(len(expected))]
    for ours, reference_BHTT in zip(found.values(), expected, strict=True):
        torch.testing.assert_close(ours.float(), reference_BHTT, rtol=0.0, atol=1e-5)
        assert ours.amax(-1).min() < 0.9, "the probabilities are too peaked for a comparison"
    exact = probabilities(backbone.double())
    check_sums(exact)
    check_outputs(backbone, exact)


@pytest.mark.parametrize("shape", [{"attention": "bidirectional"}, {"norm_placement": "after_residual"}], ids=str)
@torch.no_grad()
def test_maps_give_the_outputs_of_other_backbones(shape: dict[str, Any]) -> None:
    backbone = test_gpt.model(**shape, block_size=16)
    backbone.token_embedding = torch.nn.Embedding(VOCAB_SIZE, 32, dtype=torch.float64)
    found = probabilities(backbone)
    check_sums(found)
    check_outputs(backbone, found)
    is_causal = shape.get("attention") != "bidirectional"
    assert all((p_BHTS.triu(1) == 0.0).all() == is_causal for p_BHTS in found.values())


@torch.no_grad()
def test_maps_of_both_sides_match_those_of_bart(tmp_path: Path) -> None:
    reference = test_bart.reference_model(tmp_path)
    task, _ = load_task(tmp_path)
    assert isinstance(task, Seq2SeqLM)
    source = list(range(40, 49))
    reference.set_attn_implementation("eager")
    output = reference(torch.tensor([source]), decoder_input_ids=IDS, output_attentions=True)
    found = probabilities(task.backbone, source_ids=source)
    check_sums(found)
    for kind, attentions in (
        ("encoder.blocks.{}.attention", output.encoder_attentions),
        ("blocks.{}.attention", output.decoder_attentions),
        ("blocks.{}.cross_attention", output.cross_attentions),
    ):
        for number, expected in enumerate(attentions):
            ours = found.pop(kind.format(number)).float()
            torch.testing.assert_close(ours, expected, rtol=0.0, atol=1e-5)
    assert not found


@torch.no_grad()
def test_recording_keeps_the_bits() -> None:
    backbone = test_encoder_decoder.model().float()
    ids = test_encoder_decoder.random_ids(2, 6)
    expected = backbone(ids, source_ids=ids)
    with AttentionRecorder(range(6)) as recorder:
        assert backbone(ids, source_ids=ids).equal(expected)
    assert recorder.num_calls == 3 + 2 * 2
    assert list(recorder.probabilities) == list(range(6))
    assert backbone(ids, source_ids=ids).equal(expected)


def test_layers_can_be_chosen() -> None:
    backbone = test_gpt.model()
    (only,) = attention_maps(backbone, [1, 2, 3], layers=["blocks.1.attention"])
    assert only == attention_maps(backbone, [1, 2, 3])[1]
    assert attention_maps(backbone, [1, 2, 3], layers=[]) == []
    with pytest.raises(InputError, match=r"unknown layer 'blocks.1'; did you mean 'blocks.1.attention'\?"):
        attention_maps(backbone, [1, 2, 3], layers=["blocks.1"])


def test_probabilities_that_are_not_finite_are_refused() -> None:
    backbone = test_gpt.model()
    torch.nn.init.constant_(backbone.get_parameter("blocks.1.attention.qkv.weight"), torch.nan)
    assert len(attention_maps(backbone, [1, 2, 3], layers=["blocks.0.attention"])) == 1
    with pytest.raises(RunError, match="not finite"):
        attention_maps(backbone, [1, 2, 3])


@pytest.mark.parametrize(("ids", "message"), [([], "has no tokens"), ([1] * 13, r"has 13 tokens, .* at most 12")])
def test_texts_that_do_not_fit_are_refused(ids: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        attention_maps(test_gpt.model(), ids)
    with pytest.raises(InputError, match="the source"):
        attention_maps(test_encoder_decoder.model(), [1], source_ids=ids * 2)
