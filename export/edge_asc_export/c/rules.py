"""Decision rules, unknown sounds and events in C: a step's logits to probabilities, an answer and events."""

from __future__ import annotations

import re
from collections.abc import Iterable

from edge_asc.contract import STEP_FRAMES, StreamContract
from edge_asc.detection.detector import ROUNDING
from edge_asc.detection.rules import QUIETEST
from edge_asc.rule import DecisionRule, Vector
from edge_asc.tensors import INT16
from edge_asc_export.c.part import CPart
from edge_asc_export.c.template import make_exact, read_source
from edge_asc_export.c.text import comment

# A threshold that no probability reaches: of labels that are never events.
NEVER = 2.0


def generate_rules(prefix: str, contract: StreamContract) -> CPart:
    """Return types and functions of decision rules and events; `generate_stream` calls them.

    The rule for decisions is the contract's for streams without an end, `contract.live`.

    Args:
        prefix: a C identifier, in lower case.
        contract: of a causal model.

    Raises:
        ContractError: a windowed model.
    """
    rules, unknown, upper = contract.event_rules, contract.unknown, prefix.upper()
    samples = contract.signature("step").samples
    constants = {
        "OTHER": str(-1 if unknown is None else contract.labels.index(unknown.label)),
        "OTHER_THRESHOLD": repr(1.0 if unknown is None else unknown.threshold),
        "RELEASE": repr(rules.release),
        "SHORTEST_EVENT": f"{rules.minimum - ROUNDING!r} /* s */",
        "LONGEST_EVENT": f"{rules.maximum!r} /* s; 0 for no limit */",
        "SILENCE": f"{_loudest_silence(samples)}u /* sum of the squared samples of a step, at most */",
    }
    thresholds = (NEVER if label in rules.ignored else rules.of(label) for label in contract.labels)
    source = "".join(f"#define {upper}_{name} {value}\n" for name, value in constants.items())
    source += (
        "\n/* Probabilities from which on a label is an event; 2 for those that are never one. */\n"
        f"static const double event_thresholds[{upper}_CLASSES] = {{{_join(thresholds)}}};\n\n"
    )
    source += read_source("rules.c", prefix)
    step, temperature = contract.step_seconds, contract.temperature
    log_odds = temperature * rules.log_odds(contract.labels, unknown)
    for name, rule, odds in (
        ("decision_rule", contract.live, 0.0 * log_odds),
        ("event_rule", rules.decision, log_odds),
    ):
        source += f"\n{_define_rule(name, rule, step, temperature, odds)}"
    header = f"""#define {upper}_CLASSES {len(contract.labels)} /* labels */
#define {upper}_FRAMES {STEP_FRAMES} /* frames of a step */
#define {upper}_STEP {samples} /* samples of a step, which gives one decision */

/* Indices of the labels. */
enum {{
{_enumerate(f"{upper}_LABEL", contract.labels)}
}};

"""
    return CPart(header + read_source("rules.h", prefix), make_exact(source))


def _enumerate(prefix: str, labels: tuple[str, ...]) -> str:
    """Return enumerators of the labels; two labels that make one identifier get their numbers, too."""
    names = [re.sub(r"\W", "_", label.upper(), flags=re.ASCII) for label in labels]
    unique = (f"{name}_{index}" if names.count(name) > 1 else name for index, name in enumerate(names))
    return "\n".join(
        f"    {prefix}_{name} = {index}, {comment(label)}"
        for index, (name, label) in enumerate(zip(unique, labels, strict=True))
    )


def _define_rule(name: str, rule: DecisionRule, step: float, temperature: float, log_odds: Vector) -> str:
    return f"""/* {rule} */
static const belief_rule {name} = {{
    .is_sticky = {"true" if rule.name == "sticky" else "false"},
    .keep = {rule.keep(step)!r},
    .temperature = {temperature!r},
    .evidence = {rule.weight / temperature!r},
    .log_odds = {{{_join(log_odds)}}},
}};
"""


def _loudest_silence(samples: int) -> int:
    """Return the largest sum of squares of so many 16-bit samples that counts as silence."""
    return int(samples * 10.0 ** (QUIETEST / 10.0) / INT16.scale**2)


def _join(values: Iterable[float]) -> str:
    return ", ".join(repr(float(value)) for value in values)
