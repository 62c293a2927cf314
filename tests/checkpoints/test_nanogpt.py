"""nanoGPT's checkpoints: logits of its model, commands that load them, and files that are refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers import decoders, models
from torch import Tensor

from gpt_lightning import api
from gpt_lightning.checkpoints.read import read_checkpoint
from gpt_lightning.cli import main
from gpt_lightning.errors import InputError
from gpt_lightning.models import GPTConfig
from gpt_lightning.models.huggingface import read_config
from gpt_lightning.tasks import CausalLM, SequenceClassification
from gpt_lightning.tasks.load import task_from_checkpoint

CHARACTERS = "\n !abcdefghijklmnopqrstuvwxyz"
ARGUMENTS: dict[str, Any] = {
    "n_layer": 2,
    "n_head": 2,
    "n_embd": 12,
    "block_size": 9,
    "bias": False,
    "vocab_size": len(CHARACTERS),
    "dropout": 0.2,
}


def weights_of(arguments: dict[str, Any]) -> dict[str, Tensor]:
    """Return random weights with nanoGPT's names; the output layer is the token embedding."""
    width, generator = arguments["n_embd"], torch.Generator().manual_seed(1)
    shapes = {
        "wte": (arguments["vocab_size"], width),
        "wpe": (arguments["block_size"], width),
        **{
            f"h.{layer}.{name}": shape
            for layer in range(arguments["n_layer"])
            for name, shape in {
                "ln_1": (width,),
                "attn.c_attn": (3 * width, width),
                "attn.c_proj": (width, width),
                "ln_2": (width,),
                "mlp.c_fc": (4 * width, width),
                "mlp.c_proj": (width, 4 * width),
            }.items()
        },
        "ln_f": (width,),
    }
    weights = {}
    for name, shape in shapes.items():
        weights[f"transformer.{name}.weight"] = torch.randn(shape, generator=generator)
        if arguments.get("bias", True) and not name.startswith("w"):
            weights[f"transformer.{name}.bias"] = torch.randn(shape[0], generator=generator)
    return weights | {"lm_head.weight": weights["transformer.wte.weight"]}


def nanogpt_logits(weights: dict[str, Tensor], arguments: dict[str, Any], ids: Tensor, approximate: str) -> Tensor:
    """Compute the logits of nanoGPT's model with functions of torch."""

    def parameters(name: str) -> tuple[Tensor, Tensor | None]:
        return weights[f"transformer.{name}.weight"], weights.get(f"transformer.{name}.bias")

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], *parameters(name), 1e-5)

    def attend(x: Tensor, name: str) -> Tensor:
        q, k, v = (
            each.view(*each.shape[:2], arguments["n_head"], -1).transpose(1, 2)
            for each in F.linear(x, *parameters(f"{name}.c_attn")).chunk(3, -1)
        )
        scores = q @ k.mT / q.size(-1) ** 0.5
        future = torch.ones(x.size(1), x.size(1), dtype=torch.bool).triu(1)
        y = scores.masked_fill(future, -torch.inf).softmax(-1) @ v
        return F.linear(y.transpose(1, 2).flatten(2), *parameters(f"{name}.c_proj"))

    x = weights["transformer.wte.weight"][ids] + weights["transformer.wpe.weight"][: ids.size(1)]
    for layer in range(arguments["n_layer"]):
        x = x + attend(norm(x, f"h.{layer}.ln_1"), f"h.{layer}.attn")
        h = F.linear(norm(x, f"h.{layer}.ln_2"), *parameters(f"h.{layer}.mlp.c_fc"))
        x = x + F.linear(F.gelu(h, approximate=approximate), *parameters(f"h.{layer}.mlp.c_proj"))
    return norm(x, "ln_f") @ weights["lm_head.weight"].mT


def save(path: Path, arguments: dict[str, Any] = ARGUMENTS, prefix: str = "", **changes: Any) -> dict[str, Tensor]:
    """Write a checkpoint as nanoGPT's ``train.py`` does, and return its weights."""
    weights = weights_of(arguments)
    parameters = [torch.nn.Parameter(value) for name, value in weights.items() if name != "lm_head.weight"]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    content = {
        "model": {f"{prefix}{name}": value for name, value in weights.items()},
        "optimizer": optimizer.state_dict(),
        "model_args": arguments,
        "iter_num": 2000,
        "best_val_loss": torch.tensor(1.47),
        "config": {"dataset": "shakespeare_char", "learning_rate": 1e-3, "compile": True},
    }
    torch.save(content | changes, path)
    return weights


def save_characters(folder: Path) -> None:
    """Write the tokenizer with one id per character that docs/pretrained_models.md describes."""
    tokenizer = HuggingFaceTokenizer(models.BPE({each: number for number, each in enumerate(CHARACTERS)}, []))
    tokenizer.decoder = decoders.Fuse()
    tokenizer.save(str(folder / "tokenizer.json"))


def random_ids(rows: int = 3) -> Tensor:
    return torch.randint(len(CHARACTERS), (rows, 9), generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("prefix", ["", "_orig_mod."])
@pytest.mark.parametrize("bias", [True, False, None], ids=["bias", "no_bias", "old"])
@torch.no_grad()
def test_logits_equal_nanogpts(tmp_path: Path, bias: bool | None, prefix: str) -> None:
    arguments = {key: value for key, value in (ARGUMENTS | {"bias": bias}).items() if value is not None}
    weights = save(tmp_path / "ckpt.pt", arguments, prefix)
    save_characters(tmp_path)
    checkpoint = read_checkpoint(tmp_path / "ckpt.pt")
    task, tokenizer = task_from_checkpoint(tmp_path / "ckpt.pt", checkpoint)
    assert isinstance(task, CausalLM)
    ids = random_ids()
    expected = nanogpt_logits(weights, arguments, ids, "tanh" if bias is None else "none")
    logits = task(ids)
    torch.testing.assert_close(logits[..., : len(CHARACTERS)], expected, rtol=1e-5, atol=1e-5)
    # The end-of-text token has the mean of all logits, so it is never the most likely one.
    torch.testing.assert_close(logits[..., -1], expected.mean(-1), rtol=1e-4, atol=1e-5)
    assert tokenizer.encode("hi!") == [CHARACTERS.index(each) for each in "hi!"]
    assert (tokenizer.end_of_text_id, task.backbone.config.vocab_size) == (len(CHARACTERS), len(CHARACTERS) + 1)
    assert task.backbone.config.dropout == task.backbone.config.attention_dropout == 0.2
    assert task.head.weight is task.backbone.token_embedding.weight


@torch.no_grad()
def test_gpt2_vocabulary_keeps_its_padding(tmp_path: Path) -> None:
    arguments = ARGUMENTS | {"vocab_size": 50_304, "n_embd": 2, "n_head": 1, "n_layer": 1}
    weights = save(tmp_path / "ckpt.pt", arguments)
    backbone = CausalLM(
        backbone=GPTConfig(
            vocab_size=50_304, block_size=9, n_layer=1, n_head=1, n_embd=2, bias=False, mlp="gelu_exact"
        ),
        init_from=str(tmp_path / "ckpt.pt"),
    ).eval()
    expected = nanogpt_logits(weights, arguments, random_ids(), "none")
    torch.testing.assert_close(backbone(random_ids()), expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_untied_output_layer_and_masks_of_old_files(tmp_path: Path) -> None:
    weights = weights_of(ARGUMENTS)
    weights["lm_head.weight"] = weights["lm_head.weight"] + 1.0
    masks = {f"transformer.h.{layer}.attn.bias": torch.ones(1, 1, 9, 9).tril() for layer in range(2)}
    save(tmp_path / "ckpt.pt", model=weights | masks)
    save_characters(tmp_path)
    task = api.load(tmp_path / "ckpt.pt").task
    expected = nanogpt_logits(weights, ARGUMENTS, random_ids(), "none")
    assert isinstance(task, CausalLM)
    torch.testing.assert_close(task(random_ids())[..., :-1], expected, rtol=1e-5, atol=1e-5)


def test_commands_load_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "ckpt.pt"
    weights = save(path)
    with pytest.raises(InputError, match=r"ckpt\.pt: nanoGPT's checkpoints hold no tokenizer.* as .*/tokenizer\.json"):
        api.load(path)
    save_characters(tmp_path)
    assert main(["generate", str(path), "--prompt", "a b", "--temperature", "0", "--max_new_tokens", "5"]) == 0
    text = capsys.readouterr().out
    ids = torch.tensor([[CHARACTERS.index(each) for each in "a b"]])
    for _ in range(5):
        ids = torch.cat((ids, nanogpt_logits(weights, ARGUMENTS, ids, "none")[:, -1:].argmax(-1)), 1)
    assert text == "".join(CHARACTERS[each] for each in ids[0].tolist()) + "\n"

    assert main(["export", str(path), str(tmp_path / "exported")]) == 0
    assert read_config(tmp_path / "exported").config.mlp == "gelu_exact"
    assert api.load(tmp_path / "exported").generate("a b", temperature=0.0, max_new_tokens=5) == text[3:-1]
    config = GPTConfig(**read_checkpoint(path)["hyper_parameters"]["backbone"])
    classifier = SequenceClassification(backbone=config, labels=["a", "b"], init_from=str(path))
    wte = weights["transformer.wte.weight"]
    assert classifier.backbone.token_embedding.weight[: len(CHARACTERS)].equal(wte)


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in weights_of(ARGUMENTS).items() if key != name}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": without("transformer.h.1.ln_2.weight")}, r"the weights lack transformer\.h\.1\.ln_2\.weight"),
        ({"model": weights_of(ARGUMENTS) | {"x": torch.ones(1)}}, "unexpected weight x, which nanoGPT does not have"),
        (
            {"model": weights_of(ARGUMENTS) | {"transformer.ln_f.weight": torch.ones(3)}},
            r"ln_f\.weight has shape \[3\] and type torch\.float32, but model_args require shape \[12\]",
        ),
        (
            {"model": weights_of(ARGUMENTS) | {"transformer.ln_f.weight": torch.ones(12, dtype=torch.int64)}},
            r"ln_f\.weight has shape \[12\] and type torch\.int64, .* a floating-point type",
        ),
        (
            {"model": weights_of(ARGUMENTS) | {"lm_head.weight": torch.ones(3, 12)}},
            r"lm_head\.weight has another shape",
        ),
        ({"model": weights_of(ARGUMENTS) | {"transformer.ln_f.weight": 3}}, r"ln_f\.weight.* is invalid"),
        ({"model": weights_of(ARGUMENTS) | {3: torch.ones(1)}}, "'model' does not map names to weights"),
        ({"model": [1]}, "'model' does not map names to weights"),
        ({"model_args": ARGUMENTS | {"use_rmsnorm": True}}, r"nanoGPT's arguments only \(unknown: use_rmsnorm\)"),
        ({"model_args": [1]}, "model_args must be a mapping"),
        ({"model_args": ARGUMENTS | {"n_head": "2"}}, r"backbone\.n_head='2' is invalid"),
        ({"model_args": ARGUMENTS | {"n_head": 5}}, r"n_embd=12 is not divisible by backbone\.n_head=5"),
        ({"model_args": ARGUMENTS | {"vocab_size": None}}, r"backbone\.vocab_size is missing"),
        ({"model_args": ARGUMENTS | {"n_layer": 3}}, r"the weights lack transformer\.h\.2\.ln_1\.weight"),
        ({"model_args": ARGUMENTS | {"n_embd": 2**20}}, r"describe more than [0-9,]+ weights, but it has"),
        ({"optimizer": {"x": Path()}}, r"it has an object pathlib"),
    ],
)
def test_other_models_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    save(tmp_path / "ckpt.pt", **changes)
    with pytest.raises(InputError, match=message) as error:
        read_checkpoint(tmp_path / "ckpt.pt")
    assert str(error.value).startswith(f"{tmp_path}/ckpt.pt: ")


def test_pickled_characters_are_never_loaded(tmp_path: Path) -> None:
    save(tmp_path / "ckpt.pt")
    (tmp_path / "meta.pkl").write_bytes(b"cpathlib\nPath.touch\n(S'ran'\ntR.")
    assert "tokenizer" not in read_checkpoint(tmp_path / "ckpt.pt")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match=r"ckpt\.pt: its tokenizer is not a valid tokenizer\.json"):
        api.load(tmp_path / "ckpt.pt")
