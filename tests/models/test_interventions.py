"""Patching, ablation and recording of activations."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor

from gpt_lightning.errors import InputError
from gpt_lightning.models import GPT
from gpt_lightning.models.generation.batched import generate_batched
from gpt_lightning.models.generation.decoder import Decoder
from gpt_lightning.models.generation.int8 import quantize
from gpt_lightning.models.generation.source_decoder import SourceDecoder
from gpt_lightning.models.interventions import layer_names, patch, record
from gpt_lightning.models.lm_head import LMHead
from tests.models import test_encoder_decoder, test_gpt
from tests.models.test_gpt import GEMMA3, LLAMA, OLMO2
from tests.models.test_lora import with_adapters

SHAPES: dict[str, dict[str, Any]] = {
    "gpt2": {},
    "llama": LLAMA | {"n_kv_head": 2},
    "gemma3": GEMMA3,
    "olmo2": OLMO2,
    "post_norm": {"norm_placement": "after_residual", "position": "sinusoidal"},
    "bidirectional": {"attention": "bidirectional"},
}
ALL = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
TOKENS = 7


def random_ids(seed: int, rows: int = 2) -> Tensor:
    return torch.randint(test_gpt.VOCAB_SIZE, (rows, TOKENS), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def recorded(gpt: GPT, run: Callable[[], Tensor], layers: list[str]) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the output of a forward pass and its activations."""
    with record(gpt, layers) as activations:
        output = run()
    return output, {name: only for name, (only,) in activations.items()}


# --- patches


@ALL
@torch.no_grad()
def test_the_residual_stream_of_another_run_gives_its_output(shape: dict[str, Any]) -> None:
    gpt = test_gpt.model(**shape).float()
    one, other = random_ids(1), random_ids(2)
    before = gpt(one)
    streams = ["embedding", *(f"blocks.{number}" for number in range(gpt.config.n_layer)), "norm"]
    expected, activations = recorded(gpt, lambda: gpt(other), streams)
    assert not before.equal(expected)
    for layer in streams:
        with patch(gpt, layer, activations[layer]):
            assert gpt(one).equal(expected), layer
        assert gpt(one).equal(before)


@pytest.mark.parametrize("shape", test_encoder_decoder.SHAPES.values(), ids=test_encoder_decoder.SHAPES)
@torch.no_grad()
def test_both_sides_of_an_encoder_decoder_can_be_patched(shape: dict[str, Any]) -> None:
    model = test_encoder_decoder.model(**shape).float()
    source, other_source, target = (random_ids(seed) for seed in range(3))
    before = model(target, source_ids=source)
    expected, activations = recorded(model, lambda: model(target, source_ids=other_source), layer_names(model))
    assert not before.equal(expected)
    for layer in ("encoder.embedding", *(f"encoder.blocks.{n}" for n in range(3)), "encoder.norm", "blocks.1", "norm"):
        with patch(model, layer, activations[layer]):
            assert model(target, source_ids=source).equal(expected), layer
    # The later block of the decoder still attends to the source of this run.
    with patch(model, "blocks.0", activations["blocks.0"]):
        assert not model(target, source_ids=source).equal(expected)
    _, same_source = recorded(model, lambda: model(random_ids(5), source_ids=source), ["blocks.0"])
    with patch(model, "blocks.0", same_source["blocks.0"]):
        assert model(target, source_ids=source).equal(model(random_ids(5), source_ids=source))


@ALL
@torch.no_grad()
def test_every_activation_is_applied(shape: dict[str, Any]) -> None:
    gpt = test_gpt.model(**shape)
    ids = random_ids(1)
    output, activations = recorded(gpt, lambda: gpt(ids), layer_names(gpt))
    for layer, activation in activations.items():
        with patch(gpt, layer, lambda x: x + 1.0):
            assert not gpt(ids).equal(output), layer
        with patch(gpt, layer, activation):
            assert gpt(ids).equal(output), layer
        with patch(gpt, layer, 0), record(gpt, [layer]) as after:
            gpt(ids)
        assert not after[layer][0].any()


@torch.no_grad()
def test_ablation_matches_weights_of_zero() -> None:
    ids = random_ids(1)
    ablated, zeroed = test_gpt.model(), test_gpt.model()
    width = zeroed.config.head_width
    zeroed.get_parameter("blocks.0.attention.proj.weight")[:, 2 * width : 3 * width] = 0.0
    for name in ("weight", "bias"):
        zeroed.get_parameter(f"blocks.1.mlp.proj.{name}").zero_()
    with patch(ablated, "blocks.0.attention.heads", 0.0, heads=[2]), patch(ablated, "blocks.1.mlp", 0.0):
        torch.testing.assert_close(ablated(ids), zeroed(ids), rtol=1e-12, atol=1e-12)


@torch.no_grad()
def test_a_patch_may_be_limited_to_heads_and_positions() -> None:
    gpt = test_gpt.model()
    layer = "blocks.1.attention.heads"
    _, activations = recorded(gpt, lambda: gpt(random_ids(1)), [layer])
    _, others = recorded(gpt, lambda: gpt(random_ids(2)), [layer])
    with patch(gpt, layer, others[layer], heads=[0, 3], positions=[1, -1]), record(gpt, [layer]) as found:
        gpt(random_ids(1))
    expected = activations[layer].clone()
    for position in (1, TOKENS - 1):
        for head in (0, 3):
            expected[:, position, head] = others[layer][:, position, head]
    assert found[layer][0].equal(expected)


@torch.no_grad()
def test_functions_may_change_their_argument() -> None:
    gpt = test_gpt.model()
    _, activations = recorded(gpt, lambda: gpt(random_ids(1)), ["blocks.0"])
    with patch(gpt, "blocks.0", lambda x: x.mul_(2.0), positions=[3]), record(gpt, ["blocks.0"]) as found:
        gpt(random_ids(1))
    expected = activations["blocks.0"].clone()
    expected[:, 3] *= 2.0
    assert found["blocks.0"][0].equal(expected)


@torch.no_grad()
def test_patches_are_nested() -> None:
    gpt = test_gpt.model()
    ids = random_ids(1)
    with patch(gpt, "blocks.0", 1.0), record(gpt, ["blocks.0"]) as outer:
        with patch(gpt, "blocks.0", lambda x: x + 1.0), record(gpt, ["blocks.0"]) as inner:
            gpt(ids)
        gpt(ids)
    assert (inner["blocks.0"][0] == 2.0).all()
    assert [float(each.mean()) for each in outer["blocks.0"]] == [1.0, 1.0]  # recorded before the inner patch


def test_gradients_pass_through_patches_and_recordings() -> None:
    gpt = test_gpt.model()
    value = torch.randn(2, TOKENS, 32, dtype=torch.float64, requires_grad=True)
    with patch(gpt, "blocks.0", value, positions=[2]), record(gpt, ["blocks.1"]) as found:
        gpt(random_ids(1))
    (gradient,) = torch.autograd.grad(found["blocks.1"][0].sum(), value)
    changed = gradient.abs().sum((0, 2)) > 0
    assert changed.tolist() == [position == 2 for position in range(TOKENS)]


def test_recordings_of_inference_mode_can_be_used_in_training() -> None:
    gpt = test_gpt.model()
    with torch.inference_mode(), record(gpt, ["blocks.0"]) as found:
        gpt(random_ids(1))
    assert not found["blocks.0"][0].requires_grad
    with patch(gpt, "blocks.0", found["blocks.0"][0]):
        loss = gpt(random_ids(2)).sum()
    (gradient,) = torch.autograd.grad(loss, gpt.get_parameter("blocks.1.mlp.proj.weight"))
    assert gradient.any()


# --- no traces


@ALL
def test_nothing_is_left_behind(shape: dict[str, Any]) -> None:
    gpt = test_gpt.model(**shape)
    ids = random_ids(1)
    before = gpt(ids)
    for layer in layer_names(gpt):
        with pytest.raises(KeyError), patch(gpt, layer, 0.0), record(gpt, [layer]):
            raise KeyError(len(gpt.interventions))
    assert not gpt.interventions
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in gpt.modules())
    assert gpt(ids).equal(before)


def test_a_failed_recording_leaves_no_hooks() -> None:
    gpt = test_gpt.model()
    with pytest.raises(InputError, match=r"'blocks.7'; did you mean"), record(gpt, ["blocks.0", "blocks.7"]):
        pass
    assert not gpt.interventions
    assert not any(part._forward_hooks for part in gpt.modules())


# --- models with other modules


@torch.no_grad()
def test_adapters_are_patched() -> None:
    gpt = with_adapters({}, r=2)
    _, activations = recorded(gpt, lambda: gpt(random_ids(1)), layer_names(gpt))
    expected = gpt(random_ids(1))
    for layer in ("blocks.0.attention.heads", "blocks.0"):
        with patch(gpt, layer, 0.0):
            assert not gpt(random_ids(1)).equal(expected)
    with patch(gpt, "blocks.1", activations["blocks.1"]):
        assert gpt(random_ids(2)).equal(expected)


def test_hooks_that_would_have_no_effect_are_refused() -> None:
    gpt = test_gpt.model()
    gpt.checkpoint_activations()
    with pytest.raises(InputError, match="activation checkpointing"), patch(gpt, "blocks.0", 0.0):
        pass
    gpt.checkpoint_activations(False)
    gpt._compiled_call_impl = gpt.forward  # as ``compile`` does, which takes seconds
    with pytest.raises(InputError, match="compiled backbone"), record(gpt, ["blocks.0"]):
        pass


# --- generation


@pytest.mark.parametrize("layer", ["embedding", "blocks.0.attention.heads", "blocks.0.mlp", "blocks.1", "norm"])
@pytest.mark.parametrize("kind", ["gpt2", "llama", "int8"])
def test_generation_applies_patches(layer: str, kind: str) -> None:
    gpt = test_gpt.model(**({} if kind == "gpt2" else LLAMA)).float()
    head = LMHead(32, test_gpt.VOCAB_SIZE)
    torch.nn.init.normal_(head.weight, generator=torch.Generator().manual_seed(0))
    if kind == "int8":
        quantize(gpt, LMHead(32, 8))
    decoder = Decoder(gpt)  # made before the patch
    prompts = [[3, 1, 4], [5, 2]]

    def generated() -> list[list[int]]:
        found = generate_batched(decoder, head, prompts, max_new_tokens=5)
        return [answer.ids for answer in found]

    @torch.no_grad()
    def expected() -> list[list[int]]:
        """Return the greedy tokens by full forward passes, without a cache."""
        rows = [list(prompt) for prompt in prompts]
        for row in rows:
            for _ in range(5):
                row.append(int(head(gpt(torch.tensor([row])))[0, -1].argmax()))
        return [row[len(prompt) :] for row, prompt in zip(rows, prompts, strict=True)]

    def halve(activation: Tensor) -> Tensor:
        return activation.flip(-1) * 0.5

    before = generated()
    with patch(gpt, layer, halve):
        found = generated()
        assert found == expected()
    assert found != before
    assert generated() == before


@pytest.mark.parametrize(
    ("value", "positions"),
    [(torch.zeros(1, 3, 32), None), (0.0, [1]), (lambda x: x * 2, [1])],
    ids=["tensor", "a", "b"],
)
def test_generation_refuses_patches_of_whole_texts(value: Any, positions: list[int] | None) -> None:
    gpt = test_gpt.model().float()
    head = LMHead(32, test_gpt.VOCAB_SIZE)
    with (
        patch(gpt, "blocks.0", value, positions=positions),
        pytest.raises(InputError, match=r"the patch of blocks.0 has a tensor or positions"),
    ):
        generate_batched(Decoder(gpt), head, [[3, 1, 4]], max_new_tokens=5)


@torch.no_grad()
def test_generation_with_a_patched_encoder_matches_another_source() -> None:
    model = test_encoder_decoder.model().float()
    head = LMHead(32, test_encoder_decoder.V)
    torch.nn.init.normal_(head.weight, generator=torch.Generator().manual_seed(0))
    source, other = random_ids(1, rows=1), random_ids(2, rows=1)
    with record(model, ["encoder.norm"]) as activations:
        model.encode(other)

    def generated(source_ids: Tensor, context: Any) -> list[int]:
        with context:
            (answer,) = generate_batched(SourceDecoder(model, source_ids), head, [[1]], max_new_tokens=6)
        return list(answer.ids)

    expected = generated(other, nullcontext())
    assert generated(source, nullcontext()) != expected
    assert generated(source, patch(model, "encoder.norm", activations["encoder.norm"][0])) == expected
    with patch(model, "blocks.0.cross_attention", 0.0), patch(model, "blocks.1.cross_attention", 0.0):
        assert generated(source, nullcontext()) == generated(other, nullcontext())


# --- errors


@pytest.mark.parametrize(
    ("layer", "options", "message"),
    [
        (
            "blocks.0.atention",
            {},
            r"unknown layer 'blocks.0.atention'; did you mean 'blocks.0.attention'\? Blocks are .* 0 to 1",
        ),
        ("block.0", {}, "did you mean 'blocks.0'"),
        ("blocks.2.mlp", {}, r"did you mean 'blocks.[01].mlp'"),
        ("blocks", {}, "did you mean"),
        ("", {}, "unknown layer ''"),
        ("blocks.0", {"heads": [0]}, "needs the outputs of heads"),
        (
            "blocks.0.attention.heads",
            {"heads": [4]},
            r"no head of blocks.0.attention.heads with index 4. .* are 0 to 3",
        ),
        ("blocks.0.attention.heads", {"heads": []}, r"heads=\[\] must be a list of indices"),
        ("blocks.0.attention.heads", {"heads": [True]}, r"heads=\[True\] must be a list of indices"),
        ("blocks.0", {"positions": [False]}, r"positions=\[False\] must be a list of indices"),
        ("blocks.0", {"positions": [7]}, "no token of blocks.0 with index 7. Valid indices are -7 to 6"),
        ("blocks.0", {"positions": 1}, "positions=1 must be a list of indices"),
        ("blocks.0", {"value": torch.zeros(2, 6, 32)}, r"has shape \[2, 6, 32\], .* shape \[2, 7, 32\]"),
        ("blocks.0", {"value": lambda x: x[:, :1]}, r"has shape \[2, 1, 32\]"),
        ("blocks.0", {"value": "zero"}, "is a str. Give a tensor"),
        ("blocks.0", {"value": lambda _: None}, "is a NoneType. Give a tensor"),
    ],
)
def test_wrong_patches_are_refused(layer: str, options: dict[str, Any], message: str) -> None:
    gpt = test_gpt.model()
    with pytest.raises(InputError, match=message), patch(gpt, layer, **({"value": 0.0} | options)):
        gpt(random_ids(1))
    assert not gpt.interventions


def test_a_string_is_no_list_of_layers() -> None:
    with pytest.raises(InputError, match=r"give a list of layers, not a string: \['norm'\]"):
        record(test_gpt.model(), "norm").__enter__()
