"""The logits, losses and gradients of Hugging Face's GPT-2, Llama and their kin with the same weights."""

from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

from gpt_lightning.batch import IGNORE_INDEX
from gpt_lightning.models import GPTConfig
from gpt_lightning.models.layers import rotary_angles
from gpt_lightning.tasks import CausalLM
from tests.models.test_gpt import randomize

VOCAB_SIZE = 61
BLOCK_SIZE = 16

GPT2_SHAPES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 24, "n_head": 3, "n_layer": 2},
    "gpt2_inner": {"n_embd": 16, "n_head": 4, "n_layer": 3, "n_inner": 20},
    "gpt2_untied": {"n_embd": 16, "n_head": 1, "n_layer": 1, "tie_embeddings": False},
    "gpt2_eps": {"n_embd": 16, "n_head": 2, "n_layer": 2, "norm_eps": 0.1},
}
LLAMA_SHAPES: dict[str, dict[str, Any]] = {
    "llama": {"n_embd": 24, "n_head": 3, "n_layer": 2},
    "llama_grouped": {"n_embd": 32, "n_head": 4, "n_kv_head": 2, "n_layer": 2, "tie_embeddings": False},
    "llama_one_kv": {"n_embd": 32, "n_head": 4, "n_kv_head": 1, "n_layer": 3, "n_inner": 20},
    "llama_theta": {"n_embd": 32, "n_head": 2, "n_layer": 2, "rope_theta": 50.0, "tie_embeddings": False},
    "llama_bias": {"n_embd": 24, "n_head": 3, "n_layer": 2, "bias": True, "norm_eps": 0.1},
}
# Of 8 pairs of channels some keep their speed, some turn so much more slowly, and two lie between.
STRETCHED: dict[str, Any] = {
    "rope_theta": 500.0,
    "rope_factor": 8.0,
    "rope_low_freq_factor": 0.9,
    "rope_high_freq_factor": 4.0,
    "rope_original_block_size": 64,
}
KIN: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "llama3": ("Llama", {"n_embd": 32, "n_head": 2, "n_layer": 2, **STRETCHED}, {}),
    "llama_attention_bias": ("Llama", {"n_embd": 24, "n_head": 3, "n_layer": 2, "bias": "attention"}, {}),
    "llama_head_dim": ("Llama", {"n_embd": 24, "n_head": 3, "n_layer": 2, "head_dim": 6, "n_kv_head": 1}, {}),
    "mistral": ("Mistral", {"n_embd": 20, "n_head": 3, "n_layer": 2, "head_dim": 10}, {"sliding_window": None}),
    "qwen2": ("Qwen2", {"n_embd": 32, "n_head": 4, "n_kv_head": 2, "n_layer": 2, "bias": "qkv"}, {}),
    "qwen3": (
        "Qwen3",
        {"n_embd": 32, "n_head": 4, "n_kv_head": 2, "head_dim": 12, "n_layer": 2, "qk_norm": True, "norm_eps": 0.01},
        {},
    ),
    "qwen3_bias": ("Qwen3", {"n_embd": 32, "n_head": 4, "n_layer": 2, "qk_norm": True, "bias": "attention"}, {}),
    "phi3": ("Phi3", {"n_embd": 32, "n_head": 4, "n_kv_head": 2, "n_layer": 2, "norm_eps": 0.01}, {}),
    "olmo2": (
        "Olmo2",
        {
            "n_embd": 32,
            "n_head": 4,
            "n_kv_head": 2,
            "n_layer": 2,
            "norm_eps": 0.01,
            "qk_norm": "projection",
            "norm_placement": "after",
        },
        {"attention_bias": False},
    ),
    "gemma3": (
        "Gemma3",
        {
            "n_embd": 32,
            "n_head": 4,
            "n_kv_head": 2,
            "head_dim": 12,
            "n_layer": 3,
            "norm": "rmsnorm_zero_centered",
            "norm_eps": 0.01,
            "norm_placement": "both",
            "mlp": "geglu",
            "qk_norm": True,
            "query_pre_attn_scalar": 10,
            "rope_theta": 500.0,
            "rope_global_interval": 2,
            "rope_local_theta": 20.0,
            "scale_embeddings": True,
            "logit_softcap": 20.0,
        },
        {
            "query_pre_attn_scalar": 10,
            "sliding_window": BLOCK_SIZE,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            "final_logit_softcapping": 20.0,
        },
    ),
    "smollm3": (
        "SmolLM3",
        {"n_embd": 32, "n_head": 4, "n_kv_head": 2, "n_layer": 5, "nope_interval": 2, **STRETCHED},
        {"no_rope_layer_interval": 2},
    ),
}
"""Name -> the family, our shape, and what their configuration says of its own."""


def gpt2_pair(shape: dict[str, Any]) -> tuple[CausalLM, Any]:
    """The same random GPT-2 as our task and as Hugging Face's model, both in float64 and ``eval`` mode."""
    config = GPTConfig(vocab_size=VOCAB_SIZE, block_size=BLOCK_SIZE, **shape)
    theirs = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCAB_SIZE,
            n_positions=BLOCK_SIZE,
            n_embd=config.n_embd,
            n_layer=config.n_layer,
            n_head=config.n_head,
            n_inner=config.n_inner,
            layer_norm_epsilon=config.norm_eps,
            tie_word_embeddings=config.tie_embeddings,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=None,
            eos_token_id=None,
        )
    )
    randomize(theirs)
    source = theirs.state_dict()
    weights = {
        "backbone.token_embedding.weight": source["transformer.wte.weight"],
        "backbone.position_embedding.weight": source["transformer.wpe.weight"],
        "backbone.norm.weight": source["transformer.ln_f.weight"],
        "backbone.norm.bias": source["transformer.ln_f.bias"],
        "head.weight": source["lm_head.weight"],
    }
    names = {
        "norm_1": "ln_1",
        "norm_2": "ln_2",
        "attention.qkv": "attn.c_attn",
        "attention.proj": "attn.c_proj",
        "mlp.up": "mlp.c_fc",
        "mlp.proj": "mlp.c_proj",
    }
    for layer in range(config.n_layer):
        for name, their_name in names.items():
            weight = source[f"transformer.h.{layer}.{their_name}.weight"]
            # Their Conv1D stores the transpose of a Linear.
            weights[f"backbone.blocks.{layer}.{name}.weight"] = weight.mT if weight.ndim == 2 else weight
            weights[f"backbone.blocks.{layer}.{name}.bias"] = source[f"transformer.h.{layer}.{their_name}.bias"]
    ours = CausalLM(backbone=config)
    ours.load_state_dict(weights)
    return ours.double().eval(), theirs.double().eval()


def rope_parameters(config: GPTConfig) -> dict[str, Any]:
    """In their words."""
    if config.rope_global_interval is not None:
        thetas = {"full_attention": config.rope_theta, "sliding_attention": config.rope_local_theta}
        return {kind: {"rope_type": "default", "rope_theta": theta} for kind, theta in thetas.items()}
    if config.rope_factor == 1.0:
        return {"rope_type": "default", "rope_theta": config.rope_theta}
    return {
        "rope_type": "llama3",
        "rope_theta": config.rope_theta,
        "factor": config.rope_factor,
        "low_freq_factor": config.rope_low_freq_factor,
        "high_freq_factor": config.rope_high_freq_factor,
        "original_max_position_embeddings": config.rope_original_block_size,
    }


def llama_pair(shape: dict[str, Any], family: str = "Llama", **options: Any) -> tuple[CausalLM, Any]:
    """The same random Llama, or kin, as our task and as Hugging Face's, both in float64 and ``eval`` mode."""
    common: dict[str, Any] = {"position": "rotary", "norm": "rmsnorm", "mlp": "swiglu", "bias": False}
    config = GPTConfig(vocab_size=VOCAB_SIZE, block_size=BLOCK_SIZE, **(common | shape))
    if family in ("Llama", "Qwen3", "SmolLM3"):
        options |= {"attention_bias": config.bias in (True, "attention")}
    theirs = getattr(transformers, f"{family}ForCausalLM")(
        getattr(transformers, "Gemma3TextConfig" if family == "Gemma3" else f"{family}Config")(
            vocab_size=VOCAB_SIZE,
            hidden_size=config.n_embd,
            intermediate_size=config.mlp_width,
            num_hidden_layers=config.n_layer,
            num_attention_heads=config.n_head,
            num_key_value_heads=config.kv_heads,
            head_dim=config.head_width,
            max_position_embeddings=BLOCK_SIZE,
            rms_norm_eps=config.norm_eps,
            rope_parameters=rope_parameters(config),
            tie_word_embeddings=config.tie_embeddings,
            mlp_bias=config.bias is True,
            pad_token_id=None,
            bos_token_id=None,
            eos_token_id=None,
            **options,
        )
    )
    randomize(theirs)
    source = theirs.state_dict()
    weights = {
        "backbone.token_embedding.weight": source["model.embed_tokens.weight"],
        "backbone.norm.weight": source["model.norm.weight"],
        "head.weight": source["lm_head.weight"],
    }
    norms = {
        "before": {"norm_1": "input_layernorm", "norm_2": "post_attention_layernorm"},
        "after": {"post_norm_1": "post_attention_layernorm", "post_norm_2": "post_feedforward_layernorm"},
        "both": {
            "norm_1": "input_layernorm",
            "post_norm_1": "post_attention_layernorm",
            "norm_2": "pre_feedforward_layernorm",
            "post_norm_2": "post_feedforward_layernorm",
        },
    }
    names = {
        **norms[config.norm_placement],
        "attention.proj": "self_attn.o_proj",
        "attention.q_norm": "self_attn.q_norm",
        "attention.k_norm": "self_attn.k_norm",
        "mlp.gate": "mlp.gate_proj",
        "mlp.up": "mlp.up_proj",
        "mlp.proj": "mlp.down_proj",
    }
    for layer in range(config.n_layer):
        block, their_block = f"backbone.blocks.{layer}", f"model.layers.{layer}"
        for kind in ("weight", "bias") if config.bias else ("weight",):
            for name, their_name in names.items():
                if (weight := source.get(f"{their_block}.{their_name}.{kind}")) is not None:
                    weights[f"{block}.{name}.{kind}"] = weight
            if family == "Phi3":
                weights[f"{block}.attention.qkv.weight"] = source[f"{their_block}.self_attn.qkv_proj.weight"]
                gate_up = source[f"{their_block}.mlp.gate_up_proj.weight"].chunk(2)
                weights |= dict(zip((f"{block}.mlp.gate.weight", f"{block}.mlp.up.weight"), gate_up, strict=True))
                continue
            parts = [source[f"{their_block}.self_attn.{part}_proj.{kind}"] for part in "qkv"]
            weights[f"{block}.attention.qkv.{kind}"] = torch.cat(parts)
    ours = CausalLM(backbone=config)
    ours.load_state_dict(weights)
    return ours.double().eval(), theirs.double().eval()


def pair(name: str) -> tuple[CausalLM, Any]:
    """The pair of one of the shapes above."""
    if name in KIN:
        family, shape, options = KIN[name]
        return llama_pair(shape, family, **options)
    return gpt2_pair(GPT2_SHAPES[name]) if name in GPT2_SHAPES else llama_pair(LLAMA_SHAPES[name])


def random_ids(rows: int, tokens: int, seed: int = 1) -> Tensor:
    """(rows, tokens) ids."""
    return torch.randint(VOCAB_SIZE, (rows, tokens), generator=torch.Generator().manual_seed(seed))


# Hugging Face's Llama normalises, and both turn positions, in float32 even in a float64 model.
@pytest.mark.parametrize(
    ("name", "tolerance"), [*((name, 1e-11) for name in GPT2_SHAPES), *((name, 1e-5) for name in (*LLAMA_SHAPES, *KIN))]
)
def test_logits_loss_and_gradients_are_hugging_faces(name: str, tolerance: float) -> None:
    ours, theirs = pair(name)
    ids = random_ids(3, BLOCK_SIZE)
    expected = theirs(ids).logits
    assert expected.std() > 1.0, "logits so small that agreement would say little"
    torch.testing.assert_close(ours(ids), expected, rtol=tolerance, atol=tolerance)

    labels = ids.clone()
    labels[0, :9] = IGNORE_INDEX
    labels[2, 4:6] = IGNORE_INDEX
    their_loss = theirs(ids, labels=labels).loss  # which shifts the labels itself
    shifted = torch.cat((labels[:, 1:], torch.full((3, 1), IGNORE_INDEX)), dim=1)
    our_loss = ours.step({"input_ids": ids, "labels": shifted, "num_bytes": torch.ones(3, dtype=torch.int64)}, "train")
    assert our_loss.item() == pytest.approx(their_loss.item(), rel=1e-6)

    our_loss.backward()  # type: ignore[no-untyped-call]
    their_loss.backward()
    torch.testing.assert_close(
        ours.backbone.token_embedding.weight.grad,
        theirs.get_input_embeddings().weight.grad,
        rtol=1e-4,
        atol=1e-5,
    )


def in_float64(theirs: Any, config: GPTConfig) -> None:
    """Let their model normalise and scale in float64, and turn by the angles that ours turns by."""

    added = 1.0 if config.norm == "rmsnorm_zero_centered" else 0.0

    def normalise(norm: Any) -> Any:
        return lambda x: nn.functional.rms_norm(x, norm.weight.shape, norm.weight + added, config.norm_eps)

    def angles(x: Tensor, position_ids: Tensor, layer_type: str = "full_attention") -> tuple[Tensor, Tensor]:
        cos, signed = rotary_angles(position_ids, config, local=layer_type == "sliding_attention")
        first, second = signed.chunk(2, -1)
        return cos.to(x.dtype), torch.cat((-first, second), -1).to(x.dtype)

    theirs.model.rotary_emb.forward = angles
    if config.scale_embeddings:
        theirs.model.embed_tokens.embed_scale.fill_(config.n_embd**0.5)
    norms = [module for module in theirs.modules() if type(module).__name__.endswith("RMSNorm")]
    assert len(norms) > 2 * config.n_layer
    for norm in norms:
        norm.forward = normalise(norm)


@pytest.mark.parametrize("name", [*LLAMA_SHAPES, *KIN])
def test_but_for_their_float32_logits_and_gradients_are_the_same_number(name: str) -> None:
    ours, theirs = pair(name)
    in_float64(theirs, ours.backbone.config)
    ids = random_ids(3, BLOCK_SIZE)
    logits, expected = ours(ids), theirs(ids).logits
    torch.testing.assert_close(logits, expected, rtol=1e-10, atol=1e-10)
    logits.square().mean().backward()
    expected.square().mean().backward()
    torch.testing.assert_close(
        ours.backbone.token_embedding.weight.grad, theirs.get_input_embeddings().weight.grad, rtol=1e-10, atol=1e-10
    )


@pytest.mark.parametrize("name", ["llama", "llama_theta", "llama3", "smollm3"])
def test_rotary_angles_are_theirs(name: str) -> None:
    ours, theirs = pair(name)
    positions = torch.arange(200)
    cos, sin = rotary_angles(positions, ours.backbone.config)
    their_cos, their_sin = theirs.model.rotary_emb(torch.zeros(1), positions[None])
    torch.testing.assert_close(cos, their_cos[0], rtol=0.0, atol=5e-5)
    torch.testing.assert_close(sin.abs(), their_sin[0].abs(), rtol=0.0, atol=5e-5)


def test_the_stretch_has_all_three_parts() -> None:
    ours, _ = pair("llama3")
    config = ours.backbone.config
    turns = 64 / (2 * torch.pi * 500.0 ** (torch.arange(0, 16, 2) / 16))
    assert [int((turns > 4.0).sum()), int((turns < 0.9).sum())] == [2, 4]
    assert config.rope_factor == 8.0


@pytest.mark.parametrize("name", ["gpt2", "llama_grouped", *KIN])
def test_in_float32_too(name: str) -> None:
    ours, theirs = pair(name)
    ids = random_ids(2, 11)
    torch.testing.assert_close(ours.float()(ids), theirs.float()(ids).logits, rtol=1e-5, atol=2e-5)


def test_every_weight_of_theirs_has_a_place() -> None:
    for name in (*GPT2_SHAPES, *LLAMA_SHAPES, *KIN):
        ours, theirs = pair(name)
        assert sum(p.numel() for p in ours.parameters()) == theirs.num_parameters()
