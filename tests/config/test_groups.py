"""The groups of conf/: methods are a loss × a regulariser, and files mean one thing."""

import shutil
from pathlib import Path

import pytest

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
