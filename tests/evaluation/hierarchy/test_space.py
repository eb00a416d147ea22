"""Distances and radii of images and proxies, by formulas written out here."""

from pathlib import Path

import numpy as np
import pytest
import torch

from hier.config.compose import compose
from hier.evaluation.hierarchy.space import metric_distances, radius, space
from hier.geometry.poincare import exp0

CONF = Path(__file__).parents[3] / "conf"
C, CLIP = 0.1, 2.3
FLAT = ["head.curvature=0.0", "evaluate.metric=cosine"]


def run_of(method, *settings):
    suite = compose(["suite=smoke", f"methods=[{method}]", *settings], CONF)
    return next(iter(suite.runs.values()))


def drawn(rows, lengths, seed=0):
    vectors = torch.randn(rows, 4, generator=torch.Generator().manual_seed(seed))
    vectors /= torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    return vectors * torch.tensor(lengths)[:, None]


LENGTHS = [0.0, 0.5, 1.0, 2.4, 4.0, 9.0]


def poincare(x, y):
    gap, a, b = ((v * v).sum() for v in (x - y, x, y))
    return np.arccosh(1 + 2 * C * gap / ((1 - C * a) * (1 - C * b))) / np.sqrt(C)


def angle(x, y):
    return np.arccos(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1, 1))


def matrix(x, y, distance):
    return np.array([[distance(a, b) for b in y] for a in x])


def test_a_radius_is_the_share_of_the_distance_that_the_clip_radius_has():
    """The distance from the origin is twice the length of the tangent vector, clipped."""
    x = exp0(drawn(6, LENGTHS), C, CLIP)
    expected = [0, 0.5 / 2.3, 1 / 2.3, 1, 1, 1]
    assert radius(x, run_of("pa")) == pytest.approx(expected, abs=1e-5)
    found = space(x, drawn(6, LENGTHS, seed=1), run_of("hier"))
    assert found.image_radius == pytest.approx(expected, abs=1e-5)
    assert found.proxy_radius == pytest.approx(expected, abs=1e-6)
    assert found.proxy_radius[3:].tolist() == [1.0] * 3  # exactly, so that none is nearer


def test_without_a_ball_only_directions_count():
    x = drawn(6, LENGTHS)
    assert radius(x, run_of("pa", *FLAT)).tolist() == [1.0] * 6
    headless = run_of("pa").model_copy(update={"head": None})
    assert radius(x, headless).tolist() == [1.0] * 6


@pytest.mark.parametrize("method", ["hier", "pa"])
def test_distances_are_the_metrics(method):
    x = exp0(drawn(6, LENGTHS), C, CLIP)
    x[4] = x[3]
    found = metric_distances(x, run_of(method))
    points = x.double().numpy()
    if method == "hier":
        expected = matrix(points, points, poincare)
    else:
        lengths = np.maximum(np.linalg.norm(points, axis=1), 1e-300)
        unit = points / lengths[:, None]
        expected = 1 - unit @ unit.T  # the cosine with a zero vector is 0
    np.fill_diagonal(expected, 0.0)
    assert found == pytest.approx(expected, abs=1e-7)
    assert np.array_equal(found, found.T)
    assert (np.diag(found) == 0).all()
    assert found.min() == 0.0
    assert found[3, 4] == pytest.approx(0.0, abs=1e-15)


def test_the_space_of_the_ball():
    x, u = exp0(drawn(6, LENGTHS), C, CLIP), drawn(5, LENGTHS[1:], seed=1)
    found = space(x, u, run_of("hier"))
    images, proxies = x.double().numpy(), exp0(u.double(), C, CLIP).numpy()
    assert found.to_proxies == pytest.approx(matrix(images, proxies, poincare), abs=1e-6)
    assert found.between_proxies == pytest.approx(matrix(proxies, proxies, poincare), abs=1e-6)
    assert found.between_images == pytest.approx(matrix(images, images, poincare), abs=1e-6)


def test_flat_space_measures_norms_and_clips_proxies_alone():
    x, u = drawn(6, LENGTHS), drawn(5, LENGTHS[1:], seed=1)
    found = space(x, u, run_of("hier", *FLAT, "regularizer.geometry=euclidean"))
    images, proxies = x.double().numpy(), u.double().numpy()
    proxies *= np.minimum(1, CLIP / np.linalg.norm(proxies, axis=1))[:, None]
    expected = np.linalg.norm(images[:, None] - proxies[None], axis=2)
    assert found.to_proxies == pytest.approx(expected, abs=1e-6)
    assert found.image_radius == pytest.approx(np.array(LENGTHS) / 9, abs=1e-6)
    assert found.proxy_radius == pytest.approx(np.array([0.5, 1, 2.3, 2.3, 2.3]) / 9, abs=1e-6)
    assert len(set(found.proxy_radius[2:])) == 1


def test_the_sphere_is_centred_on_the_mean_direction_of_the_proxies():
    x, u = drawn(5, LENGTHS[1:]), drawn(5, LENGTHS[1:], seed=1)
    found = space(x, u, run_of("hier", *FLAT, "regularizer.geometry=spherical"))
    images, proxies = x.double().numpy(), u.double().numpy()
    assert found.to_proxies == pytest.approx(matrix(images, proxies, angle), abs=1e-6)
    centre = (proxies / np.linalg.norm(proxies, axis=1, keepdims=True)).mean(0)
    both = matrix(np.concatenate([images, proxies]), [centre], angle)[:, 0]
    shares = np.concatenate([found.image_radius, found.proxy_radius])
    assert shares == pytest.approx(both / both.max(), abs=1e-6)
