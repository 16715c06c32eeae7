"""What files hold, and nothing else: utterances, trials, scores, embeddings, speakers, audio."""
