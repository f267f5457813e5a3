"""Measurements of a fitted model on data, none of which changes the model."""

from pyrovae.evaluation.bound import evaluate as evaluate
