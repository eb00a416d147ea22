"""The rank of each query's nearest item of its class, as far as the K of Recall@K need it.

No neighbour list is sorted. The rank is 1 + the number of items of other classes that are not
strictly farther than the nearest own item, so a count decides every K at once:

1. The nearest own item is looked up among the items of the class, in float64 (:class:`_Own`).
2. All gallery items are counted from below and from above in float32, tile by tile, against that
   item's product minus and plus what float32 can be wrong by (:class:`_Tiles`). A query whose count
   has passed the largest K needs no more. A processor that multiplies bfloat16 looks with that first,
   and in float32 only where something may count.
3. Where some K lies between the two counts, the query is counted in float64
   (:meth:`_Search.exact_ranks`). Many ties make that all queries, at the cost of a plain search.

So the ranks compare with each K as a search in float64 alone makes them, whatever the tiles.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

BLOCK_ELEMENTS = 2**23
"""Float64 products looked at in one go; memory is about 20 bytes for each."""
BLOCK_QUERIES = 256
"""Queries whose classes are looked at in one go."""
TILE = {"cpu": (2048, 2048), "cuda": (8192, 16384)}
"""Queries × gallery items whose float32 products are counted in one go; on a CPU they stay in the
cache. Fewer than 2²⁴ items, so that float32 counts them exactly."""
PART = 256
"""Items of a tile, in a row, that are counted only where the largest of their products may count."""
COARSE = torch.bfloat16
COARSE_ROUNDING = torch.finfo(COARSE).eps / 2

Rows = Tensor | slice
"""Numbers of queries; a slice from 0, which copies nothing, for all of them."""

ABSENT = torch.iinfo(torch.int64).max
"""The rank where the gallery has no item of the query's class, or one beyond every K."""


def nearest_own_ranks(
    query: Tensor,
    query_labels: Tensor,
    gallery: Tensor,
    gallery_labels: Tensor,
    ks: Sequence[int],
    hides_own_number: bool = False,
) -> Tensor:
    """For each query a number that compares with every K as the rank of its nearest own item does.

    Args:
        query: Q×D, float64; a larger inner product with an item means that the item is nearer.
        query_labels: Q integers.
        gallery: G×D, float64.
        gallery_labels: G integers.
        ks: values of K, ≥ 1; ranks are told apart only where one of them does.
        hides_own_number: query i does not see item i.

    Returns:
        Q integers ≥ 1.
    """
    search = _Search(query, query_labels, gallery, gallery_labels, hides_own_number)
    own = search.nearest_own()
    lowest, highest = _Tiles(search.query, search.gallery).bounds(own, max(ks, default=0))
    undecided = torch.zeros_like(lowest, dtype=torch.bool)
    for k in ks:
        undecided |= (lowest <= k) & (highest > k)
    rows = undecided.nonzero().squeeze(1)
    if len(rows):
        highest[rows] = search.exact_ranks(rows)
    ranks = torch.empty_like(highest)
    ranks[search.query_number] = highest
    return ranks


def tie_width(query: Tensor, gallery: Tensor) -> Tensor:
    """Two items are tied where their products with a query differ by less; Q values for Q×D, G×D.

    The rounding error of a product of two rows is below D·eps/2 of their lengths' product; two such
    products differ by at most twice that where they are equal. This is four times as much.
    """
    longest = torch.linalg.vector_norm(gallery, dim=1).max()
    rounding = 4 * query.shape[1] * torch.finfo(query.dtype).eps
    return rounding * torch.linalg.vector_norm(query, dim=1) * longest


def product_error(query_length: Tensor, longest: Tensor, dim: int) -> Tensor:
    """What float32 products of queries with items can be wrong by (see :class:`_Tiles`).

    Args:
        query_length: Q; of rows of D = `dim` numbers.
        longest: of the items' lengths.
    """
    relative, underflow = _rounding(dim, torch.finfo(torch.float32))
    return relative * query_length * longest + underflow * (1 + query_length + longest)


class _Own(NamedTuple):
    """What is known of each query's own items before the others are looked at; Q values each."""

    nearest: Tensor  # product with the nearest own item, float64; −∞ where there is none
    width: Tensor  # others tie with it down to nearest − width
    surely: Tensor  # items not to be counted whose product is ≥ nearest − width
    perhaps: Tensor  # items not to be counted whose product is > nearest


class _Thresholds(NamedTuple):
    """Products from which items are surely nearer than the nearest own item (and so none of the
    class), and from which they are perhaps not farther; Q values each, float64.
    """

    nearer: Tensor
    not_farther: Tensor
    slope: Tensor  # what a margin grows by with the length of the items
    coarse_slope: Tensor  # the same of products in `COARSE`

    def coarse(self, longest: float) -> Tensor:
        """What products in `COARSE` with items that may count reach, by `_bits`; at least −2¹⁵."""
        least = torch.sub(self.not_farther, self.coarse_slope, alpha=longest)
        least = (least - COARSE_ROUNDING * least.abs()).float()
        least = torch.nextafter(least, least.new_tensor(-torch.inf))
        cut = least.view(torch.int32) >> 16  # of a positive number: rounded down to `COARSE`
        return torch.where(least > 0, cut, -(2**15)).short()

    def of(self, longest: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """The two for items of at most that length, in `dtype`, rounded away from each other."""
        nearer = torch.add(self.nearer, self.slope, alpha=longest).to(dtype)
        not_farther = torch.sub(self.not_farther, self.slope, alpha=longest).to(dtype)
        inf = nearer.new_tensor(torch.inf)
        return torch.nextafter(nearer, inf), torch.nextafter(not_farther, -inf)


class _Search:
    """Queries and gallery, both in the order of their labels, so that a class is one block."""

    def __init__(
        self,
        query: Tensor,
        query_labels: Tensor,
        gallery: Tensor,
        gallery_labels: Tensor,
        hides_own_number: bool,
    ) -> None:
        self.query_labels, self.query_number = query_labels.sort(stable=True)
        self.gallery_labels, self.gallery_number = gallery_labels.sort(stable=True)
        self.query = query.index_select(0, self.query_number)  # rows by index take twice as long
        self.gallery = gallery.index_select(0, self.gallery_number)
        self.width = tie_width(self.query, self.gallery)
        self.first = torch.searchsorted(self.gallery_labels, self.query_labels)
        self.last = torch.searchsorted(self.gallery_labels, self.query_labels, right=True)
        self.hides = hides_own_number
        self.hidden = torch.full_like(self.query_number, -1)  # where the item not seen is, or −1
        if hides_own_number:
            place = torch.empty_like(self.gallery_number)
            place[self.gallery_number] = torch.arange(len(place), device=place.device)
            has_one = self.query_number < len(place)
            self.hidden[has_one] = place[self.query_number[has_one]]

    def nearest_own(self) -> _Own:
        parts = []
        for rows, block in self._blocks(slice(0, len(self.query)), BLOCK_QUERIES):
            own = self._only_own(self.query[rows] @ self.gallery[block].T, rows, block)
            hidden = self._product_with_hidden(rows)
            nearest = own.amax(1) if own.shape[1] else torch.full_like(hidden, -torch.inf)
            tied = nearest - self.width[rows]
            surely = own.ge_(tied[:, None]).sum(1).long() + (hidden >= tied)  # ones and zeros
            parts.append(_Own(nearest, self.width[rows], surely, (hidden > nearest).long()))
        return _Own(*(torch.cat(part) for part in zip(*parts, strict=True)))

    def exact_ranks(self, rows: Tensor) -> Tensor:
        """Ranks of the nearest own items of the queries `rows`, which have one, in float64."""
        ranks = []
        for some, block in self._blocks(rows, BLOCK_ELEMENTS):
            product = self.query[some] @ self.gallery.T
            seen = self.hidden[some] >= 0
            product[seen, self.hidden[some][seen]] = -torch.inf
            own = self._only_own(product[:, block].clone(), some, block)
            tied = own.amax(1, keepdim=True) - self.width[some][:, None]
            own_count = (own >= tied).sum(1)
            ranks.append(1 + product.ge_(tied).sum(1).long() - own_count)  # ones and zeros
        return torch.cat(ranks)

    def _blocks(self, rows: Rows, most: int) -> Iterator[tuple[Rows, slice]]:
        """Some of `rows` (ascending) at a time, at most `most`, and where their classes are."""
        size = max(1, min(most, BLOCK_ELEMENTS // len(self.gallery)))
        first, last = self.first[rows].tolist(), self.last[rows].tolist()
        for start in range(0, len(first), size):
            end = min(start + size, len(first))
            some = slice(start, end) if isinstance(rows, slice) else rows[start:end]
            yield some, slice(first[start], last[end - 1])

    def _only_own(self, product: Tensor, rows: Rows, block: slice) -> Tensor:
        """`product` of `rows` with the gallery's `block`, made −∞ but for the own items that are seen."""
        outside = self.query_labels[rows][:, None] != self.gallery_labels[block][None, :]
        if self.hides:
            place = torch.arange(block.start, block.stop, device=product.device)
            outside |= self.hidden[rows][:, None] == place
        return product.masked_fill_(outside, -torch.inf)

    def _product_with_hidden(self, rows: Rows) -> Tensor:
        """Product of each of `rows` with the item that it does not see; −∞ where it sees all."""
        hidden = self.hidden[rows]
        if not self.hides:
            return torch.full_like(self.width[rows], -torch.inf)
        product = (self.query[rows] * self.gallery[hidden]).sum(1)  # −1: any item
        return product.masked_fill(hidden < 0, -torch.inf)


class _Tiles:
    """Counts gallery items by float32 products, from below and from above.

    The gallery is shifted by its median m (of some items: any m would do), since ⟨q, g − m⟩ ranks
    like ⟨q, g⟩: what items share, such as the first Lorentz coordinate on the clip radius, then
    costs no digits. It is ordered by length, so that few items far out do not widen the margin of
    all, as they would not move the median.

    The margin, with unit roundoff u and n = D + 2: rounding q and g to float32 changes each factor by
    (1 + δ), |δ| ≤ u, and a sum of D products, in whatever order, fused or not, each term by at most
    (1 + δ)^D. So the product is wrong by at most γₙ Σ|qᵢgᵢ| ≤ γₙ ‖q‖‖g‖, γₙ = nu/(1 − nu) (Higham,
    Accuracy and Stability of Numerical Algorithms, §3.1). What underflows, even if flushed to zero,
    adds less than D·tiny for each of the factors and D·tiny for each of products and sums. What
    float64 is wrong by, in the products, the shift and the nearest own item, is below 3 tie widths.

    Of bfloat16 with unit roundoff v, whose products are summed in float32, both factors are rounded once
    more, (1 + v)²(1 + γₙ) − 1 in place of γₙ, and then the sum, by v of itself.
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
        self.coarse = None
        if dtype == torch.float32 and _multiplies_coarse(query.device):
            self.coarse = self.gallery.to(COARSE)
            self.coarse_buffer = self.coarse.new_empty(self.buffers.shape[1])

    def bounds(self, own: _Own, most: int) -> tuple[Tensor, Tensor]:
        """The lowest and the highest rank that each query's nearest own item can have.

        Where both are certain to be above `most`, they are only that.
        """
        lowest, highest = torch.full_like(own.surely, ABSENT), torch.full_like(own.surely, ABSENT)
        found = (own.nearest > -torch.inf).nonzero().squeeze(1)
        for rows in found.split(self.queries) if len(found) else ():
            self._count(rows, _Own(*(part[rows] for part in own)), most, lowest, highest)
        return lowest, highest

    def _count(self, rows: Tensor, own: _Own, most: int, lowest: Tensor, highest: Tensor) -> None:
        """Enter the bounds for `rows`, except for those that pass `most` on the way."""
        query, thresholds = self.query.index_select(0, rows), self._thresholds(rows, own)
        below, above = 1 - own.perhaps, 1 - own.surely
        for tile, longest in self.tiles:
            nearer, not_farther = thresholds.of(longest, query.dtype)
            found = self._looked_at(query, tile, thresholds.coarse(longest))
            row, part = found or self._reaching(self._product(query, tile), not_farther)
            if len(row) == 0:
                continue
            above.index_add_(0, row, self._at_least(part, not_farther[row]))
            below.index_add_(0, row, self._at_least(part, nearer[row]))
            going = below <= most
            if int(going.sum()) < 0.9 * len(rows):
                rows, query, below, above = rows[going], query[going], below[going], above[going]
                thresholds = _Thresholds(*(part[going] for part in thresholds))
                if len(rows) == 0:
                    return
        lowest[rows], highest[rows] = below, above

    def _product(self, query: Tensor, tile: slice) -> Tensor:
        items = self.gallery[tile]
        out = self.buffers[0, : len(query) * len(items)].view(len(query), len(items))
        return torch.mm(query, items.T, out=out)

    def _reaching(self, product: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
        """The parts of the rows of `product` that hold a number of at least the row's threshold,
        and maybe others: the number of each one's row, and the parts.
        """
        width = PART if product.shape[1] % PART == 0 else product.shape[1]
        parts = product.view(-1, width)
        most = parts.amax(1).view(len(product), product.shape[1] // width)
        found = (most >= threshold[:, None]).view(-1).nonzero().squeeze(1)
        row = found // most.shape[1]
        if len(found) > len(parts) // 2:
            return torch.arange(len(product), device=row.device), product
        out = self.buffers[1, : len(found) * width].view(len(found), width)
        return row, torch.index_select(parts, 0, found, out=out)

    def _looked_at(
        self, query: Tensor, tile: slice, threshold: Tensor
    ) -> tuple[Tensor, Tensor] | None:
        """As `_reaching` gives them, the parts whose products in `COARSE` reach the row's threshold.

        None where that is most of them, or where the processor is slow at it.
        """
        if self.coarse is None:
            return None
        items = self.gallery[tile]
        width = PART if len(items) % PART == 0 else len(items)
        product = self.coarse_buffer[: len(query) * len(items)].view(len(query), len(items))
        torch.mm(query.to(COARSE), self.coarse[tile].T, out=product)
        most = _bits(product).view(-1, width).amax(1)
        found = most.view(len(query), -1) >= threshold[:, None]
        rows = [column.nonzero().squeeze(1) for column in found.T]
        count = [len(row) for row in rows]
        if sum(count) > found.numel() // 2:
            return None
        out = self.buffers[1, : sum(count) * width].view(-1, width)
        for row, part, into in zip(rows, items.split(width), out.split(count), strict=True):
            torch.mm(query.index_select(0, row), part.T, out=into)
        return torch.cat(rows), out

    def _thresholds(self, rows: Tensor, own: _Own) -> "_Thresholds":
        """The thresholds of `rows`, as far as they do not depend on the tile."""
        dim, length = self.gallery.shape[1], self.query_length[rows]
        relative, underflow = _rounding(dim, self.finfo)
        margin = 3 * own.width + underflow * (1 + length)
        middle = own.nearest - self.shift[rows]
        coarse = (1 + COARSE_ROUNDING) ** 2 * (1 + relative) - 1
        return _Thresholds(
            middle + margin, middle - own.width - margin,
            relative * length + underflow, coarse * length + underflow,
        )  # fmt: skip

    def _at_least(self, product: Tensor, threshold: Tensor) -> Tensor:
        """How many of each row of `product` reach its threshold; ones and zeros add up fastest as
        floating-point numbers.
        """
        out = self.buffers[2, : product.numel()].view_as(product)
        return torch.ge(product, threshold[:, None], out=out).sum(1).long()


def _rounding(dim: int, finfo: torch.finfo) -> tuple[float, float]:
    """γₙ, and what underflow adds for each factor and each sum."""
    n_u = (dim + 2) * finfo.eps / 2
    return n_u / (1 - n_u), 4 * dim * finfo.tiny


def _cut(lengths: list[float], items: int) -> Iterator[tuple[slice, float]]:
    """Tiles of at most `items` of ascending lengths, and their longest: no more than twice as long
    as the shortest, or as half of all items.
    """
    start, usual = 0, lengths[len(lengths) // 2]
    while start < len(lengths):
        limit = bisect_right(lengths, 2 * max(lengths[start], usual))
        end = min(start + items, limit)
        yield slice(start, end), lengths[end - 1]
        start = end


def _bits(product: Tensor) -> Tensor:
    """bfloat16 as int16: of positive numbers in the same order, and above those of negative ones. Their
    largest is found four times as fast.
    """
    return product.view(torch.int16)


def _multiplies_coarse(device: torch.device) -> bool:
    """Whether a processor has instructions for products of bfloat16; without, they take longer."""
    has = torch.cpu.get_capabilities()
    return device.type == "cpu" and any(has.get(name) for name in ("amx_bf16", "avx512_bf16"))


def _float32_is_exact(device: torch.device) -> bool:
    """Whether float32 products are what they are called, not rounded to TF32 or bfloat16."""
    backend: Any = torch.backends.cuda if device.type == "cuda" else torch.backends.mkldnn
    return backend.matmul.fp32_precision in ("none", "ieee")
