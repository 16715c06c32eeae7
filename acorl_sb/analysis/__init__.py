"""Why it works: complementarity and attribution of members; docs/analysis.md.

Pure measures on embeddings, scores and feature maps. ``acorl_sb/cli/analyse.py`` is the script.
"""
