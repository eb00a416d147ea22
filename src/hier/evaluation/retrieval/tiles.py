"""How many gallery items are nearer than a query's nearest own item, counted from below and from above.

The products are float32, tile by tile; :mod:`hier.evaluation.retrieval.ranks` decides in float64 what
the two counts leave open.
"""

from bisect import bisect_right
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hier.geometry.products import inner_products

# Queries × gallery items whose float32 products are counted in one go; on a CPU they stay in the cache.
# Fewer than 2²⁴ items, so that float32 counts them exactly.
TILE = {"cpu": (2048, 2048), "cuda": (8192, 16384)}
PART = 256  # items of a tile, in a row, that are counted only where their largest product may count
ABSENT = torch.iinfo(torch.int64).max  # the rank without an item of the class, or beyond every K


class Own(NamedTuple):
    """What is known of each query's own items before the others are looked at; Q values each."""

    nearest: Tensor  # product with the nearest own item, float64; −∞ where there is none
    width: Tensor  # others tie with it down to nearest − width
    surely: Tensor  # items not to be counted whose product is ≥ nearest − width
    perhaps: Tensor  # items not to be counted whose product is > nearest


class Thresholds(NamedTuple):
    """What bounds the products that count; Q values each, float64."""

    nearer: Tensor  # from here on surely nearer than the nearest own item, and so none of the class
    not_farther: Tensor  # from here on perhaps not farther
    slope: Tensor  # what a margin grows by with the length of the items

    def of(self, longest: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """The two for items of at most that length, in `dtype`, rounded away from each other."""
        nearer = torch.add(self.nearer, self.slope, alpha=longest).to(dtype)
        not_farther = torch.sub(self.not_farther, self.slope, alpha=longest).to(dtype)
        inf = nearer.new_tensor(torch.inf)
        return torch.nextafter(nearer, inf), torch.nextafter(not_farther, -inf)


class Tiles:
    """Counts gallery items by float32 products, from below and from above.

    The gallery is shifted by the median m of some items, since ⟨q, g − m⟩ ranks like ⟨q, g⟩: what items
    share, such as the first Lorentz coordinate on the clip radius, then costs no digits. It is ordered
    by length, so that few items far out do not widen the margin of all.

    The margin, with unit roundoff u and n = D + 2: rounding q and g to float32 changes each factor by
    (1 + δ), |δ| ≤ u, and a sum of D products, in whatever order, fused or not, each term by at most
    (1 + δ)^D. So the product is wrong by at most γₙ Σ|qᵢgᵢ| ≤ γₙ ‖q‖‖g‖, γₙ = nu/(1 − nu) (Higham,
    Accuracy and Stability of Numerical Algorithms, §3.1). What underflows, even if flushed to zero,
    adds less than D·tiny for each of the factors and D·tiny for each of products and sums. What
    float64 is wrong by, in the products, the shift and the nearest own item, is below 3 tie widths.
    """

    def __init__(self, query: Tensor, gallery: Tensor) -> None:
        dtype = torch.float32 if _float32_is_exact(query.device) else torch.float64
        self.finfo = torch.finfo(dtype)
        some = gallery[:: 1 + len(gallery) // 250]
        middle = some.sort(0).values[len(some) // 2]
        shifted = gallery - middle
        length, order = torch.linalg.vector_norm(shifted, dim=1).sort()
        self.gallery = shifted.to(dtype).index_select(0, order)
        self.query = query.to(dtype)
        self.shift = query @ middle
        self.query_length = torch.linalg.vector_norm(query, dim=1)
        queries, items = TILE.get(query.device.type, TILE["cpu"])
        self.queries = min(queries, len(query))
        self.tiles = list(_cut(length.tolist(), items))
        self.buffers = self.gallery.new_empty(3, self.queries * min(items, len(gallery)))

    def bounds(self, own: Own, most: int) -> tuple[Tensor, Tensor]:
        """The lowest and the highest rank that each query's nearest own item can have.

        Where both are certain to be above `most`, they are only that.
        """
        lowest, highest = torch.full_like(own.surely, ABSENT), torch.full_like(own.surely, ABSENT)
        found = (own.nearest > -torch.inf).nonzero().squeeze(1)
        for rows in found.split(self.queries) if len(found) else ():
            self._count(rows, Own(*(part[rows] for part in own)), most, lowest, highest)
        return lowest, highest

    def _count(self, rows: Tensor, own: Own, most: int, lowest: Tensor, highest: Tensor) -> None:
        """Enter the bounds for `rows`, except for those that pass `most` on the way."""
        query, thresholds = self.query.index_select(0, rows), self._thresholds(rows, own)
        below, above = 1 - own.perhaps, 1 - own.surely
        for tile, longest in self.tiles:
            nearer, not_farther = thresholds.of(longest, query.dtype)
            row, part = self._reaching(self._product(query, tile), not_farther)
            if len(row) == 0:
                continue
            above.index_add_(0, row, self._at_least(part, not_farther[row]))
            below.index_add_(0, row, self._at_least(part, nearer[row]))
            going = below <= most
            if int(going.sum()) < 0.9 * len(rows):
                rows, query, below, above = rows[going], query[going], below[going], above[going]
                thresholds = Thresholds(*(part[going] for part in thresholds))
                if len(rows) == 0:
                    return
        lowest[rows], highest[rows] = below, above

    def _product(self, query: Tensor, tile: slice) -> Tensor:
        items = self.gallery[tile]
        out = self.buffers[0, : len(query) * len(items)].view(len(query), -1)
        return inner_products(query, items, out)

    def _reaching(self, product: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
        """The parts of the rows of `product` that hold a number of at least the row's threshold, and
        maybe others: each one's row, and the parts."""
        width = PART if product.shape[1] % PART == 0 else product.shape[1]
        parts = product.view(-1, width)
        most = parts.amax(1).view(len(product), -1)
        found = (most >= threshold[:, None]).view(-1).nonzero().squeeze(1)
        row = found // most.shape[1]
        if len(found) > len(parts) // 2:
            return torch.arange(len(product), device=row.device), product
        out = self.buffers[1, : len(found) * width].view(len(found), width)
        return row, torch.index_select(parts, 0, found, out=out)

    def _thresholds(self, rows: Tensor, own: Own) -> Thresholds:
        """The thresholds of `rows`, as far as they do not depend on the tile."""
        dim, length = self.gallery.shape[1], self.query_length[rows]
        relative, underflow = _rounding(dim, self.finfo)
        margin = 3 * own.width + underflow * (1 + length)
        middle = own.nearest - self.shift[rows]
        slope = relative * length + underflow
        return Thresholds(middle + margin, middle - own.width - margin, slope)

    def _at_least(self, product: Tensor, threshold: Tensor) -> Tensor:
        """How many of each row of `product` reach its threshold."""
        out = self.buffers[2, : product.numel()].view_as(product)  # floats add up fastest
        return torch.ge(product, threshold[:, None], out=out).sum(1).long()


def _rounding(dim: int, finfo: torch.finfo) -> tuple[float, float]:
    """γₙ, and what underflow adds for each factor and each sum."""
    n_u = (dim + 2) * finfo.eps / 2
    return n_u / (1 - n_u), 4 * dim * finfo.tiny


def _cut(lengths: list[float], items: int) -> Iterator[tuple[slice, float]]:
    """Tiles of at most `items` of ascending lengths, and their longest: no more than twice as long as
    the shortest, or as half of all items."""
    start, usual = 0, lengths[len(lengths) // 2]
    while start < len(lengths):
        limit = bisect_right(lengths, 2 * max(lengths[start], usual))
        end = min(start + items, limit)
        yield slice(start, end), lengths[end - 1]
        start = end


def _float32_is_exact(device: torch.device) -> bool:
    """Whether float32 products are what they are called, not rounded to TF32 or bfloat16."""
    backend: Any = torch.backends.cuda if device.type == "cuda" else torch.backends.mkldnn
    return backend.matmul.fp32_precision in ("none", "ieee")
