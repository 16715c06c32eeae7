"""Enrolled speakers, kept in one file and searched exactly; docs/store.md."""

from acorl_sb.store.speaker_store import Enrolment, SpeakerStore, check_speaker, open_store
from acorl_sb.store.store_model import StoreModel

__all__ = ["Enrolment", "SpeakerStore", "StoreModel", "check_speaker", "open_store"]
