"""Speaker verification by encoders that are trained to complement each other (ACoRL)."""

__version__ = "0.1.0"
