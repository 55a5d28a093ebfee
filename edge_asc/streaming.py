"""Classifiers of an audio stream: samples in, decisions out, whatever engine runs the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, get_args

import numpy as np
import numpy.typing as npt

from edge_asc.contract import STEP_FRAMES, AnyArray, StreamContract, TensorSpec
from edge_asc.engine import open_runtime
from edge_asc.errors import ContractError
from edge_asc.frontend import LOUDEST, Array, FrontEnd, LogMel, check_samples
from edge_asc.loop import Loop
from edge_asc.rule import Belief, DecisionRule, Vector, parse_rule, softmax
from edge_asc.runtime import Runtime
from edge_asc.tensors import LARGEST, to_int16

Carry = Literal["final", "aligned", "none"]


@dataclass(frozen=True, eq=False)
class Decision:
    """One classification result.

    Attributes:
        time: seconds of audio since the reset that it is based on.
        label, index: the most probable class.
        probability: probability of that class.
        probabilities: probabilities of all classes, (classes,), under the contract's temperature.
        logits: the model's last output, (classes,), as it is.
        unknown: whether the sound is none of the known classes, by the contract's rule; False without a rule.
        answer: the label to report to a user. With a rule for unknown sounds: its label where `unknown`, else the most
            probable of the other labels. Without one: `label`.
        confidence: probability of `answer`.
    """

    time: float
    label: str
    index: int
    probability: float
    probabilities: Vector
    logits: Array
    unknown: bool
    answer: str
    confidence: float


class Stream:
    """One stream through one signature, which checks inputs and brings them into the artefact's layout.

    Attributes:
        loop: the stream in its engine.
        signature: the computation of one run.
        to_layout: turns features, (frames, mels), samples, (n,), or an embedding, (1, channels), into the input of the
            loop.
    """

    def __init__(self, runtime: Runtime, signature: str) -> None:
        self.loop = runtime.loop(signature)
        self.signature = self.loop.signature
        self.to_layout = _make_layout(self.loop.source)
        samples = self.loop.source.role == "samples"
        self._largest = LOUDEST if samples else LARGEST
        self._expected = f"expected {'samples in [-1, 1]' if samples else 'the output of a front end or a model'}"
        self._is_int16 = self.loop.source.dtype == "int16"

    def reset(self) -> None:
        """Go back to the start of a stream."""
        self.loop.reset()

    def feed(self, value: Array) -> AnyArray:
        """Run on features, (frames, mels), samples, (n,), or an embedding, (1, channels); return logits or embeddings.

        Results have shape (n, units).

        Raises:
            ContractError: another shape, not finite, or beyond ±LARGEST; the stream is unchanged. Or the model's
                output or a state is not finite or beyond ±LARGEST; the stream must be reset.
        """
        value = self.to_layout(value)
        # NaN compares as false. Values that are far too large could overflow in a state and stay there unnoticed.
        if not np.abs(value).max() <= self._largest:
            name = self.loop.source.name
            raise ContractError(
                f"{self.signature.name}: input {name} holds NaN or infinite values, or some beyond ±{self._largest:g}; "
                + self._expected
            )
        return self.loop.feed(to_int16(value) if self._is_int16 else value)


class StreamingClassifier:
    """Exact streaming with a causal model: one decision after each step of audio, each at the same cost.

    Streams that share a runtime do not disturb each other.

    Examples:
        >>> from edge_asc import StreamingClassifier, audio
        >>> classifier = StreamingClassifier.from_artefact("fuse-int8")
        >>> for decision in classifier.push(audio.read("recording.wav", 16000)):
        ...     print(f"{decision.time} s: {decision.answer}, {decision.confidence:.0%}")  # doctest: +ELLIPSIS
        0.256 s: ..., ...%
        0.512 s: ..., ...%
        0.768 s: ..., ...%
        1.024 s: ..., ...%
    """

    def __init__(self, runtime: Runtime, *, decision: DecisionRule | str | None = None) -> None:
        """Start a stream.

        Args:
            runtime: a causal model.
            decision: the rule, or a text such as "mean" or "forgetting:2" (`edge_asc.rule.parse_rule`); by default the
                contract's rule for streams without an end. For a clip from a reset, `contract.decision` is better.

        Raises:
            ContractError: a windowed model, or an unknown `decision`.
        """
        self.contract: StreamContract = runtime.contract
        if self.contract.form != "causal":
            raise ContractError(
                f"{self.contract.name}: a {self.contract.form} model has no steps; expected a causal one: "
                "use WindowedClassifier"
            )
        rule = self.contract.live if decision is None else decision
        self.decision: DecisionRule = parse_rule(rule) if isinstance(rule, str) else rule
        self._stream = Stream(runtime, "step")
        contract = self.contract
        # The front end, unless it is a part of the artefact.
        self._log_mel = LogMel(contract.front_end) if contract.input == "features" else None
        self._belief = Belief(self.decision, len(self.labels), contract.step_seconds, contract.temperature)
        self.reset()

    @classmethod
    def from_artefact(
        cls, path: str | Path, *, threads: int = 1, decision: DecisionRule | str | None = None, verify: bool = True
    ) -> Self:
        """Start a stream with the model at `path`, which `edge_asc.engine.open_runtime` opens.

        Raises:
            ContractError: no model there, a damaged file, or a windowed model.
            MissingExtraError: the engine is not installed.
        """
        return cls(open_runtime(path, threads=threads, verify=verify), decision=decision)

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels in the order of logits and probabilities."""
        return self.contract.labels

    @property
    def loops(self) -> tuple[Loop, ...]:
        """The stream in its engine."""
        return (self._stream.loop,)

    def reset(self) -> None:
        """Forget all audio: later decisions equal those of a new stream, bit for bit."""
        self._stream.reset()
        if self._log_mel is not None:
            self._log_mel.reset()
        self._pending: Array | None = None
        self._belief.reset()
        self._steps = 0

    def push(self, samples: npt.ArrayLike, sample_rate: int | None = None) -> list[Decision]:
        """Take `samples`, (n,) float in [−1, 1], any n ≥ 0; return the decisions that they complete.

        Any chunking of a signal gives the same decisions. `sample_rate`, Hz, is checked where it is given.

        Raises:
            AudioError: samples of another shape or type, or NaN or infinities; the stream is unchanged.
            ContractError: another sample rate; the stream is unchanged.
        """
        _check_rate(self.contract, sample_rate)
        new = check_samples(samples) if self._log_mel is None else self._log_mel.push(samples)
        pending = new if self._pending is None else np.concatenate((self._pending, new))
        signature, decisions = self._stream.signature, []
        size = signature.samples if self._log_mel is None else signature.frames
        whole = len(pending) // size * size
        self._pending = pending[whole:].copy() if whole < len(pending) else None
        for begin in range(0, whole, size):
            decisions.append(self.push_input(pending[begin : begin + size]))
        return decisions

    def push_input(self, value: npt.ArrayLike) -> Decision:
        """Take what the contract's `input` names, of one step.

        Args:
            value: frames, (8, mels), normalised log-mel of the contract's front end; or samples, (4096,), float in
                [−1, 1], also where the artefact takes integers.

        Raises:
            ContractError: another shape, or not finite; the stream is unchanged.
        """
        (logits,) = self._stream.feed(np.asarray(value, np.float32))
        self._steps += 1
        samples = self._steps * self._stream.signature.samples
        time = samples / self.contract.front_end.sample_rate
        return _decide(time, self.contract, logits, self._belief.update(logits))


class WindowedClassifier:
    """The paper's procedure for windowed models: one window each `period`, with the GRU state carried over.

    Window i is the audio from i · period to i · period + seconds, cut from the waveform. Its features are computed
    anew, and its decision is the softmax of its last logits.
    """

    def __init__(self, runtime: Runtime, seconds: int, *, carry: Carry = "final", period: float = 0.25) -> None:
        """Start a stream.

        Args:
            runtime: a windowed model.
            seconds: length of a window, one that the artefact offers.
            carry: the GRU state that a window starts from: "final", the state after the last embedding of the
                window before; "none", zeros; "aligned", the state at `period` after the start of the window before,
                so that no audio counts twice (inferred: no embedding ends exactly there; it is the state after the
                nearest whole number of embeddings of 8 frames, at least one).
            period: time between the starts of two windows, s.

        Raises:
            ContractError: a causal model, a window that the artefact does not offer, or an unknown option.
        """
        self.contract: StreamContract = runtime.contract
        front_end = self.contract.front_end
        if self.contract.form != "windowed":
            raise ContractError(
                f"{self.contract.name}: a {self.contract.form} model streams in steps; "
                "expected a windowed one: use StreamingClassifier"
            )
        if seconds not in self.contract.windows:
            offered = ", ".join(map(str, self.contract.windows))
            raise ContractError(f"{self.contract.name}: no window of {seconds} s; this artefact offers {offered} s")
        if carry not in get_args(Carry):
            raise ContractError(f"carry is {carry!r}; expected one of {', '.join(get_args(Carry))}")
        self._size, self._shift = seconds * front_end.sample_rate, round(period * front_end.sample_rate)
        if not 0 < self._shift <= self._size:
            raise ContractError(f"period is {period} s; expected more than 0 and at most the window's {seconds} s")
        self._window = Stream(runtime, f"window_{seconds}s")
        self._gru = None if self._window.signature.states() else Stream(runtime, "gru")
        if self._gru is None and carry == "aligned":
            raise ContractError(
                f"{self.contract.name}: carry 'aligned' needs the GRU state inside a window, which is not an "
                "output of this artefact; use 'final' or 'none', the TFLite artefact or the checkpoint"
            )
        self.carry: Carry = carry
        self._aligned = embeddings_in(period, front_end)
        # The front end, unless it is a part of the artefact.
        self._log_mel = LogMel(front_end) if self.contract.input == "features" else None
        self.reset()

    @classmethod
    def from_artefact(
        cls,
        path: str | Path,
        seconds: int,
        *,
        threads: int = 1,
        carry: Carry = "final",
        period: float = 0.25,
        verify: bool = True,
    ) -> Self:
        """Start a stream with the model at `path`, which `edge_asc.engine.open_runtime` opens.

        Raises:
            ContractError: no model there, a damaged file, a causal model or an unknown option.
            MissingExtraError: the engine is not installed.
        """
        return cls(open_runtime(path, threads=threads, verify=verify), seconds, carry=carry, period=period)

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels in the order of logits and probabilities."""
        return self.contract.labels

    @property
    def loops(self) -> tuple[Loop, ...]:
        """The stream in its engine; for a model in two signatures, that of the embeddings and that of the GRU."""
        return tuple(stream.loop for stream in (self._window, self._gru) if stream is not None)

    def reset(self) -> None:
        """Forget all audio: later decisions equal those of a new stream, bit for bit."""
        self._window.reset()
        if self._gru is not None:
            self._gru.reset()
        self._audio = np.empty(0, np.float32)
        self._count = 0

    def push(self, samples: npt.ArrayLike, sample_rate: int | None = None) -> list[Decision]:
        """Take `samples`, (n,) float in [−1, 1], any n ≥ 0; return the decisions of the windows that they complete.

        Any chunking of a signal gives the same decisions. `sample_rate`, Hz, is checked where it is given.

        Raises:
            AudioError: samples of another shape or type, or NaN or infinities; the stream is unchanged.
            ContractError: another sample rate; the stream is unchanged.
        """
        _check_rate(self.contract, sample_rate)
        self._audio = np.concatenate((self._audio, check_samples(samples)))
        decisions = []
        while len(self._audio) >= self._size:
            window = self._audio[: self._size]
            samples = self._window.signature.samples
            logits = self.push_input(window[:samples] if self._log_mel is None else self._log_mel(window))
            end = (self._count * self._shift + self._size) / self.contract.front_end.sample_rate
            decisions.append(_decide(end, self.contract, logits, softmax(logits, self.contract.temperature)))
            self._audio = self._audio[self._shift :]
            self._count += 1
        return decisions

    def push_input(self, value: Array) -> Array:
        """Return the last logits, (classes,), of one window: of what the contract's `input` names.

        Args:
            value: normalised features, (frames, mels), or the samples of these frames, (frames · hop,).

        Raises:
            ContractError: another shape, not finite, or beyond ±LARGEST.
        """
        if self._gru is None:
            if self.carry == "none":
                self._window.reset()
            last: Array = self._window.feed(value)[-1]
            return last
        if self.carry == "none":
            self._gru.reset()
        embeddings = self._window.feed(value)
        carried = min(self._aligned, len(embeddings))
        for i, embedding in enumerate(embeddings, 1):
            last = self._gru.feed(embedding[None])[0]
            if i == carried:
                state = self._gru.loop.state
        if self.carry == "aligned":
            self._gru.loop.state = state
        return last


def embeddings_in(seconds: float, front_end: FrontEnd) -> int:
    """Return the whole number of embeddings nearest to `seconds` of audio, at least one (inferred)."""
    return max(1, round(seconds * front_end.sample_rate / (STEP_FRAMES * front_end.hop)))


def _make_layout(spec: TensorSpec) -> Callable[[Array], Array]:
    """Return a function that brings features, (time, mel), samples or rows into a tensor's axes.

    Other axes have size 1.
    """
    expected, transposed, meaning = spec.shape, False, "(rows, units)"
    if spec.role == "features":
        time, mel = expected = tuple(spec.shape[spec.axes.index(axis)] for axis in ("time", "mel"))
        transposed = spec.axes.index("mel") < spec.axes.index("time")
        meaning = f"{time} frames of {mel} mel bins"

    elif spec.role == "samples":
        expected = (spec.shape[spec.axes.index("time")],)
        meaning = "the samples of a run"

    def to_layout(value: Array) -> Array:
        if value.shape != expected:
            raise ContractError(f"{spec.name} are {value.shape}; expected {expected}: {meaning}")
        return np.ascontiguousarray(value.T if transposed else value, np.float32).reshape(spec.shape)

    return to_layout


def _check_rate(contract: StreamContract, sample_rate: int | None) -> None:
    expected = contract.front_end.sample_rate
    if sample_rate is not None and sample_rate != expected:
        raise ContractError(
            f"samples are at {sample_rate} Hz; {contract.name} expects {expected} Hz: "
            f"resample them first; edge_asc.audio.read(path, {expected}) does"
        )


def _decide(time: float, contract: StreamContract, logits: Array, probabilities: Vector) -> Decision:
    labels, rule = contract.labels, contract.unknown
    index = int(probabilities.argmax())
    answer, unknown = (index, False) if rule is None else rule.answer(labels, probabilities)
    return Decision(
        time=time,
        label=labels[index],
        index=index,
        probability=float(probabilities[index]),
        probabilities=probabilities,
        logits=logits,
        unknown=unknown,
        answer=labels[answer],
        confidence=float(probabilities[answer]),
    )
