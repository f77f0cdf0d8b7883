"""What a log line may hold, for lines of ours and of libraries."""

import json
import logging
from collections.abc import Iterator

import pytest

from broker.logs import configure_logging, get_logger
from broker.settings import LogFormat


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, raising = list(root.handlers), root.level, logging.raiseExceptions
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.raiseExceptions = raising


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_fields_stand_in_a_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    get_logger("broker.engine").info("connected", login="ada-1", bytes=7)
    (line,) = lines(capsys)
    found = json.loads(line)
    assert found.pop("timestamp").endswith("Z")
    assert found == {
        "event": "connected",
        "level": "info",
        "logger": "broker.engine",
        "login": "ada-1",
        "bytes": 7,
    }


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_value_starts_a_line_of_its_own(
    capsys: pytest.CaptureFixture[str], log_format: LogFormat
) -> None:
    configure_logging("info", log_format)
    get_logger("broker.engine").info("refused", reason="one\ntwo\x1b[31m\u2028three")
    (line,) = lines(capsys)
    assert "\x1b" not in line


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_of_an_error_its_type_and_frames_are_shown_and_not_what_it_quotes(
    capsys: pytest.CaptureFixture[str], log_format: LogFormat
) -> None:
    configure_logging("info", log_format)
    try:
        int("planted")
    except ValueError:
        get_logger("broker.engine").exception("a connection failed", login="ada-1")
        logging.getLogger("asyncio").exception("planted in %s", "planted")
    logging.getLogger("asyncio").error("planted by formatting\nplanted")
    told = "\n".join(lines(capsys))
    assert told.count("ValueError") == 2
    assert "test_broker_logs.py" in told
    assert "planted in %s" in told
    assert told.count("planted") == 1


def test_libraries_are_heard_from_warnings_on(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("debug", "text")
    logging.getLogger("paho").info("a packet")
    get_logger("keydir.service").debug("a step")
    (line,) = lines(capsys)
    assert "a step" in line


@pytest.mark.parametrize(("level", "count"), [("info", 3), ("warning", 2), ("error", 1)])
def test_a_level_is_the_least_that_is_shown(
    capsys: pytest.CaptureFixture[str], level: str, count: int
) -> None:
    configure_logging(level, "text")  # type: ignore[arg-type]
    log = get_logger("broker.engine")
    log.debug("a")
    log.info("b")
    log.warning("c")
    log.error("d")
    assert len(lines(capsys)) == count
