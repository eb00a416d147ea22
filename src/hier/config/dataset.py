"""What a dataset is: where its files come from, how they are laid out, and the facts they must meet."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, PositiveInt, model_validator

from hier.config.base import Strict
from hier.registry import LAYOUTS

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Md5 = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Exif = Literal["as_stored", "upright"]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._+-]*$")]


class Manifest(Strict):
    """The files of an archive that are used: `list` is the name of a file in conf/manifest/ with a line
    `<sha256>  <path>` for each, as `sha256sum` writes it; `sha256` is the hash of that file."""

    list: FileName
    sha256: Sha256


class File(Strict):
    """One file of a source and the one proof of its content that must hold.

    `url` is its canonical address, `alternates` are tried after it. `sha256` or `md5` is of the file
    itself; `contents`, for archives whose own bytes are not stable, the SHA-256 of the sorted lines
    `<sha256>  ./<path>` of its files without a single top folder and `contents_exclude` folders. A `manifest`
    proves an archive by the files in it that are used; these alone are kept, as a tar (hier.data.listed).
    `unproved` says why there is no checksum; the dataset's counts are then the proof.

    With a `folder`, the file is made here: it lists the photos in that folder, as `sha256sum` does, and they
    are read where they lie (hier.data.in_place).
    """

    name: FileName
    folder: str | None = None
    url: str | None = None
    alternates: list[str] = []
    bytes: PositiveInt | None = None  # its size, for `hier plan`
    sha256: Sha256 | None = None
    md5: Md5 | None = None
    contents: Sha256 | None = None
    contents_exclude: list[str] = []
    manifest: Manifest | None = None
    unproved: str | None = None

    @model_validator(mode="after")
    def one_proof(self) -> Self:
        proofs = (self.sha256, self.md5, self.contents, self.manifest, self.unproved)
        if sum(proof is not None for proof in proofs) != 1:
            raise ValueError(
                f"file {self.name}: give exactly one of sha256, md5, contents, manifest, unproved"
            )
        if self.manifest is not None and not self.name.endswith(".tar"):
            raise ValueError(f"file {self.name}: a manifest's files are kept as a tar; name it <name>.tar")
        if self.folder is not None and (self.sha256 is None or self.url or self.alternates):
            raise ValueError(f"file {self.name}: a list of photos has a sha256 and no address")
        return self


class Source(Strict):
    """Files that together make the dataset; sources are alternatives, tried in order."""

    files: Annotated[list[File], Field(min_length=1)]

    @model_validator(mode="after")
    def one_folder(self) -> Self:
        if sum(file.folder is not None for file in self.files) > 1:
            raise ValueError("sources: at most one file of a source lists the photos in a folder")
        return self


class Limits(Strict):
    """The most that the dataset's archives may unpack to, all together; more is refused as a bomb."""

    files: PositiveInt
    bytes: PositiveInt


class Subset(Strict):
    """A tiny part for trying things out: `classes` of each side, `images` of each class and split. A class
    with fewer images gives all; a side with fewer classes is an error."""

    classes: Annotated[int, Field(ge=2)]
    images: Annotated[int, Field(ge=2)]


class Unseen(Strict):
    """Which classes are unseen, where the data do not say: about a `share` of them, drawn by `seed`."""

    share: Annotated[float, Field(gt=0, lt=1)]
    seed: Annotated[int, Field(ge=0)]


class Columns(Strict):
    """What the columns of a table of photos are called; `above` names those of the levels above the class,
    finest first."""

    path: str = "path"
    label: str = "label"
    split: str = "split"
    crop: str = "crop"
    above: list[str] = []


class Generate(Strict):
    """Images drawn on the spot: a tree of classes in which look follows the tree."""

    seed: Annotated[int, Field(ge=0)]
    branching: Annotated[list[Annotated[int, Field(ge=2)]], Field(min_length=2)]
    images_per_class: PositiveInt
    size: Annotated[int, Field(ge=16)]


class Counts(Strict):
    """Facts that prepare asserts: images per split, and classes per side."""

    images: dict[Literal["train", "test", "query", "gallery"], PositiveInt]
    train_classes: PositiveInt
    test_classes: PositiveInt

    @model_validator(mode="after")
    def one_protocol(self) -> Self:
        if set(self.images) not in ({"train", "test"}, {"train", "query", "gallery"}):
            raise ValueError("counts.images must give train and test, or train, query and gallery")
        return self


class Dataset(Strict):
    """One dataset, from its archive to the image store. Configured in conf/dataset/<name>.yaml."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
    layout: Annotated[str, AfterValidator(LAYOUTS.check)]
    generate: Generate | None = None
    sources: list[Source] = []
    mirrors: list[str] = ["../shared/data"]  # folders or addresses tried before the canonical one
    by_hand: str | None = None  # how a person gets the files where no program may or can
    limits: Limits | None = None
    superclass: bool
    # What the levels of its classes are called, finest first: the class, its super-class, and one
    # for each part that the super-class's name has before its last (A/A3: genus, then family).
    levels: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]
    counts: Counts
    unseen: Unseen | None = None  # of the layouts `folder` and `table`; none: the data say it
    columns: Columns = Columns()  # of the layout `table`
    exclude: list[str] = []
    subset: Subset | None = None  # taken after the facts of the whole have been checked
    # Short side of the stored images in pixels (smaller ones are not enlarged), or all of their pixels.
    store_size: Annotated[int, Field(ge=8)] | Literal["exact"]
    # Width and height of every image, where the authors give them; larger ones are another set's.
    image_size: Annotated[list[PositiveInt], Field(min_length=2, max_length=2)] | None = None
    # How a picture lies whose EXIF data say that it is to be turned: as in the file, which the paper's
    # data are taken as, or as a viewer shows it, which is right for photos of one's own.
    exif: Exif = "as_stored"
    ks: Annotated[list[PositiveInt], Field(min_length=1)]

    @property
    def advice(self) -> str:
        """How a person gets the files, to follow a message; of most datasets, nothing."""
        return f"; {' '.join(self.by_hand.split()).rstrip('.')}" if self.by_hand else ""

    @model_validator(mode="after")
    def coherent(self) -> Self:
        if len(set(self.levels)) < len(self.levels):
            raise ValueError(f"dataset {self.name}: levels names one twice: {self.levels}")
        if (self.generate is None) == (not self.sources):
            raise ValueError(f"dataset {self.name}: give either generate or sources")
        return self
