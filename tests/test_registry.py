"""Parts found by their file's name, such as are planted beside the package's own."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import hier.data.layouts
import hier.losses
import hier.models.pooling
from hier.config.compose import compose
from hier.config.dataset import Dataset
from hier.config.keys import keys
from hier.config.run import Backbone, Loss, Run
from hier.errors import ConfigError, UnknownNameError
from hier.models.network import build_network
from hier.registry import LAYOUTS, LOSSES, POOLINGS
from hier.training.objective import Objective

CONF = Path(__file__).parents[1] / "conf"
NEAREST = """
from torch import nn

from hier.config.run import Loss
from hier.losses.planted_help import SCALE


class Settings(Loss):
    reach: float

    paper_name = "Planted"
    learns_proxies = False
    on_sphere = True


class Nearest(nn.Module):
    def __init__(self, reach):
        super().__init__()
        self.reach = reach

    def forward(self, z, labels):
        return SCALE * self.reach * z.square().sum()


def build(settings, **_):
    return Nearest(settings.reach)
"""
POOLING = """
from torch.nn import AdaptiveMaxPool2d, Flatten, Sequential


def pool(backbone, name):
    backbone.global_pool = Sequential(AdaptiveMaxPool2d(1), Flatten())
"""


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """A loss, its helper and a pooling in a folder on the packages' search paths."""
    for package in (hier.losses, hier.models.pooling):
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
        monkeypatch.setattr(package.__spec__, "submodule_search_locations", package.__path__)
    (tmp_path / "planted.py").write_text(NEAREST)
    (tmp_path / "planted_help.py").write_text("SCALE = 2.0\n")
    (tmp_path / "largest.py").write_text(POOLING)
    yield tmp_path
    for name in ("losses.planted", "losses.planted_help", "models.pooling.largest"):
        sys.modules.pop(f"hier.{name}", None)


@pytest.fixture
def smoke():
    return compose(["suite=smoke", "methods=[hier]"], CONF).runs["smoke-hier-test_resnet-16-s0"]


def test_the_parts_are_the_files_that_define_one():
    assert LOSSES.names() == [
        "hyp", "ms", "none", "nsoftmax", "pa", "pnca", "pnca_hier", "softtriple", "xbm",
    ]  # fmt: skip
    assert POOLINGS.names() == ["avg_max", "timm"]
    assert LAYOUTS.names() == [
        "cars", "cars_half", "cub", "folder", "grocery", "inshop", "omniglot", "sop", "table",
    ]  # fmt: skip


@pytest.mark.parametrize("name", LOSSES.names())
def test_a_loss_is_named_as_its_file_and_says_what_it_is(name):
    settings = LOSSES.module(name).Settings
    assert issubclass(settings, Loss)
    flags = settings.paper_name, settings.learns_proxies, settings.on_sphere
    assert [type(flag) for flag in flags] == [str, bool, bool]
    assert (CONF / f"loss/{name}.yaml").is_file()


@pytest.mark.parametrize("name", ["px", "library", "__init__", "../hier", "", "a b"])
def test_other_names_are_no_losses(name):
    with pytest.raises(UnknownNameError, match="choose from: hyp, ms, none"):
        LOSSES.module(name)


def test_the_files_of_a_part_are_what_it_imports_of_its_folder(planted):
    def names(registry, name):
        return [file.name for file in registry.files(name)]

    assert names(LOSSES, "pa") == ["library.py", "pa.py"]
    assert names(LOSSES, "hyp") == ["hyp.py", "pairwise.py"]
    assert names(LOSSES, "none") == ["none.py"]
    assert names(LOSSES, "planted") == ["planted.py", "planted_help.py"]
    assert names(POOLINGS, "avg+max") == ["avg_max.py"]
    assert names(LAYOUTS, "cub") == ["__init__.py", "cub.py"]
    assert "hier.losses.planted" not in sys.modules


def test_a_new_loss_is_a_file(planted, smoke):
    """It is found, checked, built and named in what is wrong, and its settings come out again."""
    given = smoke.model_dump() | {"loss": {"name": "planted", "reach": 3.0}}
    run = Run.model_validate(given)
    assert run.model_dump()["loss"] == {"name": "planted", "reach": 3.0}
    z = torch.ones(8, run.dim)
    assert Objective(run, 4).metric(z, torch.arange(8)).item() == 2 * 3 * 8 * run.dim
    assert "loss.reach" in keys(given)
    assert "loss.margin" not in keys(given)


def test_a_new_loss_is_a_method_with_and_without_the_regulariser(planted, tmp_path):
    conf = tmp_path / "conf"
    shutil.copytree(CONF, conf)
    (conf / "loss/planted.yaml").write_text("name: planted\nreach: 3.0\n")
    file = conf / "suite/smoke.yaml"
    file.write_text(file.read_text().replace("untrained, pa", "planted, hier_planted"))
    runs = compose(["suite=smoke", "methods=[planted,hier_planted]"], conf).runs.values()
    assert [(run.loss.name, run.regularizer.name) for run in runs] == [
        ("planted", "none"),
        ("planted", "hier"),
    ]
    with pytest.raises(ConfigError, match=r"such a key; did you mean loss\.reach\?"):
        compose(["suite=smoke", "methods=[planted]", "loss.raech=1.0"], conf)


def test_a_new_pooling_is_a_file(planted, smoke):
    config = Backbone.model_validate(smoke.backbone.model_dump() | {"pooling": "largest"})
    network = build_network(config, smoke.head).eval()
    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, smoke.dim)


def test_a_new_layout_is_a_file(tmp_path, monkeypatch):
    locations = [*hier.data.layouts.__path__, str(tmp_path)]
    monkeypatch.setattr(hier.data.layouts.__spec__, "submodule_search_locations", locations)
    (tmp_path / "planted.py").write_text("def read(root, dataset): ...\n")
    dataset = compose(["suite=smoke"], CONF).datasets["smoke"]
    assert Dataset.model_validate(dataset.model_dump() | {"layout": "planted"}).layout == "planted"


def test_a_registry_is_for_its_package_alone():
    assert not replace(LOSSES, package="hier.geometry").names()


def test_settings_are_checked_without_torch():
    code = (
        "import sys; from hier.config.compose import compose; compose(['suite=ablation-losses']); "
        "print([m for m in ('torch', 'pytorch_metric_learning') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=CONF.parent, timeout=60
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
