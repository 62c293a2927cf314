"""Trained model with the methods that use it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, Unpack

from torch import Tensor

from gpt_lightning.api.embedding import embed
from gpt_lightning.api.generation import (
    GenerationSettings,
    decoding_of,
    generative_task,
    language_model,
    prompt_ids,
)
from gpt_lightning.api.inputs import list_of_rows, list_of_texts
from gpt_lightning.api.prediction import check_predicts, open_rows, predict, text_row
from gpt_lightning.checkpoints.run_config import RememberedSettings
from gpt_lightning.data.base import DataModule
from gpt_lightning.data.find import default_data_module
from gpt_lightning.data.sources.row_formats import short_repr
from gpt_lightning.errors import InputError
from gpt_lightning.evaluation.explain.explanation import Explainer, Explanation, prompts_of
from gpt_lightning.evaluation.text_scores import TextScore, score_texts
from gpt_lightning.models.interventions import Value, layer_names, patch, record
from gpt_lightning.ranges import MAX_SEED, check_count
from gpt_lightning.tasks import CausalLM, Seq2SeqLM, Task
from gpt_lightning.tasks.continuation import Completion, completions, continuation
from gpt_lightning.tasks.export import export_task
from gpt_lightning.tokenizers.prompt import Message
from gpt_lightning.tokenizers.tokenizer import Tokenizer


class Model:
    """Trained task with its tokenizer; ``load`` returns one.

    Attributes:
        task: LightningModule in ``eval`` mode.
        tokenizer: tokenizer of the task.
        path: checkpoint or model folder that it was loaded from.
        data_module: class of the data module with which ``predict`` reads rows. By default it is the one that the
            checkpoint names. For model folders, and if that class may not be imported, it is the first data module of
            this package that fits the task. Set it to use another one.
        data_settings: how the rows of the training data were read, by argument of the data module, such as
            ``text_column`` or ``template``. ``predict`` reads its rows in the same way.
    """

    def __init__(
        self,
        task: Task,
        tokenizer: Tokenizer,
        path: Path,
        data_module: type[DataModule] | None = None,
        data_settings: RememberedSettings | None = None,
    ) -> None:
        self.task = task
        self.tokenizer = tokenizer
        self.path = path
        self.data_settings = data_settings or {}
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
        max_new_tokens: int | None = None,
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
            max_new_tokens: maximum number of new tokens. None takes the value in the model's
                ``generation_config.json``, or 200. None means the same for the settings below, with other defaults.
            min_new_tokens: number of new tokens before the first end token.
            temperature: divisor of the logits. Higher values give more varied text; 0 is greedy decoding. It is 0.8 by
                default.
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
        task = generative_task(self.task, self.path)
        decoding = decoding_of(
            self.tokenizer,
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
            },
        )
        check_count("seed", seed, least=0, most=MAX_SEED)
        ids = prompt_ids(task, self.tokenizer, prompt, is_raw=raw)
        return continuation(task, self.tokenizer, ids, decoding, seed=seed)

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
        task = generative_task(self.task, self.path)
        raw, seed = settings.pop("raw", False), settings.pop("seed", 0)
        check_count("seed", seed, least=0, most=MAX_SEED - samples + 1)
        decoding = decoding_of(self.tokenizer, settings)
        if decoding.num_beams > 1 and samples > decoding.num_beams:
            raise InputError(f"samples={samples} must be at most num_beams={decoding.num_beams}")
        encoded = [prompt_ids(task, self.tokenizer, prompt, is_raw=raw) for prompt in prompts]
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
        task = language_model(self.task, self.path, "scores texts")
        return score_texts(task, self.tokenizer, list_of_texts(texts), batch_tokens)

    def predict(self, rows: Iterable[Mapping[str, Any]], **settings: Any) -> list[dict[str, Any]]:
        """Return a prediction for each row, in the format of ``gpt-lightning predict``.

        Args:
            rows: rows with the columns of the training data, such as ``{"text": "great film"}``; labels are not needed.
            **settings: arguments of the data module, such as ``batch_size``, or ``text_column`` if it has another name
                than in the training data.

        Raises:
            InputError: the model is a language model that was not trained to answer prompts, or a row is invalid.
        """
        check_predicts(self.task, self.data_module)
        rows = list_of_rows(rows)
        if not rows:
            return []
        with self._open_rows(rows, settings) as module:
            return predict(self.task, module)

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
        if isinstance(rows, str):
            rows = text_row(self.task, self.data_settings, rows)
            if isinstance(self.task, Seq2SeqLM):  # the text is the whole source
                settings = {name: None for name in ("template", "target") if name in self.data_settings} | settings
        if isinstance(rows, Mapping):
            rows = [rows]
        found = rows if isinstance(rows, Path) else list_of_rows(rows)[:limit]
        if isinstance(self.task, CausalLM):
            return list(explainer.prompts(prompts_of(found, limit)))
        if not isinstance(found, Path) and not found:
            return []
        with self._open_rows(found, {"batch_size": 1} | settings) as module:
            return list(explainer.rows(module, limit))

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
        return embed(self.task, self.tokenizer, list_of_texts(texts), pooling, batch_size)

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

    def _open_rows(
        self, rows: Path | Sequence[Mapping[str, Any]], settings: Mapping[str, Any]
    ) -> AbstractContextManager[DataModule]:
        return open_rows(self.task, self.tokenizer, self.data_module, self.data_settings, rows, settings)
