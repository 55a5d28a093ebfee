"""Hosts in Python: edge-asc's own classifiers, and anything else that computes a step."""

from __future__ import annotations

import time

import numpy as np

from edge_asc.detection.detector import EventDetector, make_event_belief
from edge_asc.frontend import Array
from edge_asc.listening.listener import measure_level
from edge_asc.runtime import Runtime
from edge_asc.streaming import Decision, StreamingClassifier
from edge_asc_bench.golden_files import load
from edge_asc_conformance.host import Event, Inference, Task


def infer(runtime: Runtime, task: Task) -> Inference:
    """Stream the samples of a task with edge-asc's classifier and rules."""
    samples = load(task.golden, task.samples)
    contract = runtime.contract
    classifier, rules = StreamingClassifier(runtime), contract.event_rules
    belief = make_event_belief(contract, rules)
    detector = EventDetector(contract.labels, rules, contract.step_seconds)
    decisions: list[Decision] = []
    events, times = [], []
    size = contract.signature("step").samples
    for index in range(task.rounds):
        classifier.reset()
        for begin in range(0, len(samples) - size + 1, size):
            chunk: Array = samples[begin : begin + size]
            start = time.perf_counter()
            (decision,) = classifier.push(chunk)
            found = detector.update(decision.time, belief.update(decision.logits), measure_level(chunk))
            times.append(1000 * (time.perf_counter() - start))
            if index == 0:
                decisions.append(decision)
                events += found
        if index == 0:
            events += detector.finish()
    return Inference(
        logits=np.stack([decision.logits for decision in decisions]).tolist(),
        probabilities=[decision.probabilities.tolist() for decision in decisions],
        answers=[contract.labels.index(decision.answer) for decision in decisions],
        events=[Event(event.label, event.start, event.end, event.peak) for event in events],
        milliseconds=times,
    )
