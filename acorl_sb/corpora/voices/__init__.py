"""Synthetic voices, made by eSpeak NG."""
