"""Of an archive with a manifest the listed files are kept, in the same bytes from whichever archive it is."""

import hashlib
import io
import itertools
import os
import re
import tarfile
import zipfile
from pathlib import Path

import pytest
from pydantic import ValidationError

from fakes.settings import dataset
from fakes.transfers import fetched, folder_with, listing, nothing_left, sha256
from hier.config.dataset import File, Manifest
from hier.data.archive import members
from hier.data.download import download
from hier.data.listed import keep_listed, read_manifest
from hier.errors import ArchiveError, ChecksumError, ConfigError, NoDataError

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("from_here_alone")

FILES = {"photos/2.jpg": b"two" * 5000, "photos/1.jpg": b"one", "names.txt": b"1 Mini\n", "empty": b""}
OTHERS = {"README.md": b"# Cars", "photos/3.jpg": b"three", "docs/names.txt": b"another of that name"}
# The SHA-256 of the tar that is kept of FILES, on every Python and machine.
KEPT = "e4bacba52e74bc3c0db6caeecf06825f1f7b27386ccc8fefd0e6825882c753c4"


def tar_of(files, mode="w", top="", **how):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode, **how) as tar:
        for folder in sorted({f"{top}{name}".rpartition("/")[0] for name in files} - {""}):
            member = tarfile.TarInfo(folder)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(member)
        for name, content in files.items():
            member = tarfile.TarInfo(f"{top}{name}")
            member.size, member.mtime, member.mode, member.uname = len(content), 1_700_000_000, 0o755, "me"
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def zip_of(files, top=""):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(f"{top}{name}", content)
    return stream.getvalue()


def lines_of(files):
    return "".join(f"{sha256(content)}  {name}\n" for name, content in files.items())


def manifest_of(text, name="tiny.sha256", promised=None):
    """A manifest with that text, as conf/ has it."""
    folder_with(Path("conf/manifest")).joinpath(name).write_bytes(text.encode())
    return Manifest(list=name, sha256=promised or sha256(text.encode()))


def with_manifest(mirror, text=None, **values):
    """A dataset whose one file has a manifest, of FILES if no other text is given."""
    file = File(name="data.tar", manifest=manifest_of(text or lines_of(FILES)), **values)
    return fetched([file], mirrors=[str(mirror)])


REVERSED = dict(reversed([*FILES.items()]))
ALL = OTHERS | REVERSED
ARCHIVES = {
    "a tar": tar_of(FILES),
    "in another order": tar_of(REVERSED),
    "with folders around paths of './'": tar_of(FILES, top="./"),
    "in a top folder": tar_of(FILES, top="repo-1.0/"),
    "below ./ in a top folder": tar_of(FILES, top="./repo-1.0/"),
    "a whole repository as tar.gz": tar_of(
        ALL, "w:gz", "repo-1.0/", format=tarfile.PAX_FORMAT, pax_headers={"comment": "2ac6920"}
    ),
    "a whole repository as tar.xz": tar_of(ALL, "w:xz", "repo-1.0/"),
    "a whole repository as zip": zip_of(ALL, "repo-1.0/"),
    "a whole repository without a top folder": zip_of(ALL),
}


class TestWhatIsKept:
    @pytest.mark.parametrize("packed", ARCHIVES.values(), ids=ARCHIVES)
    def test_the_bytes_follow_from_the_manifest_alone(self, tmp_path, out, packed):
        mirror = folder_with(tmp_path / "mirror", data_tar=packed)
        download(with_manifest(mirror), out)
        assert {name: sha256(content) for name, content in listing(out).items()} == {"data.tar": KEPT}
        assert dict(members(out / "data.tar")) == FILES
        assert listing(mirror) == {"data.tar": packed}

    def test_it_is_a_plain_tar_in_the_order_of_the_lines(self, tmp_path, out):
        mirror = folder_with(tmp_path / "mirror", data_tar=ARCHIVES["a whole repository as zip"])
        download(with_manifest(mirror), out)
        with tarfile.open(out / "data.tar", "r:") as tar:
            found = tar.getmembers()
        assert [member.name for member in found] == [*FILES]
        told = ("type", "mode", "mtime", "uid", "gid", "uname", "gname", "pax_headers")
        assert {tuple(repr(getattr(m, name)) for name in told) for m in found} == {
            ("b'0'", "420", "0", "0", "0", "''", "''", "{}")
        }

    def test_what_was_kept_is_kept_again(self, tmp_path, out):
        """Also where all its files lie in one folder, which is none of an archive around them."""
        files = {f"cars/{name}": content for name, content in FILES.items()}
        mirror = folder_with(tmp_path / "mirror", data_tar=tar_of(files, "w:gz", "repo/"))
        download(with_manifest(mirror, lines_of(files)), out)
        kept = listing(out)
        (mirror / "data.tar").write_bytes(kept["data.tar"])
        download(with_manifest(mirror, lines_of(files)), out)
        assert listing(out) == kept

    def test_an_address_serves_as_a_folder_does(self, server, out):
        served, url, requests = server
        (served / "2ac6920.tar.gz").write_bytes(ARCHIVES["a whole repository as tar.gz"])
        download(with_manifest("nowhere", url=f"{url}/2ac6920.tar.gz"), out)
        assert sha256((out / "data.tar").read_bytes()) == KEPT
        assert requests == ["/2ac6920.tar.gz"]
        assert not Path("downloads").exists()

    def test_lines_of_sha256sum_for_bytes_and_a_last_line_without_an_end(self):
        text = f"{'0' * 64} *a b/c.jpg\n{'1' * 64}  d"
        assert read_manifest(manifest_of(text)) == {"a b/c.jpg": "0" * 64, "d": "1" * 64}


class TestWhatIsRefused:
    def failure(self, error, tmp_path, out, packed, text=None):
        """The one line that a download of an archive fails with; nothing of it is kept."""
        mirror = folder_with(tmp_path / "mirror", data_tar=packed)
        with pytest.raises(error) as caught:
            download(with_manifest(mirror, text), out)
        assert nothing_left(out)
        assert "\n" not in str(caught.value)
        return str(caught.value).replace(str(mirror), "MIRROR")

    @pytest.mark.parametrize("how", [tar_of, zip_of])
    def test_a_tampered_byte(self, tmp_path, out, how):
        other = b"1 Maxi\n"
        said = self.failure(ChecksumError, tmp_path, out, how(ALL | {"names.txt": other}, top="r/"))
        assert said.startswith(
            f"'names.txt' in data.tar from MIRROR/data.tar: expected {sha256(FILES['names.txt'])}, "
            f"found {sha256(other)}; nothing was kept. Replace that copy, or remove it"
        )

    @pytest.mark.parametrize("top", ["", "repo/"])
    def test_missing_files(self, tmp_path, out, top):
        files = {name: content for name, content in ALL.items() if not name.startswith("photos/")}
        assert self.failure(ArchiveError, tmp_path, out, tar_of(files, top=top)) == (
            "data.tar from MIRROR/data.tar: 2 of the 4 listed files are not in it (such as 'photos/2.jpg'); "
            "nothing was kept; replace MIRROR/data.tar"
        )

    def test_a_link_is_no_file(self, tmp_path, out):
        stream = io.BytesIO(tar_of(FILES | {"photos/1.jpg.real": b"one"}))
        with tarfile.open(fileobj=stream, mode="a") as tar:
            link = tarfile.TarInfo("photos/4.jpg")
            link.type, link.linkname = tarfile.SYMTYPE, "1.jpg"
            tar.addfile(link)
        text = lines_of(FILES | {"photos/4.jpg": b"one"})
        said = self.failure(ArchiveError, tmp_path, out, stream.getvalue(), text)
        assert "1 of the 5 listed files are not in it (such as 'photos/4.jpg')" in said

    @pytest.mark.parametrize("names", [["names.txt"] * 2, ["names.txt", "./names.txt"]])
    def test_a_file_that_is_there_twice(self, tmp_path, out, names):
        """Even with the same bytes: of such an archive others may unpack something else."""
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as tar:
            for name in names:
                tar.addfile(tarfile.TarInfo(name))
        said = self.failure(ArchiveError, tmp_path, out, stream.getvalue(), lines_of({"names.txt": b""}))
        assert said == (
            "data.tar from MIRROR/data.tar: 'names.txt' is in it 2 times; "
            "nothing was kept; replace MIRROR/data.tar"
        )

    def test_two_top_folders_are_no_single_one(self, tmp_path, out):
        stream = io.BytesIO(tar_of(FILES, top="a/"))
        with tarfile.open(fileobj=stream, mode="a") as tar:
            tar.addfile(tarfile.TarInfo("b/else"))
        said = self.failure(ArchiveError, tmp_path, out, stream.getvalue())
        assert "4 of the 4 listed files are not in it" in said

    @pytest.mark.parametrize(
        ("packed", "message"),
        [
            (b"<!DOCTYPE html><p>Log in", "it is a web page, not an archive"),
            (ARCHIVES["a whole repository as tar.gz"][:-200], "damaged or cut short"),
            (b"no archive at all", "damaged or cut short before its first member"),
        ],
    )
    def test_what_is_no_whole_archive(self, tmp_path, out, packed, message):
        said = self.failure(ArchiveError, tmp_path, out, packed)
        assert said.startswith(f"data.tar from MIRROR/data.tar: {message}")

    def test_a_member_that_leads_out_is_not_among_the_kept(self, tmp_path, out):
        mirror = folder_with(tmp_path / "mirror", data_tar=zip_of(ALL | {"../evil": b"x", "/evil": b"x"}))
        download(with_manifest(mirror), out)
        assert dict(members(out / "data.tar")) == FILES

    @pytest.mark.parametrize(
        ("path", "message"),
        [
            ("../evil", "leads out of the folder"),
            ("photos/../../evil", "leads out of the folder"),
            ("photos\\..\\..\\evil", "leads out of the folder"),
            ("/etc/passwd", "is absolute"),
            ("C:\\evil", "is absolute"),
            ("a\0b", "has a NUL in it"),
            ("./names.txt", "is to be written as 'names.txt'"),
            ("photos//1.jpg", "is to be written as 'photos/1.jpg'"),
            ("names.txt", "is listed a second time"),
            ("x" * 101, "cannot be in a plain tar (name is too long)"),
        ],
    )  # fmt: skip
    def test_a_path_that_no_manifest_may_list(self, tmp_path, out, path, message):
        text = lines_of(FILES) + f"{'0' * 64}  {path}\n"
        said = self.failure(ConfigError, tmp_path, out, tar_of(FILES), text)
        assert said.startswith("conf/manifest/tiny.sha256, line 5: '")
        assert said.endswith(f"' {message}; mend it")

    @pytest.mark.parametrize(
        "line", ["names.txt", f"{'0' * 63}  a", f"{'0' * 64}   ", "", "\\" + "0" * 64 + "  a"]
    )
    def test_a_line_that_is_none(self, tmp_path, out, line):
        text = line + "\n" + lines_of(FILES)
        if not line.strip("0 "):
            text = text.replace("   ", " ")  # nothing but a hash
        said = self.failure(ConfigError, tmp_path, out, tar_of(FILES), text)
        assert re.fullmatch(
            r"conf/manifest/tiny\.sha256, line 1: '.*' is not <sha256>  <path>; mend it", said
        )


class TestManifests:
    def test_another_one_than_is_promised_is_told_before_anything_is_fetched(self, server, out):
        _, url, requests = server
        manifest = manifest_of(lines_of(FILES), promised="0" * 64)
        file = File(name="data.tar", url=f"{url}/data.tar", manifest=manifest)
        with pytest.raises(ConfigError) as caught:
            download(fetched([file]), out)
        assert str(caught.value) == (
            f"conf/manifest/tiny.sha256: expected sha256 {'0' * 64}, found "
            f"{sha256(lines_of(FILES).encode())}; nothing was fetched; bring it back with: "
            "git checkout conf/manifest/tiny.sha256, or, only where you are sure that it is right, correct "
            "manifest.sha256 in conf/dataset/ and compose again"
        )
        assert requests == []
        assert nothing_left(out)

    def test_a_missing_one(self, out):
        file = File(name="data.tar", manifest=Manifest(list="gone.sha256", sha256="0" * 64))
        with pytest.raises(
            ConfigError, match=r"^conf/manifest/gone\.sha256: no such file or directory; .*checkout"
        ):
            download(fetched([file]), out)

    def test_no_place_has_the_archive(self, tmp_path, out):
        with pytest.raises(NoDataError, match=r"Put data\.tar into downloads/tiny/"):
            download(with_manifest(tmp_path), out)

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            (
                {"name": "data.tar", "sha256": "0" * 64},
                "exactly one of sha256, md5, contents, manifest, unproved",
            ),
            ({"name": "data.tgz"}, r"kept as a tar; name it <name>\.tar"),
        ],
    )
    def test_settings_that_do_not_go_together(self, values, message):
        manifest = Manifest(list="tiny.sha256", sha256="0" * 64)
        with pytest.raises(ValidationError, match=message):
            File(manifest=manifest, **values)

    @pytest.mark.parametrize("name", ["../tiny.sha256", "a/b", ""])
    def test_its_name_is_that_of_a_file_in_its_folder(self, name):
        with pytest.raises(ValidationError):
            Manifest(list=name, sha256="0" * 64)


class TestInterruptions:
    @pytest.mark.parametrize("after", [0, 2, 7])
    @pytest.mark.parametrize("step", ["_copy", "_pack"])
    def test_nothing_is_left_and_what_stood_there_stays(self, tmp_path, out, monkeypatch, step, after):
        mirror = folder_with(tmp_path / "mirror", data_tar=ARCHIVES["a whole repository as tar.gz"])
        if after:
            folder_with(out, data_tar=b"old")

        def stopped(items, *_):
            yield from itertools.islice(items, after)
            raise KeyboardInterrupt

        if step == "_copy":
            monkeypatch.setattr("hier.data.listed.members", lambda path: stopped(members(path)))
        else:
            monkeypatch.setattr("hier.data.listed.track", stopped)
        with pytest.raises(KeyboardInterrupt):
            download(with_manifest(mirror), out)
        assert [path.name for path in out.parent.iterdir()] == (["archive"] if after else [])
        assert not after or listing(out) == {"data.tar": b"old"}
        assert [path.name for path in tmp_path.rglob("*.part")] == []

    def test_an_archive_stays_where_it_holds_something_else(self, tmp_path):
        path = tmp_path / "data.tar"
        path.write_bytes(tar_of(OTHERS))
        with pytest.raises(ArchiveError):
            keep_listed(path, {"names.txt": "0" * 64}, "data.tar", "a mirror")
        assert listing(tmp_path) == {"data.tar": tar_of(OTHERS)}


def test_the_manifest_of_cars_half():
    """The project's own, as its settings promise it: 16 photos of each of 196 classes, and the labels."""
    [[file]] = [source.files for source in dataset("cars_half").sources]
    content = (ROOT / "conf/manifest" / file.manifest.list).read_bytes()
    assert hashlib.sha256(content).hexdigest() == file.manifest.sha256
    folder_with(Path("conf/manifest")).joinpath(file.manifest.list).write_bytes(content)
    listed = read_manifest(file.manifest)
    assert len(listed) == 16 * 196 + 2
    assert [path for path in listed if not re.fullmatch(r"cars_train/\d{5}\.jpg", path)] == [
        "cars_meta.mat", "train_perfect_preds.txt",
    ]  # fmt: skip


def test_the_real_archive_of_cars_half(out, monkeypatch):
    configured = dataset("cars_half")
    [[file]] = [source.files for source in configured.sources]
    places = [ROOT.parent / "shared/data", Path(os.environ.get("HIER_MIRROR") or ROOT)]
    found = [place for place in places if (place / file.name).exists()]
    if not found:
        pytest.skip("the real archives are not there; set HIER_MIRROR to their folder")
    monkeypatch.setattr("hier.data.listed.MANIFESTS", ROOT / "conf/manifest")
    download(configured.model_copy(update={"mirrors": [str(found[0])]}), out)
    with (out / file.name).open("rb") as stream:
        kept = hashlib.file_digest(stream, "sha256").hexdigest()
    assert kept == "7cbf76bab5ee227b19742ed0280bcea9e2beb03badb0c5151fc9feb0e97fb24e"
