"""The report as a folder: pages, what they load, thumbnails, figures and tables."""

import shutil
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import pandas as pd

from hier import yaml12
from hier.reporting.comparisons import forests, recall_curves, recall_figure
from hier.reporting.content import Content
from hier.reporting.disk_figure import disk_svg
from hier.reporting.disk_scene import Scene, Shown, Views, outline
from hier.reporting.galleries import Comparison
from hier.reporting.history import panels, recalls, svg, training_curves
from hier.reporting.page import Pages
from hier.reporting.quality import quality
from hier.reporting.sweeps import sweep_figure, sweep_plots
from hier.reporting.thumbs import by_importance
from hier.results.cells import rows_without_nan
from hier.results.comparisons import in_words, left_out
from hier.results.expected import PORTABLE
from hier.results.grades import OF_LEDGER, Grade
from hier.results.means import best
from hier.results.measures import HEADLINE, show
from hier.results.paper import KEYS, columns_of, name_of, rows
from hier.results.table import caveats, describe, marked, wide

# Of a run's settings, what changes no value: two machines give the same page.
CHANGE_NOTHING = {"runtime": {"workers", "processes"}}
NUMBERS = ("paper", "ours", "sd", "difference")  # of a cell, rounded and without −0.00


def write_report(folder: Path, content: Content) -> None:
    """Write the report into `folder`, which is empty: the same content gives the same bytes."""
    write_assets(folder)
    for images in content.images.values():
        images.write(folder)
    for name, table in content.tables.items():
        put(folder / "tables" / name, table)
    with_galleries = [name for name in content.suite.datasets if content.runs_of(name)]
    grades = {grade.value: grade for grade in Grade}
    pages = Pages(suite=content.suite.suite, grades=grades, show=show, with_galleries=with_galleries)
    curves = recall_curves(content)
    for name, of in curves.items():
        put(folder / "figures" / f"recall-{name}.svg", svg(recall_figure(of)))
    sweeps = sweep_plots(content)
    for name, of in sweeps.items():
        put(folder / "figures" / f"sweep-{name}.svg", svg(sweep_figure(of)))
    put(folder / "index.html", _index(pages, content, curves, sweeps))
    for run in content.metrics:
        _write_run(folder, pages, content, run)
    for dataset in with_galleries:
        put(folder / "galleries" / f"{dataset}.html", _galleries(pages, content, dataset))


def write_assets(folder: Path) -> None:
    """What the pages load: styles, scripts, libraries with their licences."""
    with as_file(files("hier.reporting") / "assets") as assets:
        shutil.copytree(assets, folder / "assets", copy_function=shutil.copyfile)


def put(path: Path, content: str | bytes) -> None:
    """Write a file of a folder that is being made."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def _index(pages: Pages, content: Content, curves: dict[str, Any], sweeps: dict[str, Any]) -> str:
    cells, suite = content.cells, content.suite
    table = matrix(cells, set(content.metrics))
    measures = list(dict.fromkeys(cells["measure"]))
    every = wide(cells)
    return pages.render(
        "index.html.j2",
        root="",
        here="index",
        **table,
        datasets_of_columns=list(dict.fromkeys(dataset for dataset, _ in columns_of(cells))),
        backbones=list(dict.fromkeys(row["backbone"] for row in table["rows"])),
        methods={row["method"]: row["name"] for row in table["rows"]},
        seeds=cells["seed"].nunique(),
        sentences=describe(cells),
        grades_of_tables=[grade for grade in Grade if grade not in OF_LEDGER],
        forests=forests(content),
        compared=[*left_out(suite, cells), *in_words(content.comparisons)],
        headline=HEADLINE,
        recall_curves=curves,
        sweeps=sweeps,
        trees=quality(content),
        measures=measures,
        every=list(zip(every.to_dict("records"), marked(every, measures), strict=True)),
        pages=set(content.metrics),
        datasets={name: dataset.model_dump() for name, dataset in suite.datasets.items()},
    )


def _write_run(folder: Path, pages: Pages, content: Content, run: str) -> None:
    """A run's page and its figures."""
    settings, history = content.suite.run(run), content.histories[run]
    cells, views = content.cells[content.cells["run"] == run], content.views.get(run)
    facts = cells.iloc[0].to_dict()
    images = _images(content, settings.dataset, [views] if views else [])
    if curves := panels(history, settings):
        put(folder / "figures" / f"{run}-curves.svg", svg(training_curves(curves)))
    if scene := Scene(views, images) if views else None:
        put(folder / "figures" / f"{run}-disk.svg", disk_svg(scene, run))
    text = pages.render(
        "run.html.j2",
        root="../",
        here=run,
        run=run,
        facts=facts | {"name": name_of(facts["method"])},
        notes=caveats(cells),
        cells=rows_without_nan(cells),
        best_on_test="best_on_test" in cells and cells["best_on_test"].notna().any(),
        metrics=content.metrics[run],
        kernels=content.kernels.get(run),
        portable=content.kernels.get(run) == PORTABLE,
        panels=curves,
        watched=len(recalls(history).columns) > 0,
        history=history,
        settings=yaml12.dump(settings.model_dump(exclude=CHANGE_NOTHING)),
        lineage=content.lineages.get(run),
        dataset=settings.dataset,
        views=views,
        images=images,
        scene=scene,
        outline=outline(scene) if scene else [],
    )
    put(folder / "runs" / f"{run}.html", text)


def _galleries(pages: Pages, content: Content, dataset: str) -> str:
    runs = content.runs_of(dataset)
    compared, images = Comparison(runs, content.suite.runs), _images(content, dataset, [*runs.values()])
    values = {"dataset": dataset, "compared": compared, "images": images}
    return pages.render("galleries.html.j2", "../", dataset, **values)


def _images(content: Content, dataset: str, views: list[Views]) -> Shown:
    """What the pages show of the images that some views speak of, from one folder down."""
    spoken_of = set(by_importance(views))
    return content.images[dataset].shown(spoken_of, "../") if spoken_of else {}


def matrix(cells: pd.DataFrame, pages: set[str]) -> dict[str, Any]:
    """`columns` (dataset, measure) and `rows`: backbone, dim, method, `name` as in the paper, and a
    cell (or None) for each column.

    A cell has paper, ours, sd, difference (None where there is none), grade, `best` where its mean is the
    highest of its backbone, dimension and column, and `runs`: seed and name of each run among `pages`.
    """
    columns, table = columns_of(cells), rows(cells)
    group = [*KEYS[:2], *KEYS[3:]]
    table["best"] = best(table["ours"], [table[key] for key in group], HEADLINE)
    behind = {
        keys: [(int(s), r) for s, r in zip(of["seed"], of["run"], strict=True) if r in pages]
        for keys, of in cells.groupby(KEYS, sort=False)
    }
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for cell in table.to_dict("records"):
        keys = tuple(cell[key] for key in KEYS)
        row = found.setdefault(keys[:3], {"cells": [None] * len(columns)})
        row |= {"backbone": keys[0], "dim": int(keys[1]), "method": keys[2], "name": name_of(keys[2])}
        row["cells"][columns.index(keys[3:])] = {
            **{name: None if pd.isna(cell[name]) else round(float(cell[name]), 2) + 0.0 for name in NUMBERS},
            "grade": cell["grade"],
            "best": bool(cell["best"]),
            "runs": behind[keys],
        }
    return {"columns": columns, "rows": list(found.values())}
