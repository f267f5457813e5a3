"""Disentanglement scores of latents against known factors, one score per file.

The protocols are those of disentanglement_lib, so that numbers can be compared with published
ones: Locatello et al. (2019), *Challenging Common Assumptions in the Unsupervised Learning of
Disentangled Representations*, arXiv:1811.12359. Every score is computed from the means of
q(z | x); larger is better, and one is the maximum.
"""

from pyrovae.exploration.disentanglement.beta_vae import beta_vae as beta_vae
from pyrovae.exploration.disentanglement.dci import dci as dci
from pyrovae.exploration.disentanglement.factor_vae import factor_vae as factor_vae
from pyrovae.exploration.disentanglement.mig import mig as mig
from pyrovae.exploration.disentanglement.sap import sap as sap
