"""Every field of transformers' configuration classes has the same effect on our logits, or is refused.

A field that a new version of transformers adds fails here until somebody has decided about it.
"""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import save_file
from torch import Tensor

from gpt_lightning.errors import InputError
from gpt_lightning.models.huggingface import read_config
from tests.models.huggingface.families import BLOCK_SIZE, FAMILIES, VOCAB_SIZE, our_task, reference_model
from tests.models.test_gpt import randomize

INPUT_IDS = torch.randint(1, 50, (2, BLOCK_SIZE), generator=torch.Generator().manual_seed(1))
ABSENT = "absent"
_THETA = {"rope_theta": 50.0}
_YARN = _THETA | {"rope_type": "yarn", "factor": 3.0, "original_max_position_embeddings": 5}
_LAYER_KINDS = ("full_attention", "sliding_attention")

EQUAL: dict[str, tuple[Any, ...]] = {
    # GPT-2
    "activation_function": ("gelu", "gelu_pytorch_tanh"),
    "attn_pdrop": (0.5,),
    "embd_pdrop": (0.5,),
    "layer_norm_epsilon": (0.5,),
    "n_embd": (36,),
    "n_head": (4,),
    "n_inner": (20, None),
    "n_layer": (3,),
    "n_positions": (20,),
    "resid_pdrop": (0.5,),
    "summary_activation": ("tanh",),
    "summary_first_dropout": (0.5,),
    "summary_proj_to_labels": (False,),
    "summary_type": ("last",),
    "summary_use_proj": (False,),
    # Llama and families like it
    "attention_bias": (True,),
    "attention_dropout": (0.5,),
    "final_logit_softcapping": (5.0, ABSENT),
    "head_dim": (10, 16, None, ABSENT),
    "hidden_act": ("swish",),
    "hidden_size": (48,),
    "intermediate_size": (24,),
    "layer_types": ([*_LAYER_KINDS], [*_LAYER_KINDS, "full_attention"], ["full_attention"] * 5, None, ABSENT),
    "max_position_embeddings": (20,),
    "max_window_layers": (0, 1),
    "no_rope_layer_interval": (1, 3, 9),
    "no_rope_layers": ([1, 0, 1, 0, 1], [1, 1, 1, 1, 0], [1] * 5, [0] * 5),
    "num_attention_heads": (2, 8),
    "num_hidden_layers": (1,),
    "num_key_value_heads": (1, 4, None, ABSENT),
    "original_max_position_embeddings": (5,),
    "pretraining_tp": (2,),
    "query_pre_attn_scalar": (3, ABSENT),
    "rms_norm_eps": (0.5, ABSENT),
    "rope_parameters": (_THETA | {"rope_type": "default"}, _THETA | {"rope_type": "linear", "factor": 3.0}, _YARN),
    "sliding_window": (4, 20, None, ABSENT),
    "use_sliding_window": (True,),
    # all families
    "bos_token_id": (3,),
    "eos_token_id": (3, [3, 4]),
    "initializer_range": (0.5,),
    "pad_token_id": (3,),
    "tie_word_embeddings": (True, False, ABSENT),
    "use_cache": (False,),
    "vocab_size": (50,),
    # earlier versions, which transformers still reads
    "rope_scaling": ({"type": "linear", "factor": 3.0}, {"rope_type": "yarn", "factor": 3.0}),
    "rope_theta": (50.0,),
    "sliding_window_pattern": (2,),
}
"""Field -> values with the same effect here and in transformers."""
REFUSED: dict[str, tuple[Any, ...]] = {
    "activation_function": ("relu", "silu", "quick_gelu"),
    "add_cross_attention": (True,),
    "attn_logit_softcapping": (5.0,),
    "hidden_act": ("gelu", "gelu_pytorch_tanh", "relu"),
    "hidden_activation": ("gelu", "silu"),
    "is_encoder_decoder": (True,),
    "mlp_bias": (True,),
    "no_rope_layers": ([1, 0, 0, 1, 1],),
    "partial_rotary_factor": (0.5,),
    "reorder_and_upcast_attn": (True,),
    "rope_parameters": (
        _YARN | {"truncate": False},
        _THETA | {"rope_type": "dynamic", "factor": 3.0},
        _THETA | {"rope_type": "default", "partial_rotary_factor": 0.5},
    ),
    "scale_attn_by_inverse_layer_idx": (True,),
    "scale_attn_weights": (False,),
    "use_bidirectional_attention": (True,),
}
"""Field -> values that are refused here."""
GEMMA3: dict[str, tuple[Any, ...]] = {
    "layer_types": (["full_attention"] * 3, ["sliding_attention"] * 3, None, ABSENT),
    "rope_parameters": ({"full_attention": _YARN, "sliding_attention": _THETA | {"rope_type": "default"}}, ABSENT),
}
"""Values with the same effect for Gemma 3, instead of those above."""
OLD_FIELDS = {"rope_scaling", "rope_theta", "partial_rotary_factor", "sliding_window_pattern"}
WITHOUT_EFFECT = {
    *("_name_or_path", "architectures", "dtype", "id2label", "label2id", "model_type", "problem_type"),
    *("chunk_size_feed_forward", "output_attentions", "output_hidden_states", "return_dict", "transformers_version"),
    "_sliding_window_pattern",
}
"""Fields that do not describe the backbone of a language model, or that transformers writes itself."""
TOGETHER = {("qwen2", "sliding_window"), ("qwen2", "max_window_layers"), ("qwen3", "sliding_window")}
"""Family and field that have an effect only with ``use_sliding_window``."""


def cases(name: str, fields: set[str]) -> Iterator[tuple[str, Any, bool]]:
    """Yield a field, its value, and whether the value is supported, for all fields of a family."""
    unknown = fields - EQUAL.keys() - REFUSED.keys()
    assert not unknown, f"{name}: decide about {unknown}"
    for field in sorted(fields):
        if name == "gemma3" and field in GEMMA3:
            yield from ((field, value, True) for value in GEMMA3[field])
            continue
        yield from ((field, value, True) for value in EQUAL.get(field, ()))
        yield from ((field, value, False) for value in REFUSED.get(field, ()))


def write_reference(folder: Path, content: dict[str, Any]) -> Tensor | None:
    """Write a random model with the ``config.json`` ``content``, and return its logits; None if transformers fails."""
    try:
        config = transformers.AutoConfig.for_model(**copy.deepcopy(content))
        model = transformers.AutoModelForCausalLM.from_config(config)
        randomize(model)
        logits: Tensor = model.eval()(INPUT_IDS, use_cache=False).logits
    except Exception:  # transformers raises many kinds
        return None
    state = model.state_dict()
    names = {value.data_ptr(): key for key, value in reversed(state.items())}  # tied weights once
    save_file({key: state[key].contiguous() for key in names.values()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(content))
    return logits


@pytest.mark.parametrize("name", ["gpt2", "llama", "mistral", "qwen2", "qwen3", "smollm3", "phi3", "olmo2", "gemma3"])
@pytest.mark.filterwarnings("ignore")
@torch.no_grad()
def test_each_field_has_the_same_effect_or_is_refused(tmp_path: Path, name: str) -> None:
    usual = reference_model(name)
    architectures = [type(usual).__name__]
    base = {"model_type": usual.config.model_type, "architectures": architectures, "vocab_size": VOCAB_SIZE}
    base |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, **FAMILIES[name][1]}
    fields = set(usual.config.to_dict()) - WITHOUT_EFFECT
    wrong, num_tried = [], 0
    for field, value, is_supported in cases(name, fields if name == "gpt2" else fields | OLD_FIELDS):
        changed = base | {field: value} | ({"use_sliding_window": True} if (name, field) in TOGETHER else {})
        content = {key: each for key, each in changed.items() if each != ABSENT}
        if (logits := write_reference(tmp_path, content)) is None:
            continue
        num_tried += 1
        try:
            task = our_task(read_config(tmp_path))
        except InputError as error:
            wrong += [f"{field}={value} is refused: {error}"] if is_supported else []
            continue
        ours = task(INPUT_IDS[:, : task.backbone.config.block_size])
        is_equal = torch.allclose(ours, logits[:, : ours.size(1)], rtol=1e-4, atol=1e-4)
        if not (is_supported and is_equal):
            wrong.append(f"{field}={value} {'has another effect' if is_supported else 'is not refused'}")
    assert not wrong
    assert num_tried > 30
