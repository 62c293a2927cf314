"""Check of the environment variables by which launchers number the processes of a run."""

import os
import re
from typing import Final

from gpt_lightning.errors import InputError

LAUNCHER: Final = (
    "RANK",
    "LOCAL_RANK",
    "GLOBAL_RANK",
    "NODE_RANK",
    "GROUP_RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "MASTER_PORT",
    "SLURM_PROCID",
    "SLURM_LOCALID",
    "SLURM_NODEID",
    "SLURM_NTASKS",
    "SLURM_NTASKS_PER_NODE",
    "SLURM_JOB_ID",
)
"""Environment variables by which launchers number the processes of a run; Lightning reads them as whole numbers."""


def check_environment() -> None:
    """Refuse environment variables that Lightning cannot read.

    Raises:
        InputError: one of them is not a whole number.
    """
    for name in LAUNCHER:
        value = os.environ.get(name)
        if value is not None and not re.fullmatch(r"[0-9]{1,18}", value):
            raise InputError(f"the environment variable {name} is {value!r}, not a whole number. Unset it")
