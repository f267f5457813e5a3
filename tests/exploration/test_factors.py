"""All data encoded and scored against what made them."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae.compute.distributed import ALONE
from pyrovae.data import Splits, binarise, from_arrays
from pyrovae.errors import DataError
from pyrovae.exploration.disentanglement import mig
from pyrovae.exploration.disentanglement.all_latents import all_codes
from pyrovae.exploration.factors import Factors, disentangle, measure
from pyrovae.exploration.latent_space import LatentSpace
from pyrovae.programs.autoencoder import Autoencoder, Formulas
from pyrovae.report.figures.factors import factors as draw

N = 120
NAMES = ("a", "fixed", "b")


@pytest.fixture
def made() -> Splits:
    """Rows of five bits that two factors make; a third factor never varies."""
    first, second = torch.arange(N) % 2, torch.arange(N) // 2 % 2
    x = torch.stack([first, second, first, torch.ones(N), torch.zeros(N)], 1).float()
    known = torch.stack([first, torch.full((N,), 3), second], 1)
    return from_arrays(
        x, factors=known, factor_names=["a", "fixed", "b"], name="made", maximum=1.0
    )


def narrow(data: Splits) -> Splits:
    """Without the last column, as the programs below take them."""
    return Splits(*(replace(split, x=split.x[:, :4]) for split in data))


class Reading(Autoencoder):
    """Two latent sites that are the first two columns, the guide in another order."""

    vectorisable = False

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(0.1))

    def model(self, x):
        with pyro.plate("data", len(x), dim=-1):
            a = pyro.sample("a", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
            b = pyro.sample("b", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            loc = torch.cat([a, b, b], -1)
            pyro.sample("x", dist.Normal(loc, self.scale).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("b", dist.Normal(x[:, [1, 1]], self.scale).to_event(1))
            pyro.sample("a", dist.Normal(x[:, :1], self.scale).to_event(1))

    def formulas(self):
        return Formulas("Normal", "Normal", "Normal")


def test_every_datum_is_encoded_once_with_its_factors(made: Splits) -> None:
    found = all_codes(Reading(), narrow(made))
    assert found.names == ("a", "fixed", "b")
    assert len(found.dims) == 3
    rows = torch.cat([split.rows for split in made])
    assert torch.equal(rows.sort().values, torch.arange(N))
    assert torch.equal(found.factors, made.train.factors.classes[rows])
    assert torch.equal(found.codes, made.train.x[rows][:, [0, 1, 1]])
    assert not found.drawn


def test_batches_do_not_show(made: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = all_codes(Reading(), narrow(made))
    monkeypatch.setattr("pyrovae.exploration.disentanglement.all_latents.BATCH", 7)
    parts = all_codes(Reading(), narrow(made))
    assert torch.equal(whole.codes, parts.codes)
    assert torch.equal(whole.factors, parts.factors)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_several_processes_find_what_one_finds(
    make_vae, made: Splits, monkeypatch: pytest.MonkeyPatch, in_processes
) -> None:
    monkeypatch.setattr("pyrovae.exploration.disentanglement.all_latents.BATCH", 7)
    vae = make_vae(guide="spline").float()  # of which latents are drawn

    def work(processes):
        torch.set_num_threads(1)
        codes = all_codes(vae, made, processes=processes)
        scores = disentangle(vae, made, repeats=2, processes=processes).table
        return codes, [score.values for score in scores]

    threads = torch.get_num_threads()
    alone, expected = work(ALONE)
    torch.set_num_threads(threads)
    for codes, scores in in_processes(3, work):
        assert torch.equal(codes.codes, alone.codes)
        assert torch.equal(codes.factors, alone.factors)
        for mine, theirs in zip(scores, expected, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_some_of_the_data_are_any_of_them_once(made: Splits) -> None:
    numbered = from_arrays(
        torch.arange(N).float()[:, None].expand(N, 4), factors=torch.arange(N)[:, None]
    )
    found = all_codes(Reading(), numbered, count=70)
    assert len(found.codes.unique(dim=0)) == 70
    assert torch.equal(found.codes[:, :1], found.factors.float())
    assert all(torch.isin(found.factors, split.rows).any() for split in numbered)
    assert len(all_codes(Reading(), numbered, count=10**6).codes) == N


def test_every_autoencoder_is_scored(make_vae, covering_pair, made: Splits) -> None:
    vae = make_vae(*covering_pair).float()
    found = all_codes(vae, made)
    x = made.train.batch(torch.arange(len(made.train))).x
    expected = LatentSpace(vae, x).encode(x)
    assert found.codes.shape == (N, expected.shape[1])
    if not found.drawn:
        assert torch.allclose(found.codes[: len(x)], expected, atol=1e-6)
    assert 0 <= mig(found.codes, found.factors).score <= 1


def test_flows_are_said_to_be_draws(make_vae, made: Splits) -> None:
    assert all_codes(make_vae(guide="spline").float(), made).drawn
    assert not all_codes(make_vae(guide="delta").float(), made).drawn


def test_nothing_is_changed(make_vae) -> None:
    grey = torch.arange(N * 5, dtype=torch.uint8).reshape(N, 5)
    made = binarise(from_arrays(grey, factors=torch.arange(N)[:, None] % 3), "dynamic")
    vae = make_vae().float()
    vae.train()
    torch_before = torch.get_rng_state()
    # Of NumPy's own stream scikit-learn draws where it is given no seed.
    numpy_before = np.random.get_state()[1].copy()  # noqa: NPY002
    first, second = (disentangle(vae, made, repeats=1) for _ in range(2))
    assert torch.equal(torch_before, torch.get_rng_state())
    assert (numpy_before == np.random.get_state()[1]).all()  # noqa: NPY002
    assert vae.training
    for one, other in zip(first.table, second.table, strict=True):
        assert np.array_equal(one.values, other.values, equal_nan=True)


@pytest.fixture(scope="module")
def found() -> Factors:
    first, second = torch.arange(N) % 2, torch.arange(N) // 2 % 2
    known = torch.stack([first, torch.full((N,), 3), second], 1)
    x = torch.stack([first, second, second, second], 1).float()
    data = from_arrays(
        x, factors=known, factor_names=["a", "fixed", "b"], name="made", maximum=1.0
    )
    return disentangle(Reading(), data, repeats=2)


def test_a_finding_says_what_was_found(found: Factors) -> None:
    scores = {score.name: score for score in found.table}
    assert scores["MIG"].mean == pytest.approx(0.5)  # b is in two dimensions, a in one
    assert scores["DCI disentanglement"].mean == pytest.approx(1.0)
    assert 0.5 < scores["DCI completeness"].mean < 0.9
    assert scores["DCI informativeness"].mean == 1
    assert scores["FactorVAE score"].mean == scores["β-VAE score"].mean == 1
    assert scores["FactorVAE score"].chance == scores["β-VAE score"].chance == 0.5
    assert scores["DCI informativeness"].chance == pytest.approx(0.5, abs=0.01)
    text = found.summary()
    assert "MIG 0.50" in text
    assert "120 data with 2 factors that vary (a, b; fixed did not" in text
    assert "The clearest dimension is" in text
    assert "100 %" in text
    assert "draws" not in text


def test_numbers_and_variables_are_complete(found: Factors) -> None:
    numbers = {number.name: number for number in found.numbers()}
    assert [numbers[f"gap, {name}"].value for name in ("a", "b")] == pytest.approx([1.0, 0.0])
    assert np.isnan(numbers["gap, fixed"].value)
    assert all(n.reference and n.definition for n in numbers.values())
    assert numbers["MIG"].error is None  # all the data were drawn, both times
    for variable in found.variables().values():
        assert variable.values.ndim == len(variable.dims)
    assert found.variables()["score"].values.shape == (7, 2)


def test_the_error_is_that_of_a_mean_of_draws(found: Factors) -> None:
    score = found.table[0]._replace(values=np.array([0.1, 0.3, 0.2]))
    assert score.mean == pytest.approx(0.2)
    assert score.error == pytest.approx(0.1 / np.sqrt(3))


def test_repeats_are_of_other_samples() -> None:
    random = np.random.default_rng(0)
    factors = random.integers(3, size=(12_000, 2))
    scores = measure(factors + random.normal(size=factors.shape), factors, repeats=2)
    for found in (scores.mig, scores.sap, scores.factor_vae):
        assert found[0].score != found[1].score
    assert scores.dci[0].informativeness != scores.dci[1].informativeness
    assert scores.beta_vae[0] != scores.beta_vae[1]


def test_data_without_known_factors_are_refused(make_vae) -> None:
    data = from_arrays(torch.rand(60, 5), name="counts.npy")
    message = r'made counts.npy are not known: choose dsprites, or an .npz .* array "factors"'
    with pytest.raises(DataError, match=message):
        disentangle(make_vae().float(), data)


@pytest.mark.parametrize("dims", [1, 45])
def test_pictures_fit_any_length_of_code(found: Factors, made: Splits, dims: int) -> None:
    random = np.random.default_rng(0)
    factors = random.integers(3, size=(200, 3)) * [1, 0, 1]
    scores = measure(random.normal(size=(200, dims)), factors, repeats=1)
    long = replace(found, dims=[f"z[{dim}]" for dim in range(dims)], scores=scores)
    figure = draw(long, made.test)
    figure.canvas.draw()
    left, middle, _ = figure.axes
    assert len(left.images[0].get_array()) == len(middle.images[0].get_array()) == min(dims, 20)
    assert [label.get_text() for label in left.get_xticklabels()] == ["a", "b"]  # those that vary
    shown = [label.get_text() for label in left.get_yticklabels()]
    best = int((long.information[:, [0, 2]] / long.entropy[[0, 2]]).max(1).argmax())
    assert f"z[{best}]" in shown
    assert figure._suptitle.get_text() == "made: known factors in the latents"


def test_progress_is_shown_when_asked_for(made: Splits, capfd: pytest.CaptureFixture) -> None:
    quiet = disentangle(Reading(), narrow(made), repeats=1)
    assert capfd.readouterr() == ("", "")
    shown = disentangle(Reading(), narrow(made), repeats=1, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "latents" in err
    assert "scores" in err
    assert quiet.summary() == shown.summary()


@pytest.mark.slow
def test_all_of_dsprites_is_encoded_in_five_gigabytes() -> None:
    beside = Path(__file__).parents[3] / "shared" / "data"
    root = Path(os.environ.get("PYROVAE_DATA", beside))
    if not root.is_dir():
        pytest.skip(f"no real data in {root}; set PYROVAE_DATA")
    program = (
        "import resource, sys, pyrovae\n"
        "from pyrovae.exploration.disentanglement.all_latents import all_codes\n"
        "data = pyrovae.load_data('dsprites', root=sys.argv[1], download=False)\n"
        "vae = pyrovae.build('vae', 'svi', data)\n"
        "found = all_codes(vae, vae.contract.apply(data))\n"
        "print(len(found.codes), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    command = [sys.executable, "-c", program, str(root)]
    answer = subprocess.run(
        command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    data, kilobytes = map(int, answer.stdout.split())
    assert data == 737_280
    assert kilobytes * 1024 < 5e9
