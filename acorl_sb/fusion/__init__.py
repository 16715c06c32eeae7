"""Score fusion, calibration, and how a fusion is judged."""
