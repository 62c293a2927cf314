"""Python API: a trained model with its tokenizer, ready to use.

>>> import gpt_lightning as gl
>>> model = gl.load("logs/pretrain_books/version_0")
>>> print(model.generate("Once upon a time", max_new_tokens=50, seed=0))
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypedDict, Unpack, cast

import numpy as np
import torch
from torch import Tensor

from gpt_lightning.batch import ends_with_token
from gpt_lightning.checkpoints.run_config import columns_of
from gpt_lightning.data.base import DataModule
from gpt_lightning.data.find import default_data_module, named_data_module
from gpt_lightning.data.prompts import MESSAGES_EXAMPLE, are_messages
from gpt_lightning.data.sources.row_formats import short_repr, without_surrogates
from gpt_lightning.errors import InputError
from gpt_lightning.evaluation.data_module import data_module_for
from gpt_lightning.evaluation.explain.explanation import Explainer, Explanation, prompts_of
from gpt_lightning.evaluation.text_scores import TextScore, score_texts
from gpt_lightning.models.device import device_of
from gpt_lightning.models.encoder_decoder import EncoderDecoder
from gpt_lightning.models.generation.batched import pad_rows
from gpt_lightning.models.generation.decoding import Decoding, choose_decoding
from gpt_lightning.models.interventions import Value, layer_names, patch, record
from gpt_lightning.ranges import MAX_SEED, check_count
from gpt_lightning.tasks import CausalLM, QuestionAnswering, Seq2SeqLM, Task
from gpt_lightning.tasks.answer_data import AnswerData
from gpt_lightning.tasks.continuation import Completion, completions, continuation
from gpt_lightning.tasks.export import export_task
from gpt_lightning.tasks.export_tokenizer import layout_of
from gpt_lightning.tasks.load import find_checkpoint, read_checkpoint, task_from_checkpoint
from gpt_lightning.tasks.prediction_rows import with_texts
from gpt_lightning.tasks.saving import accepted_arguments
from gpt_lightning.tokenizers.generation_config import decoding_defaults
from gpt_lightning.tokenizers.layout import InputLayout
from gpt_lightning.tokenizers.prompt import Message, chat_prompt, text_prompt
from gpt_lightning.tokenizers.tokenizer import Tokenizer


def load(
    path: str | Path, *, device: str = "auto", init_from: str | None = None, allow_import: Sequence[str] = ()
) -> "Model":
    """Load a trained model.

    Args:
        path: run folder (its best checkpoint is loaded), checkpoint file, model folder (exported or from Hugging
            Face), or ``hub:OWNER/NAME``.
        device: ``cpu``, ``cuda``, ``mps``, or ``auto`` for an accelerator if there is one.
        init_from: new location of the base model of its LoRA adapters, if it has moved.
        allow_import: your packages that the task's class may be imported from. A class that your program has already
            imported needs no permission.

    Raises:
        InputError: the model does not exist, is damaged, or its class may not be imported.
    """
    checkpoint_path = find_checkpoint(str(path))
    checkpoint = read_checkpoint(checkpoint_path, allow_import)
    task, tokenizer = task_from_checkpoint(checkpoint_path, checkpoint, init_from, allow_import)
    data_module = _data_module_of(checkpoint, allow_import)
    reading = columns_of(checkpoint_path).items()
    columns = {name: value for name, value in reading if name.endswith(("_column", "_columns"))}
    return Model(task.to(device_of(device)), tokenizer, checkpoint_path, data_module, columns)


def _data_module_of(checkpoint: Mapping[str, Any], allow_import: Sequence[str]) -> type[DataModule] | None:
    """Return the data module that a checkpoint names if it may be imported or is already imported, else None."""
    path = str(checkpoint.get("data", ""))
    package = path.rpartition(".")[0]
    found = named_data_module(path, [*allow_import, *([package] if package in sys.modules else [])])
    return found if found is not None and issubclass(found, DataModule) else None


class GenerationSettings(TypedDict, total=False):
    """Types of the arguments of ``Model.generate``, which are those of ``Model.stream``."""

    max_new_tokens: int
    min_new_tokens: int | None
    temperature: float | None
    top_k: int | None
    top_p: float | None
    num_beams: int | None
    length_penalty: float | None
    repetition_penalty: float | None
    no_repeat_ngram_size: int | None
    seed: int
    stop: Sequence[str]
    raw: bool


class Model:
    """Trained task with its tokenizer; ``load`` returns one.

    Attributes:
        task: LightningModule in ``eval`` mode.
        tokenizer: tokenizer of the task.
        path: checkpoint or model folder that it was loaded from.
        data_module: class of the data module with which ``predict`` reads rows. By default it is the one that the
            checkpoint names. For model folders, and if that class may not be imported, it is the first data module of
            this package that fits the task. Set it to use another one.
        columns: names of the columns that the model was trained on, by argument of the data module, such as
            ``text_column``. ``predict`` reads the same ones by default.
    """

    def __init__(
        self,
        task: Task,
        tokenizer: Tokenizer,
        path: Path,
        data_module: type[DataModule] | None = None,
        columns: Mapping[str, str | list[str] | list[int]] = {},
    ) -> None:
        self.task = task
        self.tokenizer = tokenizer
        self.path = path
        self.columns = columns
        self.data_module = data_module or default_data_module(type(task))

    def __repr__(self) -> str:
        """Return the name of the task, its number of parameters, and its path."""
        size = sum(parameter.numel() for parameter in self.task.parameters())
        return f"Model({type(self.task).__name__}, {size:,} parameters, {str(self.path)!r})"

    def generate(self, prompt: str | Sequence[Message] = "", **settings: Unpack[GenerationSettings]) -> str:
        """Return the continuation of ``prompt``, without the prompt.

        Args:
            prompt: text to continue, or the messages of a chat, as in ``stream``.
            **settings: arguments of ``stream``.
        """
        return "".join(self.stream(prompt, **settings))

    def stream(
        self,
        prompt: str | Sequence[Message] = "",
        *,
        max_new_tokens: int = 200,
        min_new_tokens: int | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        num_beams: int | None = None,
        length_penalty: float | None = None,
        repetition_penalty: float | None = None,
        no_repeat_ngram_size: int | None = None,
        seed: int = 0,
        stop: Sequence[str] = (),
        raw: bool = False,
    ) -> Iterator[str]:
        """Yield the continuation of ``prompt`` in pieces, as it is generated; beam search yields it as a whole.

        The prompt has the token ids that transformers gives it: special tokens such as BOS are added, and those that
        are written in the text become their ids.

        Args:
            prompt: text to continue; an empty one starts a new document. Messages, such as
                ``[{"role": "user", "content": "Hello"}]``, are rendered with the model's chat template. For an
                encoder-decoder, it is the source text, and the result is the target.
            max_new_tokens: maximum number of new tokens.
            min_new_tokens: number of new tokens before the first end token.
            temperature: divisor of the logits. Higher values give more varied text; 0 is greedy decoding. None takes
                the value in the model's ``generation_config.json``, or 0.8. None means the same for the settings below.
            top_k: sample from the k most probable tokens only.
            top_p: sample from the smallest set of most probable tokens with at least this total probability.
            num_beams: search for the most probable text with this many beams, instead of sampling.
            length_penalty: beam search divides scores by the length to this power, 1 by default.
            repetition_penalty: above 1, tokens of the prompt and of the new text are less likely to be repeated.
            no_repeat_ngram_size: no sequence of this many tokens occurs twice.
            seed: random seed; the same seed gives the same text.
            stop: texts that end the continuation, which are not part of it.
            raw: the text is the whole prompt: add no special tokens.

        Raises:
            InputError: the model generates no text, it has no chat template, or a value is out of range.
        """
        task = self._generative_task()
        decoding = self._decoding(
            {
                "max_new_tokens": max_new_tokens,
                "min_new_tokens": min_new_tokens,
                "temperature": temperature,
                "top_k": top_k,
                "top_p": top_p,
                "num_beams": num_beams,
                "length_penalty": length_penalty,
                "repetition_penalty": repetition_penalty,
                "no_repeat_ngram_size": no_repeat_ngram_size,
                "stop": stop,
            }
        )
        check_count("seed", seed, least=0, most=MAX_SEED)
        return continuation(task, self.tokenizer, self._prompt_ids(prompt, raw), decoding, seed=seed)

    def complete(
        self,
        prompts: Sequence[str | Sequence[Message]],
        *,
        samples: int = 1,
        logprobs: bool = False,
        batch_size: int = 1,
        **settings: Unpack[GenerationSettings],
    ) -> list[list[Completion]]:
        """Return continuations of each prompt, each with its tokens, log-probabilities and the reason why it ends.

        Args:
            prompts: texts or chats, as in ``stream``.
            samples: number of continuations of each prompt. Beam search gives its best ones; otherwise, sample *k*,
                counted from 0, is the continuation with the seed ``seed`` + *k*.
            logprobs: return the log-probability of each new token, before temperature and penalties.
            batch_size: number of continuations that are generated at the same time. More are faster, and the texts are
                the same except for rounding, but prompts and new tokens must fit ``block_size``.
            **settings: arguments of ``stream``.

        Raises:
            InputError: as in ``stream``, or a prompt does not fit.
        """
        check_count("samples", samples)
        check_count("batch_size", batch_size)
        if isinstance(prompts, str) or not isinstance(prompts, Iterable):
            raise InputError(f"prompts={short_repr(prompts)} must be a list of prompts, such as [prompt]")
        task = self._generative_task()
        raw, seed = settings.pop("raw", False), settings.pop("seed", 0)
        check_count("seed", seed, least=0, most=MAX_SEED - samples + 1)
        decoding = self._decoding(settings)
        if decoding.num_beams > 1 and samples > decoding.num_beams:
            raise InputError(f"samples={samples} must be at most num_beams={decoding.num_beams}")
        encoded = [self._prompt_ids(prompt, raw) for prompt in prompts]
        found = completions(
            task,
            self.tokenizer,
            encoded,
            decoding,
            samples=samples,
            seed=seed,
            batch_size=batch_size,
            with_logprobs=logprobs,
        )
        return list(found)

    def score(self, texts: Sequence[str], *, batch_tokens: int = 2048) -> list[TextScore]:
        """Return the negative log-likelihood (nats), number of tokens, bytes, and bits per byte of each text.

        Args:
            texts: texts of any length, each a separate document.
            batch_tokens: maximum number of tokens in a batch, including padding.

        Raises:
            InputError: the model is not a language model.
        """
        return score_texts(self._language_model("scores texts"), self.tokenizer, _list_of(texts), batch_tokens)

    def predict(self, rows: Iterable[Mapping[str, Any]], **settings: Any) -> list[dict[str, Any]]:
        """Return a prediction for each row, in the format of ``gpt-lightning predict``.

        Args:
            rows: rows with the columns of the training data, such as ``{"text": "great film"}``; labels are not needed.
            **settings: arguments of the data module, such as ``batch_size``, or ``text_column`` if it has another name
                than in the training data.

        Raises:
            InputError: the model is a language model that was not trained to answer prompts, or a row is invalid.
        """
        if isinstance(self.task, CausalLM | Seq2SeqLM) and not (
            self.data_module is not None and "generate_examples" in accepted_arguments(self.data_module)
        ):
            remedy = "generate or score" if isinstance(self.task, CausalLM) else "generate or complete"
            raise InputError(f"a {type(self.task).__name__} has no labels to predict. Use {remedy}")
        rows = _list_of_rows(rows)
        if not rows:
            return []
        with self._reading(rows, settings) as module:
            return self._predict(module)

    def explain(
        self,
        rows: str | Path | Mapping[str, Any] | Iterable[Mapping[str, Any]],
        *,
        target: str | None = None,
        layers: Sequence[str] | None = None,
        limit: int | None = None,
        **settings: Any,
    ) -> list[Explanation]:
        """Explain the prediction for each row: attributions, erasure, attention, and for language models the losses.

        It needs captum: ``pip install 'gpt-lightning[explain]'``. ``gpt_lightning.evaluation.explain`` describes the
        result. Its ``as_dict`` gives values for JSON.

        Args:
            rows: a text, a row as in ``predict``, several rows, or the path of a file of them. Language models read
                columns ``prompt``, ``text`` or ``messages``.
            target: output to explain in place of the prediction: a label; a word whose tag is explained, or
                ``WORD=TAG``; an answer in the context; or the text that a language model should give.
            layers: names of layers whose attention is returned, such as ``blocks.0.attention``; None takes the last
                ones, as far as they are not too large.
            limit: maximum number of rows.
            **settings: arguments of the data module, as in ``predict``.

        Raises:
            InputError: captum is not installed, a row or the limit is invalid, or the target or a layer is unknown.
            RunError: the output of the model is not finite.
        """
        if limit is not None:
            check_count("limit", limit)
        explainer = Explainer(self.task, self.tokenizer, target, layers)
        template: dict[str, Any] = {}
        if isinstance(rows, str):
            rows = self._text_row(rows)
        elif isinstance(self.task, Seq2SeqLM):  # its sources are made from the columns of the training data
            template = {name: value for name, value in columns_of(self.path).items() if name in ("template", "target")}
        if isinstance(rows, Mapping):
            rows = [rows]
        found = rows if isinstance(rows, Path) else _list_of_rows(rows)[:limit]
        if isinstance(self.task, CausalLM):
            return list(explainer.prompts(prompts_of(found, limit)))
        if not isinstance(found, Path) and not found:
            return []
        with self._reading(found, {"batch_size": 1} | template | settings) as module:
            return list(explainer.rows(module, limit))

    @torch.inference_mode()
    def embed(self, texts: Sequence[str], *, pooling: Literal["mean", "last"] = "mean", batch_size: int = 16) -> Tensor:
        """Return an embedding of each text, pooled from the backbone's hidden states after the final norm.

        A language model reads the token ids that transformers gives for the text. A task with a head reads the ids that
        it was trained with. For an encoder-decoder, the embedding pools the hidden states of the encoder.

        Args:
            texts: texts; they are truncated to ``block_size`` tokens.
            pooling: ``mean`` over all tokens, or the hidden state of the ``last`` token, which attends to all others.
            batch_size: number of texts per forward pass.

        Returns:
            (N, C) float32, on the CPU.

        Raises:
            InputError: the pooling is unknown.
        """
        if pooling not in ("mean", "last"):
            raise InputError(f"pooling={pooling!r} must be mean or last")
        rows = self._inputs(_list_of(texts))
        parts = [self._pool(rows[start : start + batch_size], pooling) for start in range(0, len(rows), batch_size)]
        return torch.cat([torch.empty(0, self.task.backbone.config.n_embd), *parts])

    def patch(
        self,
        layer: str,
        value: Value,
        *,
        heads: Sequence[int] | None = None,
        positions: Sequence[int] | None = None,
    ) -> AbstractContextManager[None]:
        """Replace an activation in every forward pass inside the ``with`` block.

        All methods of the model apply the patch: ``generate``, ``score``, ``predict`` and others. Generation reads
        texts in parts, so it refuses tensors and positions.

        Args:
            layer: name of the activation, as in ``layers``.
            value: tensor with the shape of the activation, such as one that ``record`` has recorded; number that
                replaces every element (0 ablates the layer); or function that receives the activation and returns one
                of the two.
            heads: indices of the heads to patch, for a layer such as ``blocks.0.attention.heads``.
            positions: indices of the tokens to patch in each row, negative ones from the end of the longest row.

        Raises:
            InputError: the activation, a head or a token does not exist, or the value has another shape.
        """
        return patch(self.task.backbone, layer, value, heads=heads, positions=positions)

    def record(self, *layers: str) -> AbstractContextManager[dict[str, list[Tensor]]]:
        """Record activations of every forward pass inside the ``with`` block.

        Args:
            *layers: names of the activations, as in ``layers``.

        Returns:
            Context manager that gives a dictionary: name -> activations of all forward passes, in order.

        Raises:
            InputError: an activation does not exist.
        """
        return record(self.task.backbone, layers)

    @property
    def layers(self) -> list[str]:
        """Names of the activations that ``patch`` and ``record`` take, in the order of their computation."""
        return layer_names(self.task.backbone)

    def save(self, folder: str | Path, *, dtype: str = "float32") -> str | None:
        """Write a model folder, which Hugging Face's classes can load too if they have a corresponding model.

        Args:
            folder: new or empty folder.
            dtype: data type of the weights: float32, bfloat16 or float16.

        Returns:
            The reason why Hugging Face's classes cannot load the folder, or None if they can.

        Raises:
            InputError: the folder already holds a model, or cannot be written.
        """
        return export_task(self.task, self.tokenizer, self.path, Path(folder), dtype)

    def _decoding(self, settings: Mapping[str, Any]) -> Decoding:
        """Return the decoding settings. A setting that is None or missing takes the model's own value."""
        stop = tuple(_list_of(settings.get("stop", ()), "stop strings"))
        defaults = decoding_defaults(self.tokenizer.generation_config)
        return choose_decoding({**settings, "stop": stop}, defaults)[0]

    def _prompt_ids(self, prompt: str | Sequence[Message], raw: bool) -> list[int]:
        layout = layout_of(self.task, self.tokenizer)
        if isinstance(prompt, str):
            ids = text_prompt(self.tokenizer, without_surrogates(prompt), is_raw=raw, layout=layout)
            if layout is not None and not prompt:
                raise InputError("an encoder-decoder needs a source text, but the prompt is empty")
            return ids
        if layout is not None:
            raise InputError("an encoder-decoder reads a source text, not a chat. Give a text")
        if not are_messages(prompt):
            raise InputError(
                f"the prompt is {short_repr(prompt)}. Give a text, or a list of messages such as {MESSAGES_EXAMPLE}"
            )
        if raw:
            raise InputError("messages need the chat template. Leave raw out, or give a text")
        return chat_prompt(self.tokenizer, without_surrogates([dict(message) for message in prompt]))

    def _inputs(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the input ids of each text, truncated to ``block_size``; an empty text has at least one."""
        if isinstance(self.task, CausalLM):
            layout = InputLayout.published(self.tokenizer)
            encoded = [self.tokenizer.encode_published(text, add_special_tokens=False) for text in texts]
        else:
            layout = self.task.layout.complete(self.tokenizer, ends_with_token=ends_with_token(self.task.batch))
            encoded = [ids.tolist() for ids in self.tokenizer.encode_batch(texts)]
        block_size, empty = self.task.backbone.config.block_size, text_prompt(self.tokenizer, "")
        return [layout.input_ids([np.array(ids, dtype=np.int64)], block_size).tolist() or empty for ids in encoded]

    def _language_model(self, ability: str) -> CausalLM:
        if not isinstance(self.task, CausalLM):
            raise InputError(
                f"{self.path} holds a {type(self.task).__name__}, but only a CausalLM {ability}. "
                "Use predict, or load a language model"
            )
        return self.task

    def _generative_task(self) -> CausalLM | Seq2SeqLM:
        if isinstance(self.task, Seq2SeqLM):
            return self.task
        return self._language_model("or a Seq2SeqLM generates text")

    def _text_row(self, text: str) -> dict[str, str]:
        """Return a text as a row that the data module reads.

        Raises:
            InputError: a row has two texts.
        """
        if isinstance(self.task, QuestionAnswering):
            raise InputError('question answering needs two texts. Give a row {"question": ..., "context": ...}')
        if "text_columns" in self.columns:
            names = self.columns["text_columns"]
            raise InputError(f"the model reads two texts. Give a row with the columns {' and '.join(map(str, names))}")
        column = "prompt" if isinstance(self.task, CausalLM | Seq2SeqLM) else self.columns.get("text_column", "text")
        return {str(column): without_surrogates(text)}

    @contextmanager
    def _reading(self, rows: Path | Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> Iterator[DataModule]:
        """Yield the data module of rows, or of a file of them, with the tokenizer of the model."""
        with TemporaryDirectory() as folder:
            file, tokenizer = Path(folder, "rows.jsonl"), Path(folder, "tokenizer.json")
            if isinstance(rows, Path):
                file = rows
            else:
                file.write_text(_json_lines(rows), encoding="utf-8")
            self.tokenizer.save(tokenizer)
            fixed = {"test": str(file), "tokenizer": str(tokenizer), "cache_dir": folder}
            yield self._build_data_module({**fixed, **settings})

    def _build_data_module(self, settings: Mapping[str, Any]) -> DataModule:
        """Build the data module from ``settings`` and the arguments that it takes from the task.

        Raises:
            InputError: there is no data module for the task.
        """
        if self.data_module is None:
            raise InputError(
                f"gpt_lightning has no data module for the batches of {type(self.task).__name__}. "
                "Set model.data_module to your own class"
            )
        return data_module_for(self.task, self.data_module, self.columns, settings)

    @torch.inference_mode()
    def _predict(self, module: DataModule) -> list[dict[str, Any]]:
        module.prepare_data()
        module.setup("predict")
        if hasattr(module, "generate_examples"):
            self.task.answer_data = cast(AnswerData, module)
        records: list[dict[str, Any]] = []
        for number, batch in enumerate(module.predict_dataloader()):
            batch_on_device = module.transfer_batch_to_device(batch, self.task.device, 0)
            records += with_texts(self.task.predict_step(batch_on_device, number), batch)
        return records

    def _pool(self, rows: list[list[int]], pooling: Literal["mean", "last"]) -> Tensor:
        """Return the pooled hidden states of rows of token ids, (B, C) float32 on the CPU."""
        ids_BT, lengths_B = pad_rows(rows, self.task.device)
        mask_BT = torch.arange(ids_BT.size(1), device=self.task.device) < lengths_B.unsqueeze(1)
        backbone = self.task.backbone
        encoder = backbone.encoder if isinstance(backbone, EncoderDecoder) else backbone
        hidden_BTC = encoder(ids_BT, attention_mask=mask_BT).float()
        if pooling == "last":
            last_BC: Tensor = hidden_BTC[torch.arange(len(rows)), lengths_B - 1]
            return last_BC.cpu()
        mean_BC: Tensor = (hidden_BTC * mask_BT.unsqueeze(-1)).sum(1) / lengths_B.unsqueeze(1)
        return mean_BC.cpu()


def _list_of_rows(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    found = list(rows) if isinstance(rows, Iterable) else [rows]
    if not all(isinstance(row, Mapping) for row in found):
        raise InputError('rows must be a list of dicts, such as [{"text": "great film"}]')
    return found


def _json_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    try:
        return "".join(json.dumps(dict(row)) + "\n" for row in rows)
    except (TypeError, ValueError) as error:
        raise InputError(f"a row has a value that JSON lacks ({error}). Use texts, numbers and lists") from None


def _list_of(texts: Sequence[str], noun: str = "texts") -> list[str]:
    if isinstance(texts, str):
        raise InputError(f"give a list of {noun}, not a string: [text]")
    found = list(texts) if isinstance(texts, Iterable) else [texts]
    if not (isinstance(texts, Iterable) and all(isinstance(text, str) for text in found)):
        wrong = next(text for text in found if not isinstance(text, str))
        raise InputError(f"give a list of {noun}; {short_repr(wrong)} is not a string")
    return [without_surrogates(text) for text in found]
