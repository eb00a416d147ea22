"""What model.safetensors says of itself, so that it can be used away from the project."""

import json
from pathlib import Path
from typing import Any

from hier.config.dataset import Dataset
from hier.config.run import Run

KEY, FORMAT = "hier", 1


def describe_model(run: Run, dataset: Dataset, key: str, weights_sha256: str | None) -> dict[str, str]:
    """The metadata of a run's model, one JSON text: the run and the content key of its training, the network,
    the images that it takes, the metric, and the hash of the pretrained weights that it started from."""
    told = {
        "format": FORMAT, "run": run.name, "key": key, "weights_sha256": weights_sha256,
        "backbone": run.backbone.model_dump(), "head": run.head and run.head.model_dump(),
        "images": {"exif": dataset.exif, "store_size": dataset.store_size} | run.embed.model_dump(),
        "metric": run.evaluate.metric,
    }  # fmt: skip
    return {KEY: json.dumps(told, sort_keys=True)}


def read_description(path: Path) -> dict[str, Any]:
    """What a model says of itself; nothing where it cannot be read or says nothing."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as opened:
            told = json.loads((opened.metadata() or {}).get(KEY, "{}"))
    except (OSError, ValueError, SafetensorError):
        return {}
    return told if isinstance(told, dict) else {}
