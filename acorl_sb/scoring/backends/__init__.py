"""Back ends: from embeddings to scores."""
