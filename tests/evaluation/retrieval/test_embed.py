"""An image's embedding has the same bytes whatever else is embedded with it."""

import pytest
import torch
from torch.utils.data import Dataset

from hier.config.run import Backbone, Head
from hier.evaluation.retrieval.embed import embed_images
from hier.models.network import build_network
from hier.models.normalise import Normalise

IMAGES = 50
HEAD = Head(dim=8, curvature=0.1, clip_radius=2.3)


class Noise(Dataset):
    """Images of one seed each."""

    def __getitem__(self, position):
        generator = torch.Generator().manual_seed(position)
        return torch.randint(0, 256, (64, 64, 3), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize(("timm", "features"), [("test_resnet", 96), ("test_vit", 64)])
def test_a_few_images_have_the_bytes_that_they_have_among_many(timm, features):
    mean, std = [0.5, 0.4, 0.3], [0.2, 0.3, 0.25]
    backbone = Backbone(
        name="tiny", timm=timm, features=features, mean=mean, std=std, weights=None, batch_norm="train"
    )
    torch.manual_seed(0)
    network = build_network(backbone, HEAD)
    normalise = Normalise(mean, std, torch.device("cpu"))

    def embedded(positions, size):
        return embed_images(network, Noise(), positions, normalise, size, 0, "noise")

    many = embedded(range(IMAGES), 40)
    assert many.shape == (IMAGES, HEAD.dim)
    assert many.norm(dim=1).min() > 0.1  # else all were the same
    for count, size in ((1, 40), (5, 40), (17, 40), (IMAGES, 3), (IMAGES, 16), (IMAGES, 19)):
        assert torch.equal(embedded(range(count), size), many[:count])
