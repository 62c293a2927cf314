"""Encoder-decoder compared with ``torch.nn.Transformer`` and with properties of its masks."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard

from gpt_lightning.errors import InputError
from gpt_lightning.models import GPT, GPTConfig
from gpt_lightning.models.encoder_decoder import EncoderDecoder
from gpt_lightning.models.layers import sinusoidal_positions
from tests.models.test_gpt import randomize

V, D, H, LAYERS = 23, 32, 4, 2
VASWANI: dict[str, Any] = {
    "position": "sinusoidal",
    "norm_placement": "after_residual",
    "mlp": "relu",
    "scale_embeddings": True,
}
SHAPES: dict[str, dict[str, Any]] = {
    "vaswani": VASWANI,
    "gpt2": {},
    "llama": {"position": "rotary", "norm": "rmsnorm", "mlp": "swiglu", "bias": False, "n_kv_head": 2, "qk_norm": True},
    "olmo2": {"position": "rotary", "norm": "rmsnorm", "norm_placement": "after", "qk_norm": "projection"},
    "bart": {"norm_placement": "after_residual", "norm_embeddings": True, "mlp": "gelu_exact"},
    "separate": {"share_embeddings": False},
}
ALL = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def config(**shape: Any) -> GPTConfig:
    fixed = {"vocab_size": V, "block_size": 16, "n_layer": LAYERS, "n_encoder_layer": 3, "n_head": H, "n_embd": D}
    return GPTConfig(**(fixed | shape))


def model(**shape: Any) -> EncoderDecoder:
    """Return a random encoder-decoder in float64 and ``eval`` mode."""
    found = EncoderDecoder(config(**shape)).double().eval()
    randomize(found)
    return found


def random_ids(rows: int, tokens: int, seed: int = 0) -> Tensor:
    return torch.randint(V, (rows, tokens), generator=torch.Generator().manual_seed(seed))


def torch_transformer(ours: EncoderDecoder, norm_first: bool) -> nn.Transformer:
    """Return torch's model with the weights of ``ours``, whose embeddings it lacks."""
    options: dict[str, Any] = {
        "dim_feedforward": ours.config.mlp_width,
        "dropout": 0.0,
        "batch_first": True,
        "norm_first": norm_first,
        "dtype": torch.float64,
    }
    norms = [nn.LayerNorm(D, dtype=torch.float64) if norm_first else None for _ in range(2)]
    encoder = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(D, H, **options), ours.encoder.config.n_layer, norms[0], enable_nested_tensor=False
    )
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(D, H, **options), LAYERS, norms[1])
    reference = nn.Transformer(D, H, custom_encoder=encoder, custom_decoder=decoder, batch_first=True)
    for side, layers, norm in ((ours.encoder, encoder.layers, encoder.norm), (ours, decoder.layers, decoder.norm)):
        for number, (block, layer) in enumerate(zip(side.blocks, layers, strict=True)):
            state = {name: value for name, value in block.state_dict().items() if "cross" not in name}
            names = {
                "norm_1": "norm1",
                "norm_2": "norm3" if side is ours else "norm2",
                "attention.qkv": "self_attn.in_proj_",
                "attention.proj": "self_attn.out_proj",
                "mlp.up": "linear1",
                "mlp.proj": "linear2",
            }
            renamed = {}
            for name, value in state.items():
                part, _, kind = name.rpartition(".")
                renamed[f"{names[part]}.{kind}".replace("_.", "_")] = value
            if side is ours:
                cross = ours.cross_attentions()[number]
                for kind in ("weight", "bias"):
                    parts = [getattr(each, kind) for each in (cross.q, cross.kv)]
                    renamed[f"multihead_attn.in_proj_{kind}"] = torch.cat(parts)
                    renamed[f"multihead_attn.out_proj.{kind}"] = getattr(cross.proj, kind)
                    renamed[f"norm2.{kind}"] = getattr(block.cross_norm, kind)
            layer.load_state_dict(renamed)
        if norm is not None:
            norm.load_state_dict(side.norm.state_dict())
    return reference.eval()


@pytest.mark.parametrize("norm_first", [False, True], ids=["post_norm", "pre_norm"])
def test_hidden_states_match_those_of_torch(norm_first: bool) -> None:
    placement = "before" if norm_first else "after_residual"
    ours = model(**(VASWANI | {"norm_placement": placement}))
    reference = torch_transformer(ours, norm_first)
    sources, targets = random_ids(3, 9), random_ids(3, 7, seed=1)
    source_mask = torch.arange(9) < torch.tensor([[9], [1], [5]])
    target_mask = torch.arange(7) < torch.tensor([[2], [7], [4]])
    hidden = ours(targets, source_ids=sources, source_mask=source_mask)

    def embed(ids: Tensor) -> Tensor:
        positions = torch.arange(ids.size(1), dtype=torch.float64)[:, None]
        angles = positions / 10_000 ** (torch.arange(0, D, 2, dtype=torch.float64) / D)
        table = torch.zeros(ids.size(1), D, dtype=torch.float64)
        table[:, 0::2], table[:, 1::2] = angles.sin(), angles.cos()
        embedded: Tensor = ours.token_embedding(ids) * D**0.5 + table
        return embedded

    expected = reference(
        embed(sources),
        embed(targets),
        tgt_mask=~torch.ones(7, 7, dtype=torch.bool).tril(),
        src_key_padding_mask=~source_mask,
        tgt_key_padding_mask=~target_mask,
        memory_key_padding_mask=~source_mask,
    )
    torch.testing.assert_close(hidden[target_mask], expected[target_mask], rtol=1e-5, atol=1e-5)


def test_sinusoidal_positions_match_the_formula() -> None:
    found = sinusoidal_positions(torch.tensor([[0, 1, 700]]), 6, torch.float64)
    for row, position in zip(found[0], (0, 1, 700), strict=True):
        for channel, value in enumerate(row.tolist()):
            angle = torch.tensor(position / 10_000 ** (channel // 2 * 2 / 6), dtype=torch.float64)
            expected = angle.cos() if channel % 2 else angle.sin()
            assert value == pytest.approx(float(expected), abs=1e-4)


@ALL
def test_target_is_causal_and_sees_the_whole_source(shape: dict[str, Any]) -> None:
    found, sources, targets = model(**shape), random_ids(1, 6), random_ids(1, 5, seed=1)
    before = found(targets, source_ids=sources)
    for t in range(5):
        other = targets.clone()
        other[0, t] = (targets[0, t] + 1) % V
        changed = (found(other, source_ids=sources) - before).abs().amax(-1)[0] > 1e-9
        assert changed.tolist() == [position >= t for position in range(5)]
    for s in range(6):
        other = sources.clone()
        other[0, s] = (sources[0, s] + 1) % V
        changed = (found(targets, source_ids=other) - before).abs().amax(-1)[0] > 1e-9
        assert changed.all()


@ALL
def test_padding_of_the_source_changes_nothing(shape: dict[str, Any]) -> None:
    found, sources, targets = model(**shape), random_ids(3, 9), random_ids(3, 5, seed=1)
    lengths = torch.tensor([9, 1, 5])
    mask = torch.arange(9) < lengths[:, None]
    for padding in (0, 1):
        padded = sources.masked_fill(~mask, padding)
        hidden = found(targets, source_ids=padded, source_mask=mask)
        for row, length in enumerate(lengths.tolist()):
            alone = found(targets[row : row + 1], source_ids=sources[row : row + 1, :length])
            torch.testing.assert_close(hidden[row : row + 1], alone, rtol=1e-10, atol=1e-10)


@ALL
def test_rows_of_padding_are_finite(shape: dict[str, Any]) -> None:
    found = model(**shape)
    hidden = found(random_ids(2, 5), source_ids=random_ids(2, 4), source_mask=torch.tensor([[1] * 4, [0] * 4]))
    assert hidden.isfinite().all()


def test_embeddings_are_shared_or_separate() -> None:
    shared, separate = model(), model(share_embeddings=False)
    assert separate.num_parameters() - shared.num_parameters() == V * D
    assert shared.encoder.token_embedding is shared.token_embedding


def test_weights_of_a_decoder_fill_both_sides() -> None:
    plain = GPT(config(n_encoder_layer=None, position="rotary"))
    randomize(plain)
    found = EncoderDecoder(config(n_encoder_layer=LAYERS, position="rotary"))
    found.load_sides(plain)
    for name, value in plain.state_dict().items():
        assert found.state_dict()[name].equal(value)
        assert found.encoder.state_dict()[name].equal(value)
    assert found.is_cross_attention_new


def test_every_parameter_has_a_gradient_and_every_matrix_is_known() -> None:
    found = model(**VASWANI, share_embeddings=False).train()
    found(random_ids(2, 5), source_ids=random_ids(2, 4)).square().sum().backward()
    rows = found.matrices()
    for name, parameter in found.named_parameters():
        assert parameter.grad is not None, name
        is_matrix = parameter.ndim == 2 and "blocks" in name
        assert (parameter in rows) == is_matrix, name
        assert not is_matrix or sum(rows[parameter]) == len(parameter)


def test_activation_checkpointing_changes_no_gradient() -> None:
    gradients = []
    for is_enabled in (False, True):
        found = model(**VASWANI).train()
        found.checkpoint_activations(is_enabled)
        found(random_ids(2, 5), source_ids=random_ids(2, 4)).square().sum().backward()
        gradients.append([parameter.grad for parameter in found.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: GPT(config()), r"backbone\.n_encoder_layer=3 is only for encoder-decoders"),
        (lambda: EncoderDecoder(config(n_encoder_layer=None)), r"backbone\.n_encoder_layer is missing"),
        (lambda: model(attention="bidirectional"), r"backbone\.attention=bidirectional is not for encoder-decoders"),
        (lambda: model().side_config(), r"n_encoder_layer=3 differs from backbone\.n_layer=2"),
        (lambda: config(n_embd=33, n_head=3, position="sinusoidal"), r"backbone\.n_embd=33 is odd"),
        (lambda: model()(random_ids(1, 2), source_ids=random_ids(1, 17)), r"source of 17 tokens is longer"),
        (lambda: config(n_encoder_layer=0), r"backbone\.n_encoder_layer=0 must be at least 1"),
    ],
)
def test_wrong_shapes_are_refused(build: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build()


def gradients(found: EncoderDecoder) -> list[Tensor]:
    mask = torch.arange(4) < torch.tensor([[4], [2]])
    found(random_ids(2, 5), source_ids=random_ids(2, 4), source_mask=mask).square().sum().backward()
    grads = [parameter.grad for parameter in found.parameters()]
    assert all(grad is not None for grad in grads)
    return grads  # type: ignore[return-value]


def test_fsdp_gives_the_same_gradients(one_process: Any) -> None:
    expected = gradients(model(**VASWANI).train())
    found = model(**VASWANI).train()
    found.checkpoint_activations()
    for block in (*found.encoder.blocks, *found.blocks):
        fully_shard(block, mesh=one_process)
    fully_shard(found, mesh=one_process)
    for grad, wanted in zip(gradients(found), expected, strict=True):
        torch.testing.assert_close(grad.full_tensor(), wanted, rtol=1e-12, atol=1e-12)  # type: ignore[attr-defined]


def test_compiled_model_gives_the_same_gradients() -> None:
    expected = gradients(model(**VASWANI, n_layer=1, n_encoder_layer=1).train())
    found = model(**VASWANI, n_layer=1, n_encoder_layer=1).train()
    found.compile(backend="eager", fullgraph=True)
    for grad, wanted in zip(gradients(found), expected, strict=True):
        torch.testing.assert_close(grad, wanted, rtol=1e-9, atol=1e-9)
