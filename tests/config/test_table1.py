"""The suite table1 against the settings of the released scripts, copied here by hand."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from hier.config.compose import compose
from hier.data.sampling import steps_per_epoch
from hier.training.looks import is_looked_at

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"

CONSTANT = ("constant", None, None)
# One row for each released script: learning rate, epochs, warm-up epochs, weight decay, factor on the
# rate of the last layer, schedule (name, epochs between two steps, factor).
SCRIPTS = {
    ("vit_small", "cub"): (1e-5, 100, 1, 1e-2, 1, CONSTANT),
    ("vit_small", "cars"): (1e-5, 100, 1, 1e-2, 1, CONSTANT),
    ("vit_small", "sop"): (1e-5, 150, 5, 1e-4, 100, CONSTANT),
    ("vit_small", "inshop"): (1e-5, 150, 5, 1e-4, 100, CONSTANT),
    ("deit_small", "cub"): (1e-5, 100, 1, 1e-2, 1, CONSTANT),
    ("deit_small", "cars"): (1e-5, 100, 1, 1e-2, 1, CONSTANT),
    ("deit_small", "sop"): (1e-5, 150, 5, 1e-4, 100, CONSTANT),
    ("deit_small", "inshop"): (1e-5, 150, 5, 1e-4, 100, CONSTANT),
    ("dino_vits16", "cub"): (5e-6, 100, 1, 1e-2, 1, CONSTANT),
    ("dino_vits16", "cars"): (5e-6, 100, 1, 1e-2, 1, CONSTANT),
    ("dino_vits16", "sop"): (5e-6, 150, 5, 1e-4, 100, CONSTANT),
    ("dino_vits16", "inshop"): (5e-6, 150, 5, 1e-4, 100, CONSTANT),
    ("resnet50", "cub"): (1e-4, 100, 1, 1e-2, 1, ("step", 5, 0.5)),
    ("resnet50", "cars"): (1e-4, 100, 1, 1e-2, 1, ("step", 10, 0.5)),
    ("resnet50", "sop"): (6e-4, 150, 5, 1e-4, 1, ("step", 25, 0.3)),
    ("resnet50", "inshop"): (6e-4, 150, 5, 1e-4, 1, ("step", 20, 0.3)),
}
# Hyp's own: batch, images of each class, epochs, short side in evaluation.
HYP = {
    "cub": (900, 9, 50, 256), "cars": (882, 9, 300, 224),
    "sop": (900, 2, 200, 224), "inshop": (900, 2, 400, 224),
}  # fmt: skip
# Steps of an epoch and of all, as the released samplers draw them: HIER's (100 epochs of CUB and Cars,
# 150 of the others), and Hyp's own, which visits each class once in an epoch.
HIER_STEPS = {
    "cub": (32, 3_200), "cars": (44, 4_400), "sop": (330, 49_500), "inshop": (143, 21_450),
}  # fmt: skip
HYP_STEPS = {"cub": (1, 50), "cars": (1, 300), "sop": (25, 5_000), "inshop": (8, 3_200)}
# After which epochs, counted from 0, the released code looks at recall.
LOOKS = dict.fromkeys(("cub", "cars"), range(1, 100)) | dict.fromkeys(("sop", "inshop"), range(40, 150, 5))
TRANSFORMERS = ["vit_small", "deit_small", "dino_vits16"]
DIMS = {**{key: [128, 384] for key in TRANSFORMERS}, "resnet50": [512]}


@pytest.fixture(scope="module")
def table1():
    return compose(["suite=table1"], CONF)


@pytest.fixture(scope="module")
def official():
    return compose(["suite=table1", "protocol=official"], CONF)


def runs_of(suite, *methods, backbone=None, dataset=None):
    found = [
        run
        for run in suite.runs.values()
        if run.method in methods and backbone in (None, run.backbone.name) and dataset in (None, run.dataset)
    ]
    assert found
    return found


def in_hiers_setting(suite):
    """Runs with the settings of HIER's scripts: all that are trained, but Hyp with transformers."""
    own = runs_of(suite, "hier", "pa", "ms", "nsoftmax", "pnca", "xbm")
    return [*own, *runs_of(suite, "hyp", backbone="resnet50")]


def in_hyps_setting(suite):
    return [run for run in runs_of(suite, "hyp") if run.backbone.name != "resnet50"]


def test_it_has_every_cell_of_table_1(table1):
    methods = Counter(run.method for run in table1.runs.values())
    assert methods == {
        "hier": 28, "hyp": 28, "pa": 28, "ms": 28, "pretrained": 12, "nsoftmax": 8, "pnca": 4, "xbm": 2,
    }  # fmt: skip
    assert len(table1.runs) == 138
    for method in ("hier", "hyp", "pa", "ms"):
        cells = {(run.dataset, run.backbone.name, run.dim) for run in runs_of(table1, method)}
        assert cells == {(d, b, dim) for b, d in SCRIPTS for dim in DIMS[b]}
    assert {(run.dataset, run.backbone.name) for run in runs_of(table1, "pretrained")} == {
        (dataset, backbone) for dataset in HYP for backbone in TRANSFORMERS
    }
    for method, dims in (("nsoftmax", {128, 512}), ("pnca", {512}), ("xbm", {128})):
        runs = runs_of(table1, method, backbone="resnet50")
        assert {run.dim for run in runs} == dims
        datasets = {"sop", "inshop"} if method == "xbm" else set(HYP)
        assert {run.dataset for run in runs} == datasets
    assert {run.loss.memory for run in runs_of(table1, "xbm")} == {55_000, 23_904}
    assert {run.seed for run in table1.runs.values()} == {0}
    assert set(table1.datasets) == set(HYP)


def test_pretrained_rows_are_the_networks_own_features_by_cosine(table1):
    for run in runs_of(table1, "pretrained"):
        assert (run.head, run.dim, run.schedule.epochs) == (None, 384, 0)
        assert (run.loss.name, run.evaluate.metric) == ("none", "cosine")
        assert (run.embed.resize, run.embed.crop) == (224, 224)


def test_with_seeds_there_are_five_of_each_hier_run(table1):
    seeds = compose(["suite=table1-seeds"], CONF)
    assert len(seeds.runs) == 140
    assert Counter(run.seed for run in seeds.runs.values()) == dict.fromkeys(range(5), 28)
    for run in seeds.runs.values():
        assert run.method == "hier"
        one = table1.runs[f"{run.name.rpartition('-s')[0]}-s0"]
        assert run.model_copy(update={"seed": 0}) == one


@pytest.mark.parametrize(("backbone", "dataset"), SCRIPTS)
def test_the_table_of_scripts_is_what_is_run(official, backbone, dataset):
    lr, epochs, warmup, decay, head, (name, step, gamma) = SCRIPTS[backbone, dataset]
    methods = ["hier", "pa", "ms"] + (["hyp"] if backbone == "resnet50" else [])
    runs = runs_of(official, *methods, backbone=backbone, dataset=dataset)
    assert len(runs) == len(methods) * len(DIMS[backbone])
    for run in runs:
        assert run.optimizer.lr == pytest.approx(lr, rel=1e-12)
        assert run.optimizer.weight_decay == pytest.approx(decay, rel=1e-12)
        assert run.optimizer.multipliers.head == head
        assert (run.schedule.epochs, run.schedule.warmup_epochs) == (epochs, warmup)
        assert run.schedule.name == name
        if step:
            assert (run.schedule.step_size, run.schedule.gamma) == (step, gamma)
        assert run.backbone.batch_norm == ("eval" if backbone == "resnet50" else "train")
        assert run.augmentation.scale == ([0.08, 1.0] if backbone == "resnet50" else [0.2, 1.0])
        assert run.backbone.freeze == ([] if backbone == "resnet50" else ["patch_embed"])
        assert run.backbone.pooling == ("avg+max" if backbone == "resnet50" else "timm")
    assert {run.dim for run in runs} == set(DIMS[backbone])


def test_what_the_scripts_share(official):
    for run in in_hiers_setting(official):
        assert run.optimizer.name == "adamw"
        assert run.optimizer.eps == pytest.approx(1e-4)
        assert (run.optimizer.clip_value, run.optimizer.clip_norm) == (10.0, None)
        multipliers = run.optimizer.multipliers
        assert (multipliers.backbone, multipliers.hierarchical_proxies) == (1, 50)
        assert multipliers.metric_proxies == 1e4
        assert run.optimizer.network_gradient_scale == 0.5  # two GPUs
        assert run.schedule.warmup == "zero_rate"
        assert run.sampler.model_dump() == {
            "batch_size": 180, "images_per_class": 2, "epoch": "images", "replacement": True,
            "shards": 1,
        }  # fmt: skip
        assert (run.head.norm, run.head.riemannian) == ("layer_norm", True)
        assert run.protocol.model_dump() == {
            "name": "official", "k_may_equal_i": True, "masks_gallery_of_query": True,
            "choose": "best_on_test", "held_out_classes": 0.0, "test_last": False,
            "test_every": LOOKS[run.dataset].step, "test_from": max(LOOKS[run.dataset].start, 1),
        }  # fmt: skip
        assert (run.augmentation.size, run.augmentation.flip) == (224, 0.5)
        assert (run.embed.resize, run.embed.crop) == (256, 224)
        assert run.runtime.precision == "float16"
    for run in runs_of(official, "hier", "hyp", "pa", "ms"):
        assert (run.head.curvature, run.head.clip_radius) == (0.1, 2.3)
        assert run.evaluate.metric == "poincare"


@pytest.mark.parametrize("protocol", ["corrected", "official"])
def test_the_regulariser_and_the_losses_are_the_papers(protocol):
    table1 = compose(["suite=table1", f"protocol={protocol}"], CONF)
    for run in runs_of(table1, "hier"):
        hier = run.regularizer
        assert (hier.name, hier.weight, hier.proxies) == ("hier", 0.5, 512)
        assert (hier.neighbours, hier.triplets_per_anchor) == (20, 50)
        assert (hier.temperature, hier.margin) == (0.1, 0.1)
        assert (hier.geometry, hier.proxy_term) == ("poincare", True)
    for run in runs_of(table1, "hier", "pa"):
        assert (run.loss.name, run.loss.margin, run.loss.alpha) == ("pa", 0.1, 32)
    for run in runs_of(table1, "ms"):
        assert (run.loss.name, run.loss.base, run.loss.alpha, run.loss.beta) == ("ms", 0.5, 2, 50)
    for run in runs_of(table1, "hyp"):
        assert (run.loss.name, run.loss.temperature) == ("hyp", 0.2)
        assert run.loss.reduction == ("hier" if run.backbone.name == "resnet50" else "hyp")
    for run in runs_of(table1, "pa", "ms", "hyp"):
        assert run.regularizer.name == "none"


@pytest.mark.parametrize("dataset", HYP)
@pytest.mark.parametrize("backbone", TRANSFORMERS)
def test_hyp_has_its_own_published_settings(official, backbone, dataset):
    batch, each, epochs, resize = HYP[dataset]
    for run in runs_of(official, "hyp", backbone=backbone, dataset=dataset):
        assert run.sampler.model_dump() == {
            "batch_size": batch, "images_per_class": each, "epoch": "classes", "replacement": False,
            "shards": 1,
        }  # fmt: skip
        assert (run.head.norm, run.head.riemannian) == ("none", False)
        assert run.optimizer.network_gradient_scale == 1.0
        assert (run.optimizer.eps, run.optimizer.weight_decay) == (1e-8, 1e-2)
        assert (run.protocol.choose, run.protocol.test_every) == ("last", 0)
        assert not run.protocol.masks_gallery_of_query
        assert run.optimizer.lr == pytest.approx(1e-5 if backbone == "dino_vits16" else 3e-5)
        assert (run.optimizer.clip_value, run.optimizer.clip_norm) == (None, 3.0)
        assert (run.schedule.epochs, run.schedule.warmup_epochs) == (epochs, 0)
        assert run.schedule.name == "constant"
        assert (run.embed.resize, run.embed.crop) == (resize, 224)
        assert (run.augmentation.size, run.augmentation.scale) == (224, [0.2, 1.0])
        assert run.optimizer.multipliers.head == 1


def test_a_batch_fits_its_dataset(table1):
    for run in table1.runs.values():
        dataset = table1.datasets[run.dataset]
        assert run.sampler.batch_size <= dataset.counts.images["train"]
        assert run.sampler.batch_size // run.sampler.images_per_class <= dataset.counts.train_classes


def test_by_default_it_departs_from_the_released_code_in_these_settings_alone(table1, official):
    """docs/official.md says why. Hyp's own code, with transformers, differs in none that has an effect."""
    common = {
        "protocol.name", "protocol.k_may_equal_i", "protocol.masks_gallery_of_query", "protocol.choose",
        "protocol.test_last", "optimizer.network_gradient_scale", "sampler.replacement",
    }  # fmt: skip
    own = {run.name for run in in_hyps_setting(table1)}
    assert list(official.runs) == list(table1.runs)
    for name, run in table1.runs.items():
        without_effect = {"protocol.name", "protocol.k_may_equal_i", "protocol.test_last"}
        expected = without_effect if name in own else common
        if run.method == "pretrained":
            expected = expected - {"protocol.masks_gallery_of_query"}
        if run.evaluate.metric == "cosine" and run.head:
            expected = expected | {"evaluate.metric"}
        if run.backbone.name == "resnet50" and run.dataset in ("sop", "inshop"):
            expected = expected | {"backbone.batch_norm"}
        if (run.backbone.name, run.dataset) == ("resnet50", "cub"):
            expected = expected | {"schedule.warmup_epochs", "protocol.test_from"}
        assert differing(run, official.runs[name]) == expected, name


def test_the_corrected_settings_are_these(table1):
    for run in in_hiers_setting(table1):
        protocol = run.protocol
        assert (protocol.name, protocol.choose, protocol.held_out_classes) == (
            "corrected",
            "last",
            0,
        )
        assert not protocol.k_may_equal_i
        assert not protocol.masks_gallery_of_query
        assert protocol.test_last
        assert run.optimizer.network_gradient_scale == 1.0
        assert not run.sampler.replacement
        by_distance = run.method in ("hier", "hyp")
        assert run.evaluate.metric == ("poincare" if by_distance else "cosine")
        modes = {"cub": "eval", "cars": "eval", "sop": "train", "inshop": "train"}
        if run.backbone.name == "resnet50":
            assert run.backbone.batch_norm == modes[run.dataset]
        advised = (run.backbone.name, run.dataset) == ("resnet50", "cub")
        script = SCRIPTS[run.backbone.name, run.dataset]
        assert run.schedule.warmup_epochs == (0 if advised else script[2])


def differing(one, other, prefix=""):
    """Dotted keys of the settings in which two runs differ."""
    plain = [run if isinstance(run, dict) else run.model_dump() for run in (one, other)]
    found = set()
    for key, value in plain[0].items():
        if isinstance(value, dict):
            found |= differing(value, plain[1][key], f"{prefix}{key}.")
        elif value != plain[1][key]:
            found.add(f"{prefix}{key}")
    return found


@pytest.mark.parametrize("dataset", HYP)
def test_steps_are_the_official_ones(official, dataset):
    counts = official.datasets[dataset].counts
    own = {run.name for run in in_hyps_setting(official)}
    runs = runs_of(official, "hier", "hyp", "pretrained", dataset=dataset)
    assert len(runs) == (28 + 28 + 12) // 4
    for run in runs:
        steps = steps_per_epoch(counts.images["train"], counts.train_classes, run.sampler)
        expected = (HYP_STEPS if run.name in own else HIER_STEPS)[dataset]
        if run.method == "pretrained":
            assert run.schedule.epochs == 0
        else:
            assert (steps, steps * run.schedule.epochs) == expected, run.name


@pytest.mark.parametrize("dataset", LOOKS)
def test_recall_is_looked_at_when_the_released_code_does(official, dataset):
    for run in runs_of(official, "hier", dataset=dataset):
        looks = [epoch for epoch in range(run.schedule.epochs) if is_looked_at(run, epoch)]
        assert looks == [*LOOKS[dataset]]


def test_hier_plan_shows_it():
    code = "import sys; from hier.cli import main; sys.argv = ['hier', 'plan', 'suite=table1']; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "138" in done.stdout
