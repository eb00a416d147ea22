"""The suite table1 against the settings of the released scripts, copied here by hand."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from hier.config.compose import compose
from hier.training.schedule import schedule_in_force

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"

CONSTANT = ("constant", None, None)
# One row for each released script: learning rate, epochs, warm-up epochs, weight decay, factor on the
# rate of the last layer, schedule (name, epochs between two steps, factor), frozen batch norms.
SCRIPTS = {
    ("vit_small", "cub"): (1e-5, 100, 1, 1e-2, 1, CONSTANT, False),
    ("vit_small", "cars"): (1e-5, 100, 1, 1e-2, 1, CONSTANT, False),
    ("vit_small", "sop"): (1e-5, 150, 5, 1e-4, 100, CONSTANT, False),
    ("vit_small", "inshop"): (1e-5, 150, 5, 1e-4, 100, CONSTANT, False),
    ("deit_small", "cub"): (1e-5, 100, 1, 1e-2, 1, CONSTANT, False),
    ("deit_small", "cars"): (1e-5, 100, 1, 1e-2, 1, CONSTANT, False),
    ("deit_small", "sop"): (1e-5, 150, 5, 1e-4, 100, CONSTANT, False),
    ("deit_small", "inshop"): (1e-5, 150, 5, 1e-4, 100, CONSTANT, False),
    ("dino_vits16", "cub"): (5e-6, 100, 1, 1e-2, 1, CONSTANT, False),
    ("dino_vits16", "cars"): (5e-6, 100, 1, 1e-2, 1, CONSTANT, False),
    ("dino_vits16", "sop"): (5e-6, 150, 5, 1e-4, 100, CONSTANT, False),
    ("dino_vits16", "inshop"): (5e-6, 150, 5, 1e-4, 100, CONSTANT, False),
    ("resnet50", "cub"): (1e-4, 100, 1, 1e-2, 1, ("step", 5, 0.5), True),
    ("resnet50", "cars"): (1e-4, 100, 1, 1e-2, 1, ("step", 10, 0.5), True),
    ("resnet50", "sop"): (6e-4, 150, 5, 1e-4, 1, ("step", 25, 0.3), False),
    ("resnet50", "inshop"): (6e-4, 150, 5, 1e-4, 1, ("step", 20, 0.3), False),
}
# Hyp's own: batch, images of each class, epochs, short side in evaluation.
HYP = {
    "cub": (900, 9, 50, 256), "cars": (882, 9, 300, 224),
    "sop": (900, 2, 200, 224), "inshop": (900, 2, 400, 224),
}  # fmt: skip
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
        if run.method in methods
        and backbone in (None, run.backbone.name)
        and dataset in (None, run.dataset)
    ]
    assert found
    return found


def in_hiers_setting(suite):
    """Runs with the settings of HIER's scripts: HIER, PA and MS, and Hyp with ResNet-50."""
    return [*runs_of(suite, "hier", "pa", "ms"), *runs_of(suite, "hyp", backbone="resnet50")]


def test_it_has_every_cell_of_table_1(table1):
    methods = Counter(run.method for run in table1.runs.values())
    assert methods == {"hier": 28, "hyp": 28, "pa": 28, "ms": 28, "pretrained": 12}
    assert len(table1.runs) == 124
    for method in ("hier", "hyp", "pa", "ms"):
        cells = {(run.dataset, run.backbone.name, run.dim) for run in runs_of(table1, method)}
        assert cells == {(d, b, dim) for b, d in SCRIPTS for dim in DIMS[b]}
    assert {(run.dataset, run.backbone.name) for run in runs_of(table1, "pretrained")} == {
        (dataset, backbone) for dataset in HYP for backbone in TRANSFORMERS
    }
    assert {run.seed for run in table1.runs.values()} == {0}
    assert set(table1.datasets) == set(HYP)


def test_pretrained_rows_are_the_networks_own_features_by_cosine(table1):
    for run in runs_of(table1, "pretrained"):
        assert (run.head, run.dim, run.schedule.epochs) == (None, 384, 0)
        assert (run.loss.name, run.evaluate.metric) == ("none", "cosine")
        assert (run.embed.resize, run.embed.crop) == (256, 224)


def test_with_seeds_there_are_five_of_each_hier_run(table1):
    seeds = compose(["suite=table1-seeds"], CONF)
    assert len(seeds.runs) == 140
    assert Counter(run.seed for run in seeds.runs.values()) == dict.fromkeys(range(5), 28)
    for run in seeds.runs.values():
        assert run.method == "hier"
        one = table1.runs[f"{run.name.rpartition('-s')[0]}-s0"]
        assert run.model_copy(update={"seed": 0}) == one


@pytest.mark.parametrize(("backbone", "dataset"), SCRIPTS)
def test_the_table_of_scripts_is_what_is_run(table1, backbone, dataset):
    lr, epochs, warmup, decay, head, (name, step, gamma), frozen = SCRIPTS[backbone, dataset]
    methods = ["hier", "pa", "ms"] + (["hyp"] if backbone == "resnet50" else [])
    runs = runs_of(table1, *methods, backbone=backbone, dataset=dataset)
    assert len(runs) == len(methods) * len(DIMS[backbone])
    for run in runs:
        assert run.optimizer.lr == pytest.approx(lr, rel=1e-12)
        assert run.optimizer.weight_decay == pytest.approx(decay, rel=1e-12)
        assert run.optimizer.multipliers.head == head
        assert (run.schedule.epochs, run.schedule.warmup_epochs) == (epochs, warmup)
        assert run.schedule.name == name
        if step:
            assert (run.schedule.step_size, run.schedule.gamma) == (step, gamma)
        assert run.backbone.freeze_batch_norm == frozen
        assert run.augmentation.scale == ([0.08, 1.0] if backbone == "resnet50" else [0.2, 1.0])
        assert run.backbone.freeze == ([] if backbone == "resnet50" else ["patch_embed"])
        assert run.backbone.pooling == ("avg+max" if backbone == "resnet50" else "timm")
    assert {run.dim for run in runs} == set(DIMS[backbone])


def test_what_the_scripts_share(table1):
    for run in in_hiers_setting(table1):
        assert run.optimizer.name == "adamw"
        assert run.optimizer.eps == pytest.approx(1e-4)
        assert (run.optimizer.clip_value, run.optimizer.clip_norm) == (10.0, None)
        multipliers = run.optimizer.multipliers
        assert (multipliers.backbone, multipliers.hierarchical_proxies) == (1, 50)
        assert multipliers.metric_proxies == 1e4
        assert (run.sampler.batch_size, run.sampler.images_per_class) == (180, 2)
        assert (run.augmentation.size, run.augmentation.flip) == (224, 0.5)
        assert (run.embed.resize, run.embed.crop) == (256, 224)
        assert run.runtime.precision == "float16"
    for run in runs_of(table1, "hier", "hyp", "pa", "ms"):
        assert (run.head.curvature, run.head.clip_radius) == (0.1, 2.3)
        assert run.evaluate.metric == ("poincare" if run.method in ("hier", "hyp") else "cosine")


def test_the_regulariser_and_the_losses_are_the_papers(table1):
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
def test_hyp_has_its_own_published_settings(table1, backbone, dataset):
    batch, each, epochs, resize = HYP[dataset]
    for run in runs_of(table1, "hyp", backbone=backbone, dataset=dataset):
        assert (run.sampler.batch_size, run.sampler.images_per_class) == (batch, each)
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
        assert (
            run.sampler.batch_size // run.sampler.images_per_class <= dataset.counts.train_classes
        )


def test_by_default_nothing_departs_from_the_right_way(table1):
    for run in table1.runs.values():
        assert run.protocol.name == "corrected"
        assert not run.protocol.k_may_equal_i
        assert not run.protocol.masks_gallery_of_query
        assert not run.protocol.warmup_as_in_scripts
        assert (run.protocol.choose, run.protocol.held_out_classes) == ("last", 0.0)


def test_the_official_protocol_is_set_for_all(table1, official):
    assert list(official.runs) == list(table1.runs)
    for name, run in official.runs.items():
        assert run.protocol.model_dump() == {
            "name": "official", "k_may_equal_i": True, "masks_gallery_of_query": True,
            "warmup_as_in_scripts": True, "choose": "best_on_test", "held_out_classes": 0.0,
            "test_every": 1,
        }  # fmt: skip
        assert run.model_copy(update={"protocol": table1.runs[name].protocol}) == table1.runs[name]


def test_the_authors_later_advice_is_taken_unless_the_protocol_is_official(table1, official):
    """No warm-up for ResNet-50 on CUB, which the script has one epoch of."""
    for suite, epochs in ((table1, 0), (official, 1)):
        for run in runs_of(suite, "hier", backbone="resnet50", dataset="cub"):
            assert schedule_in_force(run).warmup_epochs == epochs
        for run in in_hiers_setting(suite):
            if (run.backbone.name, run.dataset) != ("resnet50", "cub"):
                assert schedule_in_force(run) == run.schedule


def test_hier_plan_shows_it():
    code = (
        "import sys; from hier.cli import main; sys.argv = ['hier', 'plan', 'suite=table1']; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "124" in done.stdout
