"""Permission to download: names in a file of someone else must not make this machine contact the network.

Names on the command line and in the user's own configuration need no permission. A checkpoint, or the folder of a run,
may come from someone else, so names in it are looked up on this machine only.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_named: ContextVar[frozenset[str] | None] = ContextVar("_named", default=None)
"""The only names that may be downloaded; None allows all names."""
_refused: ContextVar[frozenset[str]] = ContextVar("_refused", default=frozenset())
"""Names that may not be downloaded."""


@contextmanager
def only_downloads(names: Iterable[str] = ()) -> Iterator[None]:
    """Allow downloads of ``names`` only, while the block runs.

    Args:
        names: names that the user has given, such as ``hub:OWNER/NAME``.
    """
    allowed = _named.get()
    token = _named.set(frozenset(names) if allowed is None else allowed.intersection(names))
    try:
        yield
    finally:
        _named.reset(token)


@contextmanager
def no_download_of(names: Iterable[str]) -> Iterator[None]:
    """Refuse downloads of ``names``, which only a checkpoint gives, while the block runs."""
    token = _refused.set(_refused.get().union(names))
    try:
        yield
    finally:
        _refused.reset(token)


def may_download(name: str) -> bool:
    """Return whether ``name`` may be looked up in the network."""
    allowed = _named.get()
    return name not in _refused.get() and (allowed is None or name in allowed)


@contextmanager
def offline() -> Iterator[None]:
    """Keep ``datasets`` and ``huggingface_hub`` from contacting the hub, for example for download statistics."""
    import datasets
    import huggingface_hub.constants

    before = datasets.config.HF_HUB_OFFLINE, huggingface_hub.constants.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = huggingface_hub.constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, huggingface_hub.constants.HF_HUB_OFFLINE = before
