"""A variational autoencoder as an estimator of scikit-learn."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from pyrovae.compute.devices import choose_device
from pyrovae.compute.modes import evaluating
from pyrovae.data import Dataset, Splits, from_arrays
from pyrovae.data.arrays import FEWEST, channels_first, store
from pyrovae.data.batch import X_KNOWN
from pyrovae.data.values import Array, as_tensor
from pyrovae.errors import SpecError
from pyrovae.evaluation.encoding import encode
from pyrovae.evaluation.evidence import log_evidence
from pyrovae.programs.building import build
from pyrovae.programs.handwritten import Handwritten
from pyrovae.runs.results import sampled
from pyrovae.runs.weights import file_content, load_declared
from pyrovae.specs import InferenceSpec, ModelSpec
from pyrovae.training.fit import fit

NAME = "X"
"""Name of the data in messages."""


class VAE(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    r"""A variational autoencoder for pipelines, searches and the other tools of scikit-learn.

    :meth:`fit` is :func:`pyrovae.build` and :func:`pyrovae.fit`, and :meth:`transform` is
    ``embed``. One in ten observations is held out to choose the best weights by. NaN stands for
    values that are not known.

    Args:
        model: As for :func:`pyrovae.build`.
        inference: As for :func:`pyrovae.build`.
        samples: Draws from q(z | x) for each log p(x) that is scored.
        device: "auto", "cpu", "cuda", or one of several GPUs, such as "cuda:1".
        settings: Values of keys, as in ``**{"model.prior.kind": "vamp"}``. The first word of keys
            with two may be left out: ``latent_dim=2, epochs=20``.

    Attributes:
        autoencoder_: The fitted autoencoder.
        history_: Training and validation records, as of :func:`pyrovae.fit`.
        n_features_in_: Number of columns.
        feature_names_in_: Their names, if the data were a DataFrame.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> vae = VAE(latent_dim=2, epochs=2).fit(load_iris().data)
        >>> vae.transform(load_iris().data).shape
        (150, 2)
    """

    def __init__(
        self,
        model: Any = "vae",
        inference: Any = "svi",
        *,
        samples: int = 100,
        device: str = "cpu",
        **settings: Any,
    ) -> None:
        self.model = model
        self.inference = inference
        self.samples = samples
        self.device = device
        self._settings = settings

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """All arguments by name, settings among them."""
        return {**super().get_params(deep), **self._settings}

    def set_params(self, **params: Any) -> Self:
        """Change arguments; names that are not among the first four are settings."""
        own = {name: params.pop(name) for name in self._get_param_names() if name in params}
        super().set_params(**own)
        self._settings = {**self._settings, **params}
        return self

    def fit(self, X: Any, y: Any = None) -> Self:
        """Build and fit the autoencoder.

        Args:
            X: Table ``(n, columns)``, or images as for :func:`pyrovae.load_data`.
            y: Not used.

        Raises:
            ValueError: The data are not usable, or a setting is not allowed.
        """
        data = _splits(self._values(X, reset=True))
        settings = {_dotted(name): value for name, value in self._settings.items()}
        built = build(self.model, self.inference, data, settings)
        self.autoencoder_ = built.to(choose_device(self.device))
        self.history_ = fit(self.autoencoder_, data, progress=False)
        self._like = replace(
            data.train, x=data.train.x.index_select(0, torch.arange(0)), variables={}
        )
        widths = encode(self.autoencoder_, data.validation.first(1))
        self._latents = [f"{n}[{i}]" for n, site in widths.items() for i in range(_dims(site))]
        return self

    def transform(self, X: Any) -> Any:
        """Means of q(z | x), float32 ``(n, latent_dim)``."""
        check_is_fitted(self)
        return self.autoencoder_.embed(self._observations(X))

    def inverse_transform(self, X: Any) -> Array:
        """Means of p(x | z) in the units of the data, ``(n, *shape)``; of bits, probabilities.

        Args:
            X: Latents ``(n, latent_dim)``.

        Raises:
            SpecError: The model is a program by hand.
        """
        check_is_fitted(self)
        vae = self.autoencoder_
        if isinstance(vae, Handwritten):
            raise SpecError(
                "inverse_transform: a program by hand has no decoder of its own: call "
                "autoencoder_.reconstruct, or give a model made of parts, such as 'vae'"
            )
        with evaluating(vae, vae.device):
            means = vae.decode(X).mean.cpu()
        if vae.contract.binarisation != "none":
            return means.numpy()
        seen = vae.contract.prepared(self._like)
        return (means * seen.divisor - seen.offset).numpy()

    def score_samples(self, X: Any) -> Array:
        """Lower bound of log p(x) in nats, ``(n,)``: importance-weighted, of ``samples`` draws.

        Raises:
            SpecError: The guide is a point, from which nothing can be sampled.
        """
        check_is_fitted(self)
        data = self._observations(X)
        return log_evidence(self.autoencoder_, data, self.samples).log_prob.numpy()

    def score(self, X: Any, y: Any = None) -> float:
        """Mean of :meth:`score_samples`, in nats per observation."""
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Array:
        """Draws from p(x) as the model sees data, ``(n_samples, *shape)``.

        Args:
            n_samples: Number of draws.
            random_state: Seed, generator of NumPy, or None for other draws in each call.
        """
        check_is_fitted(self)
        if not isinstance(random_state, int):
            random_state = check_random_state(random_state).randint(2**31)
        return sampled(self.autoencoder_, n_samples, random_state)

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """Names of the latent dimensions: "z[0]", "z[1]", ..."""
        check_is_fitted(self)
        return np.array(self._latents, dtype=object)

    def __getstate__(self) -> dict[str, Any]:
        """The estimator with the autoencoder as the content of its file, see ``pyrovae.save``."""
        found: Any = super().__getstate__()
        state: dict[str, Any] = dict(found)
        if "autoencoder_" in state:
            if self.autoencoder_.declaration is None:
                raise SpecError(
                    "a program by hand cannot be pickled: keep its weights by "
                    "pyrovae.save(estimator.autoencoder_, 'mine.safetensors')"
                )
            state["autoencoder_"] = file_content(self.autoencoder_)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Load the autoencoder from the content of its file, on the CPU."""
        super().__setstate__(state)
        if "autoencoder_" in state:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "weights.safetensors"
                file.write_bytes(state["autoencoder_"])
                self.autoencoder_ = load_declared(file)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        # The draws that score an observation depend on which others are scored with it.
        tags.non_deterministic = True
        return tags

    def _values(self, X: Any, *, reset: bool) -> Array:
        """Numbers of the kind and with the columns of the data of :meth:`fit`."""
        least = FEWEST if reset else 1
        checks = {"allow_nd": True, "ensure_all_finite": "allow-nan", "ensure_min_samples": least}
        values: Any = validate_data(self, X, reset=reset, **checks)
        return values

    def _observations(self, X: Any) -> Dataset:
        """Data as loaded, with the largest intensity of those of :meth:`fit`."""
        x, known = _parted(self._values(X, reset=False))
        stored = as_tensor(store(channels_first(x, NAME), NAME).values)
        mask = {} if known is None else {X_KNOWN: as_tensor(channels_first(known, NAME))}
        return replace(self._like, x=stored, rows=torch.arange(len(stored)), variables=mask)


def _splits(X: Array) -> Splits:
    """Data to fit, a tenth that chooses the best weights, and no others."""
    x, known = _parted(X)
    whole = from_arrays(x, variables={} if known is None else {X_KNOWN: known}, name=NAME)
    rows = torch.cat([whole.train.rows, whole.test.rows])
    return Splits(replace(whole.train, rows=rows), whole.validation, whole.validation)


def _parted(X: Array) -> tuple[Array, Array | None]:
    """Values with 0 for NaN, and where they are known; None if all are."""
    missing = np.isnan(X) if X.dtype.kind == "f" else np.zeros((), bool)
    return (np.where(missing, 0, X), ~missing) if missing.any() else (X, None)


def _dotted(name: str) -> str:
    """The full key of a setting whose first word may be left out."""
    for spec in (ModelSpec, InferenceSpec):
        if name in spec.model_fields:
            return f"{spec.section}.{name}"
    return name


def _dims(site: Any) -> int:
    return site.mean.shape[1]
