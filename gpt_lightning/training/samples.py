"""What the model writes, seen at each validation."""

import lightning.pytorch as L
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy

from gpt_lightning.data.tokenizer import Tokenizer
from gpt_lightning.models.sampling import Sampling, generate
from gpt_lightning.tasks import CausalLM


def sample_text(
    task: CausalLM,
    tokenizer: Tokenizer,
    prompt: str,
    *,
    max_new_tokens: int,
    sampling: Sampling,
    seed: int,
) -> str:
    """The continuation of ``prompt``; torch's own random numbers and the task's mode stay as they are."""
    generator = torch.Generator(task.device).manual_seed(seed)
    prompt_ids = torch.tensor([tokenizer.encode(prompt) or [tokenizer.end_of_text_id]], device=task.device)
    was_training = task.backbone.training
    task.backbone.eval()
    tokens = generate(
        task.backbone,
        task.head,
        prompt_ids,
        max_new_tokens=max_new_tokens,
        sampling=sampling,
        stop_id=tokenizer.end_of_text_id,
        generator=generator,
    )
    new_ids = [int(token) for token in tokens]
    task.backbone.train(was_training)
    return tokenizer.decode(new_ids)


class Samples(L.Callback):
    """Writes a continuation of each prompt to TensorBoard after every validation, always with the same random numbers.

    Args:
        prompts: texts to continue; an empty one starts a new document.
        max_new_tokens: length of a sample.
        temperature: of the sampling.
    """

    def __init__(self, prompts: tuple[str, ...] = ("",), max_new_tokens: int = 100, temperature: float = 0.8) -> None:
        self.prompts = prompts
        self.max_new_tokens = max_new_tokens
        self.sampling = Sampling(temperature=temperature)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw and write the samples, on rank zero."""
        logger, tokenizer = trainer.logger, getattr(trainer.datamodule, "tokenizer", None)  # type: ignore[attr-defined]
        if trainer.sanity_checking or trainer.state.fn != "fit" or not trainer.is_global_zero:
            return
        if not isinstance(pl_module, CausalLM) or not isinstance(tokenizer, Tokenizer):
            return
        if not isinstance(logger, TensorBoardLogger):
            return
        if isinstance(trainer.strategy, FSDPStrategy | ModelParallelStrategy):
            return  # a rank alone does not have the weights
        for number, prompt in enumerate(self.prompts):
            text = sample_text(
                pl_module, tokenizer, prompt, max_new_tokens=self.max_new_tokens, sampling=self.sampling, seed=number
            )
            # An indented block is shown as it is, not read as Markdown.
            shown = "".join(f"    {line}\n" for line in (prompt + text).splitlines())
            logger.experiment.add_text(f"sample/{number}", shown, trainer.global_step)
