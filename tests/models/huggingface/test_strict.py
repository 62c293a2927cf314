"""Damaged, hostile and unsupported model folders are refused before any weight is loaded."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gpt_lightning.atomic_files import json_sha256
from gpt_lightning.errors import InputError
from gpt_lightning.models import GPT, GPTConfig
from gpt_lightning.models.huggingface import load_weights, read_config
from gpt_lightning.tasks import CausalLM
from tests.models.huggingface.families import LLAMA3, PAD, our_task, random_task, save_reference, save_task

Q_PROJ = "model.layers.1.self_attn.q_proj.weight"


def change_json(path: Path, **values: Any) -> None:
    """Set keys of a JSON file; the value 'absent' removes a key."""
    content = json.loads(path.read_text()) | values
    if content.pop("sha256", None) is not None:  # an attacker can compute the checksum too
        content["sha256"] = json_sha256(content)
    path.write_text(json.dumps({key: value for key, value in content.items() if value != "absent"}))


def change_weights(folder: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")


# --- weights


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop(Q_PROJ), rf": the weights lack tensor {Q_PROJ} of LlamaForCausalLM"),
        (
            lambda w: [w.pop(name) for name in list(w)[:5]],
            r": the weights lack tensors model\.embed.*, .* and 2 more of Llama",
        ),
        (lambda w: w.pop("lm_head.weight"), r"lack tensor lm_head\.weight of LlamaForCausalLM"),
        (lambda w: w.pop("model.embed_tokens.weight"), r"lack tensor model\.embed_tokens\.weight of Llama"),
        (
            lambda w: w.update({"model.layers.2.mlp.up_proj.weight": torch.ones(1)}),
            r"model\.safetensors: unexpected tensor model\.layers\.2\.mlp\.up_proj\.weight: not part of Llama",
        ),
        (lambda w: w.update({"score.weight": torch.ones(1)}), r"unexpected tensor score\.weight: not part of Llama"),
        (
            lambda w: w.update({Q_PROJ: torch.ones(16, 32)}),
            rf"model\.safetensors: tensor {Q_PROJ} has shape \[16, 32\], but .* requires \[32, 32\]",
        ),
        (
            lambda w: w.update({Q_PROJ: torch.ones(32, 32, dtype=torch.int8)}),
            rf"tensor {Q_PROJ} has dtype I8, which is not supported. Convert it to F64",
        ),
        (
            lambda w: w.update({Q_PROJ: torch.ones(32, 32).to(torch.float8_e4m3fn)}),
            rf"tensor {Q_PROJ} has dtype F8_E4M3, which is not supported. Convert it to F64",
        ),
    ],
)
def test_missing_unexpected_and_invalid_tensors_are_refused(tmp_path: Path, change: Any, message: str) -> None:
    save_reference(tmp_path, "llama")
    change_weights(tmp_path, change)
    pretrained = read_config(tmp_path)
    task = CausalLM(backbone=pretrained.config)
    before = {name: value.clone() for name, value in task.state_dict().items()}
    with pytest.raises(InputError, match=message):
        load_weights(task, pretrained)
    assert all(torch.equal(value, before[name]) for name, value in task.state_dict().items())


@pytest.mark.parametrize("keep", [0, 7, 500, -1])
def test_truncated_file_is_refused(tmp_path: Path, keep: int) -> None:
    save_reference(tmp_path, "gpt2")
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"model\.safetensors: truncated, damaged or not a safetensors file"):
        our_task(read_config(tmp_path))


def save_shards(folder: Path) -> tuple[Path, dict[str, str]]:
    """Write a model in several files; return the path of its index and the map from tensors to files."""
    ours = random_task("CausalLM", {"n_head": 2, "n_embd": 16})
    save_task(folder, ours, max_shard_bytes=10_000)
    index = folder / "model.safetensors.index.json"
    return index, json.loads(index.read_text())["weight_map"]


@pytest.mark.parametrize(
    "file", ["../outside.safetensors", "/etc/passwd", "a/b.safetensors", "model.bin", "..", "", 3, None, ".safetensors"]
)
def test_index_that_points_outside_of_the_folder_is_refused(tmp_path: Path, file: Any) -> None:
    index, names = save_shards(tmp_path / "model")
    (tmp_path / "model/a").mkdir()
    for path in (tmp_path / "outside.safetensors", tmp_path / "model/a/b.safetensors", tmp_path / "model/model.bin"):
        save_file({"transformer.wpe.weight": torch.ones(16, 16)}, path)
    change_json(index, weight_map=names | {"transformer.wpe.weight": file})
    with pytest.raises(InputError, match=r"wpe\.weight is in .*, which is not the name of a safetensors file"):
        read_config(tmp_path / "model")


def test_index_that_does_not_match_the_files_is_refused(tmp_path: Path) -> None:
    index, names = save_shards(tmp_path)
    first, last = sorted(set(names.values()))[0], sorted(set(names.values()))[-1]
    for weight_map, message in [
        ({}, "'weight_map' must map"),
        ([], "'weight_map' must map"),
        (names | {"transformer.wpe.weight": "other.safetensors"}, r"is in other\.safetensors, which is missing"),
        (names | {"transformer.wte.weight": last}, rf"wte\.weight is in {first}, but the index says {last}"),
        (names | {"more": last}, rf"tensor more is in no file, but the index says {last}"),
        (
            {key: value for key, value in names.items() if "wte" not in key},
            r"wte\.weight is in .*, but the index says no file|lack",
        ),
    ]:
        change_json(index, weight_map=weight_map)
        with pytest.raises(InputError, match=message):
            our_task(read_config(tmp_path))
    change_json(index, weight_map=names)
    our_task(read_config(tmp_path))
    tensors = load_file(tmp_path / first) | load_file(tmp_path / last)
    save_file(tensors, tmp_path / last)
    with pytest.raises(InputError, match=rf"{last}: tensor .* is also in {first}"):
        our_task(read_config(tmp_path))
    path = tmp_path / last
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match=rf"{last}: truncated"):
        our_task(read_config(tmp_path))
    path.unlink()
    with pytest.raises(InputError, match=rf"{last}, which is missing\. Copy or download it again"):
        read_config(tmp_path)
    index.write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"index\.json: nested more than 100 levels"):
        read_config(tmp_path)
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(InputError, match=r"has both model\.safetensors and model\.safetensors\.index\.json"):
        read_config(tmp_path)


class Execute:
    def __reduce__(self) -> Any:
        return exec, ("import pathlib; pathlib.Path('ran').touch()",)


def test_pickles_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_reference(tmp_path, "llama")
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(Execute()))
    our_task(read_config(tmp_path))
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"pickles \(pytorch_model\.bin\).*from_pretrained.*save_pretrained") as error:
        read_config(tmp_path)
    assert "\n" not in str(error.value)
    (tmp_path / "pytorch_model.bin").rename(tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"model\.safetensors: truncated, damaged or not a safetensors"):
        our_task(read_config(tmp_path))
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"has neither model\.safetensors nor"):
        read_config(tmp_path)
    assert not (tmp_path / "ran").exists()


# --- configurations

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("llama", {"auto_map": {"AutoModel": "x.Y"}}, "auto_map is not supported"),
    ("llama", {"model_type": "gemma2"}, "model_type='gemma2' is not supported. Supported are gpt2, llama"),
    ("llama", {"model_type": ["llama"]}, "is not supported. Supported are gpt2, llama"),
    ("llama", {"architectures": ["LlamaForEverything"]}, r"Llama with architectures=.*supported are LlamaForCausalLM"),
    ("llama", {"architectures": ["LlamaModel", "LlamaForCausalLM"]}, "architectures="),
    ("llama", {"architectures": [{}]}, "architectures="),
    ("llama", {"layer_types": 3}, "layer_types=3: must be a list"),
    ("llama", {"rms_norm_eps": 10**400}, r"config.json: not valid JSON \(an integer with 401 digits\)"),
    ("llama", {"hidden_act": "gelu"}, "Llama with hidden_act='gelu': supported are silu, swish"),
    ("llama", {"mlp_bias": True}, "mlp_bias=True and attention_bias=False"),
    ("llama", {"quantization_config": {"bits": 4}}, "Llama with quantization_config="),
    ("llama", {"num_local_experts": 8}, "Llama with num_local_experts=8: this option is not supported"),
    ("llama", {"final_logit_softcapping": 30.0}, "final_logit_softcapping=30.0"),
    ("llama", {"partial_rotary_factor": 0.5}, "partial_rotary_factor=0.5"),
    ("llama", {"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor=0.5"),
    (
        "llama",
        {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}},
        "rope_type='dynamic': supported are default, llama3, linear, yarn",
    ),
    ("llama", {"rope_scaling": {"type": "longrope", "factor": 2.0}}, "Llama with rope_type='longrope'"),
    ("llama", {"rope_scaling": {"type": "linear"}}, "rope_type='linear' and no factor: this entry is required"),
    ("llama", {"rope_scaling": {"type": "linear", "factor": "2"}}, "factor='2': must be a number"),
    ("llama", {"rope_scaling": {"type": "linear", "factor": 0}}, r"backbone\.rope_factor=0\.0 must be positive"),
    ("llama", {"rope_scaling": {"type": "yarn", "factor": 2.0, "truncate": False}}, "truncate=false in its RoPE"),
    ("llama", {"rope_scaling": {"type": "yarn", "factor": 2.0, "beta_fast": -1}}, "beta_fast=-1: must be a number"),
    ("llama", {"rope_scaling": {"type": "yarn", "factor": 2.0, "beta_fast": 0.5}}, "rope_high_freq_factor=0.5 must be"),
    (
        "llama",
        {"rope_scaling": {"type": "yarn", "factor": 2.0, "attention_factor": 0}},
        "attention_factor=0.0 must",
    ),
    (
        "llama",
        {"rope_scaling": {"type": "yarn", "factor": 1.0, "attention_factor": 2}},
        "attention_factor=2.0 must",
    ),
    ("llama", {"rope_scaling": {"type": "llama3", "factor": 2.0}}, "rope_type='llama3' and no low_freq_factor"),
    ("llama", {"rope_scaling": [1]}, r"rope_scaling=\[1\]: must be an object"),
    ("llama", {"rope_parameters": {"full_attention": {}}}, "all layers must have the same rotary positions"),
    ("llama", {"rope_parameters": {"rope_theta": 0}}, "rope_theta=0: must be greater than 0"),
    ("llama", {"layer_types": ["chunked_attention"]}, "layer_types of chunked_attention"),
    ("llama", {"hidden_size": "absent"}, "Llama with no hidden_size"),
    ("llama", {"hidden_size": -4}, "hidden_size=-4: must be an integer"),
    ("llama", {"hidden_size": True}, "hidden_size=True: must be an integer"),
    ("llama", {"hidden_size": 2.5}, r"hidden_size=2\.5: must be an integer"),
    ("llama", {"rms_norm_eps": "1e-5"}, "rms_norm_eps='1e-5': must be a number"),
    ("llama", {"rms_norm_eps": float("nan")}, "rms_norm_eps=nan: must be a number"),
    ("llama", {"tie_word_embeddings": 1}, "tie_word_embeddings=1: must be true or false"),
    ("llama", {"num_attention_heads": 3, "head_dim": None}, r"config\.json: backbone\.n_embd=32 is not divisible"),
    ("mistral", {"sliding_window": 0}, "Mistral with sliding_window=0: must be an integer of at least 1"),
    ("smollm3", {"no_rope_layers": [1, 0, 0, 1, 1]}, r"SmolLM3 with no_rope_layers=.*must have equal intervals"),
    ("smollm3", {"no_rope_layers": [1]}, "must have a 0 or a 1 for each layer"),
    (
        "phi3",
        {"rope_scaling": {"type": "longrope", "short_factor": [1.0]}},
        "Phi3 with rope_type='longrope': supported",
    ),
    ("phi3", {"rope_scaling": LLAMA3}, "Phi3 with rope_type='llama3': supported are default"),
    ("phi3", {"partial_rotary_factor": 0.75}, "Phi3 with partial_rotary_factor=0.75"),
    ("phi3", {"architectures": ["Phi3ForQuestionAnswering"]}, "Phi3 with architectures="),
    ("phi3", {"model_type": "phi"}, "model_type='phi' is not supported"),
    ("olmo2", {"clip_qkv": 8.0}, "Olmo2 with clip_qkv=8.0"),
    ("olmo2", {"layer_types": ["chunked_attention"]}, "Olmo2 with layer_types of chunked_attention"),
    ("olmo2", {"architectures": ["Olmo2ForTokenClassification"]}, "Olmo2 with architectures="),
    ("gemma3", {"layer_types": ["full_attention"]}, "layer_types=.*: must have a type for each layer"),
    ("gemma3", {"layer_types": ["full_attention", "full_attention", "sliding_attention"]}, "must have equal intervals"),
    ("gemma3", {"attn_logit_softcapping": 50.0}, "Gemma3 with attn_logit_softcapping=50.0"),
    ("gemma3", {"use_bidirectional_attention": True}, "Gemma3 with use_bidirectional_attention=True"),
    ("gemma3", {"hidden_activation": "gelu"}, "Gemma3 with hidden_activation='gelu': supported are gelu_pytorch_tanh"),
    ("gemma3", {"rope_parameters": {"rope_theta": 3.0}}, "rope_parameters=.*: must have an object for each type"),
    (
        "gemma3",
        {"rope_parameters": {"sliding_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 3.0}}},
        "Gemma3 with RoPE scaling of sliding_attention: only layers with full attention may have it",
    ),
    ("gemma3", {"rope_local_base_freq": 0}, "rope_theta=0: must be greater than 0"),
    ("gemma3", {"query_pre_attn_scalar": 2.5}, "query_pre_attn_scalar=2.5: must be an integer"),
    ("gemma3", {"model_type": "gemma3"}, "model_type='gemma3' is not supported"),
    ("gpt2", {"activation_function": "relu"}, "activation_function='relu': supported are gelu_new, .*, gelu$"),
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "GPT2 with scale_attn_by_inverse_layer_idx=True"),
    ("gpt2", {"reorder_and_upcast_attn": True}, "reorder_and_upcast_attn=True"),
    ("gpt2", {"add_cross_attention": True}, "add_cross_attention=True"),
    ("gpt2", {"scale_attn_weights": False}, "scale_attn_weights=False"),
    ("gpt2", {"architectures": ["GPT2DoubleHeadsModel"]}, "GPT2 with architectures="),
]


@pytest.mark.parametrize(("name", "values", "message"), REFUSED)
def test_unsupported_options_are_refused_by_name(
    tmp_path: Path, name: str, values: dict[str, Any], message: str
) -> None:
    save_reference(tmp_path, name)
    if any(key.startswith("rope_") for key in values):
        values = {"rope_parameters": None} | values
    change_json(tmp_path / "config.json", **values)
    with pytest.raises(InputError, match=message) as error:
        read_config(tmp_path)
    assert "config.json: " in str(error.value)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("llama", {"rope_parameters": None, "rope_theta": 10_000.0, "rope_scaling": None}),
        ("llama", {"pretraining_tp": 2, "num_local_experts": None, "hidden_act": "swish"}),
        ("qwen2", {"use_sliding_window": False, "sliding_window": 8}),
        ("smollm3", {"no_rope_layers": [1, 0, 1, 0, 1]}),
        ("smollm3", {"no_rope_layers": None}),
        ("phi3", {"original_max_position_embeddings": 4096, "sliding_window": 16}),
        ("gemma3", {"rope_parameters": None, "rope_theta": 500.0, "rope_local_base_freq": 20.0, "rope_scaling": None}),
        ("gemma3", {"layer_types": None, "sliding_window_pattern": 2, "attn_logit_softcapping": None}),
        ("gemma3_global", {"sliding_window": 8}),
    ],
)
def test_options_without_effect_are_accepted(tmp_path: Path, name: str, values: dict[str, Any]) -> None:
    save_reference(tmp_path, name)
    expected = read_config(tmp_path).config
    change_json(tmp_path / "config.json", **values)
    assert read_config(tmp_path).config == expected


def test_rope_scaling_of_transformers_4_is_read(tmp_path: Path) -> None:
    save_reference(tmp_path, "llama3")
    expected = read_config(tmp_path).config
    assert (expected.rope_factor, expected.rope_theta, expected.rope_original_block_size) == (8.0, 500.0, 64)
    scaling = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 0.9,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    change_json(tmp_path / "config.json", rope_parameters=None, rope_scaling=scaling, rope_theta=500.0)
    assert read_config(tmp_path).config == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"id2label": {"0": "a", "2": "b"}}, "keys must be 0, 1, 2 and so on"),
        ({"id2label": {"0": "a", "1": "a"}}, "must be different strings"),
        ({"id2label": {"0": "a", "1": 3}}, "must be different strings"),
        ({"id2label": ["a", "b"]}, "keys must be 0, 1, 2"),
        ({"problem_type": "ranking"}, "Llama with problem_type='ranking': supported are single-label"),
        ({"problem_type": "regression"}, "problem_type='regression' and 3 labels: only one number is supported"),
        ({"id2label": {"0": "a"}, "target_mean": "high"}, "target_mean='high': must be a finite number"),
        ({"id2label": {"0": "a"}, "target_std": 0.0}, "target_std=0: must be greater than 0"),
    ],
)
def test_invalid_labels_are_refused(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    save_reference(tmp_path, "llama", "SequenceClassification")
    change_json(tmp_path / "config.json", **values)
    with pytest.raises(InputError, match=message):
        read_config(tmp_path)
    change_json(tmp_path / "config.json", id2label="absent", problem_type=None)
    assert read_config(tmp_path).labels == ["LABEL_0", "LABEL_1"]


@pytest.mark.parametrize("task", ["SequenceClassification", "TokenClassification"])
def test_labels_that_do_not_fit_the_head_are_refused(tmp_path: Path, task: str) -> None:
    save_reference(tmp_path, "llama", task)
    change_json(tmp_path / "config.json", id2label={str(number): f"label {number}" for number in range(7)})
    with pytest.raises(InputError, match=r"weight has shape \[3, 32\], but .* requires \[7, 32\] for its 7 labels"):
        our_task(read_config(tmp_path))


# --- folders in our format


def test_two_configurations_must_agree(tmp_path: Path) -> None:
    ours = random_task("TokenClassification", {"n_head": 2, "n_embd": 16})
    save_task(tmp_path, ours, pad_token_id=PAD)
    config = json.loads((tmp_path / "config.json").read_text())
    for values, message in [
        ({"layer_norm_epsilon": 0.5}, r"disagree about norm_eps: 0\.5 and 1e-05\. Delete gpt_lightning\.json"),
        ({"id2label": {"0": "x", "1": "y", "2": "z"}}, "disagree about labels"),
    ]:
        change_json(tmp_path / "config.json", **(config | values))
        with pytest.raises(InputError, match=message):
            read_config(tmp_path)
    change_json(tmp_path / "config.json", **(config | {"resid_pdrop": 0.3}))
    assert read_config(tmp_path).config == ours.backbone.config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "not written by this version"),
        ({"hparams": {"task": ["CausalLM"]}}, "not written by this version"),
        ({"hparams": {"task": "CausalLM"}}, r"hparams\.backbone\.vocab_size is missing"),
        (
            {"hparams": {"task": "CausalLM", "backbone": {"vocab_size": 9, "norm": "x"}}},
            r"backbone\.norm='x' is invalid",
        ),
        (
            {"hparams": {"task": "CausalLM", "backbone": {"vocab_size": 9, "bias": "x"}}},
            r"backbone\.bias='x' is invalid",
        ),
        (
            {"hparams": {"task": "CausalLM", "backbone": {"vocab_size": True}}},
            r"backbone\.vocab_size=True is invalid",
        ),
        (
            {"hparams": {"task": "CausalLM", "backbone": {"vocab_size": 9, "x": 1}}},
            r"backbone\.x=1 is invalid",
        ),
        (
            {"hparams": {"task": "CausalLM", "backbone": {"vocab_size": 9, "n_head": 5}}},
            r"json: .*n_embd=768 is not div",
        ),
        ({"hparams": {"task": "CausalLM", "labels": [{"class_path": "x"}]}}, "'labels' must be a string, number"),
        (
            {"hparams": {"task": "CausalLM", "optimizer": {"lr": {"class_path": "x"}}}},
            "'optimizer' must be a string, number",
        ),
        ({"extra_state": "x"}, "extra_state='x' must be a number"),
    ],
)
def test_invalid_content_of_our_configuration_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    ours = random_task("CausalLM", {"n_head": 2, "n_embd": 16, "mlp": "relu2"})
    save_task(tmp_path, ours)
    change_json(tmp_path / "gpt_lightning.json", **change)
    with pytest.raises(InputError, match=message) as error:
        read_config(tmp_path)
    assert "gpt_lightning.json: " in str(error.value)


def test_existing_model_is_not_overwritten(tmp_path: Path) -> None:
    ours = random_task("CausalLM", {"n_head": 2, "n_embd": 16})
    (tmp_path / "tokenizer.json").touch()  # not part of a model
    save_task(tmp_path, ours, max_shard_bytes=10_000)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(InputError, match=r"already exists\. Choose a new folder"):
        save_task(tmp_path, ours)
    for path in [*tmp_path.glob("*.json"), *list(tmp_path.glob("*.safetensors"))[1:]]:
        path.unlink()
    with pytest.raises(InputError, match=r"model-0.*safetensors already exists"):
        save_task(tmp_path, ours)
    assert len(before) > 5


def test_failed_write_leaves_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = random_task("CausalLM", {"n_head": 2, "n_embd": 16})

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gpt_lightning.models.huggingface.write.write_own_config", fail)
    with pytest.raises(OSError, match="No space left"):
        save_task(tmp_path, ours)
    with pytest.raises(InputError, match=r"not a model folder: it has neither config\.json nor gpt_lightning\.json"):
        read_config(tmp_path)


def test_invalid_special_tokens_are_refused(tmp_path: Path) -> None:
    classifier = random_task("SequenceClassification", {"n_head": 2, "n_embd": 16})
    with pytest.raises(InputError, match="AutoModelForSequenceClassification needs a pad_token_id"):
        save_task(tmp_path, classifier)
    with pytest.raises(InputError, match=r"eos_token_id=61 is not a token id\. Set it to an id from 0 to 60"):
        save_task(tmp_path, classifier, pad_token_id=0, eos_token_id=61)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("key", ["num_hidden_layers", "vocab_size", "intermediate_size", "hidden_size", "head_dim"])
def test_configuration_far_larger_than_the_weights_is_refused(tmp_path: Path, key: str) -> None:
    save_reference(tmp_path, "llama")
    change_json(tmp_path / "config.json", **{key: 10_000 if key == "num_hidden_layers" else 2**30})
    with pytest.raises(InputError, match=r"describes more than [0-9,]+ weights, but its files have [0-9,]+\. Copy"):
        read_config(tmp_path)


@pytest.mark.parametrize("key", ["num_hidden_layers", "vocab_size", "intermediate_size", "hidden_size", "head_dim"])
def test_number_beyond_all_limits_is_refused(tmp_path: Path, key: str) -> None:
    save_reference(tmp_path, "llama")
    change_json(tmp_path / "config.json", **{key: 2**40})
    with pytest.raises(InputError, match=r"config\.json: backbone\.\w+=1099511627776 must be at most"):
        read_config(tmp_path)


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="absent: folder not found"):
        read_config(tmp_path / "absent")


def test_transformers_is_not_imported() -> None:
    import subprocess
    import sys

    script = "import sys; import gpt_lightning.models.huggingface; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert "gpt_lightning.models.huggingface" in loaded
    assert not [name for name in loaded if name.split(".")[0] in ("transformers", "lightning", "huggingface_hub")]


def test_checkpoint_without_newer_fields_still_loads(tmp_path: Path) -> None:
    from tests.runs import trainer

    shape = GPTConfig(vocab_size=40, block_size=16, n_layer=1, n_head=2, n_embd=16)
    old = CausalLM(backbone=shape)
    for name in ("head_dim", "rope_factor", "rope_high_freq_factor", "nope_interval"):
        del old.hparams["backbone"][name]
    fit = trainer(tmp_path)
    fit.strategy.connect(old)
    fit.save_checkpoint(tmp_path / "old.ckpt", weights_only=True)
    again = CausalLM(backbone=shape, init_from=str(tmp_path / "old.ckpt"))
    assert torch.equal(again.backbone.token_embedding.weight, old.backbone.token_embedding.weight)
    assert isinstance(again.backbone, GPT)
