"""Text and numbers as pages show them."""

import math
import re
import sys
from decimal import Decimal
from typing import Final

from gpt_lightning.printable import printable

_NO_XML: Final = re.compile("[\ud800-\udfff\ufffe\uffff]")
"""Characters that XML forbids and that ``printable`` keeps."""


def escape_forbidden(text: str) -> str:
    """Return ``text`` without characters that HTML and XML forbid or that reorder the text around them.

    They become visible escapes. The result is not escaped for HTML.
    """
    return _NO_XML.sub(lambda match: f"\\u{ord(match[0]):04x}", printable(text))


def shorten(text: str, length: int) -> str:
    """Return ``text`` with at most ``length`` characters, the last one an ellipsis if some are left out."""
    return text if len(text) <= length else text[: length - 1] + "…"


def format_number(value: float) -> str:
    """Return a number with four significant digits, integers in full with thousands separators."""
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        return f"{Decimal(value):.4g}".replace("-", "−", 1)
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}".replace("-", "−")
    return f"{value:.4g}".replace("-", "−", 1) if value < 0 else f"{value:.4g}"
