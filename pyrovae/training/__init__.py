"""The training loop: state in, state out."""

from pyrovae.training.loop import Training as Training
