"""What a broker of MQTT 3.1.1 owes its clients: a list and a loop, and no cleverness."""

from dataclasses import dataclass, field
from typing import NamedTuple


class Owed(NamedTuple):
    """One message that a client has to be sent."""

    topic: str
    payload: bytes
    qos: int
    retain: bool


@dataclass
class Session:
    """One client: it outlives its connection where it is persistent."""

    clean: bool
    connected: bool = True
    filters: dict[str, int] = field(default_factory=dict)
    will: "Owed | None" = None
    owed: list[Owed] = field(default_factory=list)

    def best_qos(self, topic: str) -> int | None:
        """Return the highest QoS among the filters that match."""
        found = [qos for name, qos in self.filters.items() if matches(name, topic)]
        return max(found) if found else None


class Model:
    """Sessions and retained messages."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self.retained: dict[str, tuple[bytes, int]] = {}

    def connect(self, name: str, *, clean: bool, will: Owed | None) -> bool:
        """Begin a connection; return whether a session was there."""
        if name in self.sessions and self.sessions[name].connected:
            self.end(name)
        known = self.sessions.get(name)
        if known is None or clean:
            self.sessions[name] = Session(clean, will=will)
            return False
        known.connected, known.will = True, will
        return True

    def end(self, name: str, *, goodbye: bool = False) -> None:
        """End a connection, and a session that is not to outlive it."""
        session = self.sessions[name]
        will, session.will = session.will, None
        session.connected = False
        # What was not acknowledged is owed again; at QoS 0 it is lost.
        session.owed = [message for message in session.owed if message.qos]
        if session.clean:
            del self.sessions[name]
        if will is not None and not goodbye:
            self.publish(will.topic, will.payload, will.qos, retain=will.retain)

    def subscribe(self, name: str, topic_filter: str, qos: int) -> None:
        """Subscribe, and owe what is retained."""
        session = self.sessions[name]
        session.filters[topic_filter] = qos
        for topic, (payload, kept) in self.retained.items():
            if matches(topic_filter, topic):
                session.owed.append(Owed(topic, payload, min(qos, kept), retain=True))

    def unsubscribe(self, name: str, topic_filter: str) -> None:
        """Take the filter away."""
        self.sessions[name].filters.pop(topic_filter, None)

    def publish(self, topic: str, payload: bytes, qos: int, *, retain: bool) -> None:
        """Retain or clear, and owe the message to every session that a filter of matches."""
        if retain:
            self.retained.pop(topic, None)
            if payload:
                self.retained[topic] = (payload, qos)
        for session in self.sessions.values():
            best = session.best_qos(topic)
            if best is not None and (session.connected or min(best, qos)):
                session.owed.append(Owed(topic, payload, min(best, qos), retain=False))


def matches(topic_filter: str, topic: str) -> bool:
    """Tell whether a filter matches a topic: section 4.7."""
    if topic.startswith("$") and topic_filter[:1] in ("#", "+"):
        return False
    wanted, levels = topic_filter.split("/"), topic.split("/")
    if wanted[-1] == "#":
        wanted.pop()
        levels = levels[: len(wanted)]
    return len(wanted) == len(levels) and all(
        name in ("+", level) for name, level in zip(wanted, levels, strict=True)
    )
