"""Damage to inputs, reproducible from a random number generator."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import lru_cache
from random import Random
from typing import Any

# At the edges of integer types, where sizes and offsets overflow.
EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
BLOCK = 64

# What a field of JSON is replaced with.
VALUES: tuple[object, ...] = (
    *(None, True, False, 0, 1, -1, 2, 7, 10**9, 2**31, 2**63, 10**400, -(10**9)),
    *(0.5, 1e-300, 1e38, 1e308, -1e308, float("nan"), float("inf"), float("-inf")),
    *("", "x", "../x", "/etc/passwd", "\x1b[31m", "[bold]", "a" * 10_000, "\ud800", "0", "none"),
    *([], {}, [0], [[]], {"": {}}, [float("nan")], [None] * 1000),
)


def _flip_bit(random: Random, data: bytearray) -> None:
    data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def _set_byte(random: Random, data: bytearray) -> None:
    data[random.randrange(len(data))] = random.randrange(256)


def _set_number(random: Random, data: bytearray) -> None:
    size = random.choice((1, 2, 4))
    value = random.choice(EDGES) % 256**size
    start = random.randrange(max(1, len(data) - size + 1))
    data[start : start + size] = value.to_bytes(size, "little")


def _set_float(random: Random, data: bytearray) -> None:
    value = random.choice((float("nan"), float("inf"), -1e38, 1e30, 0.0))
    start = random.randrange(max(1, len(data) // 4)) * 4
    data[start : start + 4] = struct.pack("<f", value)


def _shift_number(random: Random, data: bytearray) -> None:
    start = random.randrange(max(1, len(data) // 4)) * 4
    value = int.from_bytes(data[start : start + 4], "little") + random.choice((-64, -4, -1, 1, 4, 64))
    data[start : start + 4] = (value % 2**32).to_bytes(4, "little")


def _remove(random: Random, data: bytearray) -> None:
    start = random.randrange(len(data))
    del data[start : start + random.randint(1, BLOCK)]


def _insert(random: Random, data: bytearray) -> None:
    start = random.randrange(len(data))
    data[start:start] = random.randbytes(random.randint(1, BLOCK))


def _repeat(random: Random, data: bytearray) -> None:
    start, size = random.randrange(len(data)), random.randint(1, BLOCK)
    data[start:start] = data[start : start + size] * random.randint(1, 8)


def _clear(random: Random, data: bytearray) -> None:
    start, size = random.randrange(len(data)), random.randint(1, 16 * BLOCK)
    data[start : start + size] = bytes(len(data[start : start + size]))


def _cut(random: Random, data: bytearray) -> None:
    del data[random.randrange(len(data)) :]


BYTE_MUTATIONS: tuple[Callable[[Random, bytearray], None], ...] = (
    *(_flip_bit, _flip_bit, _set_byte, _set_number, _set_number, _set_float, _shift_number),
    *(_remove, _insert, _repeat, _clear, _cut),
)


def mutate_bytes(random: Random, data: bytes, seeds: Mapping[str, bytes]) -> bytes:
    """Damage bytes in one to four places; now and then, append the end of another input."""
    changed = bytearray(data)
    if random.random() < 0.03:
        other = seeds[random.choice(sorted(seeds))]
        changed[random.randrange(len(changed)) :] = other[random.randrange(len(other)) :]
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        if changed:
            random.choice(BYTE_MUTATIONS)(random, changed)
    return bytes(changed)


def mutate_json(random: Random, data: bytes, seeds: Mapping[str, bytes]) -> bytes:
    """Change, remove, repeat or nest fields of a JSON text; one time in four, damage its bytes."""
    if random.random() < 0.25:
        return mutate_bytes(random, data, seeds)
    value = json.loads(data)
    for i in range(random.choice((1, 1, 1, 2, 3))):
        value = _change(random, value, _Places(value, _whole_paths(data) if i == 0 else _paths(value)))
    text = json.dumps(value)
    if random.random() < 0.03:
        depth = random.choice((50, 500, 100_000))
        text = f'{text[:-1]}, "deep": {"[" * depth}{"]" * depth}}}' if text.endswith("}") else "[" * depth
    if random.random() < 0.03 and text.startswith('{"'):
        text = "{" + text[1 : text.index(":")] + ": null, " + text[1:]  # the first field twice
    return text.encode("utf-8", "surrogatepass")


def _change(random: Random, value: Any, places: _Places) -> Any:
    """Change a random place of a JSON value; deep places are as likely as shallow ones."""
    if not places or random.random() < 0.01:
        return deepcopy(random.choice(VALUES))
    holder, key = random.choice(places)
    old, action = holder[key], random.random()
    if action < 0.15:
        del holder[key]
    elif action < 0.25 and isinstance(holder, list):
        holder.insert(key, old)
    elif action < 0.25:
        holder[f"{key}x"] = old
    elif action < 0.35:
        other, place = random.choice(places)
        holder[key] = json.loads(json.dumps(other.get(place) if isinstance(other, dict) else other))
    elif action < 0.65 and isinstance(old, int | float) and not isinstance(old, bool):
        holder[key] = random.choice((old + 1, old - 1, -old, old * 2, _third(old), str(old)))
    else:
        holder[key] = deepcopy(random.choice(VALUES))
    return value


def _third(number: float) -> float:
    """Return a third of a number; of an integer beyond every float, a whole one."""
    try:
        return number / 3
    except OverflowError:
        return number // 3


class _Places(Sequence[tuple[Any, Any]]):
    """The containers of a JSON value with each of their keys, by the paths to them."""

    def __init__(self, value: Any, paths: Sequence[tuple[Any, ...]]) -> None:
        self._value, self._paths = value, paths

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: Any) -> Any:
        holder, (*path, key) = self._value, self._paths[index]
        for part in path:
            holder = holder[part]
        return holder, key


@lru_cache(maxsize=64)
def _whole_paths(data: bytes) -> list[tuple[Any, ...]]:
    """Return the paths of a whole input, which most cases begin with."""
    return _paths(json.loads(data))


def _paths(value: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the keys that lead to each child of a JSON value; of long lists, a few items stand for all."""
    if isinstance(value, dict):
        children = list(value.items())
    elif isinstance(value, list):
        children = list(enumerate(value[:8]))
    else:
        children = []
    paths = []
    for key, child in children:
        path = (*before, key)
        paths += [path, *_paths(child, path)]
    return paths
