"""TFLite Metadata is what other tools read: by the flatbuffers package, by MediaPipe's schema, and as a ZIP archive."""

from __future__ import annotations

import io
from dataclasses import replace
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from zipfile import ZipFile

import pytest

from artefacts import Artefacts
from edge_asc.adaptation.base import relabel
from edge_asc.adaptation.layer import pass_through
from edge_asc.adaptation.tflite_layer import TfliteEditor
from edge_asc.contract import StreamContract
from edge_asc.errors import ContractError
from edge_asc.flatbuffer import tflite_metadata
from edge_asc.runtime import read_tflite_contract
from edge_asc.seal import check_seal
from edge_asc.tflite_metadata import LABELS, NAME, append_labels, strip_labels
from edge_asc.training.checkpoint import Checkpoint
from edge_asc.zoo import zoo_path
from edge_asc_export.artefact import Draft, Origin, write
from edge_asc_export.plan import Plan


def read_metadata(data: bytes) -> bytes:
    content = tflite_metadata(data, NAME)
    assert content is not None
    return content


def read_labels(data: bytes) -> list[str]:
    """The labels in the archive behind a file."""
    with ZipFile(io.BytesIO(data)) as archive:
        assert archive.namelist() == [LABELS]
        assert archive.testzip() is None
        return archive.read(LABELS).decode().splitlines()


class Table:
    """A table as the flatbuffers package reads it, by the positions of the published schema."""

    def __init__(self, data: bytes, position: int) -> None:
        flatbuffers = pytest.importorskip("flatbuffers")
        self.numbers = flatbuffers.number_types
        self.make = flatbuffers.table.Table
        self.table = self.make(data, position)
        self.data = data

    @classmethod
    def root(cls, data: bytes) -> Table:
        return cls(data, int.from_bytes(data[:4], "little"))

    def place(self, field: int) -> int:
        offset = int(self.table.Offset(4 + 2 * field))
        return offset and offset + int(self.table.Pos)

    def text(self, field: int) -> str:
        place = self.place(field)
        return self.table.String(place).decode() if place else ""

    def uint(self, field: int) -> int:
        return int(self.table.Get(self.numbers.Uint32Flags, self.place(field)))

    def byte(self, field: int) -> int:
        return int(self.table.Get(self.numbers.Uint8Flags, self.place(field)))

    def child(self, field: int) -> Table:
        return Table(self.data, int(self.table.Indirect(self.place(field))))

    def children(self, field: int) -> list[Table]:
        if not self.place(field):
            return []
        offset = self.place(field) - int(self.table.Pos)
        start, count = int(self.table.Vector(offset)), int(self.table.VectorLen(offset))
        return [Table(self.data, int(self.table.Indirect(start + 4 * i))) for i in range(count)]

    def floats(self, field: int) -> list[float]:
        offset = self.place(field) - int(self.table.Pos)
        return [float(v) for v in self.table.GetVectorAsNumpy(self.numbers.Float32Flags, offset)]


def check(data: bytes, contract: StreamContract) -> Table:
    """Compare the metadata of a file with its contract, field by field; return them."""
    content = read_metadata(data)
    assert content[4:8] == b"M001"
    root = Table.root(content)
    assert root.text(0) == contract.name
    assert str(len(contract.labels)) in root.text(1)
    (subgraph,) = root.children(3)
    signature = contract.signatures[0]
    for field, specs in ((2, signature.inputs), (3, signature.outputs)):
        tensors = subgraph.children(field)
        assert [tensor.text(0) for tensor in tensors] == [spec.name for spec in specs]
        assert all(tensor.text(1) for tensor in tensors)
    assert read_labels(data) == list(contract.labels)
    return root


def list_files(root: Table) -> list[list[tuple[str, int]]]:
    """Name and type of the files of the model, and of each output."""
    (subgraph,) = root.children(3)
    owners = [(root, 6), *((tensor, 6) for tensor in subgraph.children(3))]
    return [[(file.text(0), file.byte(2)) for file in owner.children(field)] for owner, field in owners]


@pytest.mark.parametrize(
    ("name", "bounds"),
    [("step.tflite", None), ("step-samples.tflite", (-1.0, 1.0)), ("step-int16.tflite", (-32768.0, 32767.0))],
)
def test_a_step_is_described(artefacts: Artefacts, name: str, bounds: tuple[float, float] | None) -> None:
    path = artefacts.folder / name
    data = path.read_bytes()
    check_seal(path)
    root = check(data, read_tflite_contract(path, data))
    (logits, *states) = list_files(root)[1:]
    assert (logits, states) == ([(LABELS, 2)], [[]] * len(states))
    source = root.children(3)[0].children(2)[0]
    content = source.child(3)
    if bounds is None:
        assert (content.byte(0), root.text(7)) == (1, "1.0.0")
    else:
        assert (content.byte(0), root.text(7)) == (4, "1.3.0")
        assert (content.child(1).uint(0), content.child(1).uint(1)) == (16000, 1)
        stats = source.child(5)
        assert (stats.floats(1), stats.floats(0)) == ([bounds[0]], [bounds[1]])


def test_a_window_has_its_labels_too(artefacts: Artefacts) -> None:
    path = artefacts.folder / "windows.tflite"
    data = path.read_bytes()
    assert list_files(check(data, read_tflite_contract(path, data))) == [[(LABELS, 2)], []]


@pytest.fixture(scope="module")
def adaptable() -> tuple[bytes, StreamContract]:
    """An int8 artefact with a linear output layer."""
    folder = zoo_path("fuse")
    assert folder is not None
    checkpoint = Checkpoint.load(folder)
    origin = Origin("Ada <b>", "CC0-1.0")
    (artefact,) = write(
        Draft(checkpoint, "0123456789abcdef", Plan.from_json(checkpoint.quantisation), origin=origin), "tflite"
    )
    return artefact.data, artefact.contract


def test_author_license_and_version_are_those_of_the_contract(adaptable: tuple[bytes, StreamContract]) -> None:
    data, contract = adaptable
    root = check(data, contract)
    assert (root.text(4), root.text(5), root.text(2)) == ("Ada <b>", "CC0-1.0", "0123456789ab")
    assert StreamContract.parse(contract.dumps()).provenance.license == "CC0-1.0"


@pytest.mark.parametrize("text", [" x", "a\nb", "x" * 300])
def test_an_author_that_cannot_be_shown_is_refused(text: str) -> None:
    with pytest.raises(ContractError, match="author is"):
        Origin(text)


def test_an_adapted_file_has_the_metadata_of_its_own_labels(adaptable: tuple[bytes, StreamContract]) -> None:
    data, contract = adaptable
    for prefix in ("class", "another class"):
        editor = TfliteEditor(data, contract)
        labels = [f"{prefix} {i}" for i in range(editor.site.width)]
        contract = relabel(contract, labels, editor.site)
        data = editor.replace(pass_through(editor.site), contract)
        check(data, contract)
        assert data.count(LABELS.encode()) == 3  # in the metadata, and twice in one archive


def test_an_archive_of_other_labels_is_left_alone(adaptable: tuple[bytes, StreamContract]) -> None:
    data, contract = adaptable
    bare = strip_labels(data, contract)
    assert append_labels(bare, contract) == data
    assert strip_labels(data, replace(contract, labels=contract.labels[::-1])) == data
    assert strip_labels(b"", contract) == b""


def test_mediapipe_reads_it(adaptable: tuple[bytes, StreamContract]) -> None:
    found = find_spec("mediapipe")
    if found is None or not found.submodule_search_locations:
        pytest.skip("mediapipe is not installed: pip install --no-deps mediapipe")
    # The module alone: the package imports OpenCV.
    place = Path(found.submodule_search_locations[0]) / "tasks/metadata/metadata_schema_py_generated.py"
    spec = spec_from_file_location("metadata_schema", place)
    assert spec is not None
    assert spec.loader is not None
    schema = module_from_spec(spec)
    spec.loader.exec_module(schema)
    data, contract = adaptable
    model = schema.ModelMetadataT.InitFromPackedBuf(read_metadata(data), 0)
    assert (model.name, model.author, model.license) == (b"fuse", b"Ada <b>", b"CC0-1.0")
    (subgraph,) = model.subgraphMetadata
    names = [tensor.name.decode() for tensor in subgraph.outputTensorMetadata]
    assert names == [spec.name for spec in contract.signatures[0].outputs]
    (file,) = subgraph.outputTensorMetadata[0].associatedFiles
    assert (file.name, file.type) == (b"labels.txt", schema.AssociatedFileType.TENSOR_AXIS_LABELS)
