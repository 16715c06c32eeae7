"""Speaker encoders: the contract, member folders, the frozen ensemble, embeddings of utterances."""
