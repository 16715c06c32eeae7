"""Enrolled speakers, kept in one file or in Milvus and searched exactly; docs/store.md."""

from acorl_sb.store.opening import open_store, store_exists
from acorl_sb.store.speaker_store import Enrolment, SpeakerStore, check_speaker
from acorl_sb.store.store_model import StoreModel

__all__ = [
    "Enrolment",
    "SpeakerStore",
    "StoreModel",
    "check_speaker",
    "open_store",
    "store_exists",
]
