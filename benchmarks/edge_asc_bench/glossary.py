"""Terms of a page, in plain words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """A term: the name that links to it, how it is written, and what it means."""

    key: str
    name: str
    meaning: str


TERMS = (
    Term("accuracy", "Accuracy", "The share of clips for which the model decides the label that was given to them."),
    Term(
        "agreement",
        "Agreement",
        "The share of decisions that equal those of the float model in PyTorch. It needs no labels.",
    ),
    Term(
        "arena",
        "Arena",
        "The memory that TensorFlow Lite Micro, the engine of microcontrollers, takes for a model beside its file.",
    ),
    Term("cold-start", "Cold start", "The time to open the model and to make the first decision."),
    Term("confusion-matrix", "Confusion matrix", "How many clips of each label got which decision."),
    Term("decision", "Decision", "One answer of the model: a label, with a probability for every label."),
    Term("deviation", "Deviation", "The standard deviation of the times, ms: how much they scatter."),
    Term("engine", "Engine", "The program that computes the model, such as ONNX Runtime, LiteRT or PyTorch."),
    Term("float", "Float", "The model as it was trained: its numbers take 32 bits."),
    Term(
        "form",
        "Form",
        "How a model takes audio: step by step, each sample once, or as a window of so many seconds, again and again.",
    ),
    Term("front-end", "Front end", "The part before the model: it turns samples into a spectrogram."),
    Term("int8", "int8", "The model with numbers of 8 bits: smaller, and on most processors faster."),
    Term(
        "interval",
        "95 % interval",
        "Where the accuracy on very many such clips is expected. The fewer the clips, the wider it is.",
    ),
    Term("length", "Length", "Seconds of audio since the start of a clip that a decision is based on."),
    Term("logit", "Logit error", "The difference of the numbers from which the model computes its probabilities."),
    Term(
        "kl",
        "KL divergence",
        "How far the probabilities are from those of the float model, in nats: 0 is equal, below 0.01 is very near.",
    ),
    Term("macs", "Multiply-accumulates", "The arithmetic operations of a decision; they do not depend on the machine."),
    Term(
        "margin",
        "Margin",
        "How sure the float model is: the difference between the mean log-probabilities of its first two labels.",
    ),
    Term("median", "Median (p50)", "Half of all decisions take less time than this."),
    Term("p99", "99th percentile (p99)", "Of 100 decisions, 99 take less time than this."),
    Term("peak", "Peak memory", "The most memory of a process that holds interpreter, front end, engine and model."),
    Term("precision", "Precision", "Of all decisions for a label, the share that was right."),
    Term("real-time", "Real time", "Computing time divided by the length of the audio. Below 1, the model keeps up."),
    Term("recall", "Recall", "Of all clips of a label, the share with that decision; macro: the mean over labels."),
    Term("reference", "Reference", "The float model in PyTorch that all others are compared with."),
    Term("state", "State", "The numbers that a streaming model keeps from one step to the next."),
    Term("sustained", "Sustained", "The time at the end of a run without a pause, divided by that at its begin."),
    Term("unstable", "Unstable", "Times that scatter so much that they should be measured again on a quieter machine."),
    Term("xnnpack", "XNNPACK partitions", "Parts of a model that LiteRT hands to its fast library; one is best."),
)
BY_KEY = {term.key: term for term in TERMS}


class Glossary:
    """The glossary of one page: the terms that it links to."""

    def __init__(self) -> None:
        self._linked: set[str] = set()

    def link(self, key: str) -> Term:
        """Return the term that a link names, and keep it for the page; KeyError if there is none."""
        self._linked.add(key)
        return BY_KEY[key]

    def list_terms(self) -> list[Term]:
        """Return the terms that were linked so far, by name."""
        return sorted((BY_KEY[key] for key in self._linked), key=lambda term: term.name.casefold())
