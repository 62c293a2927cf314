"""Reason why training stopped."""

import lightning.pytorch as L
from lightning.pytorch.callbacks import EarlyStopping, Timer


def stop_reason(trainer: L.Trainer) -> str:
    """Return why training stopped: a callback, the time limit, or the limit of steps or epochs."""
    if trainer.should_stop:
        reasons = [reason for each in trainer.callbacks if (reason := _callback_reason(each))]  # type: ignore[attr-defined]
        return "; ".join(reasons) or "a callback requested it"
    if trainer.global_step == trainer.max_steps:
        return f"trainer.max_steps={trainer.max_steps} is reached"
    return f"trainer.max_epochs={trainer.max_epochs} is reached"


def _callback_reason(callback: L.Callback) -> str | None:
    """Return why ``callback`` requested to stop, or None if it did not."""
    if isinstance(callback, EarlyStopping) and callback.stopping_reason_message is not None:
        return f"EarlyStopping: {callback.stopping_reason_message.removesuffix(' Signaling Trainer to stop.')}"
    if isinstance(callback, Timer) and (left := callback.time_remaining()) is not None and left <= 0.0:
        return "trainer.max_time is over"
    return None
