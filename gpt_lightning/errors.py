"""The one exception that means: what the user gave cannot work."""


class InputError(ValueError):
    """A file, a key or a value of the user's is wrong.

    The message says what, where (``path:line`` or the YAML key) and how to mend it. The command line prints it
    without a traceback and exits with 2; any other exception is a defect of ours and keeps its traceback.
    """


def input_error(error: BaseException | None) -> InputError | None:
    """The InputError that ``error`` is, or that it was raised from: jsonargparse wraps what constructors raise."""
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__
    return error
