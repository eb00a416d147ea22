"""Backbone and head, against the formula and with frozen batch norms."""

import math
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from hier.config.run import Backbone, Head
from hier.errors import ConfigError
from hier.models.network import EmbeddingHead, EmbeddingNetwork, build_network

BACKBONES = Path(__file__).parents[2] / "conf/backbone"
C, CLIP = 0.1, 2.3


@pytest.fixture(autouse=True)
def seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def backbone_config(**changes):
    text = (BACKBONES / "test_resnet.yaml").read_text(encoding="utf-8")
    return Backbone.model_validate(yaml.safe_load(text) | changes)


def head_config(**changes):
    return Head(**{"dim": 5, "curvature": C, "clip_radius": CLIP} | changes)


def images(n=4, size=16):
    return torch.randn(n, 3, size, size)


def small_backbone():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def by_hand(head, features, curvature, clip_radius):
    """The head in plain float64 arithmetic (method, sections 1 and 4)."""
    rows = []
    linear = head.linear.weight.detach().double(), head.linear.bias.detach().double()
    for row in features.double():
        centred = row - row.mean()
        normal = centred / math.sqrt(float(centred.square().mean()) + 1e-5)
        u = linear[0] @ normal + linear[1]
        if curvature:
            norm = float(u.square().sum().sqrt())
            u = u * min(1.0, clip_radius / norm)
            length, root = min(norm, clip_radius), math.sqrt(curvature)
            u = math.tanh(root * length) * u / (root * length)
        rows.append(u)
    return torch.stack(rows)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("curvature", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("clip_radius", [2.3, 1000.0])
def test_the_head_is_its_formula(dtype, curvature, clip_radius):
    head = EmbeddingHead(12, head_config(curvature=curvature, clip_radius=clip_radius)).to(dtype)
    nn.init.normal_(head.linear.bias, std=0.1)
    features = torch.randn(7, 12, dtype=dtype) * 4 + 3
    if curvature * clip_radius > 10:  # nearer to the border than the ball lets points come
        head.linear.weight.data *= 0.1
    actual = head(features).detach()
    assert actual.dtype == dtype
    expected = by_hand(head, features, curvature, clip_radius)
    tolerance = {torch.float32: 2e-6, torch.float64: 1e-12}[dtype]
    torch.testing.assert_close(actual.double(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("features", "dim"), [(96, 16), (8, 32), (20, 20)])
def test_weight_is_orthogonal_bias_zero_and_norm_has_nothing_to_learn(features, dim):
    head = EmbeddingHead(features, head_config(dim=dim))
    weight = head.linear.weight.double()
    gram = weight @ weight.T if dim <= features else weight.T @ weight
    torch.testing.assert_close(gram, torch.eye(len(gram), dtype=torch.float64), rtol=0, atol=1e-5)
    assert torch.equal(head.linear.bias, torch.zeros(dim))
    assert [name for name, _ in head.named_parameters()] == ["linear.weight", "linear.bias"]


def test_embeddings_lie_within_the_image_of_the_clip_radius():
    head = EmbeddingHead(64, head_config(dim=16))
    norms = head(torch.randn(200, 64) * 100).norm(dim=1)
    # tanh(√0.1 · 2.3)/√0.1: the official embeddings' norm (method, section 1)
    assert norms.max().item() == pytest.approx(1.9651, abs=1e-4)
    assert norms.max().item() <= math.tanh(math.sqrt(C) * CLIP) / math.sqrt(C) + 1e-6
    # Unit variance in 64 dimensions has norm 8, of which 16 orthogonal rows see about 4.
    assert (norms > 1.9650).float().mean() > 0.9
    shrunk = EmbeddingHead(64, head_config(dim=16))
    shrunk.linear.weight.data *= 0.01
    assert shrunk(torch.randn(200, 64)).norm(dim=1).max() < 0.1


@pytest.mark.parametrize("learns_scale", [False, True])
@pytest.mark.parametrize("curvature", [0.0, 0.1])
def test_the_scale_multiplies_what_the_linear_layer_gives(curvature, learns_scale):
    features = torch.randn(7, 12, dtype=torch.float64)
    plain = EmbeddingHead(12, head_config(curvature=curvature)).double()
    scaled = EmbeddingHead(
        12, head_config(curvature=curvature, scale=0.25, learns_scale=learns_scale)
    ).double()
    scaled.linear.load_state_dict(plain.linear.state_dict())
    assert ("scale" in scaled.state_dict()) == learns_scale
    plain.linear.weight.data *= 0.25
    plain.linear.bias.data *= 0.25
    torch.testing.assert_close(scaled(features), plain(features))


def test_a_clipped_embedding_has_no_gradient_along_itself_so_a_learned_scale_stays():
    def gradient(scale):
        head = EmbeddingHead(64, head_config(dim=16, scale=scale, learns_scale=True)).double()
        x = head(torch.randn(20, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
        x.backward(torch.randn(20, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))
        return abs(head.scale.grad.item())

    assert gradient(1.0) < 1e-14  # ‖u‖ ≈ √16 is above the clip radius
    assert gradient(0.1) > 1e-2


def test_the_gradient_through_the_ball_is_the_riemannian_one():
    head = EmbeddingHead(6, head_config(dim=3)).double()
    flat = EmbeddingHead(6, head_config(dim=3, curvature=0.0)).double()
    flat.load_state_dict(head.state_dict())
    features = torch.randn(2, 6, dtype=torch.float64)
    head.linear.weight.data *= 0.5  # inside the clip radius
    flat.linear.weight.data *= 0.5
    z, direction = head(features), torch.randn(2, 3, dtype=torch.float64)
    scale = (1 - C * z.detach().square().sum(1, keepdim=True)).square() / 4
    z.backward(direction)
    u = flat(features)
    norm = u.norm(dim=1, keepdim=True)
    exact = torch.tanh(math.sqrt(C) * norm) * u / (math.sqrt(C) * norm)
    exact.backward(direction * scale)
    torch.testing.assert_close(head.linear.weight.grad, flat.linear.weight.grad)


def test_without_a_head_features_are_embeddings():
    network = build_network(backbone_config(), None).eval()
    batch = images()
    with torch.no_grad():
        z = network(batch)
        assert torch.equal(z, network.backbone(batch))
    assert z.shape == (4, 96)
    assert list(network.head.parameters()) == []


def test_with_a_head_embeddings_are_the_head_of_the_features():
    network = build_network(backbone_config(), head_config()).eval()
    batch = images()
    with torch.no_grad():
        z, features = network(batch), network.backbone(batch)
    assert z.shape == (4, 5)
    torch.testing.assert_close(z.double(), by_hand(network.head, features, C, CLIP), rtol=1e-5, atol=1e-6)


def test_random_weights_come_from_the_global_generator():
    def built(seed):
        torch.manual_seed(seed)
        return build_network(backbone_config(), head_config()).state_dict()

    one, same, other = built(1), built(1), built(2)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["head.linear.weight"], other["head.linear.weight"])
    assert not torch.equal(one["backbone.conv1.0.weight"], other["backbone.conv1.0.weight"])


@pytest.mark.parametrize("settings", [{}, {"timm": "test_vit.r160_in1k", "features": 64}])
def test_a_network_that_is_loaded_at_once_draws_nothing_and_is_the_same(settings):
    config = backbone_config(**settings)
    one = build_network(config, None).eval()
    before = torch.get_rng_state()
    other = build_network(config, None, pretrained=False, drawn=False).eval()
    assert torch.equal(torch.get_rng_state(), before)
    other.load_state_dict(one.state_dict())
    batch = images(size=160)
    with torch.no_grad():
        assert torch.equal(one(batch), other(batch))


def norms(network):
    return [m for m in network.backbone.modules() if isinstance(m, nn.BatchNorm2d)]


def test_frozen_batch_norms_keep_statistics_and_affine_parameters():
    network = build_network(backbone_config(batch_norm="frozen"), head_config())
    for norm in norms(network):
        nn.init.ones_(norm.weight)  # timm starts some at 0, behind which nothing learns
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):
        assert network.train() is network
        assert network.training
        assert network.backbone.training
        network(images()).square().mul(torch.randn(5)).sum().backward()
        optimizer.step()
    assert norms(network)
    assert not any(m.training for m in norms(network))
    frozen = {id(value) for m in norms(network) for value in m.state_dict(keep_vars=True).values()}
    for name, value in network.state_dict(keep_vars=True).items():
        assert torch.equal(value, before[name]) == (id(value) in frozen), name


@pytest.mark.parametrize("batch_norm", ["frozen", "eval"])
def test_batch_norms_without_batch_statistics_use_their_running_statistics_in_training(batch_norm):
    network = EmbeddingNetwork(small_backbone(), None, batch_norm)
    network.backbone[1].running_mean.fill_(3.0)
    network.backbone[1].running_var.fill_(4.0)
    batch = images()
    with torch.no_grad():
        convolved = network.backbone[0](batch)
        z = network.train()(batch)
    expected = ((convolved - 3.0) / math.sqrt(4.0 + 1e-5)).mean(dim=(2, 3))
    torch.testing.assert_close(z, expected)
    assert torch.equal(z, network.eval()(batch))


def test_batch_norms_that_are_not_frozen_learn():
    network = EmbeddingNetwork(small_backbone(), None, batch_norm="train")
    network.train()
    network(images()).sum().backward()
    norm = network.backbone[1]
    assert norm.training
    assert norm.weight.grad is not None
    assert int(norm.num_batches_tracked) == 1
    network.eval()
    assert not norm.training


@pytest.mark.parametrize("name", ["../x", "hf-hub:x/y", "local-dir:.", ""])
def test_an_address_or_a_folder_is_no_model(name):
    with pytest.raises(ConfigError, match=r"backbone\.timm: timm has no model '") as caught:
        build_network(backbone_config(timm=name), None)
    assert "\n" not in str(caught.value)


def test_an_unknown_model_lists_models_alike():
    with pytest.raises(ConfigError, match=r"backbone\.timm: timm has no model 'resnet_5000'") as c:
        build_network(backbone_config(timm="resnet_5000"), None)
    assert "\n" not in str(c.value)
    assert "alike: " in str(c.value)
    assert "resnet" in str(c.value).partition("alike: ")[2]
    with pytest.raises(ConfigError, match="alike: none alike"):
        build_network(backbone_config(timm="zzz_net"), None)


def test_a_wrong_number_of_features_names_the_file():
    with pytest.raises(
        ConfigError, match=r"backbone\.features: test_resnet\.r160_in1k gives 96, .* says 97"
    ) as caught:
        build_network(backbone_config(features=97), head_config())
    assert "conf/backbone/test_resnet.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["test_resnet", "efficientnet_lite0"])
def test_configured_backbones_have_the_features_they_say(name):
    text = (BACKBONES / f"{name}.yaml").read_text(encoding="utf-8")
    config = Backbone.model_validate(yaml.safe_load(text) | {"weights": None})
    network = build_network(config, None).eval()
    with torch.no_grad():
        assert network(images(1, 32)).shape == (1, config.features)
    assert text.startswith("# ")


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("curvature", [0.0, C])
def test_embeddings_are_float32_under_autocast(half, curvature):
    network = build_network(backbone_config(), head_config(curvature=curvature)).eval()
    batch = images()
    with torch.no_grad():
        full = network(batch)
        with torch.autocast("cpu", dtype=half):
            cast = network(batch)
    assert cast.dtype == torch.float32
    torch.testing.assert_close(cast, full, rtol=0.05, atol=0.05)


def test_the_map_into_the_ball_is_computed_in_full_precision_under_autocast():
    head = EmbeddingHead(64, head_config(dim=16))
    features = torch.randn(50, 64) * 10
    with torch.autocast("cpu", dtype=torch.bfloat16):
        clipped = head(features).norm(dim=1)
    # bfloat16 has steps of 2⁻⁷ here: all on the radius to float32's precision means no rounding.
    radius = math.tanh(math.sqrt(C) * CLIP) / math.sqrt(C)
    on_radius = clipped[clipped > 1.96]
    assert len(on_radius) > 25
    torch.testing.assert_close(on_radius, torch.full_like(on_radius, radius), rtol=1e-6, atol=0)
