"""Rendering of templates of unknown origin in a process of its own, with limits of time, memory and size.

Jinja's sandbox keeps a template from Python's objects, but not from endless loops, or from texts of any length.
"""

import atexit
import contextlib
import os
import pickle
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

from gpt_lightning.sandbox.process import command
from gpt_lightning.sandbox.render import HEADER, MAX_TEXT_BYTES, READY

Kind = Literal["chat", "task"]
"""``chat`` for chat templates, with the filters and functions of transformers; ``task`` for those of tasks of
lm-evaluation-harness."""

SECONDS: Final = 10.0
"""Time limit of one request."""
_START_SECONDS: Final = 60.0
"""Time limit of the start of the process, which imports Jinja. On a busy machine, it takes many times as long."""
_BATCH: Final = 256
"""Renderings per request."""


class RenderError(Exception):
    """Failure of a template, with the reason as its message."""


def render(kind: Kind, template: str, variables: Mapping[str, Any]) -> str:
    """Return the text of a Jinja template.

    Args:
        kind: kind of the template.
        template: text of the template.
        variables: values that the template may read.

    Raises:
        RenderError: the template raises an error, or exceeds a limit.
    """
    (text,) = render_all(kind, template, [variables])
    if isinstance(text, RenderError):
        raise text
    return text


def render_all(kind: Kind, template: str, renderings: Sequence[Mapping[str, Any]]) -> list[str | RenderError]:
    """Return the texts of a Jinja template for many variables, or the failures in their places.

    Args:
        kind: kind of the template.
        template: text of the template.
        renderings: values that the template may read, for each rendering.
    """
    parts = (renderings[start : start + _BATCH] for start in range(0, len(renderings), _BATCH))
    return [text for part in parts for text in _rendered(kind, template, part)]


def _rendered(kind: Kind, template: str, renderings: Sequence[Mapping[str, Any]]) -> Iterator[str | RenderError]:
    """Yield the results of a request. If it exceeds a limit, repeat it in halves to find the rendering at fault."""
    try:
        yield from _renderer.render(
            pickle.dumps((kind, template, [dict(each) for each in renderings])), len(renderings)
        )
    except RenderError as error:
        if len(renderings) == 1:
            yield error
        else:
            half = len(renderings) // 2
            yield from _rendered(kind, template, renderings[:half])
            yield from _rendered(kind, template, renderings[half:])


class _Renderer:
    """Connection to the process, which starts with the first request and after a failure."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._lock = threading.Lock()

    def render(self, request: bytes, count: int) -> list[str | RenderError]:
        """Return the ``count`` answers to a request.

        Raises:
            RenderError: the request exceeds a limit.
        """
        with self._lock:
            process = self._running_process()
            timer = threading.Timer(SECONDS, process.kill)
            timer.start()
            try:
                return self._ask(process, request, count)
            except (OSError, EOFError):
                self._close()
                raise RenderError(f"it takes too much memory, or longer than {SECONDS:.0f} seconds") from None
            except BaseException:  # an interruption would leave half an answer in the pipe
                self._close()
                raise
            finally:
                timer.cancel()

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._close()

    def _running_process(self) -> subprocess.Popen[bytes]:
        """Return the process, which is ready for a request.

        Raises:
            RenderError: it did not start.
        """
        if self._process is None or self._owner != os.getpid():  # a forked process must not use its parent's pipes
            self._process = subprocess.Popen(
                command("gpt_lightning.sandbox.render"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C must not end it in the middle of an answer
            )
            self._owner = os.getpid()
            timer = threading.Timer(_START_SECONDS, self._process.kill)
            timer.start()
            assert self._process.stdout is not None
            try:
                if self._process.stdout.read(len(READY)) != READY:
                    raise RenderError(f"the process that renders it did not start in {_START_SECONDS:.0f} seconds")
            except BaseException:  # an interruption would leave READY in the pipe, in front of an answer
                self._close()
                raise
            finally:
                timer.cancel()
        return self._process

    @staticmethod
    def _ask(process: subprocess.Popen[bytes], request: bytes, count: int) -> list[str | RenderError]:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(HEADER.pack(len(request)) + request)
        process.stdin.flush()
        texts: list[str | RenderError] = []
        total = 0
        for _ in range(count):
            header = process.stdout.read(1 + HEADER.size)
            if len(header) <= HEADER.size:
                raise EOFError
            (size,) = HEADER.unpack(header[1:])
            total += size
            content = process.stdout.read(size) if total <= MAX_TEXT_BYTES else b""
            if len(content) < size:
                raise EOFError
            text = content.decode(errors="surrogatepass")
            texts.append(text if header[:1] == b"+" else RenderError(text))
        return texts

    def _close(self) -> None:
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # unwritten bytes of a request
                    pipe.close()


_renderer = _Renderer()
atexit.register(_renderer.close)
