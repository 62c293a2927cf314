"""``Seq2SeqLM``: loss, checkpoints, pretrained weights, and settings that the other tasks have."""

import math
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
import torch.nn.functional as F
from sacrebleu.metrics.chrf import CHRF

import gpt_lightning as gl
from gpt_lightning.batch import IGNORE_INDEX
from gpt_lightning.checkpoints.read import read_checkpoint
from gpt_lightning.errors import InputError
from gpt_lightning.models import GPTConfig
from gpt_lightning.models.lora import LoRA
from gpt_lightning.optim import FineTuning, OptimizerConfig
from gpt_lightning.tasks import CausalLM, Seq2SeqLM, SequenceClassification, Task
from gpt_lightning.tasks.export import export_task
from gpt_lightning.tasks.load import load_task
from gpt_lightning.tasks.restore import restore_task
from gpt_lightning.tokenizers.build import bytes_tokenizer
from gpt_lightning.training import Checkpoints
from tests.pairs import SHAPE, pairs, reversed_lines, seq2seq
from tests.runs import trainer

VOCAB_SIZE = 257
UNTIED: dict[str, Any] = {"tie_embeddings": False, "share_embeddings": False}


def randomize(task: Task) -> None:
    torch.manual_seed(1)
    for parameter in task.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)


def save(task: Task, path: Path) -> str:
    fit = trainer(path.parent)
    fit.strategy.connect(task)
    fit.save_checkpoint(path, weights_only=True)
    return str(path)


# --- the loss


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("tied", [True, False])
def test_loss_and_gradients_match_the_dense_ones(smoothing: float, tied: bool) -> None:
    shape = {"dropout": 0.0} | ({} if tied else UNTIED)
    task = seq2seq(shape=shape, label_smoothing=smoothing).double()
    randomize(task)
    batch = pairs()
    found = task.step(batch, "train")
    expected = F.cross_entropy(
        task(batch["input_ids"], batch["attention_mask"], batch["decoder_input_ids"]).flatten(0, 1),
        batch["labels"].flatten(),
        ignore_index=IGNORE_INDEX,
        label_smoothing=smoothing,
    )
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0.0)
    parameters = [parameter for parameter in task.parameters() if parameter.requires_grad]
    for one, other in zip(
        torch.autograd.grad(found, parameters), torch.autograd.grad(expected, parameters), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_evaluation_ignores_label_smoothing() -> None:
    plain, smoothed = seq2seq().eval(), seq2seq(label_smoothing=0.2).eval()
    assert plain.step(pairs(), "val").equal(smoothed.step(pairs(), "val"))
    assert not plain.step(pairs(), "train").equal(smoothed.step(pairs(), "train"))


def test_loss_of_a_batch_without_labels_is_zero() -> None:
    batch = pairs()
    batch["labels"].fill_(IGNORE_INDEX)
    for smoothing in (0.0, 0.1):
        assert float(seq2seq(label_smoothing=smoothing).step(batch, "train").detach()) == 0.0


def test_it_learns_to_reverse(tmp_path: Path) -> None:
    data = reversed_lines(tmp_path)
    task = seq2seq(shape={"n_embd": 32, "dropout": 0.0}, label_smoothing=0.05)
    run = trainer(tmp_path, max_epochs=4)
    run.fit(task, datamodule=data)
    assert {"val/perplexity", "val/bits_per_byte", "train/loss"} <= set(run.callback_metrics)
    assert float(run.callback_metrics["val/loss"]) < 0.6 * math.log(VOCAB_SIZE)


def test_evaluation_and_prediction_generate_targets(tmp_path: Path) -> None:
    task, data = seq2seq(shape={"n_embd": 32, "dropout": 0.0}), reversed_lines(tmp_path, generate_examples=7)
    run = trainer(tmp_path, max_epochs=12)
    run.fit(task, datamodule=data)
    lines = (tmp_path / "lines.txt").read_text().splitlines()

    def greedy(line: str) -> tuple[str, bool]:
        """Return the target from a full forward pass for each token."""
        end = data.tokenizer.end_of_text_id
        source = torch.tensor([[end, *data.tokenizer.encode(line)]])
        target = [end]
        while len(target) <= data.max_new_tokens:
            with torch.no_grad():
                token = int(task(source, torch.ones_like(source).bool(), torch.tensor([target]))[0, -1].argmax())
            if token == end:
                return data.tokenizer.decode(target[1:]), True
            target.append(token)
        return data.tokenizer.decode(target[1:]), False

    run.test(task.eval(), datamodule=data, verbose=False)
    found = [greedy(line) for line in lines]
    texts, references = [text for text, _ in found[:7]], [[line[::-1] for line in lines[:7]]]
    assert float(run.callback_metrics["test/chrf"]) == pytest.approx(CHRF().corpus_score(texts, references).score)
    assert float(run.callback_metrics["test/complete"]) == pytest.approx(sum(done for _, done in found[:7]) / 7)
    assert [example.source for example in task.answer_examples] == lines[:5]

    batches = run.predict(task, datamodule=data)
    assert batches is not None
    records = [record for batch in batches for record in batch]
    for number, (record, line, (text, is_complete)) in enumerate(zip(records, lines, found, strict=True)):
        assert record == {"id": str(number), "source": line, "answer": text, "complete": is_complete}


def test_prediction_scores_the_targets() -> None:
    task, batch = seq2seq().eval(), pairs()
    records = task.predict_step(batch, 0)
    assert [record["num_tokens"] for record in records] == [5, 4, 3]
    total = sum(record["nll"] for record in records) / 12
    assert total == pytest.approx(float(task.step(batch, "val").detach()), rel=1e-5)


# --- checkpoints


@pytest.mark.parametrize("shape", [{}, UNTIED], ids=["shared", "separate"])
def test_checkpoint_and_model_folder_restore_the_model(tmp_path: Path, shape: dict[str, Any]) -> None:
    task, data = seq2seq(shape=shape, label_smoothing=0.1), reversed_lines(tmp_path)
    run = trainer(tmp_path, max_steps=2, callbacks=[Checkpoints()])
    run.fit(task, datamodule=data)
    path = next((tmp_path / "checkpoints").glob("*.ckpt"))
    for source in (path, tmp_path / "model"):
        if source != path:
            reason = gl.load(path).save(source)
            assert "Hugging Face" in str(reason) or "closest model family" in str(reason)
        again, tokenizer = load_task(source)
        assert isinstance(again, Seq2SeqLM)
        assert again.label_smoothing == 0.1
        assert tokenizer.vocab_size == VOCAB_SIZE
        for name, value in task.state_dict().items():
            assert again.state_dict()[name].equal(value), name
        shared = again.backbone.encoder.token_embedding is again.backbone.token_embedding
        assert shared == (not shape)


# --- generated targets


def greedy(task: Seq2SeqLM, source: torch.Tensor, start: list[int], count: int) -> list[int]:
    """Return greedy tokens for one source, each from the logits of a whole target."""
    ids = torch.tensor([start])
    for _ in range(count):
        logits = task(source, torch.ones_like(source, dtype=torch.bool), ids)
        ids = torch.cat((ids, logits[:, -1:].argmax(-1)), dim=1)
    return [int(token) for token in ids[0, len(start) :]]


@torch.inference_mode()
@pytest.mark.parametrize("start", [None, [5, 6]])
def test_answers_are_the_greedy_targets(start: list[int] | None) -> None:
    task, batch = seq2seq(decoder_start_ids=start).eval(), pairs(rows=4)
    randomize(task)
    lengths = batch["attention_mask"].sum(1).tolist()
    expected = [greedy(task, batch["input_ids"][row : row + 1, : lengths[row]], start or [0], 6) for row in range(3)]
    stop = expected[1][3]
    # The last row is padding, as there is no id for it.
    answers = task.generate_answers({**batch, "ids": ["a", "b", "c"]}, max_new_tokens=6, stop_ids=[stop])
    assert len(answers) == 3
    for answer, ids in zip(answers, expected, strict=True):
        assert answer.ids == (ids[: ids.index(stop)] if stop in ids else ids)
        assert answer.is_complete == (stop in ids)


@torch.inference_mode()
def test_a_rank_without_rows_answers_nothing() -> None:
    assert seq2seq().eval().generate_answers({**pairs(), "ids": []}, max_new_tokens=6, stop_ids=()) == []


@torch.inference_mode()
def test_answers_are_no_longer_than_the_context() -> None:
    task = seq2seq().eval()
    assert {len(answer.ids) for answer in task.generate_answers(pairs(), max_new_tokens=999, stop_ids=())} == {63}


# --- pretrained weights


LM_SHAPE = {name: value for name, value in SHAPE.items() if name != "n_encoder_layer"} | {"vocab_size": VOCAB_SIZE}


def pretrained(folder: Path, **shape: Any) -> str:
    """Save a random language model and return its path."""
    lm = CausalLM(backbone=GPTConfig(**(LM_SHAPE | shape)))
    randomize(lm)
    return save(lm, folder / "lm.ckpt")


def test_language_model_fills_both_sides_and_the_output_layer(tmp_path: Path) -> None:
    source = pretrained(tmp_path, tie_embeddings=False)
    task = seq2seq(shape={"tie_embeddings": False}, init_from=source)
    saved = read_checkpoint(Path(source))["state_dict"]
    state = task.state_dict()
    for name, value in saved.items():
        assert state[name].equal(value), name
        if name.startswith("backbone."):
            assert state[name.replace("backbone.", "backbone.encoder.")].equal(value), name


def test_folder_of_a_language_model_fills_the_output_layer_too(tmp_path: Path) -> None:
    shape = {"tie_embeddings": False, "norm": "rmsnorm", "mlp": "swiglu", "bias": False, "n_inner": 32}
    source = pretrained(tmp_path, **shape)
    language_model = CausalLM(backbone=GPTConfig(**{**LM_SHAPE, **shape}), init_from=source)
    export_task(language_model, bytes_tokenizer(), Path(source), tmp_path / "model")
    task = seq2seq(shape=shape, init_from=str(tmp_path / "model"))
    for name, value in read_checkpoint(Path(source))["state_dict"].items():
        assert task.state_dict()[name].equal(value), name


def test_encoder_decoder_continues_as_a_whole(tmp_path: Path) -> None:
    first = seq2seq()
    randomize(first)
    second = seq2seq(init_from=save(first, tmp_path / "first.ckpt"))
    assert all(second.state_dict()[name].equal(value) for name, value in first.state_dict().items())


def test_prefix_model_is_a_language_model_to_start_from(tmp_path: Path) -> None:
    task = seq2seq(init_from=pretrained(tmp_path, attention="prefix"))
    assert task.backbone.is_cross_attention_new


# --- settings of the other tasks


def test_adapters_need_a_pretrained_encoder_decoder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the cross-attention of .* would be random, because it has no encoder"):
        seq2seq(init_from=pretrained(tmp_path), lora=LoRA(r=2))


@pytest.mark.parametrize("shape", [{}, UNTIED], ids=["shared", "separate"])
def test_adapters_are_trained_and_merged(tmp_path: Path, shape: dict[str, Any]) -> None:
    base = seq2seq(shape=shape)
    randomize(base)
    task = seq2seq(shape=shape, init_from=save(base, tmp_path / "base.ckpt"), lora=LoRA(r=2)).eval()
    trained = {name for name, parameter in task.named_parameters() if parameter.requires_grad}
    assert trained
    assert all(".lora_" in name for name in trained)
    for part in ("backbone.encoder.blocks.0.attention.qkv", "backbone.blocks.0.cross_attention.kv"):
        assert any(name.startswith(part) for name in trained)
    randomize(task)
    path = save(task, tmp_path / "adapters.ckpt")
    checkpoint = read_checkpoint(Path(path))
    assert set(checkpoint["state_dict"]) == trained
    merged = restore_task(Seq2SeqLM, checkpoint).eval()
    inputs = [pairs()[name] for name in ("input_ids", "attention_mask", "decoder_input_ids")]
    torch.testing.assert_close(merged(*inputs), task(*inputs), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("freeze", [1, "all"])
def test_freezing_leaves_cross_attention_trainable(freeze: Any) -> None:
    task = seq2seq(shape={"n_layer": 2, "n_encoder_layer": 3}, fine_tuning=FineTuning(freeze=freeze))
    for name, parameter in task.backbone.named_parameters():
        is_frozen = not parameter.requires_grad
        is_low = "embedding" in name or "blocks.0." in name
        assert is_frozen == ("cross_" not in name and (freeze == "all" or is_low)), name


def test_rates_decay_from_the_last_layers_down() -> None:
    shape = {"n_layer": 2, "n_encoder_layer": 3}
    task = seq2seq(shape=shape, fine_tuning=FineTuning(layer_lr_decay=0.5))
    optimizer = task.configure_optimizers()
    ratios = {id(p): group["lr_ratio"] for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in task.backbone.named_parameters():
        depth = int(name.split("blocks.")[1].split(".")[0]) + 1 if "blocks." in name else 0 if "embed" in name else 4
        assert ratios[id(parameter)] == 0.5 ** (4 - depth), name


def test_muon_trains_every_matrix_of_the_blocks(tmp_path: Path) -> None:
    task = seq2seq(optimizer=OptimizerConfig(kind="muon", lr=1e-3))
    groups = [group for group in task.configure_optimizers().param_groups if group.get("rows")]
    found = {id(p) for group in groups for p in group["params"]}
    expected = {id(p) for name, p in task.named_parameters() if p.ndim == 2 and "blocks" in name}
    assert found == expected
    before = {name: value.clone() for name, value in task.state_dict().items()}
    trainer(tmp_path, max_steps=2).fit(task, datamodule=reversed_lines(tmp_path))
    assert not any(value.equal(before[name]) for name, value in task.state_dict().items())


def test_precision_and_checkpointed_activations(tmp_path: Path) -> None:
    losses = []
    for is_checkpointed in (False, True):
        task = seq2seq()
        task.backbone.checkpoint_activations(is_checkpointed)
        run = trainer(tmp_path, max_steps=2)
        run.fit(task, datamodule=reversed_lines(tmp_path))
        losses.append(float(run.callback_metrics["train/loss"]))
    assert losses[0] == losses[1]
    task = seq2seq()
    run = trainer(tmp_path, max_steps=2, precision="bf16-mixed")
    run.fit(task, datamodule=reversed_lines(tmp_path))
    assert float(run.callback_metrics["train/loss"]) == pytest.approx(losses[0], rel=2e-2)


# --- invalid models and settings


def heads(folder: Path) -> dict[str, Any]:
    saved = seq2seq()
    source = save(saved, folder / "seq2seq.ckpt")
    plain = GPTConfig(**{name: value for name, value in SHAPE.items() if name != "n_encoder_layer"})
    return {"backbone": plain, "vocab_size": VOCAB_SIZE, "init_from": source}


def test_encoder_decoder_is_refused_where_a_backbone_is_expected(tmp_path: Path) -> None:
    settings = heads(tmp_path)
    with pytest.raises(InputError, match="this is an encoder-decoder, whose weights do not fit"):
        CausalLM(**settings)
    with pytest.raises(InputError, match="this is an encoder-decoder, whose weights do not fit"):
        SequenceClassification(labels=["a", "b"], **settings)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": {"n_encoder_layer": None}}, r"backbone\.n_encoder_layer is missing"),
        ({"shape": {"attention": "prefix"}}, r"model\.backbone\.attention=prefix: Seq2SeqLM needs causal attention"),
        ({"vocab_size": 300, "shape": {"vocab_size": 257}}, "the tokenizer has 300 ids but"),
        ({"label_smoothing": 1.0}, r"model\.label_smoothing=1\.0 must lie in \[0, 1\)"),
        ({"label_smoothing": 0.1, "shape": {"logit_softcap": 5.0}}, "cannot be combined"),
        ({"decoder_start_ids": [257]}, r"model\.decoder_start_ids=\[257\] must be a list of token ids from 0 to 256"),
        ({"decoder_start_ids": []}, r"model\.decoder_start_ids=\[\] must be a list"),
        ({"fine_tuning": FineTuning(freeze=2)}, "freeze=2, but the backbone has 1 blocks"),
    ],
)
def test_wrong_settings_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        seq2seq(**arguments)


def test_other_tasks_refuse_an_encoder_and_prefix_attention() -> None:
    with pytest.raises(InputError, match=r"backbone\.n_encoder_layer=1 is only for encoder-decoders"):
        CausalLM(backbone=GPTConfig(**SHAPE), vocab_size=VOCAB_SIZE)
    shape = GPTConfig(**(SHAPE | {"n_encoder_layer": None, "attention": "prefix"}))
    with pytest.raises(InputError, match="SequenceClassification needs causal or bidirectional attention"):
        SequenceClassification(labels=["a", "b"], backbone=shape, vocab_size=VOCAB_SIZE)


def test_pretrained_model_of_another_depth_is_refused(tmp_path: Path) -> None:
    source = pretrained(tmp_path)
    with pytest.raises(InputError, match=r"n_encoder_layer=2 differs from backbone\.n_layer=1"):
        seq2seq(shape={"n_encoder_layer": 2}, init_from=source)
    with pytest.raises(InputError, match=r"backbone\.n_layer is 1 in the checkpoint, but 2"):
        seq2seq(shape={"n_encoder_layer": 2, "n_layer": 2}, init_from=source)


def test_source_that_is_too_long_is_refused() -> None:
    task: L.LightningModule = seq2seq()
    with pytest.raises(InputError, match="source of 65 tokens is longer than block_size=64"):
        task.step(pairs(sources=65), "train")  # type: ignore[operator]
