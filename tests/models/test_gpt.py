"""Properties of the backbone, and its parts compared with their formulas in float64."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from gpt_lightning.errors import InputError
from gpt_lightning.models import GPT, GPTConfig
from gpt_lightning.models.kernels.elementwise import ZeroCenteredRMSNorm
from gpt_lightning.models.layers import MLP, Attention, AttentionInputs, Block, GatedMLP, make_norm, rotary_angles

VOCAB_SIZE = 23
BLOCK_SIZE = 12
PRESETS = Path(__file__).parents[2] / "configs" / "backbone"

LLAMA: dict[str, Any] = {"position": "rotary", "norm": "rmsnorm", "mlp": "swiglu", "bias": False}
OLMO2: dict[str, Any] = LLAMA | {"norm_placement": "after", "qk_norm": "projection", "n_kv_head": 2}
GEMMA3: dict[str, Any] = LLAMA | {
    "norm": "rmsnorm_zero_centered",
    "norm_placement": "both",
    "mlp": "geglu",
    "qk_norm": True,
    "scale_embeddings": True,
    "query_pre_attn_scalar": 5,
    "rope_global_interval": 2,
    "rope_local_theta": 10.0,
}
SHAPES: dict[str, dict[str, Any]] = {
    "gpt2": {},
    "olmo2": OLMO2,
    "gemma3": GEMMA3,
    "llama": LLAMA,
    "grouped_qk_norm": LLAMA | {"n_kv_head": 2, "qk_norm": True, "mlp": "relu2"},
}
BOTH = pytest.mark.parametrize("attention", ["causal", "bidirectional"])
ALL = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def shape_of(**shape: Any) -> GPTConfig:
    return GPTConfig(
        **({"vocab_size": VOCAB_SIZE, "block_size": BLOCK_SIZE, "n_layer": 2, "n_head": 4, "n_embd": 32} | shape)
    )


def randomize(module: nn.Module) -> None:
    """Draw large random weights, gains and biases, so that each parameter affects the output."""
    torch.manual_seed(0)
    for name, parameter in module.named_parameters():
        nn.init.normal_(parameter, mean=1.0 if parameter.ndim == 1 and name.endswith("weight") else 0.0, std=0.3)


def model(**shape: Any) -> GPT:
    """Return a random backbone in float64 and ``eval`` mode."""
    gpt = GPT(shape_of(**shape)).double().eval()
    randomize(gpt)
    return gpt


def random_ids(rows: int, tokens: int) -> Tensor:
    return torch.randint(VOCAB_SIZE, (rows, tokens), generator=torch.Generator().manual_seed(1))


def random_x(*size: int) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def changed(before: Tensor, after: Tensor) -> list[bool]:
    """Return for each of T positions whether its hidden states, (1, T, C), differ."""
    return ((before - after).abs().amax(-1) > 1e-9)[0].tolist()


# --- masks


@ALL
def test_later_tokens_do_not_change_earlier_ones(shape: dict[str, Any]) -> None:
    gpt, ids = model(**shape), random_ids(1, BLOCK_SIZE)
    before = gpt(ids)
    for t in range(BLOCK_SIZE):
        other = ids.clone()
        other[0, t] = (ids[0, t] + 1) % VOCAB_SIZE
        assert changed(before, gpt(other)) == [position >= t for position in range(BLOCK_SIZE)]


@ALL
def test_bidirectional_attention_covers_all_tokens(shape: dict[str, Any]) -> None:
    gpt, ids = model(**shape, attention="bidirectional"), random_ids(1, BLOCK_SIZE)
    before = gpt(ids)
    for t in range(BLOCK_SIZE):
        other = ids.clone()
        other[0, t] = (ids[0, t] + 1) % VOCAB_SIZE
        assert all(changed(before, gpt(other)))


@ALL
@BOTH
def test_padding_does_not_change_tokens(shape: dict[str, Any], attention: str) -> None:
    gpt, ids = model(**shape, attention=attention), random_ids(3, 9)
    lengths = [9, 1, 5]
    mask = (torch.arange(9) < torch.tensor(lengths)[:, None]).long()
    other = torch.where(mask.bool(), ids, (ids + 1) % VOCAB_SIZE)
    for padded in (ids, other):
        hidden = gpt(padded, attention_mask=mask)
        for row, length in enumerate(lengths):
            alone = gpt(ids[row : row + 1, :length])
            torch.testing.assert_close(hidden[row : row + 1, :length], alone, rtol=1e-10, atol=1e-10)


@ALL
@BOTH
def test_packed_documents_match_separate_ones(shape: dict[str, Any], attention: str) -> None:
    gpt, ids = model(**shape, attention=attention), random_ids(2, BLOCK_SIZE)
    # Ids need not start at 0 or be consecutive, and may occur in several rows.
    lengths = [[(7, 5), (8, 1), (20, 6)], [(0, 2), (7, 10)]]
    documents = torch.tensor([[number for number, length in row for _ in range(length)] for row in lengths])
    hidden = gpt(ids, document_ids=documents)
    for row, row_lengths in enumerate(lengths):
        start = 0
        for _, length in row_lengths:
            alone = gpt(ids[row : row + 1, start : start + length])
            torch.testing.assert_close(hidden[row : row + 1, start : start + length], alone, rtol=1e-10, atol=1e-10)
            start += length


@BOTH
def test_packed_documents_match_separate_ones_with_padding(attention: str) -> None:
    gpt, ids = model(**LLAMA, attention=attention), random_ids(1, 8)
    documents = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1]])
    mask = torch.tensor([[1, 1, 1, 1, 1, 1, 0, 0]])
    hidden = gpt(ids, document_ids=documents, attention_mask=mask)
    torch.testing.assert_close(hidden[:, 3:6], gpt(ids[:, 3:6]), rtol=1e-10, atol=1e-10)


@ALL
def test_one_document_per_row_matches_no_documents(shape: dict[str, Any]) -> None:
    gpt, ids = model(**shape), random_ids(2, BLOCK_SIZE)
    documents = torch.tensor([[3], [0]]).expand(2, BLOCK_SIZE)
    torch.testing.assert_close(gpt(ids, document_ids=documents), gpt(ids), rtol=1e-10, atol=1e-10)


def test_too_long_sequence_is_refused() -> None:
    gpt = model()
    assert gpt(random_ids(1, BLOCK_SIZE)).shape == (1, BLOCK_SIZE, 32)
    with pytest.raises(
        InputError, match=r"sequence of 13 tokens is longer than block_size=12\. Raise --model\.backbone"
    ):
        gpt(random_ids(1, BLOCK_SIZE + 1))


def test_missing_vocab_size_is_refused() -> None:
    with pytest.raises(InputError, match=r"backbone\.vocab_size is missing"):
        GPT(GPTConfig(n_layer=1, n_head=1, n_embd=2))


# --- parts, compared with formulas


def dense_attention(attention: Attention, x_BTC: Tensor, config: GPTConfig) -> Tensor:
    """Compute attention head by head, with complex numbers for rotary positions."""
    num_tokens, width = x_BTC.size(1), config.head_width
    qkv = x_BTC @ attention.qkv.weight.mT
    if attention.qkv.bias is not None:
        qkv = qkv + attention.qkv.bias
    heads = [qkv[..., i : i + width] for i in range(0, qkv.size(-1), width)]
    queries, rest = heads[: config.n_head], heads[config.n_head :]
    keys, values = rest[: config.kv_heads], rest[config.kv_heads :]

    def prepare(x_BTD: Tensor, norm: nn.RMSNorm | None) -> Tensor:
        if norm is not None:
            assert norm.weight is not None
            x_BTD = x_BTD / (x_BTD.square().mean(-1, keepdim=True) + config.norm_eps).sqrt() * norm.weight
        if config.position == "rotary":
            frequencies = config.rope_theta ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
            angles = torch.arange(num_tokens, dtype=torch.float64)[:, None] * frequencies
            turned = torch.complex(*x_BTD.chunk(2, -1)) * torch.polar(torch.ones_like(angles), angles)
            x_BTD = torch.cat((turned.real, turned.imag), -1)
        return x_BTD

    outputs = []
    for head, query in enumerate(queries):
        group = head // (config.n_head // config.kv_heads)
        scores = prepare(query, attention.q_norm) @ prepare(keys[group], attention.k_norm).mT / math.sqrt(width)
        if config.attention == "causal":
            scores = scores.masked_fill(torch.ones(num_tokens, num_tokens).triu(1).bool(), -torch.inf)
        weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
        outputs.append(weights @ values[group])
    y_BTC = torch.cat(outputs, -1) @ attention.proj.weight.mT
    return y_BTC if attention.proj.bias is None else y_BTC + attention.proj.bias


@BOTH
@pytest.mark.parametrize("position", ["learned", "rotary"])
@pytest.mark.parametrize("n_kv_head", [None, 2, 1])
@pytest.mark.parametrize("qk_norm", [False, True])
def test_attention_matches_the_dense_softmax(
    attention: str, position: str, n_kv_head: int | None, qk_norm: bool
) -> None:
    config = shape_of(
        attention=attention, position=position, n_kv_head=n_kv_head, qk_norm=qk_norm, bias=not qk_norm, norm_eps=0.1
    )
    module = Attention(config, layer=0).double().eval()
    randomize(module)
    x_BTC = random_x(2, 7, 32)
    rotary = rotary_angles(torch.arange(7).unsqueeze(-1), config) if position == "rotary" else None  # (T, 1, D)
    actual = module(x_BTC, AttentionInputs(attention == "causal", None, rotary, None))
    tolerance = 1e-10 if rotary is None else 1e-5  # angles are float32
    torch.testing.assert_close(actual, dense_attention(module, x_BTC, config), rtol=tolerance, atol=tolerance)


@ALL
def test_grouped_heads_match_repeated_heads(shape: dict[str, Any]) -> None:
    grouped = model(**(shape | {"n_kv_head": 2}))
    full = model(**(shape | {"n_kv_head": None}))
    weights = grouped.state_dict()
    for name, weight in weights.items():
        if "attention.qkv" in name:
            q, k, v = weight.unflatten(0, (8, 8)).split((4, 2, 2))
            weights[name] = torch.cat((q, k.repeat_interleave(2, 0), v.repeat_interleave(2, 0))).flatten(0, 1)
        elif "attention.k_norm" in name and weight.numel() == 16:
            weights[name] = weight.unflatten(0, (2, 8)).repeat_interleave(2, 0).flatten()
    full.load_state_dict(weights)
    ids = random_ids(2, BLOCK_SIZE)
    torch.testing.assert_close(grouped(ids), full(ids), rtol=1e-10, atol=1e-10)


def linear(x: Tensor, layer: nn.Linear) -> Tensor:
    y = x @ layer.weight.mT
    return y if layer.bias is None else y + layer.bias


def gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1.0 + (math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)).tanh())


@pytest.mark.parametrize("bias", [True, False])
def test_mlps_match_their_formulas(bias: bool) -> None:
    x = random_x(2, 3, 32)
    for kind in ("gelu", "gelu_exact", "relu2", "swiglu", "geglu"):
        config = shape_of(mlp=kind, bias=bias)
        mlp = Block(config, 0).mlp.double()
        randomize(mlp)
        h = linear(x, mlp.up)
        if isinstance(mlp, GatedMLP):
            gate = linear(x, mlp.gate)
            h = h * (gate / (1.0 + (-gate).exp()) if kind == "swiglu" else gelu(gate))
        elif kind == "relu2":
            h = torch.where(h > 0.0, h * h, 0.0)
        elif kind == "gelu_exact":
            h = 0.5 * h * (1.0 + torch.erf(h / math.sqrt(2.0)))
        else:
            h = gelu(h)
        assert isinstance(mlp, GatedMLP if kind.endswith("glu") else MLP)
        torch.testing.assert_close(mlp(x), linear(h, mlp.proj), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("mlp", "n_inner", "expected"),
    [
        ("gelu", None, 128),
        ("relu2", None, 128),
        ("swiglu", None, 128),
        ("geglu", None, 128),
        ("swiglu", 40, 40),
        ("gelu", 40, 40),
    ],
)
def test_default_mlp_width(mlp: str, n_inner: int | None, expected: int) -> None:
    block = Block(shape_of(mlp=mlp, n_inner=n_inner), 0)
    assert {module.out_features for module in block.mlp.children() if module is not block.mlp.proj} == {expected}


def test_norms_match_their_formulas() -> None:
    x = 3.0 + 2.0 * random_x(2, 3, 32)
    for eps in (1e-5, 0.5):
        layer_norm = make_norm(shape_of(norm="layernorm", norm_eps=eps)).double()
        rms_norm = make_norm(shape_of(norm="rmsnorm", norm_eps=eps)).double()
        randomize(layer_norm)
        randomize(rms_norm)
        assert isinstance(layer_norm, nn.LayerNorm)
        assert isinstance(rms_norm, nn.RMSNorm)
        centered = x - x.mean(-1, keepdim=True)
        expected = centered / (centered.square().mean(-1, keepdim=True) + eps).sqrt()
        torch.testing.assert_close(layer_norm(x), expected * layer_norm.weight + layer_norm.bias)
        torch.testing.assert_close(rms_norm(x), x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * rms_norm.weight)
        centered_norm = make_norm(shape_of(norm="rmsnorm_zero_centered", norm_eps=eps)).double()
        assert not centered_norm.weight.any()  # type: ignore[operator]
        with torch.no_grad():
            centered_norm.weight.copy_(rms_norm.weight - 1.0)  # type: ignore[operator]
        torch.testing.assert_close(centered_norm(x), rms_norm(x))


def test_zero_centered_norm_computes_in_float32() -> None:
    norm = make_norm(shape_of(norm="rmsnorm_zero_centered"))
    assert isinstance(norm, ZeroCenteredRMSNorm)
    randomize(norm)
    norm.bfloat16()
    x = random_x(2, 3, 32).bfloat16()
    exact = x.double() / (x.double().square().mean(-1, keepdim=True) + 1e-5).sqrt() * (1.0 + norm.weight.double())
    assert norm(x).equal(exact.bfloat16())


@pytest.mark.parametrize("placement", ["before", "after", "both"])
def test_norm_placement_matches_the_formula(placement: str) -> None:
    block = Block(shape_of(norm_placement=placement), 0).double()
    randomize(block)
    inputs, x = AttentionInputs(True, None, None, None), random_x(2, 3, 32)
    pre_1, post_1, pre_2, post_2 = block.norm_1, block.post_norm_1, block.norm_2, block.post_norm_2
    assert [isinstance(norm, nn.Identity) for norm in (pre_1, post_1)] == [placement == "after", placement == "before"]
    y = x + post_1(block.attention(pre_1(x), inputs))
    torch.testing.assert_close(block(x, inputs), y + post_2(block.mlp(pre_2(y))), rtol=1e-12, atol=1e-12)


def test_qk_norm_of_the_projection_covers_all_heads() -> None:
    config = shape_of(qk_norm="projection", n_kv_head=2, norm_eps=0.1, bias=False)
    module, plain = Attention(config, 0).double(), Attention(shape_of(n_kv_head=2, bias=False), 0).double()
    randomize(module)
    heads, inputs = random_x(2, 5, 8, 8), AttentionInputs(True, None, None, None)
    assert module.q_norm is not None
    assert module.k_norm is not None
    assert (module.q_norm.weight.numel(), module.k_norm.weight.numel()) == (32, 16)
    q, k, v = (part.flatten(2) for part in heads.split_with_sizes((4, 2, 2), dim=2))
    normed = [
        part / (part.square().mean(-1, keepdim=True) + 0.1).sqrt() * norm.weight
        for part, norm in ((q, module.q_norm), (k, module.k_norm))
    ]
    expected = plain.attend(torch.cat([*normed, v], -1).view(2, 5, 8, 8), inputs)
    torch.testing.assert_close(module.attend(heads, inputs), expected, rtol=1e-12, atol=1e-12)


def test_query_pre_attn_scalar_replaces_the_head_width() -> None:
    x, inputs = random_x(2, 5, 8, 8), AttentionInputs(True, None, None, None)
    heads = [Attention(shape_of(n_kv_head=2, query_pre_attn_scalar=each), 0) for each in (None, 8, 32)]
    plain, same, half = (each.double().attend(x, inputs) for each in heads)
    torch.testing.assert_close(same, plain, rtol=1e-12, atol=1e-12)
    scaled = torch.cat((x[:, :, :4] / 2.0, x[:, :, 4:]), dim=2)
    torch.testing.assert_close(half, heads[0].attend(scaled, inputs), rtol=1e-12, atol=1e-12)


def test_embeddings_are_scaled_before_positions_are_added() -> None:
    gpt, ids = model(scale_embeddings=True), random_ids(2, 4)
    seen: list[Tensor] = []
    gpt.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    gpt(ids)
    assert gpt.position_embedding is not None
    expected = gpt.token_embedding(ids) * math.sqrt(32) + gpt.position_embedding.weight[:4]
    torch.testing.assert_close(seen[0], expected, rtol=1e-12, atol=1e-12)


def test_local_layers_have_their_own_rotary_base_and_no_scaling() -> None:
    stretch = {"rope_factor": 4.0, "rope_original_block_size": 8}
    gpt = model(**LLAMA, **stretch, n_layer=3, rope_theta=100.0, rope_global_interval=2, rope_local_theta=7.0)
    assert [block.attention.is_local for block in gpt.blocks] == [True, False, True]  # type: ignore[union-attr]
    seen: list[Tensor] = []
    positions = torch.arange(5)
    inputs = gpt.attention_inputs(positions, True, None, None)
    assert inputs.rotary is not None
    assert inputs.local_rotary is not None
    seen += [inputs.rotary[0].squeeze(1), inputs.local_rotary[0].squeeze(1)]
    assert seen[0].equal(rotary_angles(positions, shape_of(**LLAMA, **stretch, rope_theta=100.0))[0])
    assert seen[1].equal(rotary_angles(positions, shape_of(**LLAMA, rope_theta=7.0))[0])
    # With equal bases, local and global layers are the same.
    same = model(**LLAMA, rope_theta=7.0, rope_global_interval=2, rope_local_theta=7.0)
    assert same(random_ids(1, 8)).equal(model(**LLAMA, rope_theta=7.0)(random_ids(1, 8)))


# --- weights


def test_initial_weights_have_the_prescribed_scale() -> None:
    torch.manual_seed(0)
    gpt = GPT(shape_of(n_layer=8, n_embd=128, vocab_size=200, block_size=100))
    for name, parameter in gpt.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any(), name
        elif "norm" in name:
            assert (parameter == 1.0).all(), name
        else:
            residual = name.endswith(("attention.proj.weight", "mlp.proj.weight"))
            expected = 0.02 / math.sqrt(2 * 8) if residual else 0.02
            assert parameter.std().item() == pytest.approx(expected, rel=0.03), name
            assert abs(parameter.mean().item()) < 5 * expected / math.sqrt(parameter.numel()), name


@pytest.mark.parametrize("shape", [{}, {"mlp": "swiglu", "n_kv_head": 1}])
def test_zero_init_proj_makes_blocks_the_identity(shape: dict[str, Any]) -> None:
    torch.manual_seed(0)
    plain = GPT(shape_of(**shape))
    torch.manual_seed(0)
    gpt = GPT(shape_of(**shape, zero_init_proj=True))
    for name, parameter in gpt.named_parameters():
        if name.endswith("proj.weight"):
            assert not parameter.any(), name
        else:
            assert parameter.equal(plain.get_parameter(name)), name
    x_BTC = torch.randn(2, 3, gpt.config.n_embd)
    for block in gpt.blocks:
        assert block(x_BTC, AttentionInputs(True, None, None, None)).equal(x_BTC)


@pytest.mark.parametrize("shape", [{}, LLAMA, {"norm": "rmsnorm"}, {"mlp": "swiglu", "qk_norm": True}])
def test_bias_is_in_all_layers_or_none(shape: dict[str, Any]) -> None:
    def without_bias(gpt: GPT) -> list[type[nn.Module]]:
        layers = [m for m in gpt.modules() if isinstance(m, nn.Linear | nn.LayerNorm)]
        return [type(layer) for layer in layers if layer.bias is None]

    assert not without_bias(GPT(shape_of(**(shape | {"bias": True}))))
    bare = GPT(shape_of(**(shape | {"bias": False})))
    assert len(without_bias(bare)) >= 8
    assert not [name for name, _ in bare.named_parameters() if "bias" in name]


@pytest.mark.parametrize(("bias", "layers"), [("qkv", {"qkv"}), ("attention", {"qkv", "proj"})])
@pytest.mark.parametrize("shape", [{}, LLAMA])
def test_bias_is_in_attention_only(shape: dict[str, Any], bias: str, layers: set[str]) -> None:
    gpt = GPT(shape_of(**(shape | {"bias": bias})))
    found = {name.split(".", 2)[2] for name, _ in gpt.named_parameters() if name.endswith("bias")}
    assert found == {f"attention.{layer}.bias" for layer in layers}


# V C + L (3 C^2 + C^2 + MLP + norms) + the final norm, and T C for learned positions.
PRESET_PARAMETERS = {
    "gpt2_124m": 124_439_808,
    "gpt2_small": 50257 * 384 + 512 * 384 + 6 * (12 * 384**2 + 13 * 384) + 2 * 384,
    "gpt2_nano": 50257 * 128 + 256 * 128 + 4 * (12 * 128**2 + 13 * 128) + 2 * 128,
    "llama_124m": 50257 * 768 + 12 * (4 * 768**2 + 3 * 768 * 2048 + 2 * 768) + 768,
    "llama_small": 50257 * 384 + 6 * (4 * 384**2 + 3 * 384 * 1024 + 2 * 384) + 384,
    "llama_nano": 50257 * 128 + 4 * (4 * 128**2 + 3 * 128 * 384 + 2 * 128) + 128,
    "llama_nano_encoder": 50257 * 128 + 4 * (4 * 128**2 + 3 * 128 * 384 + 2 * 128) + 128,
    "llama_nano_decoder": 50257 * 128 + 4 * (4 * 128**2 + 3 * 128 * 384 + 2 * 128) + 128,
    # As Llama, with norms of D channels for queries and for keys in each layer.
    "qwen3_124m": 50257 * 768 + 12 * (4 * 768**2 + 3 * 768 * 2048 + 2 * 768 + 2 * 64) + 768,
    "qwen3_small": 50257 * 384 + 6 * (4 * 384**2 + 3 * 384 * 1024 + 2 * 384 + 2 * 64) + 384,
    "qwen3_nano": 50257 * 128 + 4 * (4 * 128**2 + 3 * 128 * 384 + 2 * 128 + 2 * 32) + 128,
    "qwen3_nano_encoder": 50257 * 128 + 4 * (4 * 128**2 + 3 * 128 * 384 + 2 * 128 + 2 * 32) + 128,
    "qwen3_nano_decoder": 50257 * 128 + 4 * (4 * 128**2 + 3 * 128 * 384 + 2 * 128 + 2 * 32) + 128,
}


def test_presets_have_the_expected_number_of_parameters() -> None:
    counts = {}
    for path in PRESETS.glob("*.yaml"):
        with torch.device("meta"):
            counts[path.stem] = GPT(GPTConfig(vocab_size=50257, **yaml.safe_load(path.read_text()))).num_parameters()
    assert counts == PRESET_PARAMETERS


# --- invalid settings


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (
            {"n_embd": 100, "n_head": 12},
            r"n_embd=100 is not divisible by backbone\.n_head=12\. .* multiple is 96",
        ),
        ({"n_embd": 5, "n_head": 12}, r"n_embd=5 is not divisible by backbone\.n_head=12\. .* multiple is 12"),
        ({"n_head": 4, "n_kv_head": 3}, r"n_head=4 is not divisible by backbone\.n_kv_head=3"),
        ({"n_head": 4, "n_kv_head": 8}, r"n_head=4 is not divisible by backbone\.n_kv_head=8"),
        ({"n_embd": 12, "n_head": 4, "position": "rotary"}, r"n_embd / n_head = 3 is odd"),
        ({"dropout": 1.0}, r"dropout=1\.0 must lie in \[0, 1\)"),
        ({"dropout": -0.1}, r"dropout=-0\.1 must lie in \[0, 1\)"),
        ({"attention_dropout": 1.0}, r"attention_dropout=1\.0 must lie in \[0, 1\)"),
        ({"vocab_size": 0}, r"backbone\.vocab_size=0 must be at least 1"),
        ({"block_size": 0}, r"backbone\.block_size=0 must be at least 1"),
        ({"n_layer": 0}, r"backbone\.n_layer=0 must be at least 1"),
        ({"n_head": -1}, r"backbone\.n_head=-1 must be at least 1"),
        ({"n_kv_head": 0}, r"backbone\.n_kv_head=0 must be at least 1"),
        ({"n_embd": 0}, r"backbone\.n_embd=0 must be at least 1"),
        ({"n_inner": 0}, r"backbone\.n_inner=0 must be at least 1"),
        ({"head_dim": 0}, r"backbone\.head_dim=0 must be at least 1"),
        ({"head_dim": 5, "position": "rotary"}, r"head_dim = 5 is odd\. Change backbone\.head_dim"),
        ({"nope_interval": 0}, r"backbone\.nope_interval=0 must be at least 1"),
        ({"query_pre_attn_scalar": 0}, r"backbone\.query_pre_attn_scalar=0 must be at least 1"),
        ({"rope_global_interval": 0}, r"backbone\.rope_global_interval=0 must be at least 1"),
        (LLAMA | {"rope_theta": 0.0}, r"backbone\.rope_theta=0\.0 must be positive"),
        (LLAMA | {"rope_local_theta": -1.0}, r"backbone\.rope_local_theta=-1\.0 must be positive"),
        (LLAMA | {"rope_factor": 8.0}, r"rope_factor=8\.0 needs backbone\.rope_original_block_size"),
        (LLAMA | {"rope_factor": -1.0, "rope_original_block_size": 8}, r"backbone\.rope_factor=-1\.0 must be positive"),
        (
            LLAMA | {"rope_factor": 2.0, "rope_original_block_size": 8, "rope_low_freq_factor": 4.0},
            r"rope_low_freq_factor=4\.0 must .*, and backbone\.rope_high_freq_factor=4\.0 must be greater",
        ),
        (LLAMA | {"rope_attention_factor": 2.0}, r"rope_attention_factor=2\.0 must .* needs backbone\.rope_type=yarn"),
        (
            LLAMA | {"rope_type": "yarn", "rope_factor": 2.0, "rope_original_block_size": 8, "rope_theta": 1.0},
            r"backbone\.rope_theta=1\.0 must be greater than 1 with rope_type=yarn",
        ),
    ],
)
def test_invalid_settings_are_refused(shape: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        shape_of(**shape)


def test_error_proposes_the_nearest_width() -> None:
    for n_embd in range(1, 100):
        try:
            shape_of(n_embd=n_embd, n_head=7)
        except InputError as error:
            nearest = int(str(error).rsplit(" ", 1)[1])
            shape_of(n_embd=nearest, n_head=7)
            assert abs(nearest - n_embd) == min(abs(width - n_embd) for width in range(7, 120, 7))
        else:
            assert n_embd % 7 == 0


# --- dropout


def test_dropout_is_off_in_eval_mode() -> None:
    plain, dropping = model(), model(dropout=0.5)
    ids = random_ids(2, BLOCK_SIZE)
    assert dropping(ids).equal(plain(ids))
    assert plain.train()(ids).equal(plain.eval()(ids))
    dropping.train()
    assert not dropping(ids).allclose(dropping(ids))


@pytest.mark.parametrize("where", ["", "blocks.0", "blocks.0.attention"], ids=["embeddings", "branches", "weights"])
def test_dropout_applies_to_embeddings_branches_and_weights(where: str) -> None:
    shape = {"attention_dropout": 0.5} if "attention" in where else {"dropout": 0.5}
    gpt, ids = model(**shape), random_ids(2, BLOCK_SIZE)
    gpt.get_submodule(where).training = True  # its submodules stay in eval mode
    assert not gpt(ids).allclose(gpt(ids))
    assert gpt.eval()(ids).equal(gpt(ids))


def test_dropout_has_its_probability_and_keeps_the_scale() -> None:
    gpt = model(dropout=0.25, n_embd=256, block_size=64)
    ids, seen = random_ids(8, 64), []
    gpt.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    gpt(ids)
    gpt.train()(ids)
    dropped = seen[1] == 0.0
    assert dropped.double().mean().item() == pytest.approx(0.25, abs=0.01)
    torch.testing.assert_close(seen[1][~dropped], seen[0][~dropped] / 0.75)


# --- floating-point operations


@pytest.mark.parametrize(
    "shape",
    [{"bias": False}, LLAMA, LLAMA | {"n_kv_head": 2}, LLAMA | {"head_dim": 12}],
    ids=["gpt2", "llama", "grouped", "wide_heads"],
)
def test_flops_match_torchs_counter(shape: dict[str, Any]) -> None:
    gpt = model(**shape).train()
    # The counter counts matrix products, so attention uses the math backend, which computes all scores.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        gpt(random_ids(3, BLOCK_SIZE)).sum().backward()
    assert counter.get_total_flops() == gpt.flops_per_token() * 3 * BLOCK_SIZE
