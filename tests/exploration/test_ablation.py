"""What becomes of codes without regularisation, and with too much of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pyrovae import InferenceSpec, ModelSpec, Splits, build, fit
from pyrovae.data import Batch, Dataset
from pyrovae.errors import DataError, SpecError
from pyrovae.evaluation.bound import evaluate
from pyrovae.exploration.ablation import LINES, POINTS, ablate, variants
from pyrovae.exploration.latent_paths import codes_on
from pyrovae.exploration.latent_space import LatentSpace
from pyrovae.specs.objectives import ELBOSpec


def splits(x: torch.Tensor, labels: torch.Tensor | None = None) -> Splits:
    """All three the same data, stored as the model sees them."""

    class Data(Dataset):
        def batch(self, index: torch.Tensor) -> Batch:
            return Batch(self.x[self.rows[index]])

    data = Data("rows", x, torch.arange(len(x)), labels, None)
    return Splits(data, data, data)


@pytest.fixture
def bits() -> Splits:
    x = (torch.rand(60, 5) < 0.5).double()
    return splits(x, torch.arange(60) % 3)


def test_only_the_regularisation_differs() -> None:
    spec = InferenceSpec(
        epochs=7,
        seed=3,
        guide={"kind": "full_rank", "encoder": {"kind": "mlp", "widths": (9,)}},
        objective={"kind": "iwae"},
        early_stopping={},
    )
    found = variants(spec, [0.5, 30.0])
    assert list(found) == ["autoencoder", "β = 0.5", "β = 30"]
    assert [one.beta.value for one in found.values()] == [0.0, 0.5, 30.0]
    assert [one.guide.kind for one in found.values()] == ["delta", "full_rank", "full_rank"]
    for one in found.values():
        assert one.guide.encoder == spec.guide.encoder
        assert one.objective == ELBOSpec()
        assert one.early_stopping is None
        same = {"guide": spec.guide, "objective": spec.objective, "beta": spec.beta}
        assert one.model_copy(update={**same, "early_stopping": spec.early_stopping}) == spec


@pytest.mark.parametrize("guide", ["diagonal", "laplace", "low_rank", "full_rank", "mixture"])
def test_every_variant_can_be_fitted(few_digits: Splits, guide: str) -> None:
    network = {"kind": "mlp", "widths": (8,)}
    model = ModelSpec(latent_dim=2, decoder=network)
    spec = InferenceSpec(epochs=1, guide={"kind": guide, "encoder": network})
    for one in variants(spec).values():
        vae = build(model, one, few_digits)
        mixture = guide == "mixture"
        before = None if mixture else vae.posterior.family.state_dict()["loc.weight"].clone()
        records = fit(vae, few_digits)
        assert len(records) == 2
        if before is not None:
            assert not torch.equal(before, vae.posterior.family.state_dict()["loc.weight"])


@pytest.mark.parametrize("guide", ["iaf", "spline"])
def test_flows_have_variants_too(few_digits: Splits, guide: str) -> None:
    network = {"kind": "mlp", "widths": (8,)}
    flow = {"kind": guide, "layers": 1, "widths": (8,), "encoder": network}
    spec = InferenceSpec(epochs=1, guide=flow)
    one = variants(spec)["β = 20"]
    fit(build(ModelSpec(latent_dim=2, decoder=network), one, few_digits), few_digits)


@pytest.mark.parametrize(
    ("spec", "betas", "message"),
    [
        ({"guide": {"kind": "delta"}}, [1.0], "kind = 'delta' is .* already .*'diagonal'"),
        ({"guide": {"kind": "von_mises_fisher"}}, [1.0], "sphere, .* choose .*'diagonal'"),
        ({}, [0.0, 1.0], r"betas = \[0.0, 1.0\] must be positive and different"),
        ({}, [1.0, 1.0], "must be positive and different"),
        ({}, [float("nan")], "must be positive and different"),
    ],
)
def test_what_has_no_variants_is_refused(spec: Any, betas: list[float], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        variants(InferenceSpec(**spec), betas)


def test_every_prior_and_guide_can_be_looked_at(
    make_vae: Any, covering_pair: Any, bits: Splits
) -> None:
    vae = make_vae(*covering_pair)
    found = ablate({"one": vae}, bits, samples=5)
    column = found.columns["one"]
    assert column.codes.shape == (60, 2)
    assert column.paths.shape == (3, POINTS, 5)
    assert column.samples.prior_samples.shape == (5, 5)
    assert 1 <= column.largest_step.value <= POINTS - 1
    assert "one: reconstruction" in found.summary()
    assert "one" in found.variables()["model"].values
    assert all(number.name.endswith(", one") for number in found.numbers())


def test_numbers_are_those_of_an_evaluation(make_vae: Any, bits: Splits) -> None:
    vae = make_vae()
    column = ablate({"": vae}, bits).columns[""]
    summary = evaluate(vae, bits.test)
    assert column.kl is not None
    assert column.elbo is not None
    assert column.reconstruction.value == pytest.approx(summary.reconstruction, rel=1e-12)
    assert column.kl.value == pytest.approx(summary.kl, rel=1e-12)
    assert column.elbo.value == pytest.approx(summary.elbo, rel=1e-12)
    assert column.elbo.error == pytest.approx(summary.standard_error, rel=1e-9)


def test_a_point_has_no_kl(make_vae: Any, bits: Splits) -> None:
    found = ablate({"point": make_vae("normal", "delta"), "density": make_vae()}, bits)
    assert found.columns["point"].kl is None
    assert found.columns["point"].elbo is None
    assert "no KL" in found.summary()
    names = [number.name for number in found.numbers()]
    assert "KL, density" in names
    assert "KL, point" not in names


def test_lines_lead_from_datum_to_datum_of_another_class(make_vae: Any) -> None:
    rows, classes = torch.rand(60, 5).double(), torch.arange(60) % 3  # all rows are different
    models = {"a": make_vae(), "b": make_vae("mixture", "full_rank")}
    found = ablate(models, splits(rows, classes))
    for first, second in found.ends:
        one, other = ((rows == end).all(1) for end in (first, second))
        assert classes[one].item() != classes[other].item()
    for name, vae in models.items():
        space = LatentSpace(vae, rows)
        for place, side in ((0, 0), (POINTS - 1, 1)):
            expected = space.decode(space.encode(found.ends[:, side]))
            torch.testing.assert_close(found.columns[name].paths[:, place], expected)


def test_steps_of_a_linear_decoder_are_all_alike(make_linear_gaussian: Any) -> None:
    oracle = make_linear_gaussian(data=80)
    column = ablate({"": oracle.vae}, splits(oracle.x)).columns[""]
    assert column.largest_step.value == pytest.approx(1.0, abs=1e-9)
    assert column.largest_step.error == pytest.approx(0.0, abs=1e-9)


def test_a_decoder_with_an_edge_makes_one_step(make_vae: Any, bits: Splits) -> None:
    vae = make_vae()
    smooth = ablate({"": vae}, bits).columns[""].largest_step.value
    with torch.no_grad():
        for parameter in vae.decoder.parameters():
            parameter.mul_(100.0)
        vae.posterior.family.loc.weight.mul_(10.0)
    assert ablate({"": vae}, bits).columns[""].largest_step.value > smooth + 1


def test_codes_that_do_not_move_have_no_steps(make_vae: Any, bits: Splits) -> None:
    vae = make_vae()
    with torch.no_grad():
        vae.posterior.family.loc.weight.zero_()
    column = ablate({"": vae}, bits).columns[""]
    assert column.active == 0
    assert column.largest_step.value != column.largest_step.value  # not a number
    assert torch.equal(column.paths[:, 0], column.paths[:, -1])


def test_the_aggregated_posterior_is_of_training_data(make_vae: Any, bits: Splits) -> None:
    other = splits(torch.zeros(50, 5).double())
    found = ablate({"": make_vae("normal", "delta")}, Splits(other.train, bits[1], bits[2]))
    codes = found.columns[""].samples.posterior_codes
    assert len(codes) == 50
    assert (codes == codes[0]).all()
    assert found.columns[""].missed.value in (0.0, 1.0)


def test_without_classes_there_are_none(make_vae: Any, bits: Splits) -> None:
    plain = splits(bits.test.x)
    found = ablate({"": make_vae()}, plain)
    assert found.labels is None
    assert "labels" not in found.variables()


def test_too_little_is_refused(make_vae: Any, bits: Splits) -> None:
    with pytest.raises(SpecError, match="no model"):
        ablate({}, bits)
    few = splits(bits.test.x[:49])
    with pytest.raises(DataError, match="50 are needed"):
        ablate({"": make_vae()}, few)


def test_no_more_lines_than_pairs_of_data(make_vae: Any) -> None:
    few = splits((torch.rand(50, 5) < 0.5).double())
    found = ablate({"": make_vae()}, Splits(few.train, few[1], few.test.first(21)))
    assert LINES > 21 // 2
    assert found.ends.shape == (3, 2, 5)


def test_lines_on_the_sphere_stay_on_it(make_vae: Any, bits: Splits) -> None:
    vae = make_vae("hyperspherical", "von_mises_fisher")
    found = ablate({"": vae}, bits)
    space = LatentSpace(vae, bits.test.x)
    first, second = (codes_on(space, found.ends[:, side]) for side in (0, 1))
    middle = first + second
    expected = space.decode(middle / middle.norm(dim=-1, keepdim=True))
    assert middle.norm(dim=-1).min() < 1.99  # a chord, not a point
    torch.testing.assert_close(found.columns[""].paths[:, POINTS // 2], expected)
