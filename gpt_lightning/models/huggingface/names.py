"""Which of our parameters is which tensor of Hugging Face's, for each family."""

from typing import Final, Literal, NamedTuple

import torch
from torch import Tensor, nn

from gpt_lightning.models.gpt import GPT
from gpt_lightning.models.lora import plain_parameters

TaskName = Literal["CausalLM", "SequenceClassification", "TokenClassification", "QuestionAnswering"]


class Family(NamedTuple):
    """One architecture of Hugging Face's, by its ``model_type``."""

    title: str
    """What its classes are called, as in LlamaForCausalLM."""
    causal_lm: str = "ForCausalLM"
    """The end of the name of its language model."""
    prefix: str = "model."
    """What the names of a backbone's tensors begin with where it has a head."""
    prefix_of_questions: str = "transformer."
    """The same where the head answers questions."""
    tagger: str = "score"
    """The head that tags words."""

    def architecture(self, task: TaskName | None) -> str:
        """The class of Hugging Face's for ``task``, or for a backbone alone."""
        if task is None:
            return f"{self.title}Model"
        return f"{self.title}{self.causal_lm if task == 'CausalLM' else f'For{task}'}"

    def task_prefix(self, task: TaskName | None) -> str:
        """What the names of the backbone's tensors begin with."""
        if task is None:
            return ""
        return self.prefix_of_questions if task == "QuestionAnswering" else self.prefix

    def head(self, task: TaskName) -> str:
        """What the head of ``task`` is called."""
        heads = {"CausalLM": "lm_head", "SequenceClassification": "score", "QuestionAnswering": "qa_outputs"}
        return heads.get(task, self.tagger)


FAMILIES: Final[dict[str, Family]] = {
    "gpt2": Family("GPT2", causal_lm="LMHeadModel", prefix="transformer.", tagger="classifier"),
    "llama": Family("Llama"),
    "mistral": Family("Mistral", prefix_of_questions="model."),
    "qwen2": Family("Qwen2"),
    "qwen3": Family("Qwen3"),
    "smollm3": Family("SmolLM3"),
}
TASKS: Final[tuple[TaskName, ...]] = (
    "CausalLM",
    "SequenceClassification",
    "TokenClassification",
    "QuestionAnswering",
)

_GPT2: Final = {
    "token_embedding": "wte",
    "position_embedding": "wpe",
    "norm": "ln_f",
    "blocks": "h",
    "norm_1": "ln_1",
    "norm_2": "ln_2",
    "attention.qkv": "attn.c_attn",
    "attention.proj": "attn.c_proj",
    "mlp.up": "mlp.c_fc",
    "mlp.proj": "mlp.c_proj",
}
_LLAMA: Final = {
    "token_embedding": "embed_tokens",
    "norm": "norm",
    "blocks": "layers",
    "norm_1": "input_layernorm",
    "norm_2": "post_attention_layernorm",
    "attention.proj": "self_attn.o_proj",
    "attention.q_norm": "self_attn.q_norm",
    "attention.k_norm": "self_attn.k_norm",
    "mlp.gate": "mlp.gate_proj",
    "mlp.up": "mlp.up_proj",
    "mlp.proj": "mlp.down_proj",
}


def embedding_name(model_type: str) -> str:
    """The token embedding's tensor, without a prefix."""
    return "wte.weight" if model_type == "gpt2" else "embed_tokens.weight"


def their_views(model_type: str, backbone: GPT, prefix: str) -> dict[str, Tensor]:
    """The tensors of Hugging Face's backbone as views of our parameters: reading fills them, writing copies them."""
    views: dict[str, Tensor] = {}
    for name, parameter in plain_parameters(backbone):
        module, _, kind = name.rpartition(".")
        if model_type == "gpt2":
            # Their Conv1D stores the transpose of a Linear.
            is_linear = parameter.ndim == 2 and module.startswith("blocks.")
            views[f"{prefix}{_renamed(module, _GPT2)}.{kind}"] = parameter.mT if is_linear else parameter
        elif module.endswith("attention.qkv"):
            heads = backbone.config.n_head, backbone.config.kv_heads, backbone.config.kv_heads
            parts = torch.split(parameter, [number * backbone.config.head_width for number in heads])
            for their_name, part in zip(their_linears(model_type, module), parts, strict=True):
                views[f"{prefix}{their_name}.{kind}"] = part
        else:
            views[f"{prefix}{_renamed(module, _LLAMA)}.{kind}"] = parameter
    return views


def their_linears(model_type: str, layer: str) -> tuple[str, ...]:
    """Their layers whose outputs, one after the other, are those of a linear layer of ours."""
    if model_type == "gpt2" or not layer.endswith(".attention.qkv"):
        return (_renamed(layer, _GPT2 if model_type == "gpt2" else _LLAMA),)
    block = _renamed(layer.removesuffix(".attention.qkv"), _LLAMA)
    return tuple(f"{block}.self_attn.{letter}_proj" for letter in "qkv")


def head_views(name: str, head: nn.Module, backbone: GPT) -> dict[str, Tensor]:
    """The same for a head that is called ``name``; an output layer that is the token embedding has none of its own."""
    shared = backbone.token_embedding.weight
    return {f"{name}.{kind}": value for kind, value in head.named_parameters() if value is not shared}


def our_views(backbone: GPT, head: nn.Module | None) -> dict[str, Tensor]:
    """The same for a folder that is ours alone: our names for our parameters."""
    views = {f"backbone.{name}": parameter for name, parameter in plain_parameters(backbone)}
    return views | ({} if head is None else head_views("head", head, backbone))


def _renamed(module: str, names: dict[str, str]) -> str:
    if not module.startswith("blocks."):
        return names[module]
    blocks, layer, *inside = module.split(".", 2)
    return ".".join([names[blocks], layer, *(names[each] for each in inside)])
