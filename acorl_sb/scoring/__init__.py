"""Scoring: trials and embeddings in, scores out; back ends, normalisation, files."""
