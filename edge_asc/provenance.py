"""How an artefact was made and what was measured on it: the parts of a stream contract that nobody needs to run it.

Readers ignore fields that they do not know, so that an older or newer edge-asc opens the artefact all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Self

from edge_asc.closeness import Closeness
from edge_asc.jsonobject import JsonObject, JsonValue


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The clips that the activation ranges of an integer artefact were recorded on, and the method.

    Attributes:
        data: name of the data set; "" where it is not known.
        recorded_on: which clips of it, in words; "" where it is not known.
        classes: number of labels among the clips; None where it is not known.
        clips: number of clips.
        clips_sha256: SHA-256 of their raw log-mel.
        levels_db: input levels at which each clip was run, dB.
        method: how a range follows from the values, such as "minmax" or "mse".
        kl: mean divergence of the probabilities of a step from those of float, of logits divided by 4, nats, by method,
            where several were tried.
        warnings: doubts about the clips, one sentence each.
    """

    data: str = ""
    recorded_on: str = ""
    classes: int | None = None
    clips: int = 0
    clips_sha256: str = ""
    levels_db: tuple[float, ...] = ()
    method: str = ""
    kl: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, JsonValue]:
        """Return a JSON object that `from_json` reads."""
        value: dict[str, JsonValue] = asdict(self)
        return value

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """Read what `to_json` wrote; every field may be missing.

        Raises:
            ValueError: a field is of another type.
        """
        classes = value.integer("classes", -1)
        return cls(
            data=value.text("data", ""),
            recorded_on=value.text("recorded_on", ""),
            classes=None if classes < 0 else classes,
            clips=value.integer("clips", 0),
            clips_sha256=value.text("clips_sha256", ""),
            levels_db=value.numbers("levels_db", ()),
            method=value.text("method", ""),
            kl=value.child_or_empty("kl").number_items(),
            warnings=value.texts("warnings", ()),
        )


@dataclass(frozen=True, kw_only=True)
class Adaptation:
    """How an artefact got a new output layer, which was fitted on clips while all else stayed as it was.

    Attributes:
        base: name of the model that it was adapted from.
        base_sha256: digest in the contract of the artefact that it was adapted from.
        base_checkpoint_sha256: SHA-256 of the weights that this artefact was made from.
        data: name of the data set.
        clips: number of clips.
        clips_sha256: SHA-256 of their audio and labels.
        levels_db: input levels at which each clip was run, dB.
        regularisation: weight of the squared weights.
    """

    base: str = ""
    base_sha256: str = ""
    base_checkpoint_sha256: str = ""
    data: str = ""
    clips: int = 0
    clips_sha256: str = ""
    levels_db: tuple[float, ...] = ()
    regularisation: float = 0.0

    def to_json(self) -> dict[str, JsonValue]:
        """Return a JSON object that `from_json` reads."""
        value: dict[str, JsonValue] = asdict(self)
        return value

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """Read what `to_json` wrote; every field may be missing.

        Raises:
            ValueError: a field is of another type.
        """
        return cls(
            base=value.text("base", ""),
            base_sha256=value.text("base_sha256", ""),
            base_checkpoint_sha256=value.text("base_checkpoint_sha256", ""),
            data=value.text("data", ""),
            clips=value.integer("clips", 0),
            clips_sha256=value.text("clips_sha256", ""),
            levels_db=value.numbers("levels_db", ()),
            regularisation=value.number("regularisation", 0.0),
        )


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """How an artefact was made.

    Attributes:
        edge_asc: version of edge-asc that exported it; "" of a checkpoint that runs as it is.
        tools: version of each package that took part, by its name.
        checkpoint_sha256: SHA-256 of the checkpoint's weights; of an adapted artefact, a digest of those and
            of its output layer.
        scheme: the whole quantisation scheme, as `edge_asc_export.scheme` reads it.
        float_parts: which parts compute in float, in words; "float" in JSON.
        calibration: where activation ranges come from; None where the scheme needs none.
        adaptation: how the output layer was replaced; None where it is that of the checkpoint.
        author: of the model; "" where it is not known.
        license: of the model; "" where it is not known.
    """

    edge_asc: str = ""
    tools: Mapping[str, str] = field(default_factory=dict)
    checkpoint_sha256: str = ""
    scheme: Mapping[str, JsonValue] | None = None
    float_parts: str = ""
    calibration: Calibration | None = None
    adaptation: Adaptation | None = None
    author: str = ""
    license: str = ""

    def to_json(self) -> dict[str, JsonValue]:
        """Return a JSON object that `from_json` reads."""
        return {
            "edge_asc": self.edge_asc,
            "tools": dict(self.tools),
            "checkpoint_sha256": self.checkpoint_sha256,
            "scheme": self.scheme,
            "float": self.float_parts,
            "calibration": None if self.calibration is None else self.calibration.to_json(),
            **({} if self.adaptation is None else {"adaptation": self.adaptation.to_json()}),
            **({"author": self.author} if self.author else {}),
            **({"license": self.license} if self.license else {}),
        }

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """Read what `to_json` wrote; every field may be missing.

        Raises:
            ValueError: a field is of another type.
        """
        calibration, adaptation = map(value.optional_child, ("calibration", "adaptation"))
        return cls(
            edge_asc=value.text("edge_asc", ""),
            tools=value.child_or_empty("tools").text_items(),
            checkpoint_sha256=value.text("checkpoint_sha256", ""),
            scheme=value.raw("scheme"),
            float_parts=value.text("float", ""),
            calibration=None if calibration is None else Calibration.from_json(calibration),
            adaptation=None if adaptation is None else Adaptation.from_json(adaptation),
            author=value.text("author", ""),
            license=value.text("license", ""),
        )


@dataclass(frozen=True)
class Parity:
    """Differences between an artefact and float PyTorch on the same audio, both streamed.

    Attributes:
        audio: what was streamed, in words.
        steps: number of decisions compared.
        agreement: share of decisions with the same arg-max, 0 to 1.
        max_error, mean_error: absolute error of the logits.
        agreement_by_length: share of equal decisions at each number of seconds since reset, under the contract's rule.
        max_error_first, max_error_last: in the first and the last quarter of one stream without a reset: its drift.
        sqnr: energy of PyTorch's logits over that of the errors, dB; None where it was not measured.
        closeness: of all decisions and probabilities; None in artefacts of older versions.
    """

    audio: str
    steps: int
    agreement: float
    max_error: float
    mean_error: float
    agreement_by_length: Mapping[str, float]
    max_error_first: float
    max_error_last: float
    sqnr: float | None = None
    closeness: Closeness | None = None

    def to_json(self) -> dict[str, JsonValue]:
        """Return a JSON object that `from_json` reads."""
        value: dict[str, JsonValue] = asdict(self)
        value["closeness"] = None if self.closeness is None else self.closeness.to_json()
        return value

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError: a field is missing or of another type.
        """
        closeness = value.optional_child("closeness")
        return cls(
            audio=value.text("audio"),
            steps=value.integer("steps"),
            agreement=value.number("agreement"),
            max_error=value.number("max_error"),
            mean_error=value.number("mean_error"),
            agreement_by_length=value.child("agreement_by_length").number_items(),
            max_error_first=value.number("max_error_first"),
            max_error_last=value.number("max_error_last"),
            sqnr=value.optional_number("sqnr"),
            closeness=None if closeness is None else Closeness.from_json(closeness),
        )


@dataclass(frozen=True, kw_only=True)
class LevelParity:
    """An artefact that takes samples against front end and float PyTorch, on scenes whose peak has one level.

    Attributes:
        dbfs: level of the peak, dB relative to full scale.
        frames: number of frames compared.
        features_mean_error, features_max_error: absolute error of the normalised log-mel that the artefact computes.
        steps: number of decisions compared.
        agreement: share of decisions with the same arg-max as PyTorch, 0 to 1.
        max_error: largest error of a logit.
        sqnr: as in `Parity`, dB.
    """

    dbfs: float
    frames: int
    features_mean_error: float
    features_max_error: float
    steps: int
    agreement: float
    max_error: float
    sqnr: float | None = None

    def to_json(self) -> dict[str, JsonValue]:
        """Return a JSON object that `from_json` reads."""
        value: dict[str, JsonValue] = asdict(self)
        return value

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError: a field is missing or of another type.
        """
        return cls(
            dbfs=value.number("dbfs"),
            frames=value.integer("frames"),
            features_mean_error=value.number("features_mean_error"),
            features_max_error=value.number("features_max_error"),
            steps=value.integer("steps"),
            agreement=value.number("agreement"),
            max_error=value.number("max_error"),
            sqnr=value.optional_number("sqnr"),
        )


@dataclass(frozen=True, kw_only=True)
class Adapted:
    """Measurements of an artefact with a new output layer.

    Attributes:
        held_out_clips: clips that were judged by a layer which was not fitted on their groups; 0 where there were none.
        held_out_right: those for which their label was decided.
        steps: decisions of the file that were compared with those of the layer in float.
        agreement: share of these with the same arg-max, 0 to 1.
        max_error: largest difference of a logit.
    """

    held_out_clips: int
    held_out_right: int
    steps: int
    agreement: float
    max_error: float

    def to_json(self) -> dict[str, JsonValue]:
        """Return a JSON object that `from_json` reads."""
        value: dict[str, JsonValue] = asdict(self)
        return value

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError: a field is missing or of another type.
        """
        return cls(
            held_out_clips=value.integer("held_out_clips"),
            held_out_right=value.integer("held_out_right"),
            steps=value.integer("steps"),
            agreement=value.number("agreement"),
            max_error=value.number("max_error"),
        )


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Measurements of an artefact at export.

    Attributes:
        parity: with float PyTorch; None where it was not measured.
        accepted_agreement: share of equal decisions, 0 to 1, that was accepted as enough in place of the bounds of the
            scheme; None where these hold.
        adapted: of an artefact with a new output layer; None elsewhere.
        levels: parity by level, of an artefact that takes samples; empty elsewhere.
    """

    parity: Parity | None = None
    accepted_agreement: float | None = None
    adapted: Adapted | None = None
    levels: tuple[LevelParity, ...] = ()

    def to_json(self) -> dict[str, JsonValue]:
        """Return a JSON object that `from_json` reads."""
        value: dict[str, JsonValue] = {}
        if self.parity is not None:
            value["parity"] = self.parity.to_json()
        if self.accepted_agreement is not None:
            value["accepted_agreement"] = self.accepted_agreement
        if self.adapted is not None:
            value["adapted"] = self.adapted.to_json()
        if self.levels:
            value["levels"] = [level.to_json() for level in self.levels]
        return value

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError: a field is of another type.
        """
        parity, adapted = map(value.optional_child, ("parity", "adapted"))
        return cls(
            parity=None if parity is None else Parity.from_json(parity),
            accepted_agreement=value.optional_number("accepted_agreement"),
            adapted=None if adapted is None else Adapted.from_json(adapted),
            levels=tuple(map(LevelParity.from_json, value.children_or_empty("levels"))),
        )
