"""Choice of the training rows that are held out for validation."""

import hashlib
from collections.abc import Iterable


def hold_out(groups: Iterable[str], fraction: float) -> set[str]:
    """Return the groups to hold out.

    The result is ``fraction`` of the distinct groups, but at least one group if there are two or more. The choice is
    pseudorandom and depends only on the groups, not on the seed or the order of the rows.

    Args:
        groups: the group of each row; rows of one group stay together.
        fraction: the part to hold out, in (0, 1).
    """
    order = sorted(set(groups), key=lambda group: hashlib.sha256(group.encode(errors="surrogatepass")).digest())
    return set(order[: min(max(1, round(fraction * len(order))), len(order) - 1)])
