"""Encoders of other projects behind our contract, one module each, to be frozen references."""
