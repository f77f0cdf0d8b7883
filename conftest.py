"""Runs the code blocks of the README and of docs/ as tests.

A ``python`` block runs, with top-level await, in a temporary directory; the blocks of one page
share their names, and those of the README find a running server's invitations there. In a
``sh`` block every ``make`` target must exist, and every ``ratchetmq`` command must be one that
the program accepts as it stands.
"""

import ast
import asyncio
import inspect
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer.main
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser
from sybil.sybil import SybilCollection
from typer.core import TyperGroup

ROOT = Path(__file__).parent
_TARGET = re.compile(r"^([a-z-]+):", re.MULTILINE)
_PLACEHOLDER = re.compile(r"<[a-z -]+>|…")


def _run_python(example: Example) -> None:
    source = "\n" * (example.line + example.parsed.line_offset) + example.parsed
    code = compile(source, example.path, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(code, example.namespace)  # noqa: S307 - the documentation's own example
    if inspect.iscoroutine(result):
        asyncio.run(result)


def _check_shell(example: Example) -> None:
    text = example.parsed.replace("\\\n", " ")
    for line in text.splitlines():
        for command in _commands(_PLACEHOLDER.sub("x", line).removeprefix("$ ")):
            if command[0] == "make":
                known = set(_TARGET.findall((ROOT / "Makefile").read_text()))
                targets = {word for word in command[1:] if "=" not in word}
                assert targets <= known, f"no such make target: {line}"
            elif Path(command[0]).name == "ratchetmq":
                _check_arguments(command[1:])


def _commands(line: str) -> Iterable[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    command: list[str] = []
    for token in lexer:
        if set(token) <= set("();<>|&"):
            if command:
                yield command
            command = []
        else:
            command.append(token)
    if command:
        yield command


def _check_arguments(arguments: list[str]) -> None:
    from broker.program import app

    if arguments in (["--help"], ["--version"]):
        return
    group = typer.main.get_command(app)
    context = group.make_context("ratchetmq", list(arguments), resilient_parsing=True)
    name, command, rest = group.resolve_command(context, arguments)  # type: ignore[attr-defined]
    assert command is not None, f"no such command: {name}"
    inner = command.make_context(name, list(rest), parent=context)
    for number, word in enumerate(rest):  # `ratchetmq broker check FILE`: a group in the group
        if isinstance(command, TyperGroup) and word in command.commands:
            command.commands[word].make_context(word, rest[number + 1 :], parent=inner)
            return


def _enter_directory(namespace: dict[str, Any]) -> None:
    namespace["_home"] = Path.cwd()
    namespace["_directory"] = tempfile.TemporaryDirectory(prefix="ratchetmq-docs-")
    os.chdir(namespace["_directory"].name)


def _enter_with_server(namespace: dict[str, Any]) -> None:
    _enter_directory(namespace)
    namespace["_server"] = _start_server()


def _start_server() -> "subprocess.Popen[str]":
    program = [sys.executable, "-m", "broker.cli"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    server = subprocess.Popen(  # noqa: S603 - our own program
        [*program, "serve", "--data", "server", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert server.stdout is not None
    assert server.stdout.readline(), "the server did not start"
    for user, role in (("house", "doctor"), ("ada", "patient")):
        invited = subprocess.run(  # noqa: S603 - our own program
            [*program, "invite", user, "--role", role, "--data", "server"],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            env=environment,
        )
        Path(f"{user}.invitation").write_text(invited.stdout)
    return server


def _leave_directory(namespace: dict[str, Any]) -> None:
    if "_server" in namespace:
        with namespace["_server"] as server:
            server.terminate()
    os.chdir(namespace["_home"])
    namespace["_directory"].cleanup()


PARSERS = (
    CodeBlockParser(language="python", evaluator=_run_python),
    CodeBlockParser(language="sh", evaluator=_check_shell),
)

pytest_collect_file = SybilCollection(
    [
        Sybil(parsers=PARSERS, patterns=[pattern], setup=setup, teardown=_leave_directory)
        for pattern, setup in (
            ("README.md", _enter_with_server),
            ("docs/*.md", _enter_directory),
            ("docs/*/*.md", _enter_directory),
        )
    ]
).pytest()
