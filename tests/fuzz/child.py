"""Runs one target under atheris until its inputs are used up: called by ``tests.fuzz`` alone.

Arguments: the target's name, then libFuzzer's own.
"""

import sys

import atheris

with atheris.instrument_imports(include=["client_sdk", "broker", "amqtt"]):
    from tests.fuzz.targets import TARGETS, run


def main() -> None:
    target = TARGETS[sys.argv[1]]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], lambda data: run(target, data) and None)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
