"""embed-images, search and package: a trained model on photos of one's own, and for others to use.

They work in any folder: RUN is a run of the project, or a folder with a model.safetensors.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hier.errors import ConfigError, HierError, NoProjectError, UnknownNameError
from hier.project import find_place

if TYPE_CHECKING:
    from hier.deployment.model import Model

DEVICES = click.Choice(["auto", "cpu", "cuda"])
threads_option = click.option(
    "--threads", type=click.IntRange(min=1), default=1, show_default=True,
    help="That a CPU computes with; last bits depend on it.",
)  # fmt: skip
device_option = click.option("--device", type=DEVICES, default="auto", show_default=True, help="Where.")
workers_option = click.option(
    "--workers", type=click.IntRange(min=0), default=0, help="Processes that read photos."
)


@click.command("embed-images")
@click.argument("run")
@click.argument("folder")
@click.option("--out", required=True, metavar="FILE", help="A Parquet file: path, embedding.")
@threads_option
@device_option
@workers_option
def embed_images(run: str, folder: str, out: str, threads: int, device: str, workers: int) -> None:
    """Embed the photos below FOLDER with RUN's model → a Parquet file.

    RUN is a run's name, or a folder with a model.safetensors; with one it works outside a project.
    The columns are path (relative to FOLDER, in order) and embedding (a list of float32). The same
    photos give the same bytes.
    """
    model = _opened(run, threads, device)
    from hier.deployment.vectors import refuse_folder, write_vectors

    refuse_folder(Path(out), ".parquet")
    photos = _photos(folder)
    vectors = model.embed(photos, workers=workers)
    names = [path.relative_to(folder).as_posix() for path in photos]
    write_vectors(Path(out), names, vectors, model.stored)
    click.echo(f"wrote {out}: {len(names)} embeddings of {model.dim} numbers")


@click.command()
@click.argument("run")
@click.argument("query")
@click.argument("folder")
@click.option("-k", type=click.IntRange(min=1), default=8, show_default=True, help="Photos to find.")
@click.option("--html", metavar="FILE", help="Write a page with thumbnails, too.")
@threads_option
@device_option
@workers_option
def search(
    run: str, query: str, folder: str, k: int, html: str | None, threads: int, device: str, workers: int
) -> None:
    """Find the photos below FOLDER that RUN's model finds most like QUERY.

    QUERY is a photo or a folder of photos, RUN a run's name or a folder with a model.safetensors. Prints
    rank, distance and path, by the run's own metric. A query does not find its own file.
    """
    model = _opened(run, threads, device)
    from hier.deployment.search import search as find
    from hier.deployment.search import write_page
    from hier.deployment.vectors import refuse_folder

    if html:
        refuse_folder(Path(html))
    queries = _photos(query) if Path(query).is_dir() else [Path(query)]
    hits = find(model, queries, _photos(folder), k, workers)
    for hit in hits:
        if len(hits) > 1:
            click.echo(str(hit.query))
        for rank, (path, distance) in enumerate(zip(hit.photos, hit.distances, strict=True), start=1):
            click.echo(f"{rank:3d}  {distance:.4f}  {path}")
    if html:
        write_page(Path(html), model, hits)
        click.echo(f"wrote {html}")


@click.command()
@click.argument("run")
@click.option("--out", required=True, metavar="DIR", help="A folder: a new one, or an earlier package.")
def package(run: str, out: str) -> None:
    """Write RUN's model as a folder that needs nothing of this project.

    \b
    model.safetensors, config.json     the backbone; timm.create_model("local-dir:DIR", pretrained=True)
    head.safetensors, head.json        the head
    model.onnx                         both as one graph, for onnxruntime
    preprocessor_config.json           sizes, mean and standard deviation
    proxies.safetensors                the hierarchical proxies, where there are any
    README.md                          the model card

    RUN is a run's name, or a folder with a model.safetensors. The same model gives the same bytes;
    `hier verify DIR` proves them. It needs: pip install onnx onnxscript.
    """
    folder = run_folder(run)
    from hier.deployment.load import choose_portable_kernels

    choose_portable_kernels(1)
    from hier.deployment.package import package as write_package
    from hier.deployment.stored import read_model

    names = write_package(read_model(folder), Path(out))
    click.echo(f"wrote {out}: {', '.join(names)}")


def run_folder(run: str) -> Path:
    """The folder of a run, by its path or its name.

    Raises HierError: there is no such path, and no project; UnknownNameError: the project has no such run."""
    path = Path(run)
    if path.exists():
        return path
    try:
        runs = find_place().root / "runs"
    except NoProjectError as error:
        mend = "name a folder with a model.safetensors"
        raise HierError(f"{run} is no folder, and this one is in no project; {mend}") from error
    if Path(run).name == run and (runs / run).is_dir():
        return runs / run
    known = sorted(each.parent.name for each in runs.glob("*/model.safetensors"))
    raise UnknownNameError("run", run, known)


def _opened(run: str, threads: int, device: str) -> "Model":
    """A run's model; what cannot be proved of it is said on standard error."""
    from hier.deployment.load import open_model

    model = open_model(run_folder(run), threads, device)  # type: ignore[arg-type]
    for line in model.unproved:
        click.echo(f"not proved: {line}", err=True)
    return model


def _photos(folder: str) -> list[Path]:
    """The photos below a folder; what is left out is said on standard error. Raises ConfigError: it is
    no folder, or holds none."""
    from hier.deployment.images import photos_in

    if not Path(folder).is_dir():
        raise ConfigError(f"{folder} is no folder; name one with photos")
    photos, remarks = photos_in(Path(folder))
    for remark in remarks:
        click.echo(f"note: {remark}", err=True)
    return photos
