"""The device that a model runs on."""

import torch

from gpt_lightning.errors import InputError


def device_of(name: str) -> torch.device:
    """Return the device called ``name``; ``auto`` is the accelerator, or the CPU where there is none.

    Raises:
        InputError: this machine has no such device.
    """
    if name == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        return torch.zeros(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {name}: {str(error).splitlines()[0]}") from None
