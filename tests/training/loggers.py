"""Loggers that record texts and images, for tests."""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from lightning.pytorch.loggers import MLFlowLogger
from lightning.pytorch.loggers.logger import Logger


class Silent(Logger):
    """Logger of metrics only."""

    @property
    def name(self) -> str:
        return "silent"

    @property
    def version(self) -> str:
        return "0"

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Ignore the metrics."""

    def log_hyperparams(self, params: dict[str, Any] | Namespace) -> None:
        """Ignore the hyper-parameters."""


class OtherSignature(Silent):
    """Logger with methods of the same names but other arguments, as in packages other than Lightning."""

    def log_text(self, key: str, texts: list[str], step: int | None = None, **kwargs: Any) -> None:
        raise AssertionError("called without columns and data")

    def log_image(self, name: str, image: Any) -> None:
        raise AssertionError("called without key and images")


class WandbLike(Silent):
    """Logger with the methods of ``WandbLogger``, without W&B."""

    texts: ClassVar[list[tuple[str, int | None, str]]] = []
    images: ClassVar[list[tuple[str, int | None, Any]]] = []

    def log_text(
        self,
        key: str,
        columns: list[str] | None = None,
        data: list[list[str]] | None = None,
        dataframe: Any = None,
        step: int | None = None,
    ) -> None:
        """Record the text, which must be a table of one cell."""
        assert columns == ["text"]
        assert data is not None
        ((text,),) = data
        self.texts.append((key, step, text))

    def log_image(self, key: str, images: list[Any], step: int | None = None, **kwargs: Any) -> None:
        """Record the only image."""
        assert isinstance(images, list)
        (image,) = images
        self.images.append((key, step, image))


class Unreachable(WandbLike):
    """``WandbLike`` without a connection."""

    def log_text(
        self,
        key: str,
        columns: list[str] | None = None,
        data: list[list[str]] | None = None,
        dataframe: Any = None,
        step: int | None = None,
    ) -> None:
        raise ConnectionError(key)

    def log_image(self, key: str, images: list[Any], step: int | None = None, **kwargs: Any) -> None:
        raise ConnectionError(key)


class MLflowClientLike:
    """Client with the methods of ``mlflow.MlflowClient`` for text and images."""

    def __init__(self) -> None:
        self.artifacts: dict[tuple[str, str], Any] = {}

    def log_text(self, run_id: str, text: str, artifact_file: str) -> None:
        """Record the text."""
        self.artifacts[run_id, artifact_file] = text

    def log_image(self, run_id: str, image: Any, artifact_file: str | None = None) -> None:
        """Record the image."""
        assert artifact_file is not None
        self.artifacts[run_id, artifact_file] = image


class MLflowLike(MLFlowLogger):
    """``MLFlowLogger`` of a server, without MLflow."""

    client: ClassVar[MLflowClientLike] = MLflowClientLike()

    def __init__(self) -> None:
        """Skip Lightning's constructor, which needs MLflow."""
        self._tracking_uri = "https://mlflow.invalid"

    @property
    def experiment(self) -> Any:
        return self.client

    @property
    def run_id(self) -> str:
        return "run"

    @property
    def experiment_id(self) -> str:
        return "experiment"

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Ignore the metrics."""

    def log_hyperparams(self, params: dict[str, Any] | Namespace) -> None:
        """Ignore the hyper-parameters."""

    def finalize(self, status: str = "success") -> None:
        """Do nothing, as there is no MLflow run."""

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Do nothing with checkpoints."""


class WritesFolder(Silent):
    """Logger of another package that writes a file to the folder that it is given, as soon as it is built."""

    def __init__(self, save_dir: str = "elsewhere") -> None:
        super().__init__()
        Path(save_dir).mkdir(parents=True, exist_ok=True)
        (Path(save_dir) / "log.txt").touch()
        self._save_dir = save_dir

    @property
    def save_dir(self) -> str:
        return self._save_dir
