"""What the YAML of a study names: second members, each trained in its own way."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

import ruamel.yaml

from acorl_sb.utils.errors import UserError

PAIR_KEYS = {"seed", "reference", "member", "against", "strengths"}  # all else changes its training
FIRST = "first"


class Candidate(NamedTuple):
    """One way to get a second member.

    ``changes`` are the keys of its YAML that train.py's member or YAML takes, but for ``start``,
    the name of a member whose weights training goes on from. ``reference`` is the
    other member of the pair: ``first``, the name of an external encoder, or a candidate,
    whose second member it is then. ``seed`` tells apart members of one study seed. ``member``
    borrows the second member of another candidate instead of training one. ``against`` are the
    candidates whose pairs it is compared with. ``family`` and ``strength`` say where it stands
    among candidates that differ in the weight of the complementarity loss alone.
    """

    name: str
    changes: dict[str, Any]
    reference: str
    seed: int
    member: str | None
    against: tuple[str, ...]
    family: str
    strength: float | None


def read_candidates(tree: Mapping[str, Any], references: Mapping[str, Any]) -> dict[str, Candidate]:
    """The candidates by name; ``strengths`` makes one of each strength, ``name_strength``.

    Raises ``UserError`` for a reference, member or reference that is not there, for ``strengths``
    without an objective, and for a name that is given twice.
    """
    made: dict[str, Candidate] = {}
    for family, keys in tree.items():
        for strength in keys.get("strengths") or [None]:
            name = family if strength is None else f"{family}_{strength:g}"
            if name in made or name in (FIRST, "manifest", "references"):
                raise UserError(f"candidates: the name {name!r} is taken")
            changes = {k: v for k, v in keys.items() if k not in PAIR_KEYS}
            if strength is not None:
                changes["objective"] = with_strength(name, keys.get("objective"), strength)
            # What is needed first stands first, so nothing can wait for itself.
            start, reference = keys.get("start", FIRST), keys.get("reference", FIRST)
            if start not in (FIRST, *made):
                raise UserError(f"candidates.{name}: start: {start!r} is not a candidate above it")
            if reference not in (FIRST, *references, *made):
                raise UserError(
                    f"candidates.{name}: reference: {reference!r} is neither in the key "
                    "'references' nor a candidate above it"
                )
            against = keys.get("against", next(iter(tree)))
            against = (against,) if isinstance(against, str) else tuple(against)
            against = tuple(other for other in against if other != name)
            made[name] = Candidate(
                name,
                changes,
                reference,
                keys.get("seed", 1),
                keys.get("member"),
                against,
                family,
                strength,
            )
    for c in made.values():
        for key, other in (("member", c.member), *(("against", name) for name in c.against)):
            if other is not None and other not in made:
                raise UserError(f"candidates.{c.name}: {key}: {other!r} is not a candidate")
        if c.member is not None and (c.changes or made[c.member].member is not None):
            raise UserError(
                f"candidates.{c.name}: it borrows a member, so it trains none and its only keys "
                "are reference, member and against; borrow from a candidate that trains one"
            )
    return made


def with_strength(name: str, objective: Any, strength: float) -> Any:
    """The objective's YAML with the weight of its complementarity loss, by default a ``Ramp``'s."""
    if objective is None:
        raise UserError(f"candidates.{name}: strengths need an objective")
    weighed = copy.deepcopy(objective)
    if "schedule" in weighed:
        weighed["schedule"]["weight"] = strength
    else:
        text = f"!new:acorl_sb.complementarity.Ramp {{weight: {strength}}}"
        weighed["schedule"] = ruamel.yaml.YAML().load(text)
    return weighed
