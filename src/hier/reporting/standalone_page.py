"""Pages that are no part of the report: they are written elsewhere, when somebody asks for them."""

from collections.abc import Callable
from pathlib import Path

from hier.errors import ConfigError
from hier.files.atomic import atomic_folder
from hier.reporting.site import put, write_assets


def written(out: Path, page: str, write: Callable[[Path], str]) -> Path:
    """A folder with a page and what it loads; the path of the page.

    Args:
        page: its file's name, by which an earlier such folder is known and replaced.
        write: gives the page's text, and may put more files into the folder.

    Raises:
        ConfigError: `out` is something else.
    """
    earlier = (out / page).exists() or (out.is_dir() and not any(out.iterdir()))
    if out.exists() and not earlier:
        raise ConfigError(f"{out} exists and holds no {page}; choose another --out")
    with atomic_folder(out) as folder:
        write_assets(folder)
        put(folder / page, write(folder))
    return out / page
