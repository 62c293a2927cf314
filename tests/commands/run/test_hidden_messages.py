"""Messages of Lightning that commands hide."""

import subprocess
import sys

PROGRAM = """
import logging
from gpt_lightning.commands.run.hidden_messages import hide_messages
hide_messages()
import lightning.pytorch
for name in ("lightning.pytorch", "lightning.pytorch.utilities"):
    print(logging.getLogger(name).getEffectiveLevel())
"""


def test_messages_stay_hidden_whenever_lightning_is_imported() -> None:
    """Lightning sets the levels of its loggers when it is imported, which may come later."""
    found = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["30", "30"]
