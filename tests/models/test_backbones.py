"""The paper's four backbones, from files in the formats that they are published in (method, section 4)."""

import io
import pickle
from functools import cache
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import nn

from fakes.weights import drawn, hash_of, make_augreg_npz, make_weights
from hier.config.compose import compose
from hier.config.run import Backbone, Head, Schedule, Weights
from hier.errors import WeightsError
from hier.models.network import EmbeddingHead, _Undrawn, build_network
from hier.models.weights import load_weights, read_weights
from hier.training.objective import Objective
from hier.training.optimisation import build_optimizer, start_epoch

CONF = Path(__file__).parents[2] / "conf"
TRANSFORMERS = ["vit_small", "deit_small", "dino_vits16"]
NAMES = [*TRANSFORMERS, "resnet50"]
FEATURES = {"vit_small": 384, "deit_small": 384, "dino_vits16": 384, "resnet50": 2048}
INCEPTION, IMAGENET = ([0.5] * 3, [0.5] * 3), ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


@pytest.fixture(autouse=True)
def seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder whose weights/ holds the four files and the .npz."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "weights").mkdir()
    for name in NAMES:
        make_weights(folder / "weights", name)
    make_augreg_npz(folder / "weights")
    return folder


@pytest.fixture(autouse=True)
def at_home(home, monkeypatch):
    monkeypatch.chdir(home)


@cache
def hash_at(path, size, changed):
    return hash_of(path)


def config(name, file=None, sha256=None, **changes):
    """conf/backbone/<name>.yaml with the hash of the made-up file."""
    data = yaml.safe_load((CONF / f"backbone/{name}.yaml").read_text(encoding="utf-8"))
    file = file or data["weights"]["file"]
    path = Path("weights", file).absolute()
    digest = hash_at(path, path.stat().st_size, path.stat().st_mtime_ns)
    data["weights"] |= {"file": file, "sha256": sha256 or digest}
    return Backbone.model_validate(data | changes)


@cache
def built(name):
    """The network from its file, made once; tests leave its weights as they are."""
    return build_network(config(name), None)


def images(n=2, size=224):
    return torch.randn(n, 3, size, size)


@cache
def victim(name):
    """A network that refused weights are offered to, wherever the test stands."""
    data = yaml.safe_load((CONF / f"backbone/{name}.yaml").read_text(encoding="utf-8"))
    return build_network(Backbone.model_validate(data), None, pretrained=False).backbone


def refusal(backbone):
    """The one line with which its weights are refused."""
    with pytest.raises(WeightsError) as caught:
        load_weights(victim(backbone.name), backbone.weights)
    text = str(caught.value)
    assert "\n" not in text
    assert backbone.weights.file in text
    return text


# --- what lies in the files arrives ---------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_tensor_of_the_file_arrives(name):
    given = read_weights(Path("weights", config(name).weights.file))
    given = {k: v for k, v in given.items() if not k.startswith(("head", "fc."))}
    own = built(name).backbone.state_dict()
    counts = {k for k in own if k.endswith("num_batches_tracked")}  # not in the first files
    assert set(own) - counts == set(given)
    for key, value in given.items():
        assert torch.equal(own[key], value), key
    assert all(int(own[key]) == 0 for key in counts)
    assert built(name).weights_sha256 == hash_of(Path("weights", config(name).weights.file))


def test_the_upstream_npz_arrives_with_its_axes_turned():
    """Kernels are inputs × outputs (or × heads × each) there, convolutions height × width × 3 × outputs."""
    from fakes.weights import AUGREG

    own = build_network(config("vit_small", AUGREG), None).backbone.state_dict()
    left = set(own)
    with np.load(Path("weights", AUGREG)) as file:
        given = {name: torch.from_numpy(file[name]) for name in file.files}

    def check(name, value):
        assert torch.equal(own[name], value), name
        left.discard(name)

    check("cls_token", given["cls"])
    check("pos_embed", given["Transformer/posembed_input/pos_embedding"])
    check("patch_embed.proj.weight", given["embedding/kernel"].permute(3, 2, 0, 1))
    check("patch_embed.proj.bias", given["embedding/bias"])
    check("norm.weight", given["Transformer/encoder_norm/scale"])
    check("norm.bias", given["Transformer/encoder_norm/bias"])
    for i in range(12):
        theirs, block = f"Transformer/encoderblock_{i}/", f"blocks.{i}."
        for ours, norm in (("norm1", "LayerNorm_0"), ("norm2", "LayerNorm_2")):
            check(f"{block}{ours}.weight", given[f"{theirs}{norm}/scale"])
            check(f"{block}{ours}.bias", given[f"{theirs}{norm}/bias"])
        attention = f"{theirs}MultiHeadDotProductAttention_1/"
        parts = [(attention + part) for part in ("query", "key", "value")]
        kernels = [given[f"{part}/kernel"].reshape(384, 384).T for part in parts]
        check(f"{block}attn.qkv.weight", torch.cat(kernels))
        biases = [given[f"{part}/bias"].reshape(384) for part in parts]
        check(f"{block}attn.qkv.bias", torch.cat(biases))
        out = given[f"{attention}out/kernel"].reshape(384, 384)
        check(f"{block}attn.proj.weight", out.T)
        check(f"{block}attn.proj.bias", given[f"{attention}out/bias"])
        for ours, dense in (("fc1", "Dense_0"), ("fc2", "Dense_1")):
            check(f"{block}mlp.{ours}.weight", given[f"{theirs}MlpBlock_3/{dense}/kernel"].T)
            check(f"{block}mlp.{ours}.bias", given[f"{theirs}MlpBlock_3/{dense}/bias"])
    assert left == set()


@pytest.mark.parametrize("digits", [8, 20])
@pytest.mark.parametrize("name", NAMES)
def test_the_first_digits_of_a_hash_are_enough(name, digits):
    whole = config(name).weights.sha256
    network = victim(name)
    assert load_weights(network, config(name, sha256=whole[:digits]).weights) == whole


@pytest.mark.parametrize("name", NAMES)
def test_without_pretrained_the_file_is_not_needed(name, tmp_path, monkeypatch):
    backbone = config(name)
    monkeypatch.chdir(tmp_path)
    network = build_network(backbone, None, pretrained=False)
    assert network.weights_sha256 is None
    assert list(network.state_dict()) == list(built(name).state_dict())
    assert not list(tmp_path.iterdir())


# --- the networks ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_normalisation_and_features_are_the_published_ones(name):
    backbone = config(name)
    expected = INCEPTION if name == "vit_small" else IMAGENET
    assert (backbone.mean, backbone.std) == expected
    assert backbone.features == FEATURES[name]
    with torch.inference_mode():
        z = built(name).eval()(images(1))
    assert z.shape == (1, FEATURES[name])
    assert z.isfinite().all()


@pytest.mark.parametrize("name", ["vit_small", "dino_vits16"])
@pytest.mark.parametrize("training", [False, True])
def test_the_features_of_a_vit_are_its_cls_token(name, training):
    network, batch = built(name).train(training), images()
    with torch.no_grad():
        torch.testing.assert_close(network(batch), network.backbone.forward_features(batch)[:, 0])


def test_deit_gives_its_cls_token_in_training_and_the_mean_of_both_in_evaluation():
    """As timm 0.4.12 had it, with which the paper's figures were made."""
    network, batch = built("deit_small"), images()
    with torch.no_grad():
        tokens = network.eval().backbone.forward_features(batch)
        assert tokens.shape == (2, 198, 384)
        cls, distilled = tokens[:, 0], tokens[:, 1]
        torch.testing.assert_close(network(batch), (cls + distilled) / 2)
        torch.testing.assert_close(network.train()(batch), cls)
    assert (cls - distilled).abs().max() > 0.01  # so the two differ


def test_the_features_of_resnet_are_the_mean_plus_the_maximum_of_its_maps():
    network, batch = built("resnet50").eval(), images()
    with torch.no_grad():
        maps = network.backbone.forward_features(batch)
        assert maps.shape == (2, 2048, 7, 7)
        expected = maps.flatten(2).sum(2) / 49 + maps.flatten(2).max(2).values
        torch.testing.assert_close(network(batch), expected)


@pytest.mark.parametrize("name", TRANSFORMERS)
@pytest.mark.parametrize("size", [32, 96])
def test_a_transformer_takes_images_of_another_size(name, size):
    network = build_network(config(name), Head(dim=8, curvature=0.1, clip_radius=2.3))
    z = network(images(2, size))
    assert z.shape == (2, 8)
    z.square().sum().backward()
    assert network.backbone.pos_embed.grad.isfinite().all()


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_at_224_px_taking_any_size_changes_nothing(name):
    import timm

    plain = timm.create_model(config(name).timm, pretrained=False, num_classes=0).eval()
    plain.load_state_dict(built(name).backbone.state_dict())
    batch = images(1)
    with torch.inference_mode():
        torch.testing.assert_close(built(name).eval()(batch), plain(batch))


@pytest.mark.parametrize("file", [*NAMES, "augreg"])
def test_no_weights_are_drawn_where_a_file_has_them(monkeypatch, file):
    """Every tensor comes from the file, and the head's draws are the first of the seed."""
    from fakes.weights import AUGREG

    name = file if file in NAMES else "vit_small"
    head = Head(dim=8, curvature=0.1, clip_radius=2.3)
    made = _Undrawn.__torch_function__

    def spoilt(self, func, types, args=(), kwargs=None):
        """What is not drawn holds NaN."""
        found = made(self, func, types, args, kwargs)
        if func in (*self.STARTS, *self.FILLING):
            with torch._C.DisableTorchFunction(), torch.no_grad():
                found.fill_(torch.nan)
        return found

    monkeypatch.setattr(_Undrawn, "__torch_function__", spoilt)
    undrawn = build_network(config(name), None, pretrained=False, drawn=False)
    assert any(p.isnan().any() for p in undrawn.parameters())
    torch.manual_seed(3)
    network = build_network(config(name, None if file in NAMES else AUGREG), head)
    assert all(value.isfinite().all() for value in network.state_dict().values())
    torch.manual_seed(3)
    alone = EmbeddingHead(FEATURES[name], Head(dim=8, curvature=0.1, clip_radius=2.3))
    assert torch.equal(network.head.linear.weight, alone.linear.weight)


# --- what is trained ------------------------------------------------------------------------------


@cache
def smoke():
    return next(run for run in compose(["suite=smoke", "methods=[ms]"], CONF).runs.values())


def optimizer_of(network):
    return build_optimizer(network, Objective(smoke(), 4), smoke().optimizer)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_the_patch_embedding_of_a_transformer_is_never_trained(name):
    network = build_network(config(name), Head(dim=8, curvature=0.1, clip_radius=2.3))
    optimizer = optimizer_of(network)
    frozen = list(network.backbone.patch_embed.parameters())
    assert len(frozen) == 2
    grouped = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert not grouped & {id(p) for p in frozen}
    assert len(grouped) == len(list(network.parameters())) - 2
    schedule = Schedule(epochs=3, warmup_epochs=1, name="constant", step_size=1, gamma=1.0)
    for epoch in range(2):  # the end of the warm-up does not wake it
        start_epoch(optimizer, schedule, epoch)
        assert not any(p.requires_grad for p in frozen)
    assert network.backbone.pos_embed.requires_grad
    before = [p.clone() for p in frozen]
    network.train()(images(2, 32)).square().sum().backward()
    optimizer.step()
    assert all(p.grad is None for p in frozen)
    assert all(torch.equal(a, b) for a, b in zip(frozen, before, strict=True))


def batch_norms(network):
    return [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]


@pytest.mark.parametrize(
    ("batch_norm", "trained", "learns_statistics"),
    [("train", 159, True), ("eval", 159, False), ("frozen", 53, False)],
)
def test_what_is_trained_of_resnet_by_the_mode_of_its_batch_norms(batch_norm, trained, learns_statistics):
    """Of 159 tensors, 106 are the weights and biases of 53 batch norms."""
    network = build_network(config("resnet50", batch_norm=batch_norm), None).train()
    norms = batch_norms(network)
    assert (len(norms), len(list(network.parameters()))) == (53, 159)
    grouped = [p for group in optimizer_of(network).param_groups for p in group["params"]]
    assert len(grouped) == sum(p.requires_grad for p in network.parameters()) == trained
    assert {norm.training for norm in norms} == {learns_statistics}
    before = {name: value.clone() for name, value in network.named_buffers()}
    with torch.no_grad():
        network(images(2, 64))
    moved = [not torch.equal(value, before[name]) for name, value in network.named_buffers()]
    assert any(moved) == learns_statistics


def test_another_network_of_timm_takes_no_code():
    """A file in conf/backbone/ is all: its own normalisation, length, frozen part and size of image."""
    backbone = Backbone(
        name="mine", timm="test_vit.r160_in1k", features=64, mean=[0.1] * 3, std=[0.2] * 3,
        weights=None, batch_norm="train", freeze=["patch_embed", "blocks.0"],
    )  # fmt: skip
    network = build_network(backbone, Head(dim=8, curvature=0.1, clip_radius=2.3))
    for size in (160, 32):
        assert network(images(2, size)).shape == (2, 8)
    still = {n for n, p in network.backbone.named_parameters() if not p.requires_grad}
    assert {n.split(".")[0] for n in still} == {"patch_embed", "blocks"}
    assert all(n.startswith(("patch_embed.", "blocks.0.")) for n in still)


def test_another_network_of_timm_with_weights(tmp_path, monkeypatch):
    import timm

    monkeypatch.chdir(tmp_path)
    Path("weights").mkdir()
    other = timm.create_model("test_vit.r160_in1k", pretrained=False, num_classes=10)
    save_file(other.state_dict(), "weights/mine.safetensors")
    backbone = Backbone(
        name="mine", timm="test_vit.r160_in1k", features=64, mean=[0.1] * 3, std=[0.2] * 3,
        weights=Weights(file="mine.safetensors", sha256=None, match="name"),
        batch_norm="train",
    )  # fmt: skip
    network = build_network(backbone, None)
    assert torch.equal(network.backbone.blocks[0].attn.qkv.weight, other.blocks[0].attn.qkv.weight)
    assert network.weights_sha256 == hash_of(Path("weights/mine.safetensors"))


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("digits", [8, 64])
def test_another_hash_is_refused(name, digits):
    text = refusal(config(name, sha256="0" * digits))
    assert f"expected sha256 {'0' * digits}, found {config(name).weights.sha256}" in text
    assert config(name).weights.url in text


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty weights/ to be filled."""
    monkeypatch.chdir(tmp_path)
    Path("weights").mkdir()
    return tmp_path / "weights"


def cuts(length):
    return {"empty": 0, "start": 40, "half": length // 2, "end": length - 30}


@pytest.mark.parametrize("where", ["empty", "start", "half", "end"])
@pytest.mark.parametrize("kind", ["safetensors", "pth", "old pth", "npz"])
def test_a_file_cut_short_is_refused(home, elsewhere, kind, where):
    if kind == "npz":
        path, _ = make_augreg_npz(elsewhere)
        name = "vit_small"
    elif kind == "old pth":
        name, path = "dino_vits16", elsewhere / "dino_deitsmall16_pretrain.pth"
        state = read_weights(home / "weights" / path.name)
        torch.save(state, path, _use_new_zipfile_serialization=False)
    else:
        name = "vit_small" if kind == "safetensors" else "deit_small"
        path, _ = make_weights(elsewhere, name)
    whole = path.read_bytes()
    path.write_bytes(whole[: cuts(len(whole))[where]])
    assert "is damaged" in refusal(config(name, path.name))


@pytest.mark.parametrize("suffix", ["safetensors", "pth", "npz"])
@pytest.mark.parametrize(
    "content",
    [b"<html>not found</html>", b"PK\x03\x04", b"\x80\x02}q\x00.", b"\x00" * 64, b"\x93NUMPY"],
    ids=["page", "zip", "pickle", "zeros", "npy"],
)
def test_something_else_under_the_files_name_is_refused(elsewhere, suffix, content):
    (elsewhere / f"x.{suffix}").write_bytes(content)
    refusal(config("vit_small", f"x.{suffix}"))


def test_a_single_array_is_no_npz(elsewhere):
    stream = io.BytesIO()
    np.save(stream, np.zeros(3))
    (elsewhere / "x.npz").write_bytes(stream.getvalue())
    refusal(config("vit_small", "x.npz"))


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("vit_small", "resnet50"),
        ("vit_small", "deit_small"),  # a distillation token too many
        ("deit_small", "dino_vits16"),  # one too few
        ("dino_vits16", "resnet50"),
        ("resnet50", "dino_vits16"),
        ("resnet50", "vit_small"),
    ],
)
def test_weights_of_another_network_are_refused(name, other):
    text = refusal(config(name, config(other).weights.file))
    assert "does not fit" in text
    assert "backbone.timm" in text
    assert len(text) < 600


@pytest.mark.parametrize("name", ["resnet50", "deit_small"])
def test_an_npz_of_another_network_is_refused(name):
    from fakes.weights import AUGREG

    refusal(config(name, AUGREG))


def test_a_refused_npz_is_closed_at_once(home, elsewhere):
    """timm leaves a file that it opens to the collector, which may warn in the midst of another test."""
    from fakes.weights import AUGREG

    with np.load(home / "weights" / AUGREG) as file:
        np.savez(elsewhere / "less.npz", **{k: file[k] for k in file.files if "_11/" not in k})
    weights = config("vit_small", "less.npz").weights
    with pytest.raises(WeightsError) as caught:
        load_weights(victim("vit_small"), weights)
    assert caught.value.__cause__ is not None  # whose frames still hold what timm opened
    open_files = {file.path for file in psutil.Process().open_files()}
    assert not any(path.endswith("less.npz") for path in open_files)


def test_an_npz_of_another_size_or_with_a_part_missing_is_refused(home, elsewhere):
    from fakes.weights import AUGREG

    with np.load(home / "weights" / AUGREG) as file:
        arrays = {name: file[name] for name in file.files}
    np.savez(elsewhere / "less.npz", **{k: v for k, v in arrays.items() if "_11/" not in k})
    assert "encoderblock_11" in refusal(config("vit_small", "less.npz"))
    arrays["Transformer/encoderblock_3/MlpBlock_3/Dense_0/kernel"] = np.zeros((384, 768), "f4")
    np.savez(elsewhere / "other.npz", **arrays)
    refusal(config("vit_small", "other.npz"))


@pytest.mark.parametrize(
    "tensors",
    [
        {"pos_embed": torch.zeros(3)},
        {"pos_embed": torch.zeros(1, 198, 384)},
        {"pos_embed": torch.zeros(1, 197, 192)},
        {"patch_embed.proj.weight": torch.zeros(384)},
        {"patch_embed.proj.weight": torch.zeros(192, 3, 16, 16)},
        {"patch_embed.backbone.x": torch.zeros(3)},
        {"visual.class_embedding": torch.zeros(3)},
        {"surplus": torch.zeros(3)},
        {"norm.weight": torch.zeros(())},
    ],
    ids=lambda tensors: "-".join(f"{k}{tuple(v.shape)}" for k, v in tensors.items()),
)
def test_a_tensor_that_does_not_belong_is_refused(home, elsewhere, tensors):
    state = load_file(home / "weights" / config_file("vit_small"))
    save_file(state | tensors, elsewhere / "x.safetensors")
    refusal(config("vit_small", "x.safetensors"))


def config_file(name):
    return yaml.safe_load((CONF / f"backbone/{name}.yaml").read_text())["weights"]["file"]


class Malicious:
    """A pickle of this creates a file when it is loaded by Python's rules."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


@pytest.mark.parametrize("kind", ["pth", "old pth", "plain pickle"])
@pytest.mark.parametrize("name", ["deit_small", "dino_vits16", "resnet50"])
def test_a_pickle_that_wants_to_run_code_is_refused(elsewhere, name, kind):
    path, ran = elsewhere / "x.pth", elsewhere / "ran"
    bad = {"model": drawn([("cls_token", (1, 1, 384))]), "args": Malicious(str(ran))}
    if kind == "plain pickle":
        path.write_bytes(pickle.dumps(bad))
    else:
        torch.save(bad, path, _use_new_zipfile_serialization=kind == "pth")
    refusal(config(name, path.name))
    assert not ran.exists()
    if kind == "plain pickle":
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert ran.exists()  # so the file was a real threat


def test_an_array_of_objects_in_an_npz_is_refused(home, elsewhere):
    from fakes.weights import AUGREG

    ran = elsewhere / "ran"
    with np.load(home / "weights" / AUGREG) as file:
        arrays = {name: file[name] for name in file.files}
    arrays["surplus"] = np.array([Malicious(str(ran))], dtype=object)
    np.savez(elsewhere / "x.npz", **arrays)
    refusal(config("vit_small", "x.npz"))
    assert not ran.exists()
    with np.load(elsewhere / "x.npz", allow_pickle=True) as file:
        file["surplus"]
    assert ran.exists()  # so the file was a real threat
