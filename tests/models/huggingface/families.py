"""Tiny random Hugging Face models as reference, and our tasks with the same weights."""

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers
from torch import Tensor

from gpt_lightning.models import GPTConfig
from gpt_lightning.models.huggingface import Pretrained, load_weights, save
from gpt_lightning.tasks import CausalLM, QuestionAnswering, SequenceClassification, Task, TokenClassification
from gpt_lightning.tasks.load import task_class
from tests.models.test_gpt import randomize

VOCAB_SIZE = 61
BLOCK_SIZE = 16
PAD = 0
LENGTHS = (9, 4, 1, 7)
LABELS = ["O", "B-PER", "I-PER"]
TASKS = {each.__name__: each for each in (CausalLM, SequenceClassification, TokenClassification, QuestionAnswering)}

_LLAMA: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": BLOCK_SIZE,
    "rms_norm_eps": 0.01,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 0.9,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 50.0,
    "factor": 4.0,
    "beta_fast": 0.6,
    "beta_slow": 0.1,
    "original_max_position_embeddings": 4,
}
"""YaRN with short, long and interpolated rotary pairs; texts are longer than the original context."""
LINEAR = {"rope_type": "linear", "rope_theta": 50.0, "factor": 2.5}
_GPT2: dict[str, Any] = {"n_positions": BLOCK_SIZE, "n_embd": 24, "n_layer": 2, "n_head": 3}
_GEMMA: dict[str, Any] = _LLAMA | {
    "num_hidden_layers": 3,
    "head_dim": 6,
    "sliding_window": BLOCK_SIZE,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    "rope_parameters": {
        "full_attention": {"rope_type": "default", "rope_theta": 500.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 20.0},
    },
    "query_pre_attn_scalar": 10,
    "final_logit_softcapping": 15.0,
}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2", _GPT2),
    "gpt2_untied": ("GPT2", _GPT2 | {"n_inner": 20, "tie_word_embeddings": False, "layer_norm_epsilon": 0.1}),
    "gpt2_exact_gelu": ("GPT2", _GPT2 | {"activation_function": "gelu"}),
    "llama": ("Llama", _LLAMA),
    "llama_bias": ("Llama", _LLAMA | {"attention_bias": True, "mlp_bias": True}),
    "llama_attention_bias": ("Llama", _LLAMA | {"attention_bias": True, "head_dim": 6}),
    "llama3": ("Llama", _LLAMA | {"rope_parameters": LLAMA3, "tie_word_embeddings": True}),
    "llama_linear": ("Llama", _LLAMA | {"rope_parameters": LINEAR}),
    "llama_yarn": ("Llama", _LLAMA | {"rope_parameters": YARN}),
    "mistral": ("Mistral", _LLAMA | {"sliding_window": None}),
    "mistral_window": ("Mistral", _LLAMA | {"sliding_window": BLOCK_SIZE, "hidden_size": 30, "head_dim": 10}),
    "qwen2": ("Qwen2", _LLAMA | {"tie_word_embeddings": True}),
    "qwen3": ("Qwen3", _LLAMA | {"head_dim": 12}),
    "qwen3_yarn": ("Qwen3", _LLAMA | {"head_dim": 12, "rope_parameters": YARN | {"attention_factor": 0.8}}),
    "qwen3_bias": ("Qwen3", _LLAMA | {"head_dim": 8, "attention_bias": True, "hidden_size": 30}),
    "smollm2": ("Llama", _LLAMA | {"tie_word_embeddings": True, "rope_theta": 100_000.0}),
    "phi3": ("Phi3", _LLAMA),
    "phi3_tied": ("Phi3", _LLAMA | {"sliding_window": BLOCK_SIZE, "tie_word_embeddings": True, "head_dim": 6}),
    "olmo2": ("Olmo2", _LLAMA),
    "olmo2_bias": ("Olmo2", _LLAMA | {"attention_bias": True, "tie_word_embeddings": True}),
    "gemma3": ("Gemma3", _GEMMA),
    "gemma3_global": ("Gemma3", _GEMMA | {"layer_types": ["full_attention"] * 3, "tie_word_embeddings": False}),
    "gemma3_linear": (
        "Gemma3",
        _GEMMA | {"rope_parameters": _GEMMA["rope_parameters"] | {"full_attention": LINEAR}},
    ),
    "smollm3_yarn": (
        "SmolLM3",
        _LLAMA | {"num_hidden_layers": 5, "no_rope_layer_interval": 2, "rope_parameters": YARN},
    ),
    "smollm3": ("SmolLM3", _LLAMA | {"num_hidden_layers": 5, "no_rope_layer_interval": 2}),
}


_CLASS_NAMES: dict[str, dict[str | None, str]] = {
    "GPT2": {"CausalLM": "GPT2LMHeadModel"},
    "Gemma3": {"SequenceClassification": "Gemma3TextForSequenceClassification", "Config": "Gemma3TextConfig"},
}
PAIRS = [
    (name, task)
    for name, (family, _) in FAMILIES.items()
    for task in TASKS
    if hasattr(transformers, _CLASS_NAMES.get(family, {}).get(task, f"{family}For{task}"))
    and (family, task) != ("Gemma3", "TokenClassification")
]
"""Families and their tasks."""


def reference_model(name: str, task: str = "CausalLM", **options: Any) -> Any:
    """Return a random Hugging Face model in ``eval`` mode."""
    family, shape = FAMILIES[name]
    names = _CLASS_NAMES.get(family, {})
    labels = dict(enumerate(LABELS)) if "Classification" in task else {0: "a", 1: "b"}
    config = getattr(transformers, names.get("Config", f"{family}Config"))(
        **{
            "vocab_size": VOCAB_SIZE,
            "pad_token_id": PAD,
            "bos_token_id": 1,
            "eos_token_id": None,
            "id2label": labels,
            **shape,
            **options,
        }
    )
    reference = getattr(transformers, names.get(task, f"{family}For{task}"))(config)
    randomize(reference)
    return reference.eval()


def batch() -> tuple[Tensor, Tensor]:
    """Return ids and mask, padded on the right; no text contains the padding token."""
    ids = torch.randint(1, VOCAB_SIZE, (len(LENGTHS), max(LENGTHS)), generator=torch.Generator().manual_seed(1))
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    return ids.where(mask, PAD), mask


@torch.no_grad()
def reference_logits(reference: Any) -> Tensor:
    """Return the logits of a Hugging Face model for ``batch``, one row per token or text, without padding."""
    ids, mask = batch()
    answer = reference(ids, attention_mask=mask.long())
    if hasattr(answer, "start_logits"):
        return torch.stack((answer.start_logits, answer.end_logits), -1)[mask]
    logits: Tensor = answer.logits
    return logits[mask] if logits.ndim == 3 else logits


@torch.no_grad()
def our_logits(task: Task) -> Tensor:
    """Return the logits of our task for ``batch``, one row per token or text, without padding."""
    ids, mask = batch()
    logits: Tensor
    if isinstance(task, SequenceClassification):
        logits = task(ids, mask)
    elif isinstance(task, TokenClassification):
        logits = task(ids, mask, mask)
    elif isinstance(task, QuestionAnswering):
        logits = torch.stack(task(ids, mask, mask), -1)[mask]
    else:
        logits = task(ids)[mask]
    return logits


def task_class_of(pretrained: Pretrained) -> Any:
    """Return the class of the task in a folder."""
    if pretrained.task is not None:
        return task_class(pretrained.task)
    return next(task for task in TASKS.values() if task.huggingface_head is pretrained.head)


def our_task(pretrained: Pretrained, dtype: torch.dtype = torch.float32) -> Task:
    """Return the task in a folder with its weights, in ``eval`` mode."""
    hparams = {name: value for name, value in pretrained.hparams.items() if name not in ("task", "backbone")}
    given = {name: hparams[name] for name in ("labels", "pooling", "multi_label") if name in hparams}
    torch.manual_seed(7)
    task: Task = task_class_of(pretrained)(backbone=pretrained.config, **given).to(dtype).eval()
    load_weights(task, pretrained)
    return task


def random_task(name: str, shape: dict[str, Any], **arguments: Any) -> Task:
    """Return one of our tasks with random weights, in ``eval`` mode."""
    if "Classification" in name:
        arguments = {"labels": LABELS, **arguments}
    if name == "SequenceClassification":
        arguments = {"pooling": "last", **arguments}
    config = GPTConfig(**({"vocab_size": VOCAB_SIZE, "block_size": BLOCK_SIZE, "n_layer": 2} | shape))
    task: Task = TASKS[name](backbone=config, **arguments)
    randomize(task)
    return task.eval()


def save_task(folder: Path, task: Task, **options: Any) -> str | None:
    """Write a task as a model folder; return the reason why Hugging Face's classes cannot read it, or None."""
    return save(folder, task, dict(task.hparams), head=task.huggingface_head, **options)


def save_reference(folder: Path, name: str, task: str = "CausalLM", **options: Any) -> Any:
    """Save a random Hugging Face model in ``folder`` and return it."""
    reference = reference_model(name, task, **options)
    reference.save_pretrained(folder)
    return reference
