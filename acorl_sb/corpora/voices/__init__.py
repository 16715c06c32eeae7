"""Synthetic voices, made by eSpeak NG."""

from acorl_sb.corpora.voices.corpus import collect, default_folder

__all__ = ["collect", "default_folder"]
