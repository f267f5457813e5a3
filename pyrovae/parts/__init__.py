"""Modules that return distributions: the parts of a variational autoencoder."""
