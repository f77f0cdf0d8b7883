"""Runs one target under atheris until its inputs are used up: called by ``tests.fuzz`` alone.

Arguments: the target's name, then libFuzzer's own. Every second input is a record that was bent and
packed again; the others are libFuzzer's.
"""

import sys

import atheris

with atheris.instrument_imports(include=["client_sdk", "broker", "amqtt"]):
    from tests.fuzz.targets import TARGETS, run

from tests.fuzz.mutator import mutated


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    record = mutated(data, seed) if seed % 2 else None
    if record is None or len(record) > max_size:
        return atheris.Mutate(data, max_size)  # type: ignore[no-any-return]
    return record


def main() -> None:
    target = TARGETS[sys.argv[1]]
    atheris.Setup(
        [sys.argv[0], *sys.argv[2:]],
        lambda data: run(target, data) and None,
        custom_mutator=mutate,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
