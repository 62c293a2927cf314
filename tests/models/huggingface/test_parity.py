"""Logits, losses and gradients, compared with those of Hugging Face's models with the same weights."""

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
    "gpt2_exact_gelu": {"n_embd": 16, "n_head": 2, "n_layer": 2, "mlp": "gelu_exact"},
    "gpt2_eps": {"n_embd": 16, "n_head": 2, "n_layer": 2, "norm_eps": 0.1},
}
LLAMA_SHAPES: dict[str, dict[str, Any]] = {
    "llama": {"n_embd": 24, "n_head": 3, "n_layer": 2},
    "llama_grouped": {"n_embd": 32, "n_head": 4, "n_kv_head": 2, "n_layer": 2, "tie_embeddings": False},
    "llama_one_kv": {"n_embd": 32, "n_head": 4, "n_kv_head": 1, "n_layer": 3, "n_inner": 20},
    "llama_theta": {"n_embd": 32, "n_head": 2, "n_layer": 2, "rope_theta": 50.0, "tie_embeddings": False},
    "llama_bias": {"n_embd": 24, "n_head": 3, "n_layer": 2, "bias": True, "norm_eps": 0.1},
}
# Of 8 rotary pairs, 2 have high frequencies, 4 low ones, and 2 are interpolated.
ROPE_SCALING: dict[str, Any] = {
    "rope_theta": 500.0,
    "rope_factor": 8.0,
    "rope_low_freq_factor": 0.9,
    "rope_high_freq_factor": 4.0,
    "rope_original_block_size": 64,
}
YARN: dict[str, Any] = {
    "rope_type": "yarn",
    "rope_theta": 50.0,
    "rope_factor": 4.0,
    "rope_low_freq_factor": 0.1,
    "rope_high_freq_factor": 0.6,
    "rope_original_block_size": 4,
}
OTHER_FAMILIES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "llama3": ("Llama", {"n_embd": 32, "n_head": 2, "n_layer": 2, **ROPE_SCALING}, {}),
    "llama_linear": (
        "Llama",
        {"n_embd": 32, "n_head": 2, "n_layer": 2, "rope_type": "linear", "rope_theta": 50.0, "rope_factor": 2.5},
        {},
    ),
    "llama_yarn": ("Llama", {"n_embd": 32, "n_head": 2, "n_layer": 2, **YARN}, {}),
    "llama_yarn_factor": ("Llama", {"n_embd": 32, "n_head": 2, "n_layer": 2, **YARN, "rope_attention_factor": 0.7}, {}),
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
        {"n_embd": 32, "n_head": 4, "n_kv_head": 2, "n_layer": 5, "nope_interval": 2, **ROPE_SCALING},
        {"no_rope_layer_interval": 2},
    ),
}
"""Name -> the family, our configuration, and further options of Hugging Face's configuration."""


def gpt2_pair(shape: dict[str, Any]) -> tuple[CausalLM, Any]:
    """Return a random GPT-2 as our task and as Hugging Face's model, in float64 and ``eval`` mode."""
    config = GPTConfig(vocab_size=VOCAB_SIZE, block_size=BLOCK_SIZE, **shape)
    reference = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCAB_SIZE,
            n_positions=BLOCK_SIZE,
            n_embd=config.n_embd,
            n_layer=config.n_layer,
            n_head=config.n_head,
            n_inner=config.n_inner,
            activation_function="gelu" if config.mlp == "gelu_exact" else "gelu_new",
            layer_norm_epsilon=config.norm_eps,
            tie_word_embeddings=config.tie_embeddings,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=None,
            eos_token_id=None,
        )
    )
    randomize(reference)
    source = reference.state_dict()
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
        for name, reference_name in names.items():
            weight = source[f"transformer.h.{layer}.{reference_name}.weight"]
            # Hugging Face's Conv1D stores the transpose of a Linear.
            weights[f"backbone.blocks.{layer}.{name}.weight"] = weight.mT if weight.ndim == 2 else weight
            weights[f"backbone.blocks.{layer}.{name}.bias"] = source[f"transformer.h.{layer}.{reference_name}.bias"]
    ours = CausalLM(backbone=config)
    ours.load_state_dict(weights)
    return ours.double().eval(), reference.double().eval()


def rope_parameters(config: GPTConfig) -> dict[str, Any]:
    """Return the entry ``rope_parameters`` of Hugging Face's configuration."""
    if config.rope_global_interval is not None:
        thetas = {"full_attention": config.rope_theta, "sliding_attention": config.rope_local_theta}
        return {kind: {"rope_type": "default", "rope_theta": theta} for kind, theta in thetas.items()}
    if config.rope_factor == 1.0:
        return {"rope_type": "default", "rope_theta": config.rope_theta}
    common = {"rope_type": config.rope_type, "rope_theta": config.rope_theta, "factor": config.rope_factor}
    if config.rope_type == "linear":
        return common
    if config.rope_type == "yarn":
        return common | {
            "beta_slow": config.rope_low_freq_factor,
            "beta_fast": config.rope_high_freq_factor,
            "attention_factor": config.rope_attention_factor,
            "original_max_position_embeddings": config.rope_original_block_size,
        }
    return common | {
        "low_freq_factor": config.rope_low_freq_factor,
        "high_freq_factor": config.rope_high_freq_factor,
        "original_max_position_embeddings": config.rope_original_block_size,
    }


def llama_pair(shape: dict[str, Any], family: str = "Llama", **options: Any) -> tuple[CausalLM, Any]:
    """Return a random model of a family as our task and as Hugging Face's, in float64 and ``eval`` mode."""
    common: dict[str, Any] = {"position": "rotary", "norm": "rmsnorm", "mlp": "swiglu", "bias": False}
    config = GPTConfig(vocab_size=VOCAB_SIZE, block_size=BLOCK_SIZE, **(common | shape))
    if family in ("Llama", "Qwen3", "SmolLM3"):
        options |= {"attention_bias": config.bias in (True, "attention")}
    reference = getattr(transformers, f"{family}ForCausalLM")(
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
    randomize(reference)
    source = reference.state_dict()
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
        block, reference_block = f"backbone.blocks.{layer}", f"model.layers.{layer}"
        for kind in ("weight", "bias") if config.bias else ("weight",):
            for name, reference_name in names.items():
                if (weight := source.get(f"{reference_block}.{reference_name}.{kind}")) is not None:
                    weights[f"{block}.{name}.{kind}"] = weight
            if family == "Phi3":
                weights[f"{block}.attention.qkv.weight"] = source[f"{reference_block}.self_attn.qkv_proj.weight"]
                gate_up = source[f"{reference_block}.mlp.gate_up_proj.weight"].chunk(2)
                weights |= dict(zip((f"{block}.mlp.gate.weight", f"{block}.mlp.up.weight"), gate_up, strict=True))
                continue
            parts = [source[f"{reference_block}.self_attn.{part}_proj.{kind}"] for part in "qkv"]
            weights[f"{block}.attention.qkv.{kind}"] = torch.cat(parts)
    ours = CausalLM(backbone=config)
    ours.load_state_dict(weights)
    return ours.double().eval(), reference.double().eval()


def pair(name: str) -> tuple[CausalLM, Any]:
    """Return our task and Hugging Face's model for one of the configurations above."""
    if name in OTHER_FAMILIES:
        family, shape, options = OTHER_FAMILIES[name]
        return llama_pair(shape, family, **options)
    return gpt2_pair(GPT2_SHAPES[name]) if name in GPT2_SHAPES else llama_pair(LLAMA_SHAPES[name])


def random_ids(rows: int, tokens: int, seed: int = 1) -> Tensor:
    """Return (rows, tokens) random ids."""
    return torch.randint(VOCAB_SIZE, (rows, tokens), generator=torch.Generator().manual_seed(seed))


# Hugging Face's Llama computes norms in float32, and both compute rotary angles in float32, also in float64 models.
@pytest.mark.parametrize(
    ("name", "tolerance"),
    [*((name, 1e-11) for name in GPT2_SHAPES), *((name, 1e-5) for name in (*LLAMA_SHAPES, *OTHER_FAMILIES))],
)
def test_logits_loss_and_gradients_match_hugging_face(name: str, tolerance: float) -> None:
    ours, reference = pair(name)
    ids = random_ids(3, BLOCK_SIZE)
    expected = reference(ids).logits
    assert expected.std() > 1.0, "the logits are too small for a comparison"
    torch.testing.assert_close(ours(ids), expected, rtol=tolerance, atol=tolerance)

    labels = ids.clone()
    labels[0, :9] = IGNORE_INDEX
    labels[2, 4:6] = IGNORE_INDEX
    reference_loss = reference(ids, labels=labels).loss  # Hugging Face shifts the labels itself
    shifted = torch.cat((labels[:, 1:], torch.full((3, 1), IGNORE_INDEX)), dim=1)
    our_loss = ours.step({"input_ids": ids, "labels": shifted, "num_bytes": torch.ones(3, dtype=torch.int64)}, "train")
    assert our_loss.item() == pytest.approx(reference_loss.item(), rel=1e-6)

    our_loss.backward()  # type: ignore[no-untyped-call]
    reference_loss.backward()
    torch.testing.assert_close(
        ours.backbone.token_embedding.weight.grad,
        reference.get_input_embeddings().weight.grad,
        rtol=1e-4,
        atol=1e-5,
    )


def patch_to_float64(reference: Any, config: GPTConfig) -> None:
    """Patch Hugging Face's model to compute norms and scales in float64, and to use our rotary angles."""
    offset = 1.0 if config.norm == "rmsnorm_zero_centered" else 0.0

    def make_forward(norm: Any) -> Any:
        return lambda x: nn.functional.rms_norm(x, norm.weight.shape, norm.weight + offset, config.norm_eps)

    def angles(x: Tensor, position_ids: Tensor, layer_type: str = "full_attention") -> tuple[Tensor, Tensor]:
        cos, signed_sin = rotary_angles(position_ids, config, local=layer_type == "sliding_attention")
        first, second = signed_sin.chunk(2, -1)
        return cos.to(x.dtype), torch.cat((-first, second), -1).to(x.dtype)

    reference.model.rotary_emb.forward = angles
    if config.scale_embeddings:
        reference.model.embed_tokens.embed_scale.fill_(config.n_embd**0.5)
    norms = [module for module in reference.modules() if type(module).__name__.endswith("RMSNorm")]
    assert len(norms) > 2 * config.n_layer
    for norm in norms:
        norm.forward = make_forward(norm)


@pytest.mark.parametrize("name", [*LLAMA_SHAPES, *OTHER_FAMILIES])
def test_logits_and_gradients_match_exactly_without_hugging_face_float32(name: str) -> None:
    ours, reference = pair(name)
    patch_to_float64(reference, ours.backbone.config)
    ids = random_ids(3, BLOCK_SIZE)
    logits, expected = ours(ids), reference(ids).logits
    torch.testing.assert_close(logits, expected, rtol=1e-10, atol=1e-10)
    logits.square().mean().backward()
    expected.square().mean().backward()
    torch.testing.assert_close(
        ours.backbone.token_embedding.weight.grad, reference.get_input_embeddings().weight.grad, rtol=1e-10, atol=1e-10
    )


@pytest.mark.parametrize("name", ["llama", "llama_theta", "llama3", "llama_linear", "llama_yarn", "smollm3"])
def test_rotary_angles_match_hugging_face(name: str) -> None:
    ours, reference = pair(name)
    positions = torch.arange(200)
    cos, sin = rotary_angles(positions, ours.backbone.config)
    reference_cos, reference_sin = reference.model.rotary_emb(torch.zeros(1), positions[None])
    torch.testing.assert_close(cos, reference_cos[0], rtol=0.0, atol=5e-5)
    torch.testing.assert_close(sin.abs(), reference_sin[0].abs(), rtol=0.0, atol=5e-5)


def test_rope_scaling_covers_low_high_and_interpolated_frequencies() -> None:
    ours, _ = pair("llama3")
    config = ours.backbone.config
    rotations = 64 / (2 * torch.pi * 500.0 ** (torch.arange(0, 16, 2) / 16))
    assert [int((rotations > 4.0).sum()), int((rotations < 0.9).sum())] == [2, 4]
    assert config.rope_factor == 8.0


@pytest.mark.parametrize("name", ["gpt2", "llama_grouped", *OTHER_FAMILIES])
def test_float32_logits_match_hugging_face(name: str) -> None:
    ours, reference = pair(name)
    ids = random_ids(2, 11)
    torch.testing.assert_close(ours.float()(ids), reference.float()(ids).logits, rtol=1e-5, atol=2e-5)


def test_numbers_of_parameters_match_hugging_face() -> None:
    for name in (*GPT2_SHAPES, *LLAMA_SHAPES, *OTHER_FAMILIES):
        ours, reference = pair(name)
        assert sum(p.numel() for p in ours.parameters()) == reference.num_parameters()
