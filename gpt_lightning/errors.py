"""Exceptions with messages for the user: invalid input, a failed run, an interruption."""

import re

_EARLY_STOPPING = re.compile(r"Early stopping conditioned on metric `(.+?)` .*any of the following: (.+)$", re.DOTALL)


class InputError(ValueError):
    """Invalid file, argument or configuration value of the user.

    The message says what is wrong, where (``path:line`` or the YAML key) and how to fix it. The command line prints it
    without a traceback and exits with status 2. Any other exception is a bug in this package and keeps its traceback.
    """


class RunError(RuntimeError):
    """Failure that ends a run: a full disk, a value that is not finite, or a dead process.

    The message says what failed and at which step. The command line prints it without a traceback and exits with
    status 1. Checkpoints saved before the failure stay valid.
    """


class Interrupted(BaseException):
    """Signal that ends the run; the command line exits with status 128 + ``signum``, as shells expect.

    It derives from BaseException, as KeyboardInterrupt does, because it may be raised inside code that catches or
    converts every Exception.
    """

    def __init__(self, signum: int, between_steps: bool) -> None:
        super().__init__(signum)
        self.signum = signum
        self.between_steps = between_steps  # True if no optimizer step was under way


def run_error(error: Exception) -> RunError | None:
    """Return ``error`` as a RunError, or None if it is another kind of error.

    torch reports a dead data loader worker as a plain RuntimeError, which is converted.
    """
    if isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker"):
        reason = str(error).splitlines()[0].removeprefix("DataLoader worker ")
        return RunError(
            f"a worker process of the data loader has died: {reason} All saved checkpoints are intact. Resume with "
            "--resume=auto; if workers die again, lower --data.num_workers"
        )
    return error if isinstance(error, RunError) else None


def input_error(error: BaseException | None) -> InputError | None:
    """Return ``error`` or its cause as an InputError, or None if neither is one.

    jsonargparse wraps the errors of constructors. Lightning reports a monitor that does not exist as a RuntimeError.
    """
    if isinstance(error, RuntimeError) and (match := _EARLY_STOPPING.match(str(error))):
        names = match[2].replace("`", "")
        return InputError(f"EarlyStopping: the metric {match[1]} is not computed. Set its monitor to one of {names}")
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__
    return error
