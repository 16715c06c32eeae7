"""What an analysis starts from: members of finished runs, on the same test trials."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from acorl_sb.analysis.compare import as_numbers
from acorl_sb.data.embeddings import read_embeddings
from acorl_sb.data.lines import read_blocks, some
from acorl_sb.data.manifest import Utterance, read_manifest
from acorl_sb.data.trial_set import TrialSet, read_trial_set
from acorl_sb.encoders.member_folder import WEIGHTS
from acorl_sb.encoders.run_members import ensemble_of
from acorl_sb.encoders.weights import read_weights
from acorl_sb.scoring.backends.cosine import unit_rows
from acorl_sb.utils.errors import UserError
from acorl_sb.utils.hparams import read_tree
from acorl_sb.utils.names import check_name

logger = logging.getLogger(__name__)


@dataclass
class Member:
    """A trained member as it lies on disk.

    ``vectors`` (M, D) float32 on the CPU, unit length, row by row the utterances of the analysis.
    """

    name: str
    folder: Path
    vectors: torch.Tensor


@dataclass
class Pair:
    """Two members by name; ``role`` is ``examined`` or ``reference`` (trained independently)."""

    first: str
    second: str
    role: str

    @property
    def name(self) -> str:
        return f"{self.first} + {self.second}"


@dataclass
class Inputs:
    """Members by name, the pairs to look at, and the trials that they are compared on."""

    side: TrialSet
    members: dict[str, Member]
    pairs: list[Pair]

    @property
    def speakers(self) -> np.ndarray:
        return np.array([u.spk_id for u in self.side.utterances])


def read_inputs(
    run_folder: str | Path,
    part: str = "test",
    members: Sequence[str] | None = None,
    baseline_run: str | Path | None = None,
    reference_members: Sequence[str] | None = None,
) -> Inputs:
    """Read one or two output folders of ``train.py``.

    Arguments
    ---------
    run_folder : path
    part : ``dev`` or ``test``
    members : names, at least two; None: the run's ensemble, in its order
    baseline_run : an output folder on the same corpus and seed whose first two members were
        trained independently of each other; None: no reference pair
    reference_members : two names; None: the reference run's first two

    Returns
    -------
    Inputs
        The utterances, each member's embeddings and scores, and the pairs to compare. A member of
        the reference run with the very weights of the run's own member of that name is the same
        member; others get ``reference `` before their name.

    Raises
    ------
    UserError
        For a folder that is not a finished run, unknown or too few members, and a reference run on
        other utterances.
    """
    root = Path(run_folder)
    side = read_part(root, part)
    names = _choose(root, members)
    found = {name: _read_member(root, name, part, side) for name in names}
    pairs = [
        Pair(first, second, "examined")
        for i, first in enumerate(names)
        for second in names[i + 1 :]
    ]
    if baseline_run is not None:
        other = Path(baseline_run)
        chosen = _choose(other, reference_members)[:2]
        keys = []
        for name in chosen:
            member = _read_member(other, name, part, side)
            key = name
            if name not in found or not _same_weights(found[name], member):
                key = member.name = f"reference {name}"
                found[key] = member
            keys.append(key)
        pairs.append(Pair(*keys, "reference"))
    return Inputs(side, found, pairs)


def read_part(root: Path, part: str) -> TrialSet:
    """Utterances and labelled trials of ``part`` of a run."""
    if part not in ("dev", "test"):
        raise UserError(f"part must be dev or test, not {part!r}")
    if not (root / "manifest").is_dir():
        raise UserError(f"{root}: no output folder of train.py (it has no manifest/ in it)")
    manifest = root / "manifest" / f"{part}.csv"
    return read_trial_set(read_manifest(manifest), root / "manifest" / f"{part}_trials.txt")


def member_names(root: Path) -> tuple[list[str], list[str]]:
    """Members with embeddings, references too, and those of them that are the run's ensemble.

    Returns
    -------
    present : list of str, the ensemble first, then members that an earlier table of the run was of
    ensemble : list of str, in its order; all of them where the run does not say
    """
    present = sorted(path.name for path in (root / "embeddings").glob("*") if path.is_dir())
    named = ensemble_of(root)
    if named is None:
        return present, present
    ensemble = [name for name in named if name in present]
    return ensemble + [name for name in present if name not in named], ensemble


def _choose(root: Path, members: Sequence[str] | None) -> list[str]:
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; name an output folder of train.py")
    present, ensemble = member_names(root)
    chosen = [check_name(name, "members") for name in members or ensemble]
    unknown = [name for name in chosen if name not in present]
    if unknown:
        raise UserError(
            f"{root}: no member {unknown[0]!r}; it has {', '.join(present) or 'none that is done'}"
        )
    if len(chosen) < 2:
        raise UserError(
            f"{root}: two members are needed, it has {', '.join(chosen) or 'none that is done'}"
        )
    return chosen


def _read_member(root: Path, name: str, part: str, side: TrialSet) -> Member:
    where = root / "embeddings" / name / part
    embeddings = read_embeddings(where)
    rows = embeddings.index([u.id for u in side.utterances], str(where))
    vectors = unit_rows(torch.from_numpy(embeddings.vectors[rows]))
    return Member(name, member_folder(root, name), vectors)


def member_folder(root: Path, name: str) -> Path:
    """Where a member's weights lie: in the run itself, or where its YAML says the reference is.

    Raises ``UserError`` where neither is the case.
    """
    folder = root / "members" / check_name(name, f"{root}: members")
    if folder.is_dir():
        return folder
    yaml = root / "hyperparams.yaml"
    references = (read_tree(yaml).get("references") or []) if yaml.is_file() else []
    for reference in references:
        if reference.get("name") == name and Path(str(reference.get("folder"))).is_dir():
            return Path(str(reference["folder"]))
    raise UserError(
        f"{root}: the weights of {name!r} are neither in members/{name} nor in the folder of a "
        f"reference of that name in {yaml.name}"
    )


def _same_weights(first: Member, second: Member) -> bool:
    """Whether two members' weights are the same to the bit (their files need not be)."""
    a, b = (_weights(member) for member in (first, second))
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def _weights(member: Member) -> dict[str, torch.Tensor]:
    path = member.folder / WEIGHTS
    if not path.is_file():
        raise UserError(f"{path}: no such weights; the member's folder is not complete")
    return read_weights(path)


def known_of(utterances: Sequence[Utterance], files: dict[str, str]) -> dict[str, list[str]]:
    """What is known of each of M utterances beside the session: name -> (M,) texts.

    ``files`` names attributes and their two-column files, ``utterance value`` or ``speaker value``
    a line, such as Kaldi's ``spk2age``. Of the utterances' own, the gender is taken as well where
    it is of two kinds at most (the log says where it is not), and ``age`` where it is numbers. The
    text is empty where nothing is known.

    Raises ``UserError`` for a file that is missing or of another form, that knows none of the
    utterances, or whose values are neither numbers nor of two kinds.
    """
    known: dict[str, list[str]] = {}
    genders = [u.gender for u in utterances]
    kinds = sorted(set(genders) - {""})
    if len(kinds) > 2 and "gender" not in files:
        logger.warning(
            "gender is left out of the attributes: the manifest has more than two kinds of it, "
            "first %s",
            some(kinds),
        )
    elif kinds:
        known["gender"] = genders
    ages = [u.attribute("age") for u in utterances]
    # Ages in words, such as Common Voice's "twenties", are nothing that a probe could read.
    if any(ages) and as_numbers([age for age in ages if age]) is not None:
        known["age"] = ages
    for name, path in files.items():
        table: dict[str, str] = {}
        for block in read_blocks(path):
            for number, fields in block.lines():
                if len(fields) != 2:
                    raise UserError(
                        f"{path} line {number}: 'utterance value' or 'speaker value' expected, "
                        f"found {len(fields)} fields"
                    )
                key, value = (field.decode(errors="replace") for field in fields)
                if table.setdefault(key, value) != value:
                    raise UserError(
                        f"{path} line {number}: {key!r} is {value!r} here and {table[key]!r} above"
                    )
        known[name] = [table.get(u.id, table.get(u.spk_id, "")) for u in utterances]
        kinds = sorted(set(known[name]) - {""})
        if not kinds:
            raise UserError(f"{path}: none of the utterances or speakers are in it")
        if len(kinds) > 2 and as_numbers(kinds) is None:
            raise UserError(
                f"{path}: its values are neither numbers nor of two kinds, first {some(kinds)}"
            )
    return known
