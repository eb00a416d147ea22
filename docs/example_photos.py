"""Draw photos to try `hier dataset add` on: `python docs/example_photos.py [FOLDER]`.

Twelve classes of 24 creatures in four super-classes, as FOLDER/<super-class>/<class>/<photo>.jpg, and
the same as a table beside it, FOLDER.csv.
"""

import csv
import io
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from hier.config.dataset import Generate
from hier.data.demo import write_archive

DRAWN = Generate(seed=0, branching=[2, 2, 3], images_per_class=24, size=64)


def main(folder: Path) -> None:
    """Write the photos and the table; SystemExit where there is something in the way."""
    if folder.exists():
        sys.exit(f"{folder} is there already; name another folder")
    rows = []
    with TemporaryDirectory() as temporary:
        write_archive(DRAWN, Path(temporary, "drawn.tgz"))
        with tarfile.open(Path(temporary, "drawn.tgz")) as archive:
            for member in archive:
                if member.name.endswith(".jpg"):
                    species = Path(member.name).parent.name.partition(".")[2]
                    path = Path(species.partition("-")[0], species, Path(member.name).name)
                    (folder / path).parent.mkdir(parents=True, exist_ok=True)
                    (folder / path).write_bytes(archive.extractfile(member).read())
                    rows.append((path.as_posix(), species, path.parts[0]))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("path", "label", "superclass"), *sorted(rows)])
    folder.with_suffix(".csv").write_text(text.getvalue(), encoding="utf-8")
    print(f"drew {len(rows)} photos: {folder}/ and {folder.with_suffix('.csv')}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "photos"))
