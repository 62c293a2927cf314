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
        device = torch.device(name)
        if device.type != "meta":
            device = torch.ones(1, device=device).sum().cpu().to(device).device
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {name}: {str(error).splitlines()[0]}") from None
    if device.type == "meta":
        raise InputError(f"--device {name} holds no numbers, so nothing can be computed on it. Use cpu, cuda or mps")
    return device
