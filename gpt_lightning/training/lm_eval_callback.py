"""Callback that evaluates a language model with lm-evaluation-harness during training."""

import sys
import time
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy
from lightning.pytorch.utilities.seed import isolate_rng

from gpt_lightning.errors import InputError
from gpt_lightning.models.generation.generate import NonFiniteError
from gpt_lightning.ranges import check_count
from gpt_lightning.tasks import CausalLM
from gpt_lightning.training.checkpoint_callback import tokenizer_of
from gpt_lightning.training.throughput import Throughput
from gpt_lightning.training.validation import is_last_step


def check_harness() -> None:
    """Check that lm-evaluation-harness is installed.

    Raises:
        InputError: it is not.
    """
    try:
        import lm_eval  # noqa: F401
    except ImportError:
        raise InputError(
            "lm-evaluation-harness is not installed. Install it with: pip install 'gpt-lightning[lm-eval]'"
        ) from None


class LMEval(L.Callback):
    """Callback that evaluates tasks of lm-evaluation-harness during training, and logs ``lm_eval/TASK/METRIC``.

    For a group with a score of its own, only that score is logged. The devices share the rows of each task. The
    evaluation changes neither the training nor its random numbers.

    Args:
        tasks: names of tasks, groups or tags, separated by commas; empty for no evaluation.
        every_n_steps: number of optimizer steps between two evaluations; the last step is always evaluated.
        limit: number of rows of each task, from the first; null for all rows.
        num_fewshot: number of solved examples before each question, for tasks that do not set it.
        include_path: folder of your own task YAMLs, which must not contain code.
        batch_tokens: number of tokens in a batch, padding included.
    """

    def __init__(
        self,
        tasks: str = "",
        every_n_steps: int = 1000,
        limit: int | None = 100,
        num_fewshot: int | None = None,
        include_path: str | None = None,
        batch_tokens: int = 2048,
    ) -> None:
        check_count("--lm_eval.every_n_steps", every_n_steps)
        check_count("--lm_eval.batch_tokens", batch_tokens)
        if limit is not None:
            check_count("--lm_eval.limit", limit)
        if num_fewshot is not None:
            check_count("--lm_eval.num_fewshot", num_fewshot, least=0)
        self.tasks = [name.strip() for name in tasks.split(",") if name.strip()]
        self.every_n_steps = every_n_steps
        self.limit = limit
        self.num_fewshot = num_fewshot
        self.include_path = include_path
        self.batch_tokens = batch_tokens
        self._loaded: dict[str, Any] = {}

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Load the tasks, so that an invalid task stops the run before its first step."""
        if not self.tasks or stage != "fit":
            return
        check_harness()
        if not isinstance(pl_module, CausalLM):
            raise InputError(
                f"--lm_eval.tasks: only a CausalLM can be evaluated, not a {type(pl_module).__name__}. "
                "Leave the option out"
            )
        if isinstance(trainer.strategy, FSDPStrategy | ModelParallelStrategy):
            raise InputError("--lm_eval.tasks: each device must hold the whole model. Use --trainer.strategy=ddp")
        from gpt_lightning.evaluation.lm_eval.load_tasks import load_tasks
        from gpt_lightning.evaluation.lm_eval.run import quiet

        with isolate_rng(), quiet(bars=False):
            self._loaded = load_tasks(self.tasks, self.include_path, num_fewshot=self.num_fewshot)
            for name, task in self._loaded["tasks"].items():
                rows = min(len(task.eval_docs), self.limit or len(task.eval_docs))
                if rows < trainer.world_size:
                    raise InputError(
                        f"--lm_eval.tasks: {rows} rows of {name} are too few for {trainer.world_size} devices. "
                        "Raise --lm_eval.limit or leave the task out"
                    )

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Evaluate at the interval on every rank, and log on rank zero."""
        if not self._loaded or not isinstance(pl_module, CausalLM) or pl_module.is_accumulating:
            return
        if trainer.global_step % self.every_n_steps and not is_last_step(trainer):
            return
        start = time.perf_counter()
        scores = self._evaluate(trainer, pl_module)
        if scores and trainer.is_global_zero:
            named = {f"lm_eval/{name}": value for name, value in scores.items()}
            trainer._logger_connector.log_metrics(named, trainer.global_step)  # type: ignore[arg-type]
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, Throughput):
                callback.exclude(time.perf_counter() - start)

    def _evaluate(self, trainer: L.Trainer, task: CausalLM) -> dict[str, float]:
        from gpt_lightning.evaluation.lm_eval.model import HarnessLM
        from gpt_lightning.evaluation.lm_eval.run import quiet, run_tasks, scores

        tokenizer = tokenizer_of(trainer)
        assert tokenizer is not None, "the data module of a CausalLM has a tokenizer"
        modes = {module: module.training for module in task.modules()}
        task.eval()
        try:
            with isolate_rng(), quiet(bars=False):
                lm = HarnessLM(task, tokenizer, self.batch_tokens)
                return scores(run_tasks(lm, self._loaded, limit=self.limit), self._loaded)
        except NonFiniteError:  # the run itself stops if this lasts, see MeanGradients
            print(f"lm_eval is skipped at step {trainer.global_step}: the logits are NaN or infinite", file=sys.stderr)
            return {}
        finally:
            for module, mode in modes.items():
                module.training = mode
