"""Rotary angles with RoPE scaling, compared with those of transformers for the same ``config.json``."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers.models.gemma3.modeling_gemma3 import Gemma3RotaryEmbedding
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from gpt_lightning.models.huggingface.families.gemma3 import Gemma3
from gpt_lightning.models.huggingface.families.llama import Llama
from gpt_lightning.models.huggingface.options import Options
from gpt_lightning.models.layers import rotary_angles

POSITIONS = torch.tensor([*range(100), 1000, 4095, 4096, 20_000])
SHAPE: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 128,
    "intermediate_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 4096,
}
YARN: dict[str, Any] = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024}
SCALINGS: dict[str, dict[str, Any]] = {
    "linear": {"rope_type": "linear", "factor": 4.0},
    "linear_old_key": {"type": "linear", "factor": 3},
    "linear_below_1": {"rope_type": "linear", "factor": 0.5},
    "linear_1": {"rope_type": "linear", "factor": 1.0},
    "yarn": YARN,
    "yarn_old_key": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024},
    "yarn_without_original": {"rope_type": "yarn", "factor": 2.0},
    "yarn_factor_from_lengths": YARN | {"factor": None},
    "yarn_1": YARN | {"factor": 1.0},
    "yarn_1_with_factor_1": YARN | {"factor": 1.0, "attention_factor": 1.0},
    "yarn_below_1": YARN | {"factor": 0.5},
    "yarn_betas": YARN | {"beta_fast": 8, "beta_slow": 2.5},
    "yarn_null_betas": YARN | {"beta_fast": None, "beta_slow": 0},
    "yarn_attention_factor": YARN | {"attention_factor": 0.9},
    "yarn_mscales": YARN | {"mscale": 0.707, "mscale_all_dim": 1.3},
    "yarn_equal_mscales": YARN | {"mscale": 1.0, "mscale_all_dim": 1.0},
    "yarn_one_mscale": YARN | {"mscale": 0.5},
    "yarn_zero_mscale": YARN | {"mscale": 0.5, "mscale_all_dim": 0},
    "yarn_mscales_and_factor": YARN | {"mscale": 0.7, "mscale_all_dim": 0.2, "attention_factor": 1.5},
    "yarn_theta": YARN | {"rope_theta": 1e6},
    "yarn_short": YARN | {"original_max_position_embeddings": 8},
    "yarn_shorter_than_a_rotation": YARN | {"original_max_position_embeddings": 2},
    "yarn_truncate": YARN | {"truncate": True},
}


@pytest.mark.parametrize("key", ["rope_scaling", "rope_parameters"])
@pytest.mark.parametrize("scaling", SCALINGS.values(), ids=SCALINGS)
@pytest.mark.filterwarnings("ignore")
def test_angles_of_llama_match_transformers(scaling: dict[str, Any], key: str) -> None:
    content = SHAPE | {"rope_theta": 5000.0, key: scaling}
    reference = LlamaRotaryEmbedding(transformers.LlamaConfig(**SHAPE, rope_theta=5000.0, **{key: dict(scaling)}))
    cos, sin = reference(torch.zeros(1), POSITIONS[None])
    config = Llama().read(Options(Path("config.json"), "Llama", content))
    ours_cos, ours_sin = rotary_angles(POSITIONS, config)
    torch.testing.assert_close(ours_cos, cos[0], rtol=0.0, atol=1e-5)
    torch.testing.assert_close(ours_sin.abs(), sin[0].abs(), rtol=0.0, atol=1e-5)
    plain = Llama().read(Options(Path(), "", SHAPE | {"rope_theta": scaling.get("rope_theta", 5000.0)}))
    assert ours_cos.equal(rotary_angles(POSITIONS, plain)[0]) == (config.rope_factor == 1.0)

    written = Llama().write_shape(config) | {"vocab_size": 61}
    assert rotary_angles(POSITIONS, Llama().read(Options(Path(), "", written)))[0].equal(ours_cos)
    again = LlamaRotaryEmbedding(transformers.LlamaConfig(**written))(torch.zeros(1), POSITIONS[None])
    torch.testing.assert_close(again[0], cos, rtol=0.0, atol=1e-5)


@pytest.mark.parametrize("scaling", [SCALINGS["linear"], SCALINGS["yarn_attention_factor"]], ids=["linear", "yarn"])
@pytest.mark.parametrize("is_given_twice", [False, True])
def test_angles_of_gemma3_match_transformers(scaling: dict[str, Any], is_given_twice: bool) -> None:
    layers = ["sliding_attention", "full_attention"]
    content = SHAPE | {"num_key_value_heads": 2, "head_dim": 64, "rope_scaling": scaling, "layer_types": layers}
    if is_given_twice:
        thetas = {"full_attention": 7.0, "sliding_attention": 9.0}
        content["rope_parameters"] = {
            kind: {"rope_type": "default", "rope_theta": each} for kind, each in thetas.items()
        }
    hugging_face = transformers.Gemma3TextConfig(**copy.deepcopy(content))
    config = Gemma3().read(Options(Path("config.json"), "Gemma3", content))
    for kind in ("full_attention", "sliding_attention"):
        cos, _ = Gemma3RotaryEmbedding(hugging_face)(torch.zeros(1), POSITIONS[None], kind)
        ours, _ = rotary_angles(POSITIONS, config, local=kind == "sliding_attention")
        torch.testing.assert_close(ours, cos[0], rtol=0.0, atol=1e-5)
