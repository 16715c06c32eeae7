"""The wheel alone: installed into a fresh environment, run from an empty folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests import spoken
from tests.cli.test_train import TINY

ROOT = Path(__file__).resolve().parents[1]
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
VOICES = "{n_voices: 12, sessions: 2, utterances_per_session: 3}"


def call(*command, cwd):
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built of a copy, since building leaves folders behind."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("acorl_sb", "hparams"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignore)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = ("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source)
    call(*PIP, *build, cwd=folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def acorl(wheel, tmp_path_factory):
    """Call the installed command; torch and all else is that of the running environment."""
    place = tmp_path_factory.mktemp("environment")
    venv.create(place / "venv", with_pip=False, symlinks=os.name != "nt")
    scripts = place / "venv" / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / "python"
    where = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    packages = Path(call(python, "-c", where, cwd=place).strip())
    install = ("install", "--no-deps", "--no-index", "--ignore-installed", wheel)
    call(*PIP, "--python", python, *install, cwd=place)
    # After the environment's own folder, and without the links of editable installations.
    borrowed = dict.fromkeys(sysconfig.get_paths()[key] for key in ("purelib", "platlib"))
    (packages / "borrowed.pth").write_text("\n".join(borrowed))
    empty = place / "empty"
    empty.mkdir()
    found = call(python, "-c", "import acorl_sb; print(acorl_sb.__file__)", cwd=empty)
    assert Path(found.strip()).is_relative_to(packages)
    return lambda *arguments: call(scripts / "acorl", *arguments, cwd=empty), empty


def test_the_wheel_holds_every_file_of_the_package(wheel):
    held = set(zipfile.ZipFile(wheel).namelist())
    files = [path for path in (ROOT / "acorl_sb").rglob("*") if path.suffix not in ("", ".pyc")]
    assert {path.name for path in files} >= {"embedding_model.safetensors", "model.json"}
    files += (ROOT / "hparams").rglob("*.yaml")
    names = {path.relative_to(ROOT).as_posix() for path in files if path.is_file()}
    wanted = {n if n.startswith("acorl_sb/") else f"acorl_sb/{n}" for n in names}
    assert len(wanted) > 100
    assert wanted <= held
    others = {name for name in held - wanted if not name.startswith("acorl_sb-")}
    assert not others  # nothing beside the package, such as a folder named hparams


def test_a_run_from_an_empty_folder(acorl):
    call_acorl, empty = acorl
    recipe = ("train", "hparams/acorl_ecapa.yaml", *TINY)
    voices = ("--data_folder", "voices", "--prepare_options", VOICES)
    printed = call_acorl(*recipe, *voices, "--output_folder", "run")
    assert "| second-tuned |" in printed
    call_acorl("fuse", "--run_folder", "run", "--output_folder", "fused", "--replicates", "20")
    results = json.loads((empty / "fused" / "results.json").read_text())
    assert results["table"] and (empty / "fused" / "report.html").stat().st_size > 10_000
    assert {path.name for path in empty.iterdir()} == {"voices", "run", "fused"}


def test_two_recordings_are_compared_without_any_run(acorl):
    call_acorl, empty = acorl
    voice = spoken.sentence()
    for name, wave in (("one", voice[:32000]), ("two", voice[32000:64000])):
        soundfile.write(empty / f"{name}.wav", wave, 16000)
    made = json.loads(call_acorl("verify", "one.wav", "two.wav", "--format", "json"))
    assert set(made["cosines"]) == {"open"} and np.isfinite(made["llr"])
    for name in ("one", "two"):
        (empty / f"{name}.wav").unlink()
