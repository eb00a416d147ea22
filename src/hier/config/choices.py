"""What datasets and runs choose of the code, by the names that the paths of hier.pipeline have for it.

params.yaml holds these, so that DVC can fill them into its paths: a new loss makes no model stale.
"""

from typing import Any

from hier.registry import stem


def choices_of_dataset(settings: dict[str, Any]) -> dict[str, str]:
    """What the code of a dataset's stages follows from, by the name that paths of code have for it."""
    return {"layout": settings.get("layout", "")}


def choices_of_run(settings: dict[str, Any]) -> dict[str, str]:
    """What the files of a run's stages follow from: its dataset, and its parts of the code.

    `search` is the code that finds neighbours, where training looks at recall, else an empty module.
    """
    looks = settings.get("protocol", {}).get("test_every", 0)
    return {
        "dataset": settings["dataset"],
        "loss": settings.get("loss", {}).get("name", "none"),
        "pooling": stem(settings.get("backbone", {}).get("pooling", "timm")),
        "search": "evaluation/retrieval" if looks else "evaluation/__init__.py",
    }
