"""The rank of each query's nearest item of its class, as far as the K of Recall@K need it.

No neighbour list is sorted. The rank is 1 + the number of items of other classes that are not
strictly farther than the nearest own item, so a count decides every K at once:

1. The nearest own item is looked up among the items of the class, in float64 (:class:`Search`).
2. All gallery items are counted from below and from above in float32, tile by tile, against that
   item's product minus and plus what float32 can be wrong by
   (:mod:`hier.evaluation.retrieval.tiles`). A query whose count has passed the largest K needs no
   more.
3. Where some K lies between the two counts, the query is counted in float64
   (:meth:`Search.exact_ranks`). Many ties make that all queries, at the cost of a plain search.

So the ranks compare with each K as a search in float64 alone makes them, whatever the tiles.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from hier.evaluation.retrieval.tiles import Own, Tiles
from hier.geometry.products import inner_products

BLOCK_ELEMENTS = 2**23  # float64 products looked at in one go; memory is about 20 bytes for each
BLOCK_QUERIES = 256  # queries whose classes are looked at in one go
Rows = Tensor | slice  # numbers of queries; a slice from 0, which copies nothing, for all of them


def nearest_own_ranks(
    query: Tensor,
    query_labels: Tensor,
    gallery: Tensor,
    gallery_labels: Tensor,
    ks: Sequence[int],
    hides_own_number: bool = False,
) -> Tensor:
    """For each query a number ≥ 1 that compares with every K of `ks` (≥ 1) as the rank of its nearest own
    item does.

    Query (Q×D) and gallery (G×D) are float64; a larger inner product means that an item is nearer. Their
    labels are Q and G integers. With `hides_own_number` query i does not see item i."""
    search = Search(query, query_labels, gallery, gallery_labels, hides_own_number)
    own = search.nearest_own()
    lowest, highest = Tiles(search.query, search.gallery).bounds(own, max(ks, default=0))
    undecided = torch.zeros_like(lowest, dtype=torch.bool)
    for k in ks:
        undecided |= (lowest <= k) & (highest > k)
    if undecided.any():
        highest[undecided] = search.exact_ranks(undecided.nonzero().squeeze(1))
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


class Search:
    """Queries and gallery, both in the order of their labels, so that a class is one block."""

    def __init__(
        self, query: Tensor, labels: Tensor, gallery: Tensor, gallery_labels: Tensor, hides: bool
    ) -> None:
        self.query_labels, self.query_number = labels.sort(stable=True)
        self.gallery_labels, self.gallery_number = gallery_labels.sort(stable=True)
        self.query = query.index_select(0, self.query_number)  # rows by index take twice as long
        self.gallery = gallery.index_select(0, self.gallery_number)
        self.width = tie_width(self.query, self.gallery)
        self.first = torch.searchsorted(self.gallery_labels, self.query_labels)
        self.last = torch.searchsorted(self.gallery_labels, self.query_labels, right=True)
        self.hides = hides
        self.hidden = torch.full_like(self.query_number, -1)  # where the item not seen is, or −1
        if hides:
            place = self.gallery_number.argsort()
            has_one = self.query_number < len(place)
            self.hidden[has_one] = place[self.query_number[has_one]]

    def nearest_own(self) -> Own:
        parts = []
        for rows, block in self._blocks(slice(0, len(self.query)), BLOCK_QUERIES):
            own = self._only_own(inner_products(self.query[rows], self.gallery[block]), rows, block)
            hidden = self._product_with_hidden(rows)
            nearest = own.amax(1) if own.shape[1] else torch.full_like(hidden, -torch.inf)
            tied = nearest - self.width[rows]
            surely = own.ge_(tied[:, None]).sum(1).long() + (hidden >= tied)  # ones and zeros
            parts.append(Own(nearest, self.width[rows], surely, (hidden > nearest).long()))
        return Own(*(torch.cat(part) for part in zip(*parts, strict=True)))

    def exact_ranks(self, rows: Tensor) -> Tensor:
        """Ranks of the nearest own items of the queries `rows`, which have one, in float64."""
        ranks = []
        for some, block in self._blocks(rows, BLOCK_ELEMENTS):
            product = inner_products(self.query[some], self.gallery)
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
        if not self.hides:
            return torch.full_like(self.width[rows], -torch.inf)
        product = (self.query[rows] * self.gallery[self.hidden[rows]]).sum(1)  # −1: any item
        return product.masked_fill(self.hidden[rows] < 0, -torch.inf)
