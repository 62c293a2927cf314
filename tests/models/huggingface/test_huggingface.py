"""Model folders, read and written by Hugging Face's classes and by ours: the same logits and the same bytes."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor, nn

from gpt_lightning.errors import InputError
from gpt_lightning.models import GPT, GPTConfig
from gpt_lightning.models.huggingface import closest_family, load_weights, read_config, why_not_huggingface
from gpt_lightning.models.huggingface.families import FAMILIES
from gpt_lightning.tasks import CausalLM, QuestionAnswering, SequenceClassification, TokenClassification
from tests.models.huggingface.families import (
    BLOCK_SIZE,
    LABELS,
    PAD,
    PAIRS,
    TASKS,
    VOCAB_SIZE,
    our_logits,
    our_task,
    random_task,
    reference_logits,
    save_reference,
    save_task,
)

LLAMA: dict[str, Any] = {
    "n_head": 4,
    "n_embd": 32,
    "position": "rotary",
    "norm": "rmsnorm",
    "mlp": "swiglu",
    "bias": False,
}
ROPE_SCALING: dict[str, Any] = {"rope_factor": 8.0, "rope_original_block_size": 64, "rope_theta": 500.0}
GEMMA: dict[str, Any] = {
    "norm": "rmsnorm_zero_centered",
    "norm_placement": "both",
    "mlp": "geglu",
    "qk_norm": True,
    "scale_embeddings": True,
}
SHAPES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_head": 3, "n_embd": 24, "dropout": 0.1, "zero_init_proj": True},
    "gpt2_untied": {"n_head": 2, "n_embd": 16, "n_inner": 20, "tie_embeddings": False},
    "llama": LLAMA,
    "llama_bias": LLAMA | {"bias": True, "n_kv_head": 2},
    "llama3": LLAMA | {"bias": "attention", **ROPE_SCALING, "tie_embeddings": False},
    "mistral": LLAMA | {"n_embd": 30, "head_dim": 6},
    "qwen2": LLAMA | {"bias": "qkv", "n_kv_head": 1},
    "qwen3": LLAMA | {"qk_norm": True, "n_embd": 30, "head_dim": 12},
    "qwen3_bias": LLAMA | {"qk_norm": True, "bias": "attention"},
    "olmo2": LLAMA | {"qk_norm": "projection", "norm_placement": "after", "n_kv_head": 2},
    "olmo2_bias": LLAMA | {"qk_norm": "projection", "norm_placement": "after", "bias": "attention", **ROPE_SCALING},
    "gemma3": LLAMA | GEMMA,
    "gemma3_local": LLAMA
    | GEMMA
    | {
        "bias": "attention",
        "n_layer": 5,
        "rope_global_interval": 2,
        "rope_local_theta": 20.0,
        "query_pre_attn_scalar": 7,
        "logit_softcap": 3.0,
        "tie_embeddings": False,
    },
    "smollm3": LLAMA | {"n_layer": 5, "nope_interval": 2, **ROPE_SCALING},
    "smollm3_bias": LLAMA | {"n_layer": 3, "nope_interval": 3, "bias": True, "n_embd": 30, "head_dim": 6},
}
"""Family for export -> our configuration."""
MODEL_TYPES = {"llama3": "llama", "gemma3": "gemma3_text"}
"""Families whose ``model_type`` is not the first part of the key."""

ALL_TASKS = pytest.mark.parametrize("task", TASKS)


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Return all tensors of a folder."""
    return {name: value for file in sorted(folder.glob("*.safetensors")) for name, value in load_file(file).items()}


def assert_same_bytes(one: Path, other: Path) -> None:
    first, second = read_tensors(one), read_tensors(other)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert tensor.dtype == second[name].dtype, name
        assert tensor.view(torch.uint8).equal(second[name].view(torch.uint8)), name


def assert_same_logits(actual: Tensor, expected: Tensor) -> None:
    """Compare logits relative to the largest; they must be large enough for a comparison."""
    assert expected.std() > 0.5
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


def load_reference(folder: Path, task: str) -> Any:
    """Return the Hugging Face model in a folder, which must have exactly the right tensors."""
    reference, report = getattr(transformers, f"AutoModelFor{task}").from_pretrained(folder, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
    return reference.eval()


# --- folders written by Hugging Face


@pytest.mark.parametrize(("name", "task"), PAIRS)
def test_hugging_face_folder_round_trips_byte_by_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, task: str
) -> None:
    reference = save_reference(tmp_path / "reference", name, task)
    pretrained = read_config(tmp_path / "reference")
    assert pretrained.task is None
    assert pretrained.head is TASKS[task].huggingface_head
    assert pretrained.labels == (LABELS if "Classification" in task else None)
    ours = our_task(pretrained)
    expected = reference_logits(reference)
    assert_same_logits(our_logits(ours), expected)

    # Export would choose the family Llama for some Mistral and all Phi-3 models.
    monkeypatch.setattr(closest_family, "FAMILIES", (pretrained.family,))
    assert save_task(tmp_path / "back", ours, pad_token_id=PAD) is None
    assert_same_bytes(tmp_path / "reference", tmp_path / "back")
    assert_same_logits(reference_logits(load_reference(tmp_path / "back", task)), expected)


@pytest.mark.parametrize("name", ["gpt2", "llama", "qwen3"])
def test_bfloat16_weights_keep_their_bytes_through_a_float32_model(tmp_path: Path, name: str) -> None:
    reference = save_reference(tmp_path / "reference", name)
    reference.bfloat16().save_pretrained(tmp_path / "narrow")
    ours = our_task(read_config(tmp_path / "narrow"))
    assert ours.backbone.token_embedding.weight.dtype == torch.float32
    save_task(tmp_path / "back", ours, dtype=torch.bfloat16)
    assert_same_bytes(tmp_path / "narrow", tmp_path / "back")
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "back")
    assert again.dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["gpt2", "llama", "qwen2"])
def test_backbone_loads_from_any_folder(tmp_path: Path, name: str) -> None:
    for task in TASKS:
        reference = save_reference(tmp_path / task, name, task)
        pretrained = read_config(tmp_path / task)
        gpt = GPT(replace(pretrained.config, attention="bidirectional", dropout=0.2))
        load_weights(gpt, pretrained)
        assert torch.equal(gpt.token_embedding.weight, reference.get_input_embeddings().weight)
    # A backbone without a head has tensor names without a prefix.
    reference.base_model.save_pretrained(tmp_path / "bare")
    pretrained = read_config(tmp_path / "bare")
    assert (pretrained.task, pretrained.head) == (None, None)
    assert set(pretrained.hparams) == {"backbone"}
    gpt = GPT(pretrained.config)
    load_weights(gpt, pretrained)
    assert torch.equal(gpt.token_embedding.weight, reference.get_input_embeddings().weight)
    with pytest.raises(InputError, match="bare: this is a backbone without a head, not a CausalLM"):
        load_weights(CausalLM(backbone=pretrained.config), pretrained)
    with pytest.raises(InputError, match=r"this is a \w+ForQuestionAnswering, not a CausalLM"):
        load_weights(CausalLM(backbone=pretrained.config), read_config(tmp_path / "QuestionAnswering"))


def test_gpt2_in_the_format_of_the_hub(tmp_path: Path) -> None:
    """GPT-2 on the hub has no prefix, masks as buffers, and few keys in its configuration."""
    from safetensors.torch import save_file

    reference = save_reference(tmp_path, "gpt2")
    weights = {name.removeprefix("transformer."): value for name, value in read_tensors(tmp_path).items()}
    for layer in range(2):
        weights[f"h.{layer}.attn.bias"] = torch.ones(1, 1, BLOCK_SIZE, BLOCK_SIZE, dtype=torch.uint8)
        weights[f"h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    save_file(weights, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(
        json.dumps(
            {
                "model_type": "gpt2",
                "architectures": ["GPT2LMHeadModel"],
                "n_ctx": BLOCK_SIZE,
                "n_positions": BLOCK_SIZE,
                "n_embd": 24,
                "n_head": 3,
                "n_layer": 2,
                "vocab_size": VOCAB_SIZE,
                "resid_pdrop": 0.2,
            }
        )
    )
    pretrained = read_config(tmp_path)
    assert (pretrained.config.dropout, pretrained.config.attention_dropout) == (0.2, 0.1)
    assert_same_logits(our_logits(our_task(pretrained)), reference_logits(reference))


def test_tied_output_layer_may_be_stored_if_it_equals_the_embedding(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    reference = save_reference(tmp_path, "llama3")
    weights = read_tensors(tmp_path)
    save_file(
        weights | {"lm_head.weight": weights["model.embed_tokens.weight"].clone()}, tmp_path / "model.safetensors"
    )
    assert_same_logits(our_logits(our_task(read_config(tmp_path))), reference_logits(reference))
    save_file(weights | {"lm_head.weight": weights["model.embed_tokens.weight"] + 1}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"lm_head\.weight differs from model\.embed_tokens\.weight.*tie_word_emb"):
        our_task(read_config(tmp_path))


def test_block_size_may_be_smaller_with_rotary_positions(tmp_path: Path) -> None:
    save_reference(tmp_path / "llama", "llama")
    pretrained = read_config(tmp_path / "llama")
    load_weights(GPT(replace(pretrained.config, block_size=4)), pretrained)
    with pytest.raises(InputError, match=r"backbone\.block_size is 16 in the folder, but 17 in the configuration"):
        load_weights(GPT(replace(pretrained.config, block_size=17)), pretrained)
    with pytest.raises(
        InputError, match=r"backbone\.rope_theta is 10000\.0 in the folder, but 5\.0 in the configuration"
    ):
        load_weights(GPT(replace(pretrained.config, rope_theta=5.0)), pretrained)
    save_reference(tmp_path / "gpt2", "gpt2")
    pretrained = read_config(tmp_path / "gpt2")
    with pytest.raises(InputError, match=r"backbone\.block_size is 16 in the folder, but 4 in the configuration"):
        load_weights(GPT(replace(pretrained.config, block_size=4)), pretrained)


# --- folders for Hugging Face and for us


@ALL_TASKS
@pytest.mark.parametrize("name", SHAPES)
def test_our_folder_gives_the_same_logits_in_both(tmp_path: Path, name: str, task: str) -> None:
    ours = random_task(task, SHAPES[name])
    beginning = name.split("_")[0]
    model_type = MODEL_TYPES.get(beginning, beginning)
    if ours.huggingface_head not in next(each for each in FAMILIES if each.model_type == model_type).heads:
        assert re.fullmatch(rf"\w+, the closest model family, has no \w+For{task}", str(save_task(tmp_path, ours)))
        return
    if isinstance(ours, QuestionAnswering):
        ours.no_answer_threshold = 1.25
    assert save_task(tmp_path / "ours", ours, pad_token_id=PAD, eos_token_id=3) is None
    reference = load_reference(tmp_path / "ours", task)
    assert reference.config.model_type == model_type
    assert reference.config.eos_token_id == 3
    assert getattr(reference.config, "sliding_window", None) in (None, BLOCK_SIZE)
    if "Classification" in task:
        assert reference.config.id2label == dict(enumerate(LABELS))
    expected = our_logits(ours)
    assert_same_logits(reference_logits(reference), expected)

    pretrained = read_config(tmp_path / "ours")
    assert pretrained.config == ours.backbone.config
    assert pretrained.hparams == ours.hparams
    again = our_task(pretrained)
    assert torch.equal(our_logits(again), expected)
    assert getattr(again, "no_answer_threshold", 1.25) == 1.25

    # Hugging Face's copy of the folder must be the same, also without our configuration.
    reference.save_pretrained(tmp_path / "back")
    assert_same_bytes(tmp_path / "ours", tmp_path / "back")
    assert torch.equal(our_logits(our_task(read_config(tmp_path / "back"))), expected)


def test_multi_label_classification_is_kept(tmp_path: Path) -> None:
    ours = random_task("SequenceClassification", SHAPES["llama"], multi_label=True)
    save_task(tmp_path, ours, pad_token_id=PAD)
    reference = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert reference.config.problem_type == "multi_label_classification"
    (tmp_path / "gpt_lightning.json").unlink()
    assert read_config(tmp_path).hparams["multi_label"] is True


def test_shards_hold_the_same_bytes(tmp_path: Path) -> None:
    ours = random_task("CausalLM", SHAPES["llama"])
    save_task(tmp_path / "whole", ours)
    save_task(tmp_path / "shards", ours, max_shard_bytes=10_000)
    names = sorted(path.name for path in (tmp_path / "shards").glob("*.safetensors"))
    assert len(names) > 3
    assert names[0] == f"model-00001-of-{len(names):05d}.safetensors"
    index = json.loads((tmp_path / "shards/model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in read_tensors(tmp_path / "whole").values())
    for path in (tmp_path / "shards").glob("*.safetensors"):
        assert sum(tensor.nbytes for tensor in load_file(path).values()) <= 10_000 or len(load_file(path)) == 1
    assert_same_bytes(tmp_path / "whole", tmp_path / "shards")
    reference = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "shards")
    assert_same_logits(reference_logits(reference), our_logits(ours))
    assert torch.equal(our_logits(our_task(read_config(tmp_path / "shards"))), our_logits(ours))


# --- folders for us only


WHY_NOT: list[tuple[dict[str, Any], str, str]] = [
    ({"mlp": "relu2"}, "CausalLM", "GPT2, the closest model family, has no mlp=relu2"),
    ({"norm": "rmsnorm"}, "CausalLM", "GPT2, .* has no norm=rmsnorm"),
    ({"bias": False}, "CausalLM", "GPT2, .* has no bias=false"),
    ({"n_kv_head": 2}, "CausalLM", "GPT2, .* has no n_kv_head=2"),
    ({"qk_norm": True}, "CausalLM", "GPT2, .* has no qk_norm=true"),
    ({"head_dim": 10}, "CausalLM", "GPT2, .* has no head_dim=10"),
    (LLAMA | {"norm": "layernorm"}, "CausalLM", "Llama, .* has no norm=layernorm"),
    (LLAMA | {"mlp": "gelu"}, "CausalLM", "Llama, .* has no mlp=gelu"),
    (LLAMA | {"qk_norm": True, "bias": True}, "CausalLM", "Llama, .* has no qk_norm=true"),
    (LLAMA | {"qk_norm": True, "nope_interval": 2}, "CausalLM", "Qwen3, .* has no nope_interval=2"),
    (LLAMA | {"bias": "qkv", "nope_interval": 2}, "CausalLM", "Qwen2, .* has no nope_interval=2"),
    (
        LLAMA | {"bias": True, "n_embd": 30, "head_dim": 8},
        "CausalLM",
        "Llama, .* needs n_embd to be a multiple",
    ),
    (LLAMA | {"attention": "bidirectional"}, "TokenClassification", "Llama, .* has no attention=bidirectional"),
    (LLAMA | {"logit_softcap": 0.5}, "CausalLM", r"Llama, .* has no logit_softcap=0\.5"),
    (LLAMA, "SequenceClassification", r"look at the last token, but this one has pooling=mean"),
]


@pytest.mark.parametrize(("shape", "task", "reason"), WHY_NOT)
def test_models_without_an_equivalent_are_written_in_our_format(
    tmp_path: Path, shape: dict[str, Any], task: str, reason: str
) -> None:
    arguments = {"pooling": "mean"} if task == "SequenceClassification" else {}
    ours = random_task(task, {"n_head": 4, "n_embd": 32} | shape, **arguments)
    actual = save_task(tmp_path, ours, max_shard_bytes=20_000)
    assert actual is not None
    with pytest.raises(ValueError, match=reason):
        raise ValueError(actual)
    assert actual == why_not_huggingface(ours.backbone.config, ours.huggingface_head, dict(ours.hparams))
    assert not (tmp_path / "config.json").exists()
    pretrained = read_config(tmp_path)
    assert (pretrained.family, pretrained.head, pretrained.task) == (None, None, f"gpt_lightning.{task}")
    assert pretrained.config == ours.backbone.config
    assert pretrained.hparams == ours.hparams
    again = our_task(pretrained)
    assert torch.equal(our_logits(again), our_logits(ours))
    gpt = GPT(pretrained.config)
    load_weights(gpt, pretrained)
    assert torch.equal(gpt.token_embedding.weight, ours.backbone.token_embedding.weight)


class Regression(SequenceClassification):
    """Task whose head has several layers and no equivalent in Hugging Face."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.head = nn.Sequential(nn.Linear(self.backbone.config.n_embd, 3), nn.Tanh(), nn.Linear(3, 1))


def test_task_without_a_hugging_face_head_is_written_in_our_format(tmp_path: Path) -> None:
    ours = Regression(backbone=GPTConfig(vocab_size=9, block_size=4, n_layer=1, **LLAMA), labels=LABELS)
    assert save_task(tmp_path, ours) == "Hugging Face has no head for this task"
    assert not (tmp_path / "config.json").exists()
    pretrained = read_config(tmp_path)
    assert (pretrained.task, pretrained.family, pretrained.head) == (f"{__name__}.Regression", None, None)
    again, gpt = Regression(backbone=pretrained.config, labels=LABELS), GPT(pretrained.config)
    load_weights(again, pretrained)
    load_weights(gpt, pretrained)
    for name, value in ours.state_dict().items():
        assert again.state_dict()[name].equal(value), name
    assert gpt.token_embedding.weight.equal(ours.backbone.token_embedding.weight)
    reference = save_reference(tmp_path / "llama", "llama", "SequenceClassification")
    reference.base_model.save_pretrained(tmp_path / "bare")
    for folder, reason in [
        ("llama", r"lack tensors score\.0\.weight, "),
        ("bare", "this is a backbone without a head, not a Regression"),
    ]:
        pretrained = read_config(tmp_path / folder)
        with pytest.raises(InputError, match=reason):
            load_weights(Regression(backbone=pretrained.config, labels=LABELS), pretrained)


def test_last_token_classifier_has_no_bias() -> None:
    config = GPTConfig(vocab_size=9, block_size=4, n_layer=1, n_head=1, n_embd=4)
    heads = [
        SequenceClassification(backbone=config, labels=LABELS, pooling=pooling).head for pooling in ("last", "mean")
    ]
    assert [head.bias is None for head in heads] == [True, False]
    assert TokenClassification(backbone=config, labels=LABELS).head.bias is not None


# --- memory


MEASURE = """
import sys
from pathlib import Path
import torch
from gpt_lightning.models.huggingface import closest_family, load_weights, read_config
from gpt_lightning.models.huggingface.families import FAMILIES
from gpt_lightning.tasks import CausalLM

def megabytes(key):
    status = Path("/proc/self/status").read_text()
    return int(status.split(key + ":")[1].split()[0]) / 1024

pretrained = read_config(Path(sys.argv[1]))
before = megabytes("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # resets the peak
task = CausalLM(backbone=pretrained.config)
load_weights(task, pretrained)
size = sum(p.nbytes for p in task.parameters()) / 2**20
print(size, megabytes("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_loading_needs_the_memory_of_one_model(tmp_path: Path, family: str) -> None:
    shape = SHAPES[family] | {"n_embd": 512, "n_head": 8, "n_layer": 6, "vocab_size": 8192, "block_size": 64}
    ours = CausalLM(backbone=GPTConfig(**shape))
    save_task(tmp_path, ours, max_shard_bytes=40_000_000)
    result = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path)], capture_output=True, text=True, check=True, timeout=120
    )
    size, peak = map(float, result.stdout.split())
    assert 80 < size < 130
    assert peak < 1.3 * size, f"{peak:.0f} MB for a model of {size:.0f} MB"
