"""The Python API: a trained model with its tokenizer, ready to use.

>>> import gpt_lightning as gl
>>> model = gl.load("logs/pretrain_books/version_0")
>>> print(model.generate("Once upon a time", max_new_tokens=50, seed=0))
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypedDict, Unpack

import torch
from torch import Tensor

from gpt_lightning.data.base import DataModule
from gpt_lightning.data.find import data_modules_for, named_data_module
from gpt_lightning.data.sources.row_formats import without_surrogates
from gpt_lightning.errors import InputError
from gpt_lightning.evaluation.text_scores import TextScore, score_texts
from gpt_lightning.models.device import device_of
from gpt_lightning.models.generation.batched import padded
from gpt_lightning.models.generation.generate import Sampling
from gpt_lightning.tasks import CausalLM, Task
from gpt_lightning.tasks.continuation import continuation
from gpt_lightning.tasks.export import export_task
from gpt_lightning.tasks.load import find_checkpoint, read_checkpoint, task_from_checkpoint
from gpt_lightning.tasks.saving import accepted_arguments
from gpt_lightning.tokenizers.tokenizer import Tokenizer


def load(
    path: str | Path, *, device: str = "auto", init_from: str | None = None, allow_import: Sequence[str] = ()
) -> "Model":
    """Load a trained model.

    Args:
        path: a run's folder (its best checkpoint), a checkpoint, a model folder (ours or Hugging Face's), or
            ``hub:NAME``.
        device: ``cpu``, ``cuda``, ``mps``, or ``auto`` for the accelerator where there is one.
        init_from: where the weights are that its LoRA adapters were trained on, if they have moved.
        allow_import: packages of your own that the task's class may be imported from. A class that your program has
            imported already needs no permission.

    Raises:
        InputError: there is no such model, it is damaged, or its class may not be imported.
    """
    found = find_checkpoint(str(path))
    checkpoint = read_checkpoint(found, allow_import)
    task, tokenizer = task_from_checkpoint(found, checkpoint, init_from, allow_import)
    data_module = _data_module_of(checkpoint, allow_import)
    return Model(task.to(device_of(device)), tokenizer, found, data_module)


def _data_module_of(checkpoint: Mapping[str, Any], allow_import: Sequence[str]) -> type[DataModule] | None:
    """Return the data module that a checkpoint names, if it may be imported or is imported already."""
    path = str(checkpoint.get("data", ""))
    package = path.rpartition(".")[0]
    found = named_data_module(path, [*allow_import, *([package] if package in sys.modules else [])])
    return found if found is not None and issubclass(found, DataModule) else None


class GenerationSettings(TypedDict, total=False):
    """Arguments of ``Model.stream``, which documents them, for the type checker."""

    max_new_tokens: int
    temperature: float
    top_k: int | None
    top_p: float | None
    seed: int


class Model:
    """A task and its tokenizer.

    Attributes:
        task: the LightningModule, in ``eval`` mode.
        tokenizer: its tokenizer.
        path: the checkpoint or model folder that it was loaded from.
        data_module: the class of the data module that ``predict`` reads rows with. It is the one that the checkpoint
            names or, in model folders and where that one may not be imported, the first of this package that goes with
            the task. Set it to use another.
    """

    def __init__(
        self, task: Task, tokenizer: Tokenizer, path: Path, data_module: type[DataModule] | None = None
    ) -> None:
        self.task = task
        self.tokenizer = tokenizer
        self.path = path
        self.data_module = data_module or next(iter(data_modules_for(type(task))), None)

    def __repr__(self) -> str:
        """Return the task's name, its size and where it came from."""
        size = sum(parameter.numel() for parameter in self.task.parameters())
        return f"Model({type(self.task).__name__}, {size:,} parameters, {str(self.path)!r})"

    def generate(self, prompt: str = "", **settings: Unpack[GenerationSettings]) -> str:
        """Return the continuation of ``prompt``, without the prompt; arguments as in ``stream``."""
        return "".join(self.stream(prompt, **settings))

    def stream(
        self,
        prompt: str = "",
        *,
        max_new_tokens: int = 200,
        temperature: float = 0.8,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> Iterator[str]:
        """Yield the continuation of ``prompt`` in pieces, as it is generated.

        Args:
            prompt: text to continue; an empty one starts a new document.
            max_new_tokens: the largest number of new tokens.
            temperature: divides the logits; 0 always takes the likeliest token.
            top_k: draw among the k likeliest tokens only.
            top_p: draw among the likeliest tokens that together hold this probability.
            seed: the same seed gives the same text.

        Raises:
            InputError: the model is not a language model, or a value is out of range.
        """
        if max_new_tokens < 1:
            raise InputError(f"max_new_tokens={max_new_tokens} must be at least 1")
        return continuation(
            self._language_model("generates text"),
            self.tokenizer,
            self.tokenizer.encode(without_surrogates(prompt)),
            max_new_tokens=max_new_tokens,
            sampling=Sampling(temperature=temperature, top_k=top_k, top_p=top_p),
            seed=seed,
        )

    def score(self, texts: Sequence[str], *, batch_tokens: int = 2048) -> list[TextScore]:
        """Return each text's negative log-likelihood (nats), tokens, bytes, and bits per byte.

        Args:
            texts: texts of any length, each a document of its own.
            batch_tokens: tokens of a batch, padding included.

        Raises:
            InputError: the model is not a language model.
        """
        return score_texts(self._language_model("scores texts"), self.tokenizer, _list_of(texts), batch_tokens)

    def predict(self, rows: Iterable[Mapping[str, Any]], **settings: Any) -> list[dict[str, Any]]:
        """Return a record for each row, the same as ``gpt-lightning predict`` writes.

        Args:
            rows: rows as a file would hold them, such as ``{"text": "great film"}``; labels are not needed.
            **settings: arguments of the data module, such as ``text_column`` or ``batch_size``.

        Raises:
            InputError: the model is a language model, or a row is invalid.
        """
        if isinstance(self.task, CausalLM):
            raise InputError("a CausalLM has no labels to predict. Use generate or score")
        rows = list(rows)
        if not all(isinstance(row, Mapping) for row in rows):
            raise InputError('give a list of rows, such as [{"text": "great film"}]')
        if not rows:
            return []
        with TemporaryDirectory() as folder:
            file, tokenizer = Path(folder, "rows.jsonl"), Path(folder, "tokenizer.json")
            file.write_text("".join(json.dumps(dict(row)) + "\n" for row in rows), encoding="utf-8")
            self.tokenizer.save(tokenizer)
            fixed = {"test": str(file), "tokenizer": str(tokenizer), "cache_dir": folder}
            return self._predict(self._build_data_module(fixed | settings))

    @torch.inference_mode()
    def embed(self, texts: Sequence[str], *, pooling: Literal["mean", "last"] = "mean", batch_size: int = 16) -> Tensor:
        """Return a vector for each text, from the backbone's hidden states after the last norm.

        Args:
            texts: texts; what exceeds ``block_size`` tokens is cut.
            pooling: the ``mean`` over all tokens, or the ``last`` token's, which has seen all others.
            batch_size: texts that are computed at the same time.

        Returns:
            (N, C) float32, on the CPU.

        Raises:
            InputError: the pooling is unknown.
        """
        if pooling not in ("mean", "last"):
            raise InputError(f"pooling={pooling!r} must be mean or last")
        room = self.task.backbone.config.block_size - 1
        # As the classifiers see texts: after the token that separates documents.
        encoded = self.tokenizer.encode_batch(_list_of(texts))
        rows = [[self.tokenizer.end_of_text_id, *ids[:room]] for ids in encoded]
        parts = [self._pooled(rows[start : start + batch_size], pooling) for start in range(0, len(rows), batch_size)]
        return torch.cat([torch.empty(0, self.task.backbone.config.n_embd), *parts])

    def save(self, folder: str | Path, *, dtype: str = "float32") -> str | None:
        """Write a model folder, which Hugging Face's classes read too where they have such a model.

        Args:
            folder: a new folder, or an empty one.
            dtype: of the weights: float32, bfloat16 or float16.

        Returns:
            Why Hugging Face has no such model, or None where it has.

        Raises:
            InputError: the folder holds a model, or cannot be written.
        """
        return export_task(self.task, self.tokenizer, self.path, Path(folder), dtype)

    def _language_model(self, ability: str) -> CausalLM:
        if not isinstance(self.task, CausalLM):
            raise InputError(f"{self.path} holds a {type(self.task).__name__}; only a CausalLM {ability}")
        return self.task

    def _build_data_module(self, settings: Mapping[str, Any]) -> DataModule:
        """Return the data module with these settings, and those that follow the task's.

        Raises:
            InputError: no data module is known.
        """
        if self.data_module is None:
            raise InputError(
                f"no data module of gpt_lightning makes the batches of {type(self.task).__name__}. "
                "Set model.data_module to your own class"
            )
        arguments = _flattened(dict(self.task.hparams))
        links = self.data_module.takes_from_model.items()
        follows = {name: arguments[key] for name, key in links if key in arguments}
        names, accepted = self.task.takes_from_data.items(), accepted_arguments(self.data_module)
        follows |= {name: arguments[key] for key, name in names if key in arguments and name in accepted}
        return self.data_module(**{**follows, **settings})

    @torch.inference_mode()
    def _predict(self, module: DataModule) -> list[dict[str, Any]]:
        module.prepare_data()
        module.setup("predict")
        records: list[dict[str, Any]] = []
        for number, batch in enumerate(module.predict_dataloader()):
            there = module.transfer_batch_to_device(batch, self.task.device, 0)
            records += self.task.predict_step(there, number)
        return records

    def _pooled(self, rows: list[list[int]], pooling: Literal["mean", "last"]) -> Tensor:
        """(B, C) float32 on the CPU."""
        ids_BT, lengths_B = padded(rows, self.task.device)
        mask_BT = torch.arange(ids_BT.size(1), device=self.task.device) < lengths_B.unsqueeze(1)
        hidden_BTC = self.task.backbone(ids_BT, attention_mask=mask_BT).float()
        if pooling == "last":
            last_BC: Tensor = hidden_BTC[torch.arange(len(rows)), lengths_B - 1]
            return last_BC.cpu()
        mean_BC: Tensor = (hidden_BTC * mask_BT.unsqueeze(-1)).sum(1) / lengths_B.unsqueeze(1)
        return mean_BC.cpu()


def _flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values by dotted names, such as ``backbone.block_size``."""
    flat = {f"{prefix}{name}": value for name, value in values.items()}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flattened(value, f"{prefix}{name}.")
    return flat


def _list_of(texts: Sequence[str]) -> list[str]:
    if isinstance(texts, str):
        raise InputError("give a list of texts, not a single one: [text]")
    return [without_surrogates(text) for text in texts]
