"""What the embedded broker has to reach, and whether it did in this run."""

from dataclasses import dataclass

from tests.bench.brokers.names import KINDS, WORDS
from tests.bench.brokers.sheet import Sheet


@dataclass(frozen=True, slots=True)
class Target:
    """One promise: its words, what it asks for and what was found; None where it was not run."""

    title: str
    asked: str
    found: float | None
    met: bool | None


def targets_of(sheet: Sheet, crowds: tuple[int, ...]) -> list[Target]:
    """Return every target with its verdict."""
    few, many = crowds[0], crowds[-1]
    crowd = crowds[len(crowds) // 2]
    found = [
        _at_least(
            f"{WORDS[kind]}, {crowd:,} subscribers, durable, to plain amqtt's rate",
            3.0,
            _ratio(sheet, (f"crowd.{kind}.{crowd}", "ours"), (f"crowd.{kind}.{crowd}", "amqtt")),
        )
        for kind in KINDS
    ]
    retained = _ratio(sheet, ("mail.w20", "ours"), ("mail.w20", "amqtt"))
    found.append(
        _at_least("retained + clear, window 20, to plain amqtt's rate, not durable", 1.0, retained)
    )
    for kind in KINDS:
        ping = _ratio(sheet, (f"ping.{kind}.p50", "ours"), (f"ping.{kind}.p50", "mosquitto"))
        found.append(_at_most(f"ping-pong p50, {WORDS[kind]}, to Mosquitto's", 2.0, ping))
    for kind in KINDS:
        slower = _ratio(
            sheet, (f"crowd.{kind}.{few}.beside", "ours"), (f"crowd.{kind}.{many}", "ours")
        )
        found.append(_at_most(f"{WORDS[kind]}: cost with {many:,} others to {few:,}", 1.3, slower))
    return found


def told(target: Target) -> str:
    """Return one line for people."""
    verdict = {True: "met", False: "NOT MET", None: "not measured"}[target.met]
    found = "" if target.found is None else f" {target.found:.2f}"
    return f"{verdict:>12}: {target.title}:{found} ({target.asked})"


def _ratio(sheet: Sheet, one: tuple[str, str], other: tuple[str, str]) -> float | None:
    above, below = sheet.value(*one), sheet.value(*other)
    return None if above is None or not below else above / below


def _at_least(title: str, bound: float, found: float | None) -> Target:
    return Target(title, f"at least {bound:g}", found, None if found is None else found >= bound)


def _at_most(title: str, bound: float, found: float | None) -> Target:
    return Target(title, f"at most {bound:g}", found, None if found is None else found <= bound)
