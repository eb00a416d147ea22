"""The groups of conf/: methods are a loss × a regulariser, and files mean one thing, as Hydra has it."""

import shutil
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from hier.config import groups as module
from hier.config.groups import Groups
from hier.errors import ConfigError, UnknownNameError

CONF = Path(__file__).parents[2] / "conf"


@pytest.mark.parametrize(
    ("method", "chosen"),
    [
        ("pa", {"loss": "pa", "regularizer": "none"}),
        ("hier", {"loss": "pa", "regularizer": "hier"}),
        ("ms", {"loss": "ms", "regularizer": "none"}),
        ("hier_ms", {"loss": "ms", "regularizer": "hier"}),
        ("pretrained", {"method": "pretrained"}),
    ],
)
def test_a_method_is_a_loss_with_or_without_the_regulariser(method, chosen):
    assert Groups(CONF).of_method(method) == chosen


@pytest.mark.parametrize("method", ["none", "hier_none", "hier_pa", "hier_nope", "hier_", ""])
def test_other_names_are_no_methods(method):
    with pytest.raises(UnknownNameError, match="choose from: hier, hier_hyp, hier_hyp_sphere, hier_ms"):
        Groups(CONF).of_method(method)


def test_a_file_that_two_versions_of_yaml_read_differently_is_refused(tmp_path):
    shutil.copytree(CONF, tmp_path / "conf")
    file = tmp_path / "conf/loss/pnca.yaml"
    file.write_text("name: on\nscale: 9.0\n")
    chosen = {"dataset": "smoke", "backbone": "test_resnet", "loss": "pnca"}
    with Groups(tmp_path / "conf") as groups, pytest.raises(ConfigError) as caught:
        groups.run(chosen)
    assert f"{file}: name: holds what YAML 1.1 and 1.2 take for different" in str(caught.value)


def by_hydra(conf, group, name):
    """What Hydra gives for a file of a group, or of conf/ itself."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf), version_base="1.3"):
        return OmegaConf.to_container(compose(None if group else name, [f"+{group}={name}"] if group else []))


def read(conf, group, name):
    with Groups(conf) as found:
        return OmegaConf.to_container(found.file(group, name))


@pytest.mark.parametrize("group", ["", *sorted(p.name for p in CONF.iterdir() if p.is_dir())])
def test_each_file_is_what_hydra_makes_of_it(group):
    names = sorted(path.stem for path in (CONF / group).glob("*.yaml"))
    assert names
    for name in names:
        assert read(CONF, group, name) == by_hydra(CONF, group, name)


HEADS = {
    "": 0,
    "# What it is.\n": 0,
    "# @package _global_\n": 0,
    "# @package _global_\n# What it is.\n": 0,
    "\n# @package _global_\n": 1,
    "# @package  _global_\n": 1,
    "#@package _global_\n": 1,
    "# @package head\n": 1,
    "# What it is.\n# @package _global_\n": 1,  # too late: Hydra does not see it
    "# @package head\n# @package _global_\n": 1,
}


@pytest.mark.parametrize(("head", "asked"), HEADS.items())
def test_whatever_stands_in_its_head(head, asked, tmp_path, monkeypatch):
    """A file that names no others is read without Hydra, but where its head is not plain."""
    calls = []
    monkeypatch.setattr(module, "compose", lambda *given: calls.append(given) or compose(*given))
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss/one.yaml").write_text(f"{head}a: {{b: 1, c: '${{loss.d}}'}}\nd: [1.5, null, x]\n")
    expected = by_hydra(tmp_path, "loss", "one")
    assert read(tmp_path, "loss", "one") == expected
    assert len(calls) == asked
    assert {"a", "loss", "head"} & expected.keys()
