"""Scores of strangeness: where closed forms are known, and for every sort of autoencoder."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

from pyrovae.data import Batch, Dataset, load_data
from pyrovae.errors import DataError, SpecError
from pyrovae.evaluation.pointwise import evaluate_pointwise
from pyrovae.exploration.outliers import Outliers, score_outliers
from pyrovae.exploration.scores.complexity import (
    NATS_PER_BYTE,
    code_length,
    code_lengths,
    complexity,
    simplicity,
)
from pyrovae.exploration.scores.definitions import SCORES
from pyrovae.exploration.scores.inputs import ScoreInputs
from pyrovae.exploration.scores.likelihood import bound, code, reconstruction, surprise
from pyrovae.exploration.scores.regret import regret
from pyrovae.exploration.scores.typicality import typicality

OF_THE_MODEL = {"surprise", "bound", "kl", "reconstruction", "typicality", "regret"}


def dataset(x: Tensor, maximum: float | None = None, **options: Any) -> Dataset:
    return Dataset("some", x, torch.arange(len(x)), None, maximum, **options)


def see(
    autoencoder: Any, x: Tensor, train: Dataset | None = None, steps: int = 200
) -> ScoreInputs:
    judged = evaluate_pointwise(autoencoder, x, 500)
    return ScoreInputs(autoencoder, Batch(x), judged, train or dataset(x), judged.log_prob, steps)


def by_name(found: Outliers) -> dict[str, Any]:
    return {scored.definition.name: scored for scored in found.scored}


@pytest.mark.parametrize("prior", ["normal", "mixture"])
def test_an_exact_guide_has_the_closed_forms(make_linear_gaussian: Any, prior: str) -> None:
    oracle = make_linear_gaussian("full_rank", prior)
    seen = see(oracle.vae, oracle.x)
    torch.testing.assert_close(surprise(seen), -oracle.evidence)
    # A mean over 500 draws of log p(x | z), which varies by a nat or two.
    torch.testing.assert_close(bound(seen), -oracle.evidence, rtol=0, atol=0.5)
    standard = MultivariateNormal(torch.zeros(2).double(), torch.eye(2).double())
    exact = kl_divergence(oracle.posterior, standard)
    # Without a closed form, likewise.
    torch.testing.assert_close(code(seen), exact, rtol=0, atol=1e-8 if prior == "normal" else 0.5)
    torch.testing.assert_close(reconstruction(seen) + code(seen), bound(seen))
    # What the noise of the climb's gradients loses.
    torch.testing.assert_close(regret(seen), torch.zeros(6).double(), rtol=0, atol=0.02)


def test_regret_is_what_a_shifted_encoder_loses(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian("full_rank")
    shift = torch.tensor([0.6, -0.9]).double()
    with torch.no_grad():
        oracle.vae.posterior.family.loc.bias += shift
    lost = 0.5 * shift @ oracle.posterior.precision_matrix[0] @ shift
    seen = see(oracle.vae, oracle.x)
    # log w of a shifted q is normal with twice that as its variance; 500 draws.
    noise = 5 * (2 * lost / 500).sqrt().item()
    assert noise < 0.5 * lost
    torch.testing.assert_close(regret(seen), lost.expand(6), rtol=0, atol=noise)


def test_regret_does_not_see_how_likely_data_are(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian("full_rank")
    far = see(oracle.vae, 20 * oracle.x)
    assert surprise(far).min() > 100
    assert regret(far).abs().max() < 0.02


def test_regret_leaves_everything_as_it_was(make_vae: Any, parameters_of: Any) -> None:
    vae = make_vae()
    x = vae.sample(3)
    seen, before, stream = see(vae, x, steps=3), parameters_of(vae), torch.get_rng_state()
    assert torch.equal(regret(seen), regret(seen))
    assert all(torch.equal(value, before[name]) for name, value in vae.named_parameters())
    assert all(p.grad is None and p.requires_grad for p in vae.parameters())
    assert torch.equal(torch.get_rng_state(), stream)
    assert vae.training


def test_data_of_the_mean_likelihood_are_typical(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian("full_rank")
    judged = evaluate_pointwise(oracle.vae, oracle.x, 10)
    mean = judged.log_prob[2].expand(4)
    found = typicality(
        ScoreInputs(oracle.vae, Batch(oracle.x), judged, dataset(oracle.x), mean, 1)
    )
    assert found[2] == 0
    torch.testing.assert_close(found, (oracle.evidence - oracle.evidence[2]).abs())


@pytest.mark.parametrize(("channels", "largest"), [(1, 1), (1, 255), (3, 255)])
def test_what_is_simple_is_short_and_noise_is_not(channels: int, largest: int) -> None:
    shape = (32, 32, channels)
    noise = np.random.default_rng(0).integers(0, largest, shape, np.uint8, endpoint=True)
    entropy = noise.size * math.log(largest + 1)
    # No code is shorter than the entropy in the mean, and a good one for noise hardly longer;
    # of bits, though, both compressors waste a third on so small an image.
    assert entropy * 0.99 < code_length(noise) < entropy * (1.1 if largest == 255 else 1.4)
    assert code_length(np.full_like(noise, largest)) < 0.05 * entropy + 30 * NATS_PER_BYTE
    stripes = np.zeros_like(noise)
    stripes[::4] = largest
    assert code_length(stripes) < 0.3 * code_length(noise)


@pytest.mark.parametrize("options", [{}, {"divisor": 255.0}, {"divisor": 256.0, "offset": 0.5}])
def test_the_code_is_of_the_image_whatever_scale_a_model_sees_it_on(
    options: dict[str, float],
) -> None:
    x = torch.randint(256, (3, 1, 9, 7), dtype=torch.uint8)
    data = dataset(x, 255.0, **options)
    expected = [code_length(image.movedim(0, -1).numpy()) for image in x]
    assert code_lengths(data.batch(torch.arange(3)).x, data).tolist() == expected


def test_of_bits_the_code_is_of_the_bits() -> None:
    data = dataset(torch.randint(256, (4, 1, 28, 28), dtype=torch.uint8), 255.0)
    grey = code_lengths(data.batch(torch.arange(4)).x, data)
    bits = dataset(data.x, 255.0, binarisation="dynamic")
    assert (code_lengths(bits.batch(torch.arange(4)).x, bits) < 0.25 * grey).all()


def test_complexity_is_a_difference_of_two_codes_in_nats(make_vae: Any) -> None:
    vae = make_vae(shape=(1, 8, 8))
    x = torch.bernoulli(torch.full((5, 1, 8, 8), 0.5)).double()
    seen = see(vae, x, dataset(x, 1.0))
    assert torch.equal(complexity(seen), surprise(seen) - code_lengths(x, seen.train))
    assert torch.equal(simplicity(seen), -code_lengths(x, seen.train))
    whole_bytes = simplicity(seen) / (8 * math.log(2))
    torch.testing.assert_close(whole_bytes, whole_bytes.round())


@pytest.mark.parametrize(
    ("x", "maximum", "sentence"),
    [
        (torch.zeros(2, 5), 1.0, "of shape 5 are no images"),
        (torch.zeros(2, 4, 5, 5), 1.0, "of shape 4 × 5 × 5 are no images"),
        (torch.zeros(2, 1, 5, 5), None, "are real numbers"),
        (torch.full((2, 1, 5, 5), 0.3), 255.0, "no whole intensities"),
        (torch.full((2, 1, 5, 5), 300.0), 300.0, "no whole intensities"),
    ],
)
def test_what_cannot_be_compressed_is_refused(
    x: Tensor, maximum: float | None, sentence: str
) -> None:
    with pytest.raises((SpecError, DataError), match=sentence):
        code_lengths(x, dataset(x, maximum))


def test_every_pair_of_prior_and_guide_has_the_scores_that_apply(
    make_vae: Any, covering_pair: tuple[str, str]
) -> None:
    prior, guide = covering_pair
    vae = make_vae(prior, guide)
    train, inside, outside = vae.sample(30).split([20, 6, 4])
    found = score_outliers(vae, dataset(train, 1.0), inside, outside, samples=20, steps=2)
    scored = by_name(found)
    assert set(scored) == ({"reconstruction"} if guide == "delta" else OF_THE_MODEL)
    assert len(scored) + len(found.left_out) == len(SCORES)
    for score in scored.values():
        assert score.inside.shape == (6,)
        assert score.outside.shape == (4,)
        assert np.isfinite([*score.inside, *score.outside]).all()
    if guide == "delta":
        assert "is a point and has no density" in found.left_out["likelihood regret"]
    assert "no images" in found.left_out["−L(x), no model"]
    assert "−L(x), no model): data of shape 5 are no images" in found.summary()


def test_every_likelihood_has_the_scores_that_apply(
    make_vae: Any, covering_likelihood: dict[str, Any]
) -> None:
    vae = make_vae(likelihood=covering_likelihood)
    train, inside, outside = vae.sample(30).split([20, 6, 4])
    found = score_outliers(vae, dataset(train), inside, outside, samples=20, steps=2)
    assert set(by_name(found)) == OF_THE_MODEL


def test_images_have_all_scores(make_vae: Any) -> None:
    vae = make_vae(shape=(1, 8, 8))
    train, inside = vae.sample(30).split([20, 10])
    blank = torch.zeros_like(inside)
    found = score_outliers(vae, dataset(train, 1.0), inside, blank, samples=20, steps=2)
    scored = by_name(found)
    assert set(scored) == {definition.name for definition in SCORES}
    assert found.left_out == {}
    assert scored["simplicity"].separation.auroc == 1
    numbers = {number.name: number for number in found.numbers()}
    assert len(numbers) == 4 * len(SCORES)
    assert numbers["AUROC of −L(x), no model"].value == 1
    assert numbers["mean −L(x), no model of outside"].value == -code_length(
        np.zeros((8, 8, 1), np.uint8)
    )
    for name, variable in found.variables().items():
        assert variable.values.shape == (10,)
        assert variable.dims == (name.rpartition("_")[2],)
    first = found.strangest(scored["surprise"], 3)
    for index, values in zip(first, scored["surprise"][1:3], strict=True):
        assert values[index].tolist() == sorted(values, reverse=True)[:3]


def test_the_likelihood_is_inverted_where_strangers_sit_on_the_mode(
    make_linear_gaussian: Any,
) -> None:
    oracle = make_linear_gaussian("full_rank", data=300)
    train, inside = oracle.x.split([200, 100])
    mode = oracle.vae.decoder.last.bias.detach()
    strangers = mode + 0.05 * torch.randn(100, 5).double()
    names = ("ours", "theirs")
    found = score_outliers(
        oracle.vae, dataset(train), inside, strangers, names=names, samples=5, steps=1
    )
    scored = by_name(found)
    assert scored["surprise"].separation.auroc < 0.1
    assert scored["typicality"].separation.auroc > 0.5
    assert "below 0.5: the model finds the outside data more likely" in found.summary()
    assert "seen on theirs themselves" in found.summary()
    far = score_outliers(
        oracle.vae, dataset(train), inside, 9 * inside, names=names, samples=5, steps=1
    )
    assert by_name(far)["surprise"].separation.auroc > 0.9
    assert "below 0.5" not in far.summary()
    same = score_outliers(oracle.vae, dataset(train), inside, inside, samples=5, steps=1)
    for name in ("surprise", "kl", "typicality"):
        assert by_name(same)[name].separation.auroc == pytest.approx(0.5, abs=1e-3)
    assert "does not tell them apart" in same.summary()


def test_a_program_by_hand_has_no_encoder_to_be_set_free() -> None:
    from pyrovae.programs.handwritten import Handwritten

    path = Path(__file__).parents[2] / "models" / "handwritten.py"
    data = load_data("digits")
    program = Handwritten(path, data)
    seen = program.contract.apply(data)
    inside, outside = seen.test.batch(torch.arange(10)).x.split([7, 3])
    found = score_outliers(program, seen.train.first(20), inside, outside, samples=5)
    assert set(by_name(found)) == {d.name for d in SCORES} - {"regret"}
    assert "without an encoder" in found.left_out["likelihood regret"]


def test_one_datum_is_enough_and_none_is_not(make_vae: Any) -> None:
    vae = make_vae()
    train = dataset(vae.sample(5), 1.0)
    one = vae.sample(1)
    found = score_outliers(vae, train, one, vae.sample(1), samples=5, steps=2)
    assert by_name(found)["surprise"].separation.auroc_interval == (0.0, 1.0)
    assert all(number.error is None for number in found.numbers())
    with pytest.raises(DataError, match=r"outside: there are no data"):
        score_outliers(vae, train, one, one[:0])
    with pytest.raises(DataError, match=r"theirs: data of shape \(1, 4\), .* \(5,\)"):
        score_outliers(vae, train, one, one[:, :4], names=("ours", "theirs"))


def test_the_bound_may_be_that_of_refined_guides(make_vae: Any) -> None:
    vae = make_vae()
    train, inside, outside = vae.sample(15).split([5, 6, 4])
    found = [
        score_outliers(
            vae, dataset(train, 1.0), inside, outside, samples=50, steps=1, refine_steps=steps
        )
        for steps in (0, 30)
    ]
    own, refined = (by_name(f)["bound"] for f in found)
    assert refined.outside.mean() < own.outside.mean()
    assert "in 30 steps" in found[1].summary()
    assert "steps" not in found[0].summary()


def test_a_score_that_is_not_finite_is_left_out(make_vae: Any, monkeypatch: Any) -> None:
    vae = make_vae()
    train, inside, outside = vae.sample(15).split([5, 6, 4])
    monkeypatch.setattr(
        "pyrovae.evaluation.refinement.RefinedPosterior.mean_elbo",
        lambda local, draws: torch.full((len(local),), torch.nan).double(),
    )
    found = score_outliers(vae, dataset(train, 1.0), inside, outside, samples=5, steps=1)
    assert "not finite for 10 of 10 data" in found.left_out["likelihood regret"]
    assert "regret" not in by_name(found)
