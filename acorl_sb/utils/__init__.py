"""What knows nothing of speech: errors, files, logs, settings, ranks, checkpoints."""
