"""Lines at the start and at the end of training: what is trained, why it stopped, and where the result is."""

import lightning.pytorch as L

from gpt_lightning.checkpoints.read import best_checkpoint
from gpt_lightning.printable import printable
from gpt_lightning.training.checkpoint_callback import Checkpoints
from gpt_lightning.training.stop_reason import stop_reason


class Summary(L.Callback):
    """Callback that prints the size of the model at the start, and the best and the last checkpoint at the end."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print the number of parameters and the folder of the run."""
        log_dir = trainer.log_dir  # a broadcast from rank zero: every rank must take part
        if trainer.is_global_zero:
            parameters = sum(parameter.numel() for parameter in pl_module.parameters())
            trained = sum(parameter.numel() for parameter in pl_module.parameters() if parameter.requires_grad)
            trainable = "" if trained == parameters else f", {trained:,} of them trainable"
            folder = "" if log_dir is None else f", in {log_dir}"
            print(f"{type(pl_module).__name__}: {parameters:,} parameters{trainable}{printable(folder)}", flush=True)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print the summary."""
        if not trainer.is_global_zero or trainer.global_step == 0:
            return
        steps = "1 step" if trainer.global_step == 1 else f"{trainer.global_step:,} steps"
        lines = [f"Stopped after {steps}: {stop_reason(trainer)}"]
        for checkpoints in trainer.checkpoint_callbacks:
            if not isinstance(checkpoints, Checkpoints) or checkpoints.folder is None:
                continue
            manifest = checkpoints.manifest
            best = manifest.named(manifest.best)
            if best is not None and best_checkpoint(checkpoints.folder, manifest).name == best.file:
                is_scored = checkpoints.best_score is not None and checkpoints.best_step == best.step
                score = f"{checkpoints.monitor} {checkpoints.best_score:.4f} at " if is_scored else ""
                lines.append(f"best: {checkpoints.folder / best.file} ({score}step {best.step})")
            if manifest.checkpoints:
                lines.append(f"last: {checkpoints.folder / manifest.checkpoints[-1].file}")
        print(printable("\n".join(lines)), flush=True)
