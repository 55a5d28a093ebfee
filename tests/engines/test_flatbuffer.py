import struct
from typing import Any

import pytest

from artefacts import Artefacts
from edge_asc.contract import METADATA_KEY, UNSEALED, Signature
from edge_asc.errors import ContractError
from edge_asc.flatbuffer import tflite_metadata
from edge_asc.frontend import FrontEnd
from edge_asc.provenance import Provenance
from edge_asc.seal import SEAL
from edge_asc_export import tflite_writer
from edge_asc_export.tflite_writer import write_tflite

UNSEALED_TEXT = '{"file_sha256":"' + UNSEALED + '"}'


class Short:
    """Stands for a contract, so that the file is small enough to damage everywhere."""

    name, backbone, form, input = "short", "none", "causal", "features"
    labels, signatures = ("a", "b"), (Signature("step", 8, 4096, (), ()),)
    front_end, provenance = FrontEnd(), Provenance()

    def dumps(self, spare: int = 0) -> str:
        return UNSEALED_TEXT


SHORT: Any = Short()


@pytest.fixture(scope="module")
def small() -> bytes:
    return write_tflite([]).finish(SHORT)


@pytest.fixture(scope="module")
def text(small: bytes) -> bytes:
    """The contract in the file, with its digest."""
    sealed = SEAL.search(small)
    assert sealed is not None
    return UNSEALED_TEXT.replace(UNSEALED, sealed[1].decode()).encode()


def test_metadata_is_what_the_writer_put_there(small: bytes, text: bytes, artefacts: Artefacts) -> None:
    assert tflite_metadata(small, METADATA_KEY) == text
    found = tflite_metadata((artefacts.folder / "step.tflite").read_bytes(), METADATA_KEY)
    assert found is not None
    assert b'"step"' in found


def test_another_name_is_not_there(small: bytes) -> None:
    assert tflite_metadata(small, "min_runtime_version") is None


@pytest.mark.parametrize("data", [b"", b"TFL3", b"PK\x03\x04" * 100, b"\x08\x00\x00\x00TFL2" + bytes(100)])
def test_a_file_without_the_mark_is_no_tflite(data: bytes) -> None:
    with pytest.raises(ContractError, match="not a TFLite file"):
        tflite_metadata(data, METADATA_KEY)


def test_a_file_cut_anywhere_is_refused_or_read_right(small: bytes, text: bytes) -> None:
    refused = 0
    for size in range(len(small)):
        try:
            assert tflite_metadata(small[:size], METADATA_KEY) == text
        except ContractError:
            refused += 1
    assert refused > len(small) // 2


def test_no_flipped_bit_and_no_byte_set_high_gives_another_error(small: bytes) -> None:
    refused = 0
    for position in range(len(small)):
        for value in (*(small[position] ^ (1 << bit) for bit in range(8)), 0xFF, 0):
            damaged = small[:position] + bytes([value]) + small[position + 1 :]
            try:
                found = tflite_metadata(damaged, METADATA_KEY)
            except ContractError:
                refused += 1
            else:
                assert found is None or isinstance(found, bytes)
    assert refused > len(small)


@pytest.mark.parametrize("root", [8, 200, 0xFFFFFFFF])
@pytest.mark.parametrize("fill", [0xFF, 0x7F, 0x80])
def test_garbage_behind_the_mark_is_refused(root: int, fill: int) -> None:
    with pytest.raises(ContractError, match="damaged"):
        tflite_metadata(struct.pack("<I", root) + b"TFL3" + bytes([fill]) * 500, METADATA_KEY)


def test_metadata_that_names_no_buffer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pack = tflite_writer.pack  # type: ignore[attr-defined]  # imported there

    def pack_wrong_index(model: Any) -> Any:
        model.metadata[-1].buffer = 99
        return pack(model)

    monkeypatch.setattr(tflite_writer, "pack", pack_wrong_index)
    with pytest.raises(ContractError, match="buffer 99, which is not there"):
        tflite_metadata(write_tflite([]).finish(SHORT), METADATA_KEY)
