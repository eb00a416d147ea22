"""Find the photos of a folder that are most like some others, and show them on one page."""

import base64
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from hier.deployment.card import templates
from hier.deployment.images import open_picture
from hier.deployment.model import Model
from hier.deployment.neighbours import nearest_items
from hier.files.atomic import write_text

SIDE = 160  # the longer side of a thumbnail, in pixels


class Hits(NamedTuple):
    """What a query finds: photos and their distances, the nearest first."""

    query: Path
    photos: list[Path]
    distances: list[float]


def search(model: Model, queries: list[Path], photos: list[Path], k: int, workers: int = 0) -> list[Hits]:
    """The k photos that are nearest to each query, or all where they are fewer; a query does not find its own
    file.

    Raises PictureError: a photo cannot be read; ConfigError: k is below 1, or a query has nothing to find."""
    places = {path.resolve(): number for number, path in enumerate(photos)}
    hidden = np.array([places.get(path.resolve(), -1) for path in queries], np.int64)
    own = hidden >= 0
    found = np.empty((len(queries), model.dim), np.float32)
    if not own.all():
        found[~own] = model.embed([q for q, is_own in zip(queries, own, strict=True) if not is_own])
    gallery = model.embed(photos, workers=workers)
    found[own] = gallery[hidden[own]]
    most = min(k, len(photos) - int(own.any()))
    items, distances = nearest_items(found, gallery, most, model.metric, model.curvature, hidden)
    return [
        Hits(query, [photos[i] for i in near], away.tolist())
        for query, near, away in zip(queries, items, distances, strict=True)
    ]


def write_page(out: Path, model: Model, hits: list[Hits]) -> None:
    """Write one page with thumbnails that needs no other file; the same photos give the same bytes."""
    pictures = {path: _thumbnail(path, model) for hit in hits for path in (hit.query, *hit.photos)}
    rows = [
        {"query": str(hit.query), "thumb": pictures[hit.query], "found": [
            {"path": str(path), "thumb": pictures[path], "distance": f"{away:.4f}"}
            for path, away in zip(hit.photos, hit.distances, strict=True)
        ]}
        for hit in hits
    ]  # fmt: skip
    page = templates().get_template("search.html.j2").render(run=model.name, metric=model.metric, rows=rows)
    write_text(out, page)


def _thumbnail(path: Path, model: Model) -> str:
    picture = open_picture(path, model.stored)
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    written = io.BytesIO()
    picture.save(written, "webp", quality=70, method=6)
    return base64.b64encode(written.getvalue()).decode()
