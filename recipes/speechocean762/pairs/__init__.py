"""Pairs of encoders, trained in many ways and compared: what study.py is made of."""
