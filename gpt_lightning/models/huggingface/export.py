"""The shape of a backbone -> Hugging Face's ``config.json``, or the reason why it has none."""

from collections.abc import Mapping
from typing import Any

import torch

from gpt_lightning.models.config import GPTConfig
from gpt_lightning.models.huggingface.names import FAMILIES, TaskName


def why_not_huggingface(config: GPTConfig, task: TaskName, pooling: str = "last") -> str | None:
    """Why Hugging Face's classes cannot be such a model, in words; None where they can.

    Args:
        config: the backbone's shape. Dropout is not looked at: it is for training.
        task: what the head is for.
        pooling: what a SequenceClassification looks at.
    """
    reasons = [
        (config.attention != "causal", "its attention is bidirectional, and theirs looks back only"),
        (
            config.logit_softcap is not None,
            f"its logits are soft-capped (logit_softcap={config.logit_softcap}), and theirs are not",
        ),
        (
            task == "SequenceClassification" and pooling != "last",
            f"its head looks at the {pooling} of all tokens (pooling), and theirs at the last one",
        ),
        *(_gpt2_lacks(config) if config.position == "learned" else _others_lack(config)),
    ]
    return next((reason for is_so, reason in reasons if is_so), None)


def _gpt2_lacks(config: GPTConfig) -> list[tuple[bool, str]]:
    whose = "theirs with learned positions is GPT-2, which has"
    return [
        (config.norm != "layernorm", f"{whose} no norm={config.norm}"),
        (config.mlp != "gelu", f"{whose} no mlp={config.mlp}"),
        (config.bias is not True, f"{whose} biases everywhere, not bias={str(config.bias).lower()}"),
        (config.kv_heads != config.n_head, f"{whose} no grouped heads (n_kv_head={config.n_kv_head})"),
        (config.n_head * config.head_width != config.n_embd, f"{whose} no head_dim={config.head_dim} of its own"),
        (config.qk_norm, f"{whose} no qk_norm"),
    ]


def _others_lack(config: GPTConfig) -> list[tuple[bool, str]]:
    whose, bias = "theirs with rotary positions", f"bias={str(config.bias).lower()}"
    return [
        (config.norm != "rmsnorm", f"{whose} have no norm={config.norm}"),
        (config.mlp != "swiglu", f"{whose} have no mlp={config.mlp}"),
        (config.qk_norm and config.nope_interval is not None, f"{whose} have not both qk_norm and a nope_interval"),
        (config.qk_norm and config.bias in (True, "qkv"), f"theirs with qk_norm is Qwen3, which has no {bias}"),
        (
            config.nope_interval is not None and config.bias == "qkv",
            f"theirs with a nope_interval is SmolLM3, which has no {bias}",
        ),
        (
            model_type_of(config) == "llama" and config.n_embd % config.n_head != 0,
            f"{whose} and {bias} is Llama, whose n_embd is a multiple of n_head",
        ),
    ]


def model_type_of(config: GPTConfig) -> str:
    """The family of a backbone that has one."""
    if config.position == "learned":
        return "gpt2"
    if config.nope_interval is not None:
        return "smollm3"
    if config.qk_norm:
        return "qwen3"
    if config.bias == "qkv":
        return "qwen2"
    # Mistral is Llama without biases whose heads may have any width.
    return "mistral" if config.bias is False and config.n_embd % config.n_head else "llama"


def config_json(
    config: GPTConfig,
    hparams: Mapping[str, Any],
    dtype: torch.dtype,
    token_ids: Mapping[str, int | None],
) -> dict[str, Any]:
    """What ``config.json`` says of a model that Hugging Face has.

    Args:
        config: the backbone's shape.
        hparams: of the task, as its checkpoints hold them.
        dtype: of the weights.
        token_ids: ``pad_token_id`` and so on.
    """
    model_type, task = model_type_of(config), hparams["task"]
    content: dict[str, Any] = {
        "architectures": [FAMILIES[model_type].architecture(task)],
        "model_type": model_type,
        "dtype": str(dtype).removeprefix("torch."),
        "vocab_size": config.vocab_size,
        "tie_word_embeddings": config.tie_embeddings,
        **token_ids,
        **(_gpt2(config) if model_type == "gpt2" else _llama(config, model_type)),
    }
    labels = hparams.get("labels")
    if labels:
        content["id2label"] = {str(number): label for number, label in enumerate(labels)}
        content["label2id"] = {label: number for number, label in enumerate(labels)}
    if task == "SequenceClassification":
        kind = "multi_label" if hparams.get("multi_label") else "single_label"
        content["problem_type"] = f"{kind}_classification"
    if task == "TokenClassification":
        content["classifier_dropout"] = config.dropout
    return content


def _gpt2(config: GPTConfig) -> dict[str, Any]:
    return {
        "n_positions": config.block_size,
        "n_layer": config.n_layer,
        "n_head": config.n_head,
        "n_embd": config.n_embd,
        "n_inner": config.inner,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": config.norm_eps,
        "resid_pdrop": config.dropout,
        "embd_pdrop": config.dropout,
        "attn_pdrop": config.attention_dropout,
    }


def _llama(config: GPTConfig, model_type: str) -> dict[str, Any]:
    content: dict[str, Any] = {
        "max_position_embeddings": config.block_size,
        "num_hidden_layers": config.n_layer,
        "num_attention_heads": config.n_head,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_width,
        "hidden_size": config.n_embd,
        "intermediate_size": config.inner,
        "hidden_act": "silu",
        "rms_norm_eps": config.norm_eps,
        "attention_dropout": config.attention_dropout,
        **_rotary(config),
    }
    if model_type != "llama":
        content["sliding_window"] = None
    if model_type in ("llama", "qwen3", "smollm3"):
        content["attention_bias"] = bool(config.bias)
    if model_type in ("llama", "smollm3"):
        content["mlp_bias"] = config.bias is True
    if config.nope_interval is not None:
        turning = [int((layer + 1) % config.nope_interval != 0) for layer in range(config.n_layer)]
        content |= {"no_rope_layer_interval": config.nope_interval, "no_rope_layers": turning}
    return content


def _rotary(config: GPTConfig) -> dict[str, Any]:
    """In both spellings: transformers before 5 would pass over its successor's without a word."""
    scaling: dict[str, Any] = {"rope_type": "default"}
    if config.rope_factor != 1.0:
        scaling = {
            "rope_type": "llama3",
            "factor": config.rope_factor,
            "low_freq_factor": config.rope_low_freq_factor,
            "high_freq_factor": config.rope_high_freq_factor,
            "original_max_position_embeddings": config.rope_original_block_size,
        }
    parameters = scaling | {"rope_theta": config.rope_theta}
    is_plain = config.rope_factor == 1.0
    return {
        "rope_parameters": parameters,
        "rope_theta": config.rope_theta,
        "rope_scaling": None if is_plain else scaling,
    }
