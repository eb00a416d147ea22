"""A network and a training to start from, chosen by what is at hand and by the size of the photos."""

import statistics
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hier import yaml12
from hier.adding.photos import Found
from hier.config.run import Backbone
from hier.data.fetch import mirrors_of_environment
from hier.errors import LayoutError

BACKBONES = ("efficientnet_lite0", "vit_small", "deit_small", "dino_vits16", "resnet50")  # cheapest first
FROM_SCRATCH = "test_resnet"
SIDE, MARGIN = 112, 16  # pixels of a crop of large photos, and how much larger the photo itself is
BATCH, OF_EACH = 64, 4
STEPS = {True: 200, False: 360}  # of a training that starts from weights, and of one from scratch
MOST_EPOCHS = 40
RATES = {"efficientnet_lite0": 3e-4, FROM_SCRATCH: 5e-3}
FINE_TUNING = 3e-5  # the rate of transformers and of a ResNet-50


@dataclass(frozen=True)
class Choices:
    """Settings to start from, and why they are so, a line each."""

    backbone: str
    methods: list[str]
    recipe: dict[str, Any]
    store_size: int
    regularizer: dict[str, int]
    reasons: list[str]


def choose(found: Found) -> Choices:
    """What suits the photos; LayoutError where there are too few for a batch."""
    counts = found.dataset.counts
    images, classes = counts.images["train"], counts.train_classes
    backbone = next((name for name in BACKBONES if has_weights(name)), None)
    pretrained = backbone is not None
    backbone = backbone or FROM_SCRATCH
    side, store = _sides(found, pretrained)
    each, batch = _batch(images, classes)
    steps = images // batch
    epochs = min(max(round(STEPS[pretrained] / steps), 5), MOST_EPOCHS)
    proxies = min(max(32, 1 << (2 * classes - 1).bit_length()), 512)
    median = round(statistics.median(found.short_sides))
    weights = "whose weights are at hand" if pretrained else "from scratch: no weights are at hand"
    return Choices(
        backbone,
        ["pretrained" if pretrained else "untrained", "pa", "hier"],
        {
            "optimizer": {
                "name": "adamw",
                "lr": RATES.get(backbone, FINE_TUNING),
                "weight_decay": 1e-4,
                "eps": 1e-8,
                "clip_value": 10.0,
                "multipliers": {
                    "backbone": 1.0, "head": 1.0, "hierarchical_proxies": 10.0, "metric_proxies": 100.0,
                },
            },
            "schedule": {
                "epochs": epochs, "warmup_epochs": 0, "name": "step",
                "step_size": max(2 * epochs // 3, 1), "gamma": 0.3,
            },
            "sampler": {"batch_size": batch, "images_per_class": each},
            "augmentation": {"size": side, "scale": [0.2, 1.0], "ratio": [0.75, 1.3333333], "flip": 0.5},
            "embed": {"resize": store, "crop": side, "batch_size": 128},
            "runtime": {"device": "auto", "precision": "float32", "threads": 1, "workers": 0},
        },
        store,
        {"proxies": proxies, "neighbours": max(min(20, batch // 3), 2)},
        [
            f"backbone {backbone}, {weights}",
            f"images of {side} px (the median photo's short side has {median}), stored at {store} px",
            f"batches of {batch}, {each} of each class; {epochs} epochs of {steps} batches",
            f"{proxies} hierarchical proxies for {classes} training classes",
        ],
    )  # fmt: skip


def has_weights(name: str) -> bool:
    """Whether a backbone's weights are in an installed package, in weights/ or in a mirror's folder."""
    path = Path(f"conf/backbone/{name}.yaml")
    if not path.is_file():
        return False
    weights = Backbone.model_validate(yaml12.read(path)).weights
    if weights is None:
        return False
    if weights.package:
        return find_spec(weights.package) is not None
    from hier.models.weights import FOLDER

    folders = [FOLDER, *(Path(mirror) for mirror in mirrors_of_environment() if "://" not in mirror)]
    return any((folder / weights.file).is_file() for folder in folders)


def _sides(found: Found, pretrained: bool) -> tuple[int, int]:
    """The sides, in pixels, of the crops and of the stored photos: no larger than the photos are."""
    median = round(statistics.median(found.short_sides))
    most = SIDE if pretrained else 64
    side = min(most, max(median // 16 * 16, 16))
    return side, side + MARGIN if pretrained and median >= side + MARGIN else side


def _batch(images: int, classes: int) -> tuple[int, int]:
    """Images of each class in a batch, and in all."""
    each = min(max(OF_EACH, BATCH // classes), 16, images // max(classes, 1))
    if classes < 2 or each < 2:
        raise LayoutError(
            f"{images} training photos of {classes} classes are fewer than a batch needs: two of each of two "
            "classes at least; add photos, or leave fewer classes unseen (--unseen)"
        )
    return each, each * min(classes, max(BATCH // each, 2))
