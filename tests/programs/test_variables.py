"""Programs of several variables: what is known of them decides what they compute, exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from pyrovae import build
from pyrovae.data import Batch, from_arrays
from pyrovae.errors import SpecError
from pyrovae.evaluation.local import LocalPosterior
from pyrovae.evaluation.reconstruction import reconstruct
from pyrovae.objectives.elbo import SampledELBO
from pyrovae.objectives.enumerated import EnumeratedELBO
from pyrovae.programs.handwritten import Handwritten
from pyrovae.specs.program import ProgramSpec

N, EXACT = 40, 1e-10
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 3))

# p(y) p(x | y), and for an unknown class its posterior.
CLASS = """\
import pyro
import pyro.distributions as dist
import torch
from torch import nn

means = nn.Parameter(torch.tensor([[0.0, 1.0, 2.0], [1.0, -1.0, 0.5]]).double())
logits = nn.Parameter(torch.tensor([0.3, -0.4]).double())


def densities(x):
    means_, logits_ = pyro.param("means", means), pyro.param("logits", logits)
    return dist.Normal(means_, 1.0).to_event(1), dist.Categorical(logits=logits_)


def model(x, y, y_known):
    of_class, prior = densities(x)
    with pyro.plate("data", len(x)):
        k = pyro.sample("y", prior)
        pyro.sample("x", dist.Normal(means[k], 1.0).to_event(1), obs=x)


def guide(x, y, y_known):
    of_class, prior = densities(x)
    posterior = of_class.log_prob(x.unsqueeze(1)) + prior.logits
    certain = torch.eye(2).to(x)[y].log()
    logits = torch.where(y_known[:, None], certain, posterior)
    with pyro.plate("data", len(x)):
        pyro.sample("y", dist.Categorical(logits=logits))
"""


def class_program(path: Path, y: np.ndarray, known: np.ndarray) -> tuple[Handwritten, Batch]:
    (path / "cls.py").write_text(CLASS, encoding="utf-8")
    data = from_arrays(X, variables={"y": y, "y_known": known})
    program = Handwritten(path / "cls.py", data)
    seen = program.contract.apply(data).train
    batch = seen.batch(torch.arange(len(seen)))
    return program, batch.with_x(batch.x.double())


def log_joint(batch: Batch) -> Tensor:
    """Log p(x, y = k), ``(data, classes)``."""
    means = torch.tensor([[0.0, 1.0, 2.0], [1.0, -1.0, 0.5]]).double()
    prior = torch.tensor([0.3, -0.4]).double().log_softmax(0)
    return Normal(means, 1.0).log_prob(batch.x.unsqueeze(1)).sum(-1) + prior


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_known_classes_are_observed_and_the_others_summed_out(
    tmp_path: Path, share: float
) -> None:
    y, known = RNG.integers(0, 2, N), RNG.random(N) < share
    program, batch = class_program(tmp_path, y, known)
    joint = log_joint(batch)
    observed = joint.gather(1, batch.others["y"][:, None])[:, 0]
    expected = torch.where(batch.others["y_known"], observed, joint.logsumexp(1))
    loss, terms = EnumeratedELBO().loss_and_terms(program, batch)
    assert torch.allclose(terms.elbo, expected, atol=EXACT)
    assert abs(loss + expected.mean()) < EXACT
    # The guide is exact: each draw of it has the weight p(x), or p(x, y).
    drawn = LocalPosterior(program, batch).draw(3)
    assert torch.allclose(drawn.log_weight, expected.expand(3, -1), atol=EXACT)


def test_what_stands_for_an_unknown_class_changes_no_bit(tmp_path: Path) -> None:
    y, known = RNG.integers(0, 2, N), RNG.random(N) < 0.5
    found = []
    for other in (y, np.where(known, y, 1 - y)):
        program, batch = class_program(tmp_path, other, known)
        loss, _ = EnumeratedELBO().loss_and_terms(program, batch)
        found.append([loss, *torch.autograd.grad(loss, list(program.parameters()))])
    assert all(map(torch.equal, *found))


# A linear model of columns, some of them unknown, and the exact posterior of its latents.
COLUMNS = """\
import pyro
import pyro.distributions as dist
import torch
from torch import nn

weight = nn.Parameter(torch.tensor([[1.0, 0.5], [-0.5, 1.0], [0.3, -2.0]]).double())


def model(x, x_known):
    w = pyro.param("weight", weight)
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), x.new_ones(2)).to_event(1))
        pyro.sample("x", dist.Normal(z.to(w) @ w.T, 0.7).mask(x_known).to_event(1), obs=x)


def guide(x, x_known):
    w = pyro.param("weight", weight)
    x, shown = x.to(w), x_known.to(w)
    precision = torch.eye(2).to(w) + torch.einsum("nd,di,dj->nij", shown, w, w) / 0.49
    loc = torch.linalg.solve(precision, (x * shown) @ w / 0.49)
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.MultivariateNormal(loc, precision_matrix=precision))
"""


def test_unknown_columns_are_integrated_out(tmp_path: Path) -> None:
    known = RNG.random(X.shape) < 0.6
    (tmp_path / "columns.py").write_text(COLUMNS, encoding="utf-8")
    data = from_arrays(np.where(known, X, np.nan), variables={"x_known": known})
    program = Handwritten(tmp_path / "columns.py", data)
    seen = program.contract.apply(data).train
    batch = seen.batch(torch.arange(len(seen)))
    batch = batch.with_x(batch.x.double())
    weight = torch.tensor([[1.0, 0.5], [-0.5, 1.0], [0.3, -2.0]]).double()
    covariance = weight @ weight.T + 0.49 * torch.eye(3)
    expected = [marginal(x, covariance, shown) for x, shown in zip(*batch.tensors, strict=True)]
    drawn = LocalPosterior(program, batch).draw(2)
    assert torch.allclose(drawn.log_weight, torch.stack(expected).expand(2, -1), atol=1e-8)


def marginal(x: Tensor, covariance: Tensor, shown: Tensor) -> Tensor:
    """Log-density of the known values of a normal vector with mean zero."""
    if not shown.any():
        return x.new_zeros(())
    part = covariance[shown][:, shown]
    return MultivariateNormal(x.new_zeros(len(part)), part).log_prob(x[shown])


OBJECT = """\
import pyro
import pyro.distributions as dist
import torch
from torch import nn


class Conditional(nn.Module):
    def __init__(self, z_dim, width=4):
        super().__init__()
        self.z_dim = z_dim
        self.encoder = nn.Sequential(nn.Linear(4, width), nn.Linear(width, 2 * z_dim))
        self.decoder = nn.Linear(z_dim + 1, 3)

    def model(self, xs, dose=None):
        pyro.module("conditional", self)
        with pyro.plate("data", len(xs)):
            z = pyro.sample("z", dist.Normal(xs.new_zeros(self.z_dim), 1.0).to_event(1))
            loc = self.decoder(torch.cat([z, dose[:, None]], -1))
            pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=xs)

    def guide(self, xs, dose=None):
        pyro.module("conditional", self)
        with pyro.plate("data", len(xs)):
            loc, raw = self.encoder(torch.cat([xs, dose[:, None]], -1)).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, raw.exp()).to_event(1))
"""


def conditional(path: Path, **arguments: Any) -> tuple[Handwritten, Batch]:
    (path / "cvae.py").write_text(OBJECT, encoding="utf-8")
    data = from_arrays(X, variables={"dose": X[:, 0] ** 2})
    program = Handwritten(ProgramSpec(path / "cvae.py", arguments), data)
    return program, program.contract.apply(data).train.batch(torch.arange(10))


def test_an_object_is_made_with_its_arguments(tmp_path: Path) -> None:
    program, batch = conditional(tmp_path, z_dim=5)
    assert program.traces(batch).model.nodes["z"]["value"].shape == (10, 5)
    assert {name.partition(".")[0] for name, _ in program.named_parameters()} == {"program"}


def test_stock_svi_takes_the_variables_by_position_or_by_name(tmp_path: Path) -> None:
    program, batch = conditional(tmp_path, z_dim=2)
    written = program.file.owner
    losses = []
    named = {"xs": batch.x, "dose": batch.others["dose"]}
    for positional, by_name in ((tuple(named.values()), {}), ((), named)):
        for elbo in (Trace_ELBO(), SampledELBO()):
            pyro.clear_param_store()
            svi = SVI(written.model, written.guide, pyro.optim.Adam({"lr": 0.0}), elbo)
            pyro.set_rng_seed(0)
            losses.append(svi.step(*positional, **by_name))
    assert losses == pytest.approx([losses[0]] * 4, rel=1e-5)


@pytest.mark.parametrize(
    ("text", "arguments", "complaint"),
    [
        (OBJECT, {}, "Conditional needs z_dim: set it with --set program.z_dim="),
        (OBJECT, {"z_dim": 2, "depth": 1}, "--set program.depth: Conditional in .* takes z_dim"),
        (OBJECT, {"z_dim": "two"}, "Conditional cannot be made: TypeError"),
        (OBJECT.replace("dose=None", "doze"), {"z_dim": 2}, "takes doze, and array has x, dose:"),
        (CLASS, {"z_dim": 2}, "--set program.z_dim: .* defines functions"),
        (OBJECT + OBJECT.replace("Conditional", "Other"), {}, "several classes .* Other"),
        ("x = 1", {}, "no function model"),
    ],
)
def test_what_cannot_be_made_is_said(
    tmp_path: Path, text: str, arguments: dict[str, Any], complaint: str
) -> None:
    (tmp_path / "program.py").write_text(text, encoding="utf-8")
    data = from_arrays(X, variables={"dose": X[:, 0] ** 2})
    with pytest.raises(SpecError, match=complaint):
        Handwritten(ProgramSpec(tmp_path / "program.py", arguments), data)


def test_programs_by_hand_have_the_face_of_declared_ones(tmp_path: Path) -> None:
    (tmp_path / "cvae.py").write_text(OBJECT.replace("z_dim,", "z_dim=2,"), encoding="utf-8")
    data = from_arrays(X, variables={"dose": X[:, 0] ** 2})
    program = build(tmp_path / "cvae.py", "svi", data)
    batch = program.contract.apply(data).test.batch(torch.arange(4))
    q = program.encode(batch.x, **batch.others)
    trace = program.traces(batch)
    assert torch.equal(q.mean, trace.guide.nodes["z"]["fn"].mean)
    p = program.decode(q.mean, **batch.others)
    assert p.batch_shape == (4,)
    assert torch.equal(program.reconstruct(batch.x, **batch.others), p.mean)
    assert torch.equal(p.mean, reconstruct(program, batch))
    other = program.decode(q.mean, dose=batch.others["dose"] + 1)
    assert not torch.equal(other.mean, p.mean)
    torch.manual_seed(0)
    drawn = program.sample(2_000, dose=torch.ones(2_000))
    weight, bias = program.program.decoder.weight.double(), program.program.decoder.bias.double()
    mean = weight[:, 2] + bias
    scale = (weight[:, :2].square().sum(1) + 1).sqrt()  # z and noise are standard normal
    assert ((drawn.double().mean(0) - mean) / scale * 2_000**0.5).abs().max() < 5


def test_several_sites_are_encoded_and_decoded_by_name(tmp_path: Path) -> None:
    text = CLASS.replace('k = pyro.sample("y", prior)', 'k = pyro.sample("y", prior)\n' + SECOND)
    text += '        pyro.sample("second", dist.Normal(x[:, 0], 1.0))\n'
    (tmp_path / "two.py").write_text(text, encoding="utf-8")
    data = from_arrays(X, variables={"y": np.zeros(N, int), "y_known": np.ones(N, bool)})
    program = build(tmp_path / "two.py", "svi", data)
    batch = program.contract.apply(data).test.batch(torch.arange(3))
    q = program.encode(batch.x.double(), **batch.others)
    assert list(q) == ["y", "second"]
    p = program.decode({"y": torch.tensor([0, 1, 1]), "second": torch.zeros(3).double()})
    means = torch.tensor([[0.0, 1.0, 2.0], [1.0, -1.0, 0.5], [1.0, -1.0, 0.5]]).double()
    assert torch.equal(p.mean, means)


SECOND = '        pyro.sample("second", dist.Normal(x.new_zeros(()), 1.0))'


GIVEN = """\
import pyro
import pyro.distributions as dist
import torch
from torch import nn

encoder = nn.Linear(3, 2)
decoder = nn.Linear(2, 3)


def model(x, group=None, x_known=None):
    pyro.module("decoder", decoder)
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        loc = decoder(z) if group is None else decoder(z) + 1000.0 * group[:, None]
        p = dist.Normal(loc, 1.0)
        p = (p if x_known is None else p.mask(x_known)).to_event(1)
        pyro.sample("x", p, obs=x)


def guide(x, group=None):
    pyro.module("encoder", encoder)
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(encoder(x), 1.0).to_event(1))
"""


@pytest.mark.parametrize("grouped", [True, False])
def test_draws_depend_on_what_the_model_takes_and_does_not_draw(
    tmp_path: Path, *, grouped: bool
) -> None:
    (tmp_path / "given.py").write_text(GIVEN, encoding="utf-8")
    group = {"group": np.arange(N) % 3} if grouped else {}
    program = Handwritten(tmp_path / "given.py", from_arrays(X, variables=group))
    assert program.conditions == (("group",) if grouped else ())
    if grouped:
        drawn = program.sample(4, group=torch.tensor([0, 1, 2, 5]))
        assert (drawn.mean(1) / 1000).round().tolist() == [0, 1, 2, 5]


def test_a_known_or_unknown_class_is_no_condition_of_draws(tmp_path: Path) -> None:
    program, _ = class_program(tmp_path, np.arange(N) % 2, np.arange(N) % 3 == 0)
    assert program.conditions == ()


def test_draws_have_all_values_also_where_those_of_data_are_not_known(tmp_path: Path) -> None:
    (tmp_path / "given.py").write_text(GIVEN, encoding="utf-8")
    hidden = {"x_known": np.zeros((N, 3), dtype=bool)}
    program = Handwritten(tmp_path / "given.py", from_arrays(X, variables=hidden))
    assert program.conditions == ()
    assert program.sample(5).ne(0).all()  # what is not known is stored as zero
