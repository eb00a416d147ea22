"""Does a DVC remote have every object that dvc.lock names, with the bytes that its name promises?

DVC itself looks no further than a folder's list: where that is in the remote, the folder counts as pushed.
A push that was cut off can leave a list without its files (of two folders that share files which could not
be sent, DVC sends the second one's list all the same), and nothing that DVC does heals it.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from hier.errors import ConfigError, RemoteError, UnknownNameError
from hier.ledger.dvc_lock import cached
from hier.ledger.objects import Object, members
from hier.progress import progress

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc_data.hashfile.db import HashFileDB

T = TypeVar("T")


class State(StrEnum):
    """What a remote has of an object."""

    WHOLE = "whole"
    MISSING = "missing"
    DAMAGED = "damaged"


@dataclass(frozen=True)
class Remote:
    """A DVC remote. Each method raises RemoteError where it cannot be reached or refuses."""

    name: str
    address: str
    store: "HashFileDB"

    def __str__(self) -> str:
        return f"{self.name} ({self.address})"

    @property
    def jobs(self) -> int:
        """How many requests it is asked at once."""
        return int(self.store.fs.jobs)

    def state(self, wanted: Object, deep: bool = False) -> State:
        """What it has of an object. A store that tells an MD5 of what it holds (S3, as the ETag of what was
        sent in one part) is believed where that is right, unless `deep`; else the bytes are read.

        DVC's own check is of no use here: it removes what is damaged, and believes any read-only file.
        """
        from dvc_data.hashfile.hash import file_md5

        files, path = self.store.fs, self.store.oid_to_path(wanted.oid)
        with self._told():
            try:
                told = files.info(path).get("ETag")
                if not deep and told and told.strip('"') == wanted.md5:
                    return State.WHOLE
                return State.WHOLE if file_md5(path, files) == wanted.md5 else State.DAMAGED
            except FileNotFoundError:
                return State.MISSING
            except (PermissionError, IsADirectoryError):
                if files.protocol != "local":  # a server says so of whoever may see nothing
                    raise
                return State.DAMAGED

    def read(self, wanted: Object) -> bytes:
        with self._told():
            return bytes(self.store.fs.read_bytes(self.store.oid_to_path(wanted.oid)))

    def put(self, wanted: Object, file: Path) -> None:
        """Store a file's bytes as an object, in place of what is there."""
        path = self.store.oid_to_path(wanted.oid)
        with self._told():
            self.store.makedirs(self.store.fs.parent(path))
            self.store.fs.put_file(str(file), path)
            self.store.protect(path)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Let whatever a store's library raises be one error of one line."""
        try:
            yield
        except Exception as error:  # of the libraries of any kind of store
            raise RemoteError(
                f"cannot use remote {self}: {_one_line(error)}; see that it can be reached, and that its "
                "credentials are set on this machine (dvc remote modify --local)"
            ) from error


@dataclass
class Checked:
    """What a remote has of each object, which objects each list names (by the list's oid), and the lists that
    are neither there nor in DVC's cache, so that nobody knows what to look for."""

    states: dict[Object, State] = field(default_factory=dict)
    lists: dict[str, list[Object]] = field(default_factory=dict)
    unread: list[Object] = field(default_factory=list)

    @property
    def wrong(self) -> dict[Object, State]:
        """What is not whole, by path."""
        found = {one: state for one, state in self.states.items() if state is not State.WHOLE}
        return dict(sorted(found.items(), key=lambda pair: pair[0].path))


@contextmanager
def open_remote(name: str | None = None) -> Iterator[Remote]:
    """A remote of the project in the current folder, by default the default one.

    ConfigError where there is none of that name, or its settings make no sense; RemoteError where a package
    for its kind is missing.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        repo = Repo()
    except DvcException as error:
        raise ConfigError(f"DVC cannot work here: {_one_line(error)}") from error
    with repo:
        yield _remote(repo, _chosen(repo, name))


def _remote(repo: "Repo", name: str) -> Remote:
    from dvc.exceptions import DvcException
    from dvc_objects.fs.errors import RemoteMissingDepsError

    try:
        found = repo.cloud.get_remote(name)
    except (RemoteMissingDepsError, ImportError) as error:
        kind = repo.config["remote"][name]["url"].partition(":")[0]
        lacking = f"the packages for remote {name} are not installed"
        raise RemoteError(f"{lacking}; install them with: pip install dvc-{kind}") from error
    except DvcException as error:
        raise ConfigError(f"DVC cannot use remote {name}: {_one_line(error)}") from error
    if found.fs.version_aware or found.worktree:
        raise ConfigError(f"remote {name} keeps versions of files, not objects by their MD5 (version_aware)")
    if found.fs.protocol == "local" and not Path(found.path).is_dir():
        raise RemoteError(
            f"remote {name}: there is no folder {found.path}; mount its disk, or let dvc push make it"
        )
    return Remote(name, found.fs.unstrip_protocol(found.path), found.odb)


def _chosen(repo: "Repo", name: str | None) -> str:
    names = sorted(repo.config["remote"])
    if not names:
        raise ConfigError("there is no remote; add one with: dvc remote add --default NAME ADDRESS")
    chosen = name or repo.config["core"].get("remote")
    if chosen is None:
        raise ConfigError(f"no remote is the default one; name it: --remote {names[0]}")
    if chosen not in names:
        raise UnknownNameError("remote", chosen, names)
    return str(chosen)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def check(remote: Remote, objects: Iterable[Object], deep: bool = False) -> Checked:
    """Look at each object, those in lists included; `deep` reads every byte."""
    found, rest = Checked(), {one.oid: one for one in objects if not one.is_list}
    look = partial(remote.state, deep=deep)
    found.states = _for_each(look, [one for one in objects if one.is_list], remote, "lists of files")
    for one, state in found.states.items():
        text = _text_of(one, state, remote)
        if text is None:
            found.unread.append(one)
            continue
        found.lists[one.oid] = members(one, text)
        for member in found.lists[one.oid]:
            rest.setdefault(member.oid, member)
    found.states |= _for_each(look, list(rest.values()), remote, f"objects in {remote.name}")
    return found


def _text_of(listed: Object, state: State, remote: Remote) -> bytes | None:
    """The bytes of a list, from DVC's cache or from the remote; None where neither has them whole."""
    file = cached(listed.oid)
    if file and listed.is_whole(file):
        return file.read_bytes()
    return remote.read(listed) if state is State.WHOLE else None


def repair(remote: Remote, found: Checked) -> dict[Object, str]:
    """Store anew what is not whole, from DVC's cache; of what could not be mended, why.

    A list goes last, and only where all its files are there: DVC would else take its folder for pushed.
    """
    wrong, mend = list(found.wrong), partial(_mend, remote)
    left = _for_each(mend, [one for one in wrong if not one.is_list], remote, f"objects to {remote.name}")
    gone = {one.oid for one, why in left.items() if why}
    for listed in (one for one in wrong if one.is_list):
        away = sum(member.oid in gone for member in found.lists.get(listed.oid, ()))
        left[listed] = f"{away:,} of its files could not be mended" if away else mend(listed)
    for one, why in left.items():
        if not why:
            found.states[one] = State.WHOLE
    return {one: why for one, why in left.items() if why}


def _mend(remote: Remote, wanted: Object) -> str:
    """Store an object anew; why that could not be, or nothing."""
    file = cached(wanted.oid)
    if file is None:
        return "DVC's cache does not have it here"
    if not wanted.is_whole(file):
        return f"{file}, DVC's copy of it here, is damaged, too"
    try:
        remote.put(wanted, file)
        arrived = remote.state(wanted) is State.WHOLE
    except (RemoteError, OSError) as error:
        return str(error)
    return "" if arrived else "what arrived is not what was sent"


def _for_each(do: Callable[[Object], T], objects: list[Object], remote: Remote, what: str) -> dict[Object, T]:
    """What `do` gives of each object, of several at once."""
    found = {}
    with progress(what, len(objects)) as shown, ThreadPoolExecutor(remote.jobs) as pool:
        for one, given in zip(objects, pool.map(do, objects), strict=True):
            found[one] = given
            shown.update()
    return found
