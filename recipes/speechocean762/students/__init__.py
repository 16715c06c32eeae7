"""A student against its ensemble, groups of speakers, doubt: what distil_study.py is made of."""
