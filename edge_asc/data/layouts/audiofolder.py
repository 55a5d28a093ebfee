"""The layout `audiofolder` of Hugging Face: metadata.csv or metadata.jsonl, with the columns file_name and label.

The table is in the folder itself, or in each of its folders train, validation and test.
"""

from __future__ import annotations

from pathlib import Path

from edge_asc.data.dataset import Dataset, Layout
from edge_asc.data.folder import Folder
from edge_asc.data.labels import SPLITS
from edge_asc.data.listing import LABELS, Listing
from edge_asc.data.table import Table

NAMES = ("metadata.csv", "metadata.jsonl")
FILE = "file_name"


def read(root: Path) -> Dataset | None:
    """Read the clips that the metadata lists; None where there are none, or without the columns of file and label.

    Raises:
        DatasetError: a table cannot be read.
    """
    found = [(path, "") for name in NAMES if (path := root / name).is_file()]
    if not found and root.is_dir():
        parts = [part for part in sorted(root.iterdir()) if part.name.casefold() in SPLITS]
        found = [(path, part.name) for part in parts for name in NAMES if (path := part / name).is_file()]
    tables = [(Table.read(path), split) for path, split in found]
    if not tables or not all(table.find((FILE,)) and table.find(LABELS) for table, _ in tables):
        return None
    listing = Listing(root, Folder.scan(root))
    for table, split in tables:
        listing.add(table, FILE, table.find(LABELS), split)
    return listing.to_dataset()


LAYOUT = Layout(
    name="audiofolder",
    title="Hugging Face audiofolder",
    expects="metadata.csv or metadata.jsonl with the columns file_name and label, in the folder or in train/ and test/",
    read=read,
    precedence=20,
)
