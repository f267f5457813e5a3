"""Interface of an autoencoder: a pair of Pyro programs with their parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from pyro.poutine.trace_struct import Trace
from torch import Tensor, nn

from pyrovae import notebook
from pyrovae.compute.modes import EVALUATION_SEED, evaluating
from pyrovae.compute.randomness import seeded
from pyrovae.data import Batch, Dataset
from pyrovae.data.contract import Contract
from pyrovae.data.prepared import CHUNK, as_dataset
from pyrovae.data.tables import is_frame
from pyrovae.errors import DataError, SpecError
from pyrovae.programs.given_values import check_scale
from pyrovae.programs.plates import Plates
from pyrovae.programs.traces import Site, Traces, role
from pyrovae.specs import InferenceSpec, ModelSpec


class Formulas(NamedTuple):
    """The three distributions of an autoencoder, in words."""

    prior: str
    likelihood: str
    guide: str


class Declaration(NamedTuple):
    """Everything needed to rebuild an autoencoder, except for its weights.

    Attributes:
        model: Specification of the model, resolved.
        inference: Specification of the inference, resolved.
        shape: Shape of one observation.
        levels: Largest intensity that the model sees; None for real-valued data.
        columns: Names of the columns of a table, if they are known.
        transforms: Functions that the values of the data went through, by column.
    """

    model: ModelSpec
    inference: InferenceSpec
    shape: tuple[int, ...]
    levels: float | None
    columns: tuple[str, ...] = ()
    transforms: Mapping[str, str] = {}  # never changed


class Seen(NamedTuple):
    """Data that an autoencoder was built for, as far as they are known.

    Attributes:
        shape: Shape of one observation.
        levels: Largest intensity that the model sees; None for real-valued data.
    """

    shape: tuple[int, ...] | None = None
    levels: float | None = None


class Autoencoder(nn.Module, ABC):
    """Two Pyro programs of the data and their parameters.

    Both take the observations ``x`` and, by name, the further variables of a batch that the
    autoencoder's contract names.

    :class:`pyrovae.VAE` is one made of parts, :class:`pyrovae.programs.handwritten.Handwritten`
    one from a user's file. All tools work on both, since they read the sites of traces.

    Attributes:
        vectorisable: True if particles may be drawn at once, in a dimension left of the data.
        contract: Contract between the programs and their data.
        declaration: Specifications that it was built from, if any.
        seen: Data that it was built for.
        inference: Inference that a program by hand was built with, if any.
        source: Prefix of errors about the programs, where they are a user's own.
        advice: Data that p(x | z) takes and the choice for others; ends a sentence.
        start: The run at whose weights it started, and the parts that are new, if any.
    """

    vectorisable: bool
    contract: Contract = Contract()
    declaration: Declaration | None = None
    seen: Seen = Seen()
    inference: InferenceSpec | None = None
    source: str = ""
    advice: str = "none outside its support: change the data or the program"
    start: str = ""

    @abstractmethod
    def model(self, x: Tensor, **others: Any) -> Any:
        """The generative program, with ``x`` observed, in one plate over the data."""

    @abstractmethod
    def guide(self, x: Tensor, **others: Any) -> Any:
        """The inference program, with the latent sites of the model."""

    def __repr__(self) -> str:
        lines = "".join(f"\n  {name:<10} {text}" for name, text in self.summary().items())
        return f"{type(self).__name__}{lines}"

    def _repr_html_(self) -> str:
        return notebook.card(type(self).__name__, notebook.table(self.summary()))

    def summary(self) -> dict[str, str]:
        """The three distributions and the number of parameters, in words."""
        prior, likelihood, guide = self.formulas()
        count = sum(parameter.numel() for parameter in self.parameters())
        formulas = {"p(z)": prior, "p(x | z)": likelihood, "q(z | x)": guide}
        return {**formulas, "parameters": f"{count:,}"}

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return self._parameter.device

    @property
    def _parameter(self) -> Tensor:
        """A parameter, whose type and device are those of all."""
        return next(self.parameters())

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Shape of one observation, if it is known."""
        return self.seen.shape

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names of the variables that p(x) is given, such as labels."""
        return ()

    def forward(self, *arguments: Any, **options: Any) -> Any:
        """Refuse a call of the module itself, of which there is no one meaning.

        Raises:
            SpecError: Names the methods that there are.
        """
        raise SpecError(
            "vae(x) has no one meaning: vae.encode(x) is q(z | x), vae.decode(z) is p(x | z), and "
            "vae.reconstruct(x) goes through both"
        )

    def traces(self, batch: Batch | Tensor) -> Traces:
        """Run both programs on a batch, or on the observations alone, in their present mode."""
        return Traces.run(self.model, self.guide, **Batch.of(batch).variables)

    def networks(self) -> list[nn.Module]:
        """Networks that may compute in another precision than the densities."""
        return list(self.children())

    def embed(self, data: Any, *, layer: str | None = None) -> Any:
        """Means of q(z | x), the latents of data as features.

        The mode of a discrete latent, and a single draw where torch knows no mean, as of a flow.
        Latent sites are side by side. Nothing is drawn otherwise, and no gradient is recorded.
        :func:`pyrovae.local_posterior` comes closer to the means of p(z | x).

        Args:
            data: A split of data as loaded, or an array, a tensor or a DataFrame of values as the
                model sees them, ``(data, *shape)``. Columns of a DataFrame are matched by name to
                those that the model was fitted to, where both have names; its missing values are
                not known. Or an AnnData object, whose genes are matched in the same way.
            layer: Name of a layer of an AnnData object; its ``X`` by default.

        Returns:
            A NumPy array ``(data, dims)``, as for ``adata.obsm``; of a DataFrame a DataFrame with
            the same index.

        Raises:
            DataError: The data are not as the model sees them, have another shape, or lack a
                variable that the programs take.
        """
        split = self.split(data, layer)
        with seeded(EVALUATION_SEED, split.x.device):  # bits may be drawn
            few = split.batch(torch.arange(1)).to(self.device)
        with evaluating(self, self.device):
            sites = self.traces(few).latent
            # Filled in place: keeping many small tensors would fragment memory.
            width = means(self, few, sites).shape[1]
            found = torch.empty(len(split), width, dtype=few.x.dtype)
            for index in torch.arange(len(split)).split(CHUNK):
                found[index] = means(self, split.batch(index).to(self.device), sites).to(found)
            if not is_frame(data):
                return found.numpy()
            widths = {site: means(self, few, [site]).shape[1] for site in sites}
        import pandas as pd

        names = [f"{site}[{i}]" for site, width in widths.items() for i in range(width)]
        return pd.DataFrame(found.numpy(), index=data.index, columns=names)

    def split(self, data: Any, layer: str | None = None) -> Dataset:
        """A split as the model sees it, of one as loaded or of values; arguments as of embed.

        Raises:
            DataError: As for :meth:`embed`; or an array has values beyond those of p(x | z), or
                AnnData real values where p(x | z) is of counts.
        """
        split = as_dataset(data, self.contract, self.shape, layer)
        if not isinstance(data, Dataset):
            support = self.support()
            if split.counts and getattr(support, "is_discrete", False):
                raise DataError(f"{split.name}: p(x | z) is of whole numbers{split.counts}")
            if isinstance(x := split.x, Tensor):
                self.require_prepared(x)
                check_scale(x, support, self.seen.levels)
        return split

    def support(self) -> Any:
        """Support of p(x | z), a constraint of torch, if it is known without data."""
        return None

    def require_prepared(self, x: Tensor) -> None:
        """Refuse data that are not as the model sees them.

        Raises:
            DataError: See :meth:`pyrovae.data.contract.Contract.require_prepared`.
        """
        self.contract.require_prepared(x, self.seen.levels)

    def reworded(self, advice: str) -> str:
        """Advice about keys of a declaration, in the words of what the user wrote."""
        return advice

    @abstractmethod
    def formulas(self) -> Formulas:
        """p(z), p(x | z) and q(z | x) in words."""


def trace_at_centers(autoencoder: Autoencoder, variables: Mapping[str, Tensor]) -> Trace:
    """Trace of the model at the latents of :func:`guide_at_centers`."""
    guide = guide_at_centers(autoencoder, variables)
    return poutine.trace(poutine.replay(autoencoder.model, trace=guide)).get_trace(**variables)


def guide_at_centers(autoencoder: Autoencoder, variables: Mapping[str, Tensor]) -> Trace:
    """Trace of the guide with each latent at its :func:`center`, given those drawn before it.

    Args:
        autoencoder: Model and guide, in their present mode.
        variables: ``x`` and the further variables by name.
    """
    return poutine.trace(_AtCenters()(autoencoder.guide)).get_trace(**variables)


def means(autoencoder: Autoencoder, batch: Batch | Tensor, sites: Sequence[str]) -> Tensor:
    """Means of q(z | x), latent sites side by side, for a batch, in the programs' present mode.

    Runs the guide alone, without the decoder.

    Args:
        autoencoder: Model and guide.
        batch: The batch, on the programs' device.
        sites: The latent sites, in the model's order.
    """
    batch = Batch.of(batch)
    autoencoder.require_prepared(batch.x)
    guide = guide_at_centers(autoencoder, batch.variables)
    plates, nodes = Plates.of(guide, count=len(batch)), cast(Mapping[str, Site], guide.nodes)
    return torch.cat([plates.vectors(nodes[name])[0] for name in sites], dim=-1)


class _AtCenters(Messenger):
    """Handler that sets latents instead of drawing them."""

    def _pyro_sample(self, msg: Any) -> None:
        if role(msg) == "latent" and not msg["done"]:
            msg["value"], msg["done"] = center(msg["fn"], msg["fn"]()), True


def center(distribution: Any, draw: Tensor | None = None) -> Tensor:
    """Return the mean of a distribution, or the mode of a discrete one, which is a value it has.

    Where there is none that is known, as for a flow, return a draw.

    Args:
        distribution: A distribution of Pyro.
        draw: The draw to take, where there is one already; also where the mean is not finite.
    """
    try:
        found: Tensor = (
            distribution.mode if distribution.support.is_discrete else distribution.mean
        )
    except NotImplementedError:
        return distribution.sample() if draw is None else draw
    return found if draw is None else torch.where(found.isfinite(), found, draw)
