"""Exceptions with a message for the user: invalid input, a run that cannot continue, an interruption."""


class InputError(ValueError):
    """A file, a key or a value of the user's is wrong.

    The message says what, where (``path:line`` or the YAML key) and how to mend it. The command line prints it
    without a traceback and exits with 2; any other exception is a defect of ours and keeps its traceback.
    """


class RunError(RuntimeError):
    """Training cannot go on: the disk is full, a number is no longer finite, a process has died.

    The message says what and at which step. The command line prints it without a traceback and exits with 1. What was
    saved before is as good as it was.
    """


class Interrupted(BaseException):
    """A signal has asked the run to end; the command line exits with 128 + ``signum``, as shells expect.

    Like KeyboardInterrupt it comes anywhere, also inside of what turns every Exception into another.
    """

    def __init__(self, signum: int, between_steps: bool) -> None:
        super().__init__(signum)
        self.signum = signum
        self.between_steps = between_steps  # the weights are those of a whole number of steps


def run_error(error: Exception) -> RunError | None:
    """The RunError that ``error`` is, or that it should have been: torch raises what it can where a worker dies."""
    if isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker"):
        reason = str(error).splitlines()[0].removeprefix("DataLoader worker ")
        return RunError(f"a worker process of the data loader has died: {reason} The checkpoints are as they were")
    return error if isinstance(error, RunError) else None


def input_error(error: BaseException | None) -> InputError | None:
    """The InputError that ``error`` is, or that it was raised from: jsonargparse wraps what constructors raise."""
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__
    return error
