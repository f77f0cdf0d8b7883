"""What was sent against what was printed: nothing lost, nothing out of order, repeats explained."""

from collections.abc import Sequence
from dataclasses import dataclass, field


class LedgerError(AssertionError):
    """The ledger and the listener's lines do not agree."""


@dataclass(frozen=True)
class Printed:
    """One line of `listen`; ``run`` counts the listener's processes from 0."""

    run: int
    message_id: str
    seq: int
    text: str


@dataclass
class Ledger:
    """One direction: what `send` has said, and what `listen` has printed.

    A text counts as sent when `send` printed its line; one that was under way when `send` was
    killed may have been queued or not, and is ``doubtful``.
    """

    sent: list[tuple[str, str]] = field(default_factory=list)
    """Message id and text."""
    doubtful: set[str] = field(default_factory=set)
    printed: list[Printed] = field(default_factory=list)

    @property
    def missing(self) -> int:
        seen = {one.message_id for one in self.printed}
        return sum(message_id not in seen for message_id, _ in self.sent)


def check(ledger: Ledger) -> int:
    """Return how many texts were printed a second time, all of them for a good reason.

    Raises:
        LedgerError: A text is lost, out of order, changed, invented or repeated for no reason.
    """
    once, repeats = _without_repeats(ledger.printed)
    by_id = {one.message_id: one.text for one in once}
    wanted = dict(ledger.sent)
    for message_id, text in ledger.sent:
        if message_id not in by_id:
            raise LedgerError(f"lost: {text!r}")
        if by_id[message_id] != text:
            raise LedgerError(f"changed: {text!r} into {by_id[message_id]!r}")
    for one in once:
        if one.message_id not in wanted and one.text not in ledger.doubtful:
            raise LedgerError(f"never sent: {one.text!r}")
    if [one.message_id for one in once if one.message_id in wanted] != list(wanted):
        raise LedgerError("printed in another order than sent")
    if [one.seq for one in once] != list(range(1, len(once) + 1)):
        raise LedgerError("the stream's numbers do not grow by one")
    return repeats


def _without_repeats(printed: Sequence[Printed]) -> tuple[list[Printed], int]:
    """Drop the first line of a listener where it is the last one of the listener before it."""
    once: list[Printed] = []
    seen: set[str] = set()
    repeats = 0
    for one in printed:
        if one.message_id not in seen:
            once.append(one)
            seen.add(one.message_id)
            continue
        before = once[-1]
        if one.message_id != before.message_id or one.run == before.run:
            raise LedgerError(f"printed again without a kill in between: {one.text!r}")
        once[-1] = one  # the next listener may be killed at the same message
        repeats += 1
    return once, repeats
