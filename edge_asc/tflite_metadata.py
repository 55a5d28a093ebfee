"""TFLite Metadata of an artefact: what other tools read, such as viewers and code generators of TFLite.

It is a flatbuffer of its own in the metadata buffer `TFLITE_METADATA`, by the schema of tflite-support and MediaPipe
(`metadata_schema.fbs`, identifier M001). The labels are a text file in a ZIP archive behind the flatbuffer of the
model, where those tools look for it. All of it follows from the stream contract, which says more: that one is for
programs that stream.
"""

from __future__ import annotations

import io
from zipfile import ZipFile, ZipInfo

import numpy as np

from edge_asc.contract import METADATA_KEY, StreamContract
from edge_asc.flatbuffer import Fields, Value, pack
from edge_asc.tensors import TensorSpec

NAME = "TFLITE_METADATA"
IDENTIFIER = b"M001"
LABELS = "labels.txt"

# Positions of fields in the schema.
MODEL_NAME, MODEL_DESCRIPTION, MODEL_VERSION, MODEL_SUBGRAPHS, MODEL_AUTHOR, MODEL_LICENSE, MODEL_FILES = range(7)
MODEL_PARSER = 7
SUBGRAPH_NAME, SUBGRAPH_INPUTS, SUBGRAPH_OUTPUTS = 0, 2, 3
TENSOR_NAME, TENSOR_DESCRIPTION, TENSOR_CONTENT, TENSOR_STATS, TENSOR_FILES = 0, 1, 3, 5, 6
CONTENT_TYPE, CONTENT_PROPERTIES = 0, 1
AUDIO_RATE, AUDIO_CHANNELS = 0, 1
STATS_MAX, STATS_MIN = 0, 1
FILE_NAME, FILE_DESCRIPTION, FILE_TYPE = 0, 1, 2

# Values of its enumerations.
FEATURES, AUDIO = np.uint8(1), np.uint8(4)
AXIS_LABELS = np.uint8(2)

# The schema's versions that have all fields used here, with and without those of audio.
AUDIO_VERSION, VERSION = "1.3.0", "1.0.0"

# Of an archive, so that equal labels give equal bytes.
DATE = (1980, 1, 1, 0, 0, 0)
UNIX = 3


def pack_metadata(contract: StreamContract) -> bytes:
    """Return the content of the metadata buffer: of the first signature, which the plain interpreter runs."""
    signature, provenance = contract.signatures[0], contract.provenance
    labels: Fields = {
        FILE_NAME: LABELS,
        FILE_DESCRIPTION: "labels in the order of the logits",
        FILE_TYPE: AXIS_LABELS,
    }
    outputs = [_describe_tensor(spec, contract) for spec in signature.outputs]
    has_logits = any(spec.role == "logits" for spec in signature.outputs)
    if has_logits:
        outputs = [
            {**fields, TENSOR_FILES: (labels,)} if spec.role == "logits" else fields
            for spec, fields in zip(signature.outputs, outputs, strict=True)
        ]
    subgraph: Fields = {
        SUBGRAPH_NAME: signature.name,
        SUBGRAPH_INPUTS: tuple(_describe_tensor(spec, contract) for spec in signature.inputs),
        SUBGRAPH_OUTPUTS: tuple(outputs),
    }
    fields: dict[int, Value] = {
        MODEL_NAME: contract.name,
        MODEL_DESCRIPTION: _describe_model(contract),
        MODEL_SUBGRAPHS: (subgraph,),
        MODEL_PARSER: VERSION if contract.input == "features" else AUDIO_VERSION,
    }
    known = {
        MODEL_VERSION: provenance.checkpoint_sha256[:12],
        MODEL_AUTHOR: provenance.author,
        MODEL_LICENSE: provenance.license,
    }
    fields |= {position: text for position, text in known.items() if text}
    if not has_logits:
        fields[MODEL_FILES] = (labels,)
    return pack(fields, IDENTIFIER)


def append_labels(data: bytes, contract: StreamContract) -> bytes:
    """Return a file with the labels in an archive behind it, one a line."""
    return data + _archive_labels(contract, len(data))


def strip_labels(data: bytes, contract: StreamContract) -> bytes:
    """Return a file without the archive of a contract's labels, or as it is if it ends in something else."""
    start = len(data) - len(_archive_labels(contract, 0))
    if start >= 0 and data.endswith(_archive_labels(contract, start)):
        return data[:start]
    return data


def _archive_labels(contract: StreamContract, start: int) -> bytes:
    """Return the archive of the labels as it stands behind so many bytes of a file, not compressed."""
    entry = ZipInfo(LABELS, DATE)
    entry.create_system, entry.external_attr = UNIX, 0o600 << 16
    buffer = io.BytesIO()
    buffer.seek(start)
    with ZipFile(buffer, "w") as archive:
        archive.writestr(entry, "\n".join(contract.labels) + "\n")
    return buffer.getvalue()[start:]


def _describe_model(contract: StreamContract) -> str:
    seconds = contract.signatures[0].samples / contract.front_end.sample_rate
    return (
        f"{contract.backbone} classifier of sounds, {contract.form}, {len(contract.labels)} labels, "
        f"{seconds:g} s of audio a run. The metadata {METADATA_KEY} describes how to stream with it."
    )


def _describe_tensor(spec: TensorSpec, contract: StreamContract) -> Fields:
    fields: dict[int, Value] = {TENSOR_NAME: spec.name}
    rate = contract.front_end.sample_rate
    match spec.role:
        case "samples":
            whole = spec.dtype == "int16"
            low, high = (-32768.0, 32767.0) if whole else (-1.0, 1.0)
            fields[TENSOR_DESCRIPTION] = f"the next samples of the audio, {rate} Hz, one channel, {low:g} to {high:g}"
            audio: Fields = {AUDIO_RATE: np.uint32(rate), AUDIO_CHANNELS: np.uint32(1)}
            fields[TENSOR_CONTENT] = {CONTENT_TYPE: AUDIO, CONTENT_PROPERTIES: audio}
            fields[TENSOR_STATS] = {STATS_MAX: np.array([high], np.float32), STATS_MIN: np.array([low], np.float32)}
        case "features":
            fields[TENSOR_DESCRIPTION] = f"log-mel frames of audio of {rate} Hz, one channel; see {METADATA_KEY}"
        case "logits":
            fields[TENSOR_DESCRIPTION] = "a score for each label; the softmax gives probabilities"
        case "embedding":
            fields[TENSOR_DESCRIPTION] = "embeddings, in the order of time"
        case "state" if spec.feeds:
            fields[TENSOR_DESCRIPTION] = "state: give it to the input of the same name without _next at the next run"
        case "state":
            fields[TENSOR_DESCRIPTION] = "state: zeros, or the zero point, at the start of a stream"
    if TENSOR_CONTENT not in fields and spec.role != "state":
        fields[TENSOR_CONTENT] = {CONTENT_TYPE: FEATURES, CONTENT_PROPERTIES: {}}
    return fields
