"""The command ``acorl``: finding a sub-command by its name."""

from __future__ import annotations

import gc
import importlib
import inspect
import os
import subprocess
import sys

import pytest

from acorl_sb.cli.main import COMMANDS, main
from acorl_sb.utils.errors import UserError
from tests import commands


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["help"], []])
def test_help_lists_every_command_with_an_example(arguments, capsys):
    assert main(arguments) == 0
    text = capsys.readouterr().out
    for name, command in COMMANDS.items():
        assert command.summary in text and f"acorl {name} " in text and command.example in text


def test_help_imports_nothing_that_takes_long():
    code = (
        "import sys; from acorl_sb.cli.main import main; main(['--help']);"
        "sys.exit(bool({'torch', 'numpy', 'speechbrain', 'pydantic', 'yaml'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=commands.ROOT, capture_output=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("script", ["train", "fuse"])
def test_a_script_handles_signals_before_it_imports_what_takes_long(script):
    code = f"import sys, {script}; sys.exit(bool({{'torch', 'numpy'}} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=commands.ROOT, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_a_reader_that_has_gone_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "acorl_sb", "--help"]
    done = subprocess.run(command, cwd=commands.ROOT, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert done.returncode == 141 and done.stderr == b""


@pytest.mark.parametrize(("wrong", "right"), [("trian", "train"), ("analyze", "analyse")])
def test_an_unknown_command_is_refused_and_the_nearest_named(wrong, right):
    line = commands.refused(commands.run(["-m", "acorl_sb", wrong, "--lr", "1"]))
    assert repr(wrong) in line and line.endswith(f"{right!r}?")
    with pytest.raises(UserError):
        main(["main"])  # a module beside the commands is none of them


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_arguments_and_explains_its_keys(name):
    found = importlib.import_module(f"acorl_sb.cli.{name}").main
    inspect.signature(found).bind(["--help"])
    done = commands.run(["-m", "acorl_sb", name, "--help"])
    assert done.code == 0 and "\nkeys" in done.stdout, done.stderr[-2000:]


def test_a_sub_commands_bad_input_is_refused():
    line = commands.refused(commands.run(["-m", "acorl_sb", "export", "nowhere", "--onnx", "x"]))
    assert "nowhere" in line


def test_garbage_is_collected_again_once_a_command_is_imported(monkeypatch):
    seen = []
    monkeypatch.setattr(importlib, "import_module", lambda name: seen.append(gc.isenabled()) or gc)
    with pytest.raises(AttributeError):  # what was imported is no command
        main(["report"])
    assert seen == [False] and gc.isenabled()
