"""Image classification with the alliance: data, encoders, training, ensembles."""
