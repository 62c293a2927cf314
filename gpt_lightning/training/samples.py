"""Text samples in the loggers after each validation."""

from typing import Final

import lightning.pytorch as L
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy

from gpt_lightning.data.sources.row_formats import without_surrogates
from gpt_lightning.models.generation.decoding import Decoding
from gpt_lightning.models.generation.generate import NonFiniteError, Sampling
from gpt_lightning.ranges import check_count, check_number
from gpt_lightning.tasks import CausalLM
from gpt_lightning.tasks.continuation import continuation
from gpt_lightning.tokenizers.prompt import text_prompt
from gpt_lightning.training.checkpoint_callback import tokenizer_of
from gpt_lightning.training.logger_media import show_text, shows_text, wrap_lines
from gpt_lightning.training.run_history import keep_text, keeps_texts

_MAX_NEW_TOKENS: Final = 100_000
"""Each validation generates the samples again, so that longer ones would stop training for hours."""


class Samples(L.Callback):
    """Callback that logs a continuation of each prompt after every validation, always with the same random numbers.

    Every logger that can show text receives the samples, and so does the report of the run.

    Args:
        prompts: texts to continue; an empty one starts a new document.
        max_new_tokens: largest number of tokens in a sample.
        temperature: randomness of the samples; 0 always takes the most probable token.
    """

    def __init__(self, prompts: tuple[str, ...] = ("",), max_new_tokens: int = 100, temperature: float = 0.8) -> None:
        check_count("--samples.max_new_tokens", max_new_tokens, most=_MAX_NEW_TOKENS)
        check_number("--samples.temperature", temperature)
        self.prompts = [without_surrogates(prompt) for prompt in prompts]
        self.decoding = Decoding(max_new_tokens=max_new_tokens, sampling=Sampling(temperature=temperature))

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Generate and log the samples, on rank zero."""
        tokenizer = tokenizer_of(trainer)
        if trainer.sanity_checking or trainer.state.fn != "fit" or not trainer.is_global_zero:
            return
        if not isinstance(pl_module, CausalLM) or tokenizer is None:
            return
        if not any(map(shows_text, trainer.loggers)) and not keeps_texts(trainer):
            return
        if isinstance(trainer.strategy, FSDPStrategy | ModelParallelStrategy):
            return  # no rank has all weights
        was_training = pl_module.backbone.training
        pl_module.backbone.eval()
        for number, prompt in enumerate(self.prompts):
            prompt_ids = text_prompt(tokenizer, prompt)
            pieces = continuation(pl_module, tokenizer, prompt_ids, self.decoding, seed=number)
            try:
                text = wrap_lines(prompt + "".join(pieces))
            except NonFiniteError:  # the run itself stops if this lasts, see MeanGradients
                text = "(no sample: the logits are NaN or infinite)"
            show_text(trainer, f"sample/{number}", text)
            keep_text(trainer, f"sample/{number}", text)
        pl_module.backbone.train(was_training)
