"""Stages of the recipe: data, speech in one array, training, calibration, figures, the card."""
