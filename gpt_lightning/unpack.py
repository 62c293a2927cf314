"""``Unpack`` (PEP 692) that type checkers see and jsonargparse does not.

``def __init__(self, own: int = 1, **settings: Unpack[TaskSettings])`` relays shared arguments to the base class, which
declares their types, defaults and documentation once. mypy checks calls against the TypedDict.

At run time the annotation is ``Any``. jsonargparse would stop at a TypedDict, which has no defaults; without one it
follows ``super().__init__(**settings)`` to the base class.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Unpack as Unpack
else:

    class Unpack:
        """Evaluate to ``Any`` at run time."""

        def __class_getitem__(cls, settings: Any) -> Any:
            return Any
