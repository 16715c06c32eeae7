"""Image classification with the ensemble: data, encoders, training, ensembles."""
