"""Training of members one after another."""
