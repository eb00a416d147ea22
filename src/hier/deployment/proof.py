"""`hier verify DIR`: is a package what the ledger says of its run, and what this project makes of it?"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from hier.deployment import timm_files
from hier.deployment.card import METRICS
from hier.deployment.onnx_graph import can_export, made_with, told_in
from hier.deployment.package import CARD, HEAD, MODEL, ONNX, PROXIES, is_package, write_files
from hier.deployment.stored import RECORD, Stored, read_model
from hier.errors import ConfigError, MissingInputError, TamperedError
from hier.files.hashing import hash_file
from hier.ledger.dvc_lock import LOCK, Ledger
from hier.ledger.record import read_sealed
from hier.models.description import KEY, read_description

CARD_TELLS = " (it tells the table and the settings as they were; where those have changed, package anew)"


@dataclass(frozen=True)
class Proof:
    """What was found of a package: by whom its model is vouched for, which files are proved, and of which
    others it is said why they are not."""

    run: str
    witness: str
    proved: list[str] = field(default_factory=list)
    unproved: dict[str, str] = field(default_factory=dict)


def prove(package: Path) -> Proof:
    """Hold a package against the ledger of the project in the current folder, and against one made anew.

    Raises ConfigError: it is no package; MissingInputError: nothing here knows its run; TamperedError: it is
    other bytes, with the names of the files."""
    if not is_package(package):
        raise ConfigError(f"{package} is no package; make one with: hier package RUN --out {package}")
    described = read_description(package / MODEL)
    run = str(described.get("run", ""))
    if not run or Path(run).name != run:
        raise TamperedError(f"{package / MODEL} does not say of which run it is")
    home = Path("runs", run)
    witness, promised = _promise(home)
    with TemporaryDirectory(prefix="hier-verify-") as temporary:
        again = Path(temporary, "model", MODEL)
        again.parent.mkdir()
        again.write_bytes(_put_together(package, described))
        if not promised.items() <= hash_file(again).as_dict().items():
            again = home / MODEL  # of which is seen what in the package is other
            if not again.is_file() or not promised.items() <= hash_file(again).as_dict().items():
                raise TamperedError(f"{package}: {MODEL} or {HEAD} is not the bytes that {witness} says")
        anew = Path(temporary, "package")
        anew.mkdir()
        write_files(Stored(again, home, read_model(again).described), anew)
        return _compare(package, anew, home, Proof(run, witness))


def _promise(home: Path) -> tuple[str, dict[str, Any]]:
    """Who says what a run's model is, and its hashes: the record, or else dvc.lock."""
    path = str(home / MODEL)
    if record := read_sealed(home / RECORD):
        digest = record["outputs"].get(path, {})
        return str(home / RECORD), {"sha256": digest.get("sha256")}
    outs = Ledger().entries.get(f"train@{home.name}", {}).get("outs", [])
    if md5 := next((out.get("md5") for out in outs if out["path"] == path), None):
        return str(LOCK), {"md5": md5}
    raise MissingInputError(f"what vouches for {path} ({home / RECORD}, or an entry of {LOCK})", "dvc pull")


def _put_together(package: Path, described: dict[str, Any]) -> bytes:
    """A run's model.safetensors from the files of its package."""
    parts = []
    for path in (package / MODEL, package / HEAD):
        try:
            parts.append(load_file(path) if path == package / MODEL or path.is_file() else {})
        except (SafetensorError, OSError, ValueError) as error:
            raise TamperedError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    return save(timm_files.join(*parts), {KEY: json.dumps(described, sort_keys=True)})


def _compare(package: Path, anew: Path, home: Path, found: Proof) -> Proof:
    """The proof of each file. Raises TamperedError: see `prove`."""
    wrong = []
    for name in sorted({path.name for folder in (package, anew) for path in folder.iterdir()}):
        there, here = package / name, anew / name
        if there.is_file() and here.is_file() and there.read_bytes() == here.read_bytes():
            found.proved.append(name)
        elif reason := _excuse(name, there, home):
            found.unproved[name] = reason
        else:
            state = "lacking" if not there.exists() else "other bytes" if here.exists() else "no part of it"
            wrong.append(f"{name} is {state}" + (CARD_TELLS if name == CARD else ""))
    if wrong:
        raise TamperedError(f"{package} is not the package of {found.run}: {', '.join(wrong)}")
    return found


def _excuse(name: str, there: Path, home: Path) -> str:
    """Why a file that is not as it was made anew may be right nevertheless; "" where it may not."""
    if name == ONNX and not can_export():
        return "onnx and onnxscript are not installed; pip install onnx onnxscript"
    if name == ONNX and there.exists() and (told := told_in(there)) != made_with():
        return f"it was made with {told or 'nobody knows what'}, and here is {made_with()}"
    needed = {PROXIES: [PROXIES], CARD: [RECORD, METRICS]}.get(name, [])
    gone = [str(home / each) for each in needed if not (home / each).is_file()]
    return f"{gone[0]} is not here" if gone else ""
