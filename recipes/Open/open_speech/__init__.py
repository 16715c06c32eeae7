"""Stages of the recipe: who trains and tests, speech in one array, training, calibration, figures."""
