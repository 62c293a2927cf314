"""CrowS-Pairs by ``gpt-lightning bias`` and by lm-evaluation-harness, for the same model and the same local pairs.

    python benchmarks/crows_pairs.py MODEL PAIRS

MODEL is a language model, and PAIRS a file with the columns ``sent_more``, ``sent_less`` and ``bias_type``. The harness
runs its own task ``crows_pairs_english`` on these pairs, through our adapter. The network is not used.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import lm_eval.tasks
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))
from gpt_lightning.evaluation.bias.pair_preference import PairReport, pair_report, score_pairs
from gpt_lightning.evaluation.bias.report_tables import as_text, pair_tables
from gpt_lightning.evaluation.bias.sentence_pairs import read_pairs
from gpt_lightning.evaluation.lm_eval.load_tasks import load_tasks
from gpt_lightning.evaluation.lm_eval.model import HarnessLM
from gpt_lightning.evaluation.lm_eval.run import run_tasks
from gpt_lightning.tasks import CausalLM
from gpt_lightning.tasks.load import find_checkpoint, load_task
from gpt_lightning.tokenizers.tokenizer import Tokenizer

TASK = "crows_pairs_local"


def ours(task: CausalLM, tokenizer: Tokenizer, pairs: Path) -> PairReport:
    """Return the report of ``gpt-lightning bias``."""
    return pair_report(score_pairs(task, tokenizer, read_pairs(str(pairs))))


def harness(task: CausalLM, tokenizer: Tokenizer, pairs: Path) -> dict[str, float]:
    """Return the metrics of the harness's task."""
    original = Path(lm_eval.tasks.__file__).parent / "crows_pairs" / "crows_pairs_english.yaml"
    with tempfile.TemporaryDirectory() as folder:
        content = {
            "include": str(original),
            "task": TASK,
            "dataset_path": "json",
            "dataset_name": None,
            "dataset_kwargs": {"data_files": {"test": str(pairs.resolve())}},
        }
        Path(folder, f"{TASK}.yaml").write_text(yaml.safe_dump(content))
        loaded = load_tasks([TASK], folder, allow_code=True)
        results = run_tasks(HarnessLM(task, tokenizer), loaded, limit=None, bootstrap_iters=0, allow_code=True)
    metrics = results["results"][TASK]
    return {name: metrics[f"{name},none"] for name in ("pct_stereotype", "likelihood_diff")}


def main() -> None:
    """Print both results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("pairs", type=Path)
    options = parser.parse_args()
    task, tokenizer = load_task(find_checkpoint(options.model))
    assert isinstance(task, CausalLM)
    start = time.perf_counter()
    report = ours(task, tokenizer, options.pairs)
    middle = time.perf_counter()
    print(as_text(pair_tables(report), []), flush=True)
    print(f"\ngpt-lightning bias, {middle - start:.0f} s: pct_stereotype {report.overall.share.value:.4f}, ", end="")
    print(f"likelihood_diff {report.overall.likelihood_difference:.4f}", flush=True)
    metrics = harness(task, tokenizer, options.pairs)
    seconds = time.perf_counter() - middle
    print(
        f"lm-evaluation-harness, {seconds:.0f} s: "
        + ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
    )


if __name__ == "__main__":
    main()
