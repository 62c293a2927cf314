"""Selection of the device that a model runs on."""

import torch

from gpt_lightning.errors import InputError


def device_of(name: str) -> torch.device:
    """Return the device called ``name``; ``auto`` selects the accelerator, or the CPU if there is none.

    Raises:
        InputError: the device does not exist on this machine.
    """
    if name == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        return torch.ones(1, device=name).sum().cpu().to(name).device  # the meta device holds no values
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {name}: {str(error).splitlines()[0]}") from None
