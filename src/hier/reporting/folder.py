"""The report as a folder: pages, what they load, thumbnails and figures."""

import shutil
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import yaml

from hier.provenance.verify import GRADES
from hier.reporting.content import Content
from hier.reporting.curves import training_curves
from hier.reporting.page import Pages
from hier.reporting.table import best_in_words, counts_in_words, wide
from hier.reporting.thumbs import rows_of

# Of a run's settings, what changes no figure: two machines give the same page.
CHANGE_NOTHING = {"runtime": {"workers"}}


def write_report(folder: Path, content: Content) -> None:
    """Write the report into `folder`, which is empty."""
    with as_file(files("hier.reporting") / "assets") as assets:
        shutil.copytree(assets, folder / "assets", copy_function=shutil.copyfile)
    for images in content.images.values():
        images.write(folder)
    with_galleries = [name for name in content.suite.datasets if content.runs_of(name)]
    pages = Pages(suite=content.suite.suite, with_galleries=with_galleries)
    _write(folder / "index.html", _index(pages, content))
    for run in content.metrics:
        _write(folder / "runs" / f"{run}.html", _run(pages, content, run))
    for dataset in with_galleries:
        _write(folder / "galleries" / f"{dataset}.html", _galleries(pages, content, dataset))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode())


def _index(pages: Pages, content: Content) -> str:
    cells, suite = content.cells, content.suite
    measures = list(dict.fromkeys(cells["measure"]))
    runs = [
        {
            "name": name,
            "metrics": content.metrics[name],
            "curves": training_curves(content.histories[name])
            if len(content.histories[name])
            else "",
            "settings": yaml.safe_dump(run.model_dump(exclude=CHANGE_NOTHING), sort_keys=False),
        }
        for name, run in suite.runs.items()
        if name in content.metrics
    ]
    return pages.render(
        "index.html.j2",
        root="",
        here="index",
        datasets={name: d.model_dump() for name, d in suite.datasets.items()},
        measures=measures,
        rows=wide(cells).to_dict("records"),
        best=wide(cells).groupby("dataset")[measures].max().to_dict("index"),
        sentences=[*best_in_words(cells), counts_in_words(cells)],
        published=cells[cells["paper"].notna()].to_dict("records"),
        grades=GRADES,
        runs=runs,
    )


def _run(pages: Pages, content: Content, run: str) -> str:
    views = content.views.get(run)
    return pages.render(
        "run.html.j2",
        root="../",
        here=run,
        run=run,
        metrics=content.metrics[run],
        views=views,
        images=_images(content, content.suite.run(run).dataset, [views] if views else []),
    )


def _galleries(pages: Pages, content: Content, dataset: str) -> str:
    runs = content.runs_of(dataset)
    return pages.render(
        "galleries.html.j2",
        root="../",
        here=dataset,
        dataset=dataset,
        runs=runs,
        images=_images(content, dataset, list(runs.values())),
    )


def _images(
    content: Content, dataset: str, views: list[dict[str, Any]]
) -> dict[int, dict[str, Any]]:
    """What the pages show of the images that some views speak of, from one folder down."""
    rows = {row for each in views for row in rows_of(each)}
    return content.images[dataset].shown(rows, "../") if rows else {}
