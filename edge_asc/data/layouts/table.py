"""One table of labels beside the sound files, such as those of ESC-50 and UrbanSound8K.

The table has a first line with the names of its columns, separated by commas, semicolons or tabs. It is found in the
folder or one level below. The columns fold, split (train, test), src_file, fsID and others that name the recording are
used where there are any.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from edge_asc.data.dataset import Dataset, Layout
from edge_asc.data.folder import FOREIGN, Folder
from edge_asc.data.labels import SPLITS
from edge_asc.data.listing import FILES, LABELS, Listing
from edge_asc.data.table import Table
from edge_asc.errors import DatasetError

SUFFIXES = (".csv", ".tsv", ".jsonl")


def read(root: Path) -> Dataset | None:
    """Read the clips that a table lists; None where no table has a column of files and one of labels.

    Raises:
        DatasetError: several tables list clips, none of a table's files is there, or a table lacks a column in a folder
            whose sounds have no labels otherwise.
    """
    paths = _find_tables(root)
    if not paths:
        return None
    folder = Folder.scan(root)
    problems: list[str] = []
    listings: dict[Path, Listing] = {}
    for path in paths:
        try:
            table = Table.read(path)
        except DatasetError as error:
            problems.append(str(error))
            continue
        file, label = table.find(FILES), table.find(LABELS)
        if file and label and table.rows:
            listings[path] = listing = Listing(root, folder)
            listing.add(table, file, label)
        elif file or label:
            missing, names = ("labels", LABELS) if file else ("file names", FILES)
            problems.append(
                f"{path}: has no column of {missing}, or no rows; got the columns {', '.join(table.columns)}; expected "
                f"one of {', '.join(names)}: name it in the first line"
            )
    chosen = {path: listing for path, listing in listings.items() if listing.found}
    if len(chosen) == 1:
        return next(iter(chosen.values())).to_dataset()
    if len(chosen) > 1:
        return _join(root, folder, [*chosen])
    if _has_no_classes(folder):
        _explain(root, listings, problems)
    return None


def _find_tables(root: Path) -> list[Path]:
    """Return the tables in a folder and one level below, without hidden ones."""
    if not root.is_dir():
        return []
    below = [path for path in root.iterdir() if path.is_dir() and path.name.casefold() not in FOREIGN]
    return sorted(
        path
        for folder in (root, *below)
        if not folder.name.startswith(".") or folder == root
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith(".")
    )


def _join(root: Path, folder: Folder, paths: list[Path]) -> Dataset:
    """Return the clips of several tables that are named after the parts of a split, such as train.csv and test.csv."""
    if any(path.stem.casefold() not in SPLITS for path in paths):
        listed = ", ".join(path.relative_to(root).as_posix() for path in paths)
        raise DatasetError(
            f"{root}: {len(paths)} tables list its files: {listed}; expected one, or train.csv and test.csv: move the "
            "others out of the folder"
        )
    listing = Listing(root, folder)
    for path in paths:
        table = Table.read(path)
        listing.add(table, table.find(FILES), table.find(LABELS), split=path.stem)
    return listing.to_dataset()


def _has_no_classes(folder: Folder) -> bool:
    """Whether all sounds lie in one folder, so that folders cannot be their labels."""
    return len({path.parent for path in folder.sounds} or {PurePosixPath()}) == 1


def _explain(root: Path, listings: dict[Path, Listing], problems: list[str]) -> None:
    for path, listing in listings.items():
        raise DatasetError(
            f"{path}: lists {len(listing.clips)} files, none of which is in {root}, such as "
            f"{listing.clips[0].filename if listing.clips else '(none)'}; expected the sound files in this folder or "
            "below it: move them there"
        )
    if problems:
        raise DatasetError(problems[0])


LAYOUT = Layout(
    name="table",
    title="A table beside sound files",
    expects="a .csv or .tsv file with a column of files (filename, file) and one of labels (label, category, class)",
    read=read,
    precedence=30,
)
