"""Numbers that a fitted model gives to data; nothing here changes it."""

from pyrovae.evaluation.bound import evaluate as evaluate
