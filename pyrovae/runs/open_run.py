"""A run opened in Python: its model, data and history, and what the commands make of them."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pyrovae.data.prepared import as_dataset
from pyrovae.data.tables import is_frame
from pyrovae.data.values import Array
from pyrovae.diagnosis.diagnosis import Diagnosis, diagnose
from pyrovae.evaluation.semi_amortised import improved_sites, means_of
from pyrovae.exploration.result import Result
from pyrovae.programs.arguments import options_checked
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.programs.given_values import as_count
from pyrovae.report.display import Display
from pyrovae.runs.diagnose import folder_of, report
from pyrovae.runs.explore import explore
from pyrovae.runs.loading import Run, load_run
from pyrovae.runs.metrics_file import read_metrics
from pyrovae.runs.options import DiagnoseOptions, ExploreOptions
from pyrovae.runs.results import reconstructed, sampled
from pyrovae.specs.local_inference import LocalInference, Resample

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

Asked = TypeVar("Asked")

# Options that are counts, and what they count.
COUNTS = {
    "num": "observations",
    "draws": "draws",
    "samples": "samples",
    "epochs": "epochs",
}


class OpenRun(Run):
    """A run with its model and data, from :func:`open_run`.

    Attributes are those of :class:`pyrovae.runs.loading.Run` as well. Nothing is written but by
    :meth:`report` and :meth:`explore`.
    """

    def __repr__(self) -> str:
        """The call that opens it, without the numbers in it."""
        return f"open_run({str(self.folder)!r})"

    @property
    def model(self) -> Autoencoder:
        """The autoencoder, in evaluation mode: ``model.model`` and ``model.guide`` are Pyro's."""
        return self.autoencoder

    @property
    def history(self) -> pd.DataFrame:
        """Metrics of the training, a row for each epoch and split."""
        import pandas as pd

        return pd.DataFrame(read_metrics(self.folder))

    @property
    def test(self) -> dict[str, Any] | None:
        """Bound on the test data, in nats; None if the run is not finished."""
        return self.facts.test

    @options_checked
    def embed(
        self,
        data: Any = None,
        *,
        refine_steps: int = 0,
        resample: Resample | None = None,
        layer: str | None = None,
    ) -> Any:
        """Means of q(z | x); see :meth:`pyrovae.Autoencoder.embed`.

        Args:
            data: The data; by default the run's test data.
            refine_steps: Gradient steps on the ELBO of each observation.
            resample: Correction of the guide's draws, "importance" or "mcmc"; see
                :func:`pyrovae.local_posterior`, which returns the draws as well.
            layer: Name of a layer of an AnnData object; its ``X`` by default.
        """
        given = self.data.test if data is None else data
        if layer is not None:
            given = self.model.split(given, layer)
        asked = LocalInference(refine_steps=refine_steps, resample=resample)
        if not asked:
            return self.model.embed(given)
        sites, _ = improved_sites(self.model, given, asked)
        found = means_of(sites).numpy()
        if not is_frame(data):
            return found
        import pandas as pd

        names = [f"{name}[{i}]" for name, s in sites.items() for i in range(s.mean.shape[1])]
        return pd.DataFrame(found, index=data.index, columns=names)

    @options_checked
    def reconstruct(self, data: Any = None, *, layer: str | None = None) -> Any:
        """Means of p(x | z) at the means of q(z | x).

        Args:
            data: As for :meth:`embed`.
            layer: As for :meth:`embed`.

        Returns:
            A NumPy array ``(data, *shape)``, as for ``adata.layers``; of a DataFrame a
            DataFrame with the same index and the columns in the model's order.

        Raises:
            DataError: As for :meth:`embed`.
            SpecError: No site observes ``x``, or one has no mean.
        """
        given = self.data.test if data is None else data
        split = as_dataset(given, self.model.contract, self.model.shape, layer)
        found = reconstructed(self.model, split)
        if not is_frame(data):
            return found
        import pandas as pd

        names = list(split.columns) or None
        return pd.DataFrame(found.reshape(len(found), -1), index=data.index, columns=names)

    def sample(self, count: int, *, seed: int = 0, **others: Tensor) -> Array:
        """Draws ``(count, *shape)`` from p(x), always the same for a seed.

        Args:
            count: Number of draws.
            seed: Seed of the draws.
            others: Variables that p(x) is given, such as labels, by name.

        Raises:
            SpecError: One of those is missing, no site observes ``x``, or ``count`` or ``seed`` is
                no whole number.
        """
        count = as_count("sample", count, "draws")
        seed = as_count("sample", seed, "the seed", least=0)
        return sampled(self.model, count, seed, **others)

    def diagnose(self, **options: Any) -> Diagnosis:
        """Run the checks of ``pyrovae diagnose`` and write nothing.

        Args:
            options: Those of :func:`pyrovae.diagnosis.diagnose`, such as ``full=True``.
        """
        return diagnose(self.model, self.data.test, history=self.records, **options)

    def report(self, **options: Any) -> Path:
        """Run the checks and write their page, as ``pyrovae diagnose`` does.

        Args:
            options: Those of :class:`pyrovae.runs.options.DiagnoseOptions`.

        Returns:
            The page; by default ``RUN/diagnosis/report.html``.
        """
        asked = self._asked("report", DiagnoseOptions, options)
        report(self, asked, self._command("diagnose", options), Display())
        return folder_of(asked, self) / "report.html"

    def explore(self, *what: str, **options: Any) -> list[Result]:
        """Analyse the latent space and write a page, as ``pyrovae explore`` does.

        Args:
            what: Names of the analyses; by default the usual ones.
            options: Those of :class:`pyrovae.runs.options.ExploreOptions`.
        """
        asked = self._asked("explore", ExploreOptions, options | {"what": what})
        return explore(self, asked, self._command("explore", options, *what), Display())

    def _asked(self, name: str, kind: Callable[..., Asked], options: dict[str, Any]) -> Asked:
        """Options of a command as given in Python, where nothing has parsed them.

        Raises:
            SpecError: There is no such option, or a count is none.
        """
        for option, of in COUNTS.items():
            if options.get(option) is not None:
                as_count(name, options[option], of)
        return options_checked(kind, name)(run=self.folder, data=self.chosen, **options)

    def _command(self, name: str, options: dict[str, Any], *what: str) -> str:
        """Command line that does the same."""
        words = [str(self.folder), *what]
        chosen = {} if self.chosen is None else {"data": self.chosen}
        for option, value in {**chosen, **options}.items():
            values = value if isinstance(value, list | tuple) else [value]
            if value is not False:
                words += [f"--{option}", *(str(v) for v in values if v is not True)]
        return f"python -m pyrovae.{name} {shlex.join(words)}"


def open_run(
    folder: str | Path,
    *,
    data: str | Path | None = None,
    data_root: str | Path | None = None,
    device: str = "auto",
) -> OpenRun:
    """Open a run's folder: model, data, history, and the analyses of the commands.

    Args:
        folder: Folder written by ``pyrovae train``, finished or not.
        data: Name or path of other data for the model; by default the run's own.
        data_root: Folder of named data sets; by default that of the run.
        device: "auto", "cpu", "cuda", or one of several GPUs, such as "cuda:1".

    Raises:
        CheckpointError: The folder is not a run's, is damaged, has no weights yet, or was made
            by a newer version.
        DataError: The data are missing, or do not fit the model.
        SpecError: There is no such device, or a program cannot be run.
    """
    return OpenRun(**vars(load_run(folder, data=data, data_root=data_root, device=device)))
