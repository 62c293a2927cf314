"""Lightning callbacks: checkpoints, throughput, samples, reports."""

from gpt_lightning.training.checkpoint_callback import Checkpoints
from gpt_lightning.training.diagnostics import HParams, LayerDiagnostics, LossDiagnostics, ProbabilityDiagnostics
from gpt_lightning.training.evaluation_report import Evaluation
from gpt_lightning.training.interruption import Interruption
from gpt_lightning.training.lm_eval_callback import LMEval
from gpt_lightning.training.monitors import Monitors
from gpt_lightning.training.prediction_writer import PredictionWriter
from gpt_lightning.training.progress_bar import ProgressBar
from gpt_lightning.training.progress_lines import ProgressLines
from gpt_lightning.training.randomness import RandomnessByPosition
from gpt_lightning.training.reports import Reports
from gpt_lightning.training.run_history import RunHistory
from gpt_lightning.training.run_report import RunReport
from gpt_lightning.training.samples import Samples
from gpt_lightning.training.step_axis import StepAxis
from gpt_lightning.training.step_record import StepRecord
from gpt_lightning.training.summary import Summary
from gpt_lightning.training.throughput import Throughput
from gpt_lightning.training.validation import Validations
from gpt_lightning.training.verdict import Verdict

__all__ = [
    "Checkpoints",
    "Evaluation",
    "HParams",
    "Interruption",
    "LMEval",
    "LayerDiagnostics",
    "LossDiagnostics",
    "Monitors",
    "PredictionWriter",
    "ProbabilityDiagnostics",
    "ProgressBar",
    "ProgressLines",
    "RandomnessByPosition",
    "Reports",
    "RunHistory",
    "RunReport",
    "Samples",
    "StepAxis",
    "StepRecord",
    "Summary",
    "Throughput",
    "Validations",
    "Verdict",
]
