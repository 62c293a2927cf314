"""Properties of all heads: padding, weights, gradient accumulation, checkpoints, parity with Hugging Face's heads."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.utils.class_weight import compute_class_weight  # type: ignore[import-untyped]
from torch import Tensor
from torch.utils.data import DataLoader

from gpt_lightning.batch import IGNORE_INDEX
from gpt_lightning.errors import InputError
from gpt_lightning.models import GPTConfig
from gpt_lightning.optim import FineTuning, OptimizerConfig, Schedule
from gpt_lightning.tasks import CausalLM, QuestionAnswering, SequenceClassification, Task, TokenClassification
from gpt_lightning.tasks.class_weights import balanced_weights
from gpt_lightning.tasks.load import read_checkpoint
from gpt_lightning.tasks.restore import restore_task
from tests.runs import trainer
from tests.tasks.batches import HEADS, LABELS, TAGS, add_padding, make_batch, make_task, rows_of

LENGTHS = (7, 5, 9, 6)


def logits(task: Task, batch: dict[str, Any]) -> list[Tensor]:
    """Return the logits of each row of a batch."""
    if isinstance(task, SequenceClassification):
        return list(task(batch["input_ids"], batch["attention_mask"]))
    if isinstance(task, TokenClassification):
        words = batch["scored"].sum(1).tolist()
        return list(task(batch["input_ids"], batch["attention_mask"], batch["scored"]).split(words))
    assert isinstance(task, QuestionAnswering)
    starts, ends = task(batch["input_ids"], batch["attention_mask"], batch["context_mask"])
    lengths = batch["attention_mask"].sum(1).tolist()
    return [torch.stack((starts[row, :length], ends[row, :length])) for row, length in enumerate(lengths)]


@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
@pytest.mark.parametrize("position", ["learned", "rotary"])
@pytest.mark.parametrize("kind", HEADS)
def test_logits_of_a_row_do_not_depend_on_the_batch(kind: str, position: str, attention: str) -> None:
    task = make_task(kind, attention=attention, position=position).double().eval()
    batch = make_batch(kind, LENGTHS)
    batch_logits = logits(task, add_padding(kind, batch, 14, 2))
    for row, length in enumerate(LENGTHS):
        (row_logits,) = logits(task, rows_of(batch, [row], length))
        torch.testing.assert_close(batch_logits[row], row_logits, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("stage", ["train", "val"])
def test_padding_affects_neither_loss_nor_metrics(kind: str, stage: Any) -> None:
    task = make_task(kind, attention="bidirectional").eval()
    batch = make_batch(kind, LENGTHS)
    plain = task.step(batch, stage)
    measured = task.metrics(stage).compute()
    task.metrics(stage).reset()
    padded_batch = add_padding(kind, batch, 14, 3)
    padded = task.step(padded_batch, stage)
    torch.testing.assert_close(padded, plain)
    assert task.weight(padded_batch) == task.weight(batch)
    for name, value in task.metrics(stage).compute().items():
        torch.testing.assert_close(value, measured[name], msg=name)


@pytest.mark.parametrize("kind", HEADS)
def test_batch_of_padding_has_zero_loss_and_gradient(kind: str) -> None:
    task = make_task(kind)
    batch = rows_of(add_padding(kind, make_batch(kind, LENGTHS), 9, 2), [4, 5], 9)
    loss = task.step(batch, "train")
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss == 0.0
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in task.parameters())


def dense_losses(task: Task, batch: dict[str, Any]) -> tuple[Tensor, float]:
    """Return the sum of a batch's losses, computed label by label from their definition, and the sum of weights."""
    total, weight = torch.zeros((), dtype=torch.float64), 0.0
    for row, values in enumerate(logits(task, batch)):
        if isinstance(task, SequenceClassification) and task.multi_label:
            smoothing = task.label_smoothing
            for logit, label, presence in zip(values, batch["labels"][row], task.class_weights, strict=True):
                share = float(label) * (1 - smoothing) + smoothing / 2
                loss = -(share * logit.sigmoid().log() + (1 - share) * (-logit).sigmoid().log())
                total = total + loss * (presence.double() if label else 1.0)
            weight += 1.0
        elif isinstance(task, SequenceClassification):
            class_weight, smoothing = float(task.class_weights[batch["labels"][row]]), task.label_smoothing
            target = torch.full_like(values, smoothing / len(values))
            target[batch["labels"][row]] += 1 - smoothing
            total = total - class_weight * (target * values.log_softmax(0)).sum()
            weight += class_weight
        elif isinstance(task, TokenClassification):
            tags = batch["labels"][row][batch["scored"][row]]
            for word, tag in zip(values, tags, strict=True):
                class_weight = float(task.class_weights[tag])
                total = total - class_weight * word.log_softmax(0)[tag]
                weight += class_weight
        else:
            allowed = batch["context_mask"][row].clone()
            allowed[batch["null_positions"][row]] = True
            starts, ends = task(batch["input_ids"], batch["attention_mask"], torch.ones_like(batch["context_mask"]))
            for scores, positions in ((starts[row], "start_positions"), (ends[row], "end_positions")):
                chosen = scores[allowed].log_softmax(0)
                place = int(allowed[: batch[positions][row]].sum())
                total = total - 0.5 * chosen[place]
            weight += 1.0
    return total, weight


@pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`")
@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("kind", [*HEADS, "weighted", "smoothed", "weighted tagging", "weighted multi_label"])
def test_gradient_is_the_mean_over_all_labels_of_a_step(tmp_path: Path, kind: str, accumulate: int) -> None:
    """Compare ragged micro-batches in the Trainer with one dense formula in float64."""
    arguments: dict[str, Any] = {"optimizer": OptimizerConfig(lr=1e-9), "schedule": Schedule(kind="constant")}
    if kind in ("weighted", "smoothed", "weighted multi_label"):
        arguments["class_weights"] = {"bad": 0.05, "fine": 0.01, "good": 0.005}
        if kind != "weighted":
            arguments["label_smoothing"] = 0.2
        kind = "multi_label" if kind == "weighted multi_label" else "classification"
    elif kind == "weighted tagging":
        kind, arguments["class_weights"] = "tagging", {"O": 0.01, "B-PER": 3.0, "I-LOC": 0.0}
    task = make_task(kind, **arguments)
    lengths = [(7, 5, 9), (6,), (8, 8, 5, 6, 7)][:accumulate]
    parts = [make_batch(kind, each, seed) for seed, each in enumerate(lengths)]
    tensors = [rows_of(part, list(range(len(part["input_ids"]))), part["input_ids"].size(1)) for part in parts]
    found: dict[str, Tensor] = {}

    class Keep(torch.optim.AdamW):
        def step(self, closure: Any = None) -> Any:
            result = super().step(closure)
            found.update({name: p.grad.clone() for name, p in task.named_parameters() if p.grad is not None})
            return result

    task.configure_optimizers = lambda: Keep(task.optimizer_config.build(task).param_groups)  # type: ignore[method-assign]
    fit = trainer(
        tmp_path, max_steps=1, accumulate_grad_batches=accumulate, gradient_clip_val=None, limit_val_batches=0
    )
    expected_task = make_task(kind, **arguments).double()
    fit.fit(task, DataLoader(tensors, batch_size=None))  # type: ignore[arg-type]
    sums = [dense_losses(expected_task, part) for part in parts]
    mean = torch.stack([total for total, _ in sums]).sum() / sum(weight for _, weight in sums)
    mean.backward()  # type: ignore[no-untyped-call]
    for name, parameter in expected_task.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(found[name].double(), parameter.grad, rtol=2e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("kind", HEADS)
def test_task_is_restored_from_a_checkpoint(tmp_path: Path, kind: str) -> None:
    task = make_task(kind, attention="bidirectional", dropout=0.1, fine_tuning=FineTuning(freeze=1)).eval()
    if isinstance(task, QuestionAnswering):
        task.no_answer_threshold = 1.5
    fit = trainer(tmp_path)
    fit.strategy.connect(task)
    fit.save_checkpoint(tmp_path / "one.ckpt", weights_only=True)
    again = restore_task(type(task), read_checkpoint(tmp_path / "one.ckpt")).eval()
    batch = make_batch(kind, LENGTHS)
    assert again.predict_step(batch, 0) == task.predict_step(batch, 0)
    assert again.hparams == task.hparams
    frozen = {name for name, parameter in again.named_parameters() if not parameter.requires_grad}
    assert frozen == {name for name, parameter in task.named_parameters() if not parameter.requires_grad}
    assert any("blocks.0" in name for name in frozen)
    assert not any("blocks.1" in name for name in frozen)


@pytest.mark.parametrize("kind", HEADS)
def test_hardest_examples_are_the_wrong_predictions(kind: str) -> None:
    task = make_task(kind).eval()
    batch = make_batch(kind, LENGTHS)
    records = task.predict_step(batch, 0)
    task.step(batch, "val")
    wrong = 0
    for row, record in enumerate(records):
        if kind == "classification":
            right = record["label"] == LABELS[batch["labels"][row]]
        elif kind == "multi_label":
            right = record["labels"] == [
                name for name, is_so in zip(LABELS, batch["labels"][row], strict=True) if is_so
            ]
        elif kind == "tagging":
            right = record["tags"] == [TAGS[tag] for tag in batch["labels"][row][batch["scored"][row]].tolist()]
        else:
            right = record["answer"] in (batch["answers"][row] or [""])
        wrong += not right
        assert any(f"row {row}" in text for text in task.hardest_examples.texts()) != right
    assert wrong == len(task.hardest_examples.texts())
    assert wrong > 0


def test_init_from_loads_the_backbone(tmp_path: Path) -> None:
    shape = GPTConfig(vocab_size=40, block_size=16, n_layer=2, n_head=2, n_embd=16)
    pretrained = CausalLM(backbone=shape)
    fit = trainer(tmp_path)
    fit.strategy.connect(pretrained)
    path = str(tmp_path / "backbone.ckpt")
    fit.save_checkpoint(path, weights_only=True)
    encoder = GPTConfig(**{**vars(shape), "attention": "bidirectional", "dropout": 0.1})
    tagger = TokenClassification(backbone=encoder, labels=TAGS, init_from=path)
    for name, value in pretrained.backbone.state_dict().items():
        assert torch.equal(tagger.backbone.state_dict()[name], value), name
    assert "init_from" not in tagger.hparams, "a resumed run must not need the file"
    with pytest.raises(InputError, match=r"init_from=.*backbone.ckpt: backbone.n_layer is 2 in the checkpoint, but 3"):
        TokenClassification(backbone=GPTConfig(**{**vars(shape), "n_layer": 3}), labels=TAGS, init_from=path)
    with pytest.raises(InputError, match="no checkpoint, run folder or model folder has this path"):
        TokenClassification(backbone=shape, labels=TAGS, init_from=str(tmp_path / "absent"))


def test_init_from_loads_an_untied_output_layer(tmp_path: Path) -> None:
    """Load the output layer too when pretraining continues from a language model."""
    shape = GPTConfig(vocab_size=40, block_size=16, n_layer=1, n_head=2, n_embd=16, tie_embeddings=False)
    pretrained = CausalLM(backbone=shape)
    fit = trainer(tmp_path)
    fit.strategy.connect(pretrained)
    fit.save_checkpoint(tmp_path / "one.ckpt", weights_only=True)
    again = CausalLM(backbone=shape, init_from=str(tmp_path / "one.ckpt"))
    assert torch.equal(again.state_dict()["head.weight"], pretrained.state_dict()["head.weight"])


# --- parity with Hugging Face's heads


def hugging_face(kind: str, task: Task) -> Any:
    """Return Hugging Face's GPT-2 with the head of ``kind`` and the weights of ``task``, in float64."""
    from transformers import (
        GPT2Config,
        GPT2ForQuestionAnswering,
        GPT2ForSequenceClassification,
        GPT2ForTokenClassification,
    )

    shape = task.backbone.config
    classes = {
        "classification": (GPT2ForSequenceClassification, len(LABELS), "score"),
        "tagging": (GPT2ForTokenClassification, len(TAGS), "classifier"),
        "questions": (GPT2ForQuestionAnswering, 2, "qa_outputs"),
    }
    model_class, num_labels, head = classes[kind]
    hf_model = model_class(
        GPT2Config(
            vocab_size=shape.vocab_size,
            n_positions=shape.block_size,
            n_embd=shape.n_embd,
            n_layer=shape.n_layer,
            n_head=shape.n_head,
            num_labels=num_labels,
            pad_token_id=0,
            bos_token_id=None,
            eos_token_id=None,
        )
    )
    state = {f"{head}.{name}": value for name, value in task.head.state_dict().items()}
    renamed = {
        "token_embedding": "wte",
        "position_embedding": "wpe",
        "blocks": "h",
        "norm_1": "ln_1",
        "norm_2": "ln_2",
        "attention.qkv": "attn.c_attn",
        "attention.proj": "attn.c_proj",
        "mlp.up": "mlp.c_fc",
        "mlp.proj": "mlp.c_proj",
    }
    for name, value in task.backbone.state_dict().items():
        new = name.replace("norm.", "ln_f.") if name.startswith("norm.") else name
        for ours, hf_name in renamed.items():
            new = new.replace(ours, hf_name)
        state[f"transformer.{new}"] = value.mT if ".c_" in new and value.ndim == 2 else value
    missing = hf_model.load_state_dict(state, strict=False)
    assert not missing.unexpected_keys
    assert not missing.missing_keys
    return hf_model.double().eval()


@pytest.mark.parametrize("kind", ["classification", "tagging", "questions"])
def test_logits_match_hugging_faces_head(kind: str) -> None:
    arguments: dict[str, Any] = {"pooling": "last"} if kind == "classification" else {}
    task = make_task(kind, **arguments).eval()
    hf_model = hugging_face(kind, task)
    task = task.double()
    batch = make_batch(kind, LENGTHS)
    with torch.no_grad():
        output = hf_model(batch["input_ids"], attention_mask=batch["attention_mask"].long())
    for row, values in enumerate(logits(task, batch)):
        if kind == "classification":
            expected = output.logits[row]
        elif kind == "tagging":
            expected = output.logits[row][batch["scored"][row]]
        else:
            context = batch["context_mask"][row, : LENGTHS[row]]
            values = values[:, context]
            both = torch.stack((output.start_logits[row], output.end_logits[row]))
            expected = both[:, : LENGTHS[row]][:, context]
        torch.testing.assert_close(values, expected.to(values.dtype), rtol=1e-6, atol=1e-6)


# --- invalid arguments


def test_invalid_labels_and_settings_are_refused() -> None:
    shape = GPTConfig(vocab_size=40, block_size=16, n_layer=1, n_head=2, n_embd=16)
    with pytest.raises(InputError, match=r"needs at least 2 labels: the training data has only \['one'\]"):
        SequenceClassification(backbone=shape, labels=["one"])
    with pytest.raises(InputError, match=r"needs at least 2 tags: the training data has only \['O'\]"):
        TokenClassification(backbone=shape, labels=["O"])
    with pytest.raises(InputError, match=r"class_weights has unknown labels: odd\. The labels of .* are \['a', 'b'\]"):
        SequenceClassification(backbone=shape, labels=["a", "b"], class_weights={"odd": 2.0})
    with pytest.raises(InputError, match=r"--model.class_weights=\{'a': -1.0\}: weights must be finite and 0 or more"):
        SequenceClassification(backbone=shape, labels=["a", "b"], class_weights={"a": -1.0})
    with pytest.raises(InputError, match=r"--model.label_smoothing=1.0 must lie in \[0, 1\)"):
        SequenceClassification(backbone=shape, labels=["a", "b"], label_smoothing=1.0)
    with pytest.raises(InputError, match=r"--model\.n_best=0 must be at least 1"):
        QuestionAnswering(backbone=shape, n_best=0)


# --- losses


class Counted:
    """Data module that only counts labels."""

    def __init__(self, counts: dict[str, int], rows: int) -> None:
        self.label_counts = lambda: (counts, rows)


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    rows = ["a"] * 40 + ["b"] * 2 + ["c"] * 7
    expected = compute_class_weight("balanced", classes=np.array(["a", "b", "c"]), y=rows)
    counted = Counted(Counter(rows), len(rows))
    assert list(balanced_weights(counted, ["a", "b", "c"]).values()) == pytest.approx(expected.tolist())
    assert balanced_weights(counted, ["a", "b", "c", "absent"])["absent"] == 1.0
    for label in ("a", "b"):
        negative, positive = compute_class_weight(
            "balanced", classes=np.array([False, True]), y=np.array(rows) == label
        )
        multi = balanced_weights(counted, ["a", "b", "all"], multi_label=True)
        assert multi[label] == pytest.approx(positive / negative)
    assert balanced_weights(Counted({"all": 49}, 49), ["all"], multi_label=True) == {"all": 1.0}
    with pytest.raises(InputError, match=r"class_weights=balanced: object has no method label_counts"):
        balanced_weights(object(), ["a"])


def test_a_rare_label_with_a_high_weight_and_smoothing_does_not_win_every_row() -> None:
    """The best constant prediction follows the weighted frequencies, with smoothing or without."""
    task = make_task("classification", class_weights={"bad": 20.0}, label_smoothing=0.1)
    assert isinstance(task, SequenceClassification)
    labels = torch.tensor([0] * 2 + [1] * 60)
    logits = torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=100)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = task._losses(logits.expand(62, 3), labels).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    smoothed = 0.9 * torch.tensor([40.0, 60.0, 0.0]) / 100 + 0.1 / 3
    torch.testing.assert_close(logits.softmax(0), smoothed, rtol=1e-3, atol=1e-3)


def test_label_smoothing_matches_the_paper() -> None:
    task = make_task("classification", label_smoothing=0.3).double().eval()
    batch = make_batch("classification", LENGTHS)
    logits_BL = task(batch["input_ids"], batch["attention_mask"])
    target = F.one_hot(batch["labels"], len(LABELS)) * 0.7 + 0.3 / len(LABELS)
    expected = -(target * logits_BL.log_softmax(1)).sum(1).mean()
    assert task.step(batch, "train").item() == pytest.approx(expected.item(), rel=1e-6)


def test_losses_use_only_the_allowed_positions() -> None:
    """Tagging uses the first token of each word; question answering uses the context and the null position."""
    task, batch = make_task("tagging"), make_batch("tagging", LENGTHS)
    hidden = task.backbone(batch["input_ids"], attention_mask=batch["attention_mask"])
    hidden.retain_grad()
    scored = batch["scored"]
    F.cross_entropy(task.head(hidden)[scored], batch["labels"][scored]).backward()  # type: ignore[no-untyped-call]
    assert hidden.grad is not None
    assert not hidden.grad[~scored].any()
    assert (batch["labels"][~scored] == IGNORE_INDEX).all()

    questions = make_task("questions").eval()
    batch = make_batch("questions", LENGTHS)
    assert isinstance(questions, QuestionAnswering)
    allowed = batch["context_mask"].scatter(1, batch["null_positions"].unsqueeze(1), True)
    starts, _ = questions(batch["input_ids"], batch["attention_mask"], allowed)
    assert (starts.softmax(1)[~allowed] == 0.0).all()
