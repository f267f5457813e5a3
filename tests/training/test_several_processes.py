"""Several processes with a share of each batch are one process with the whole of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from pyrovae import InferenceSpec, ModelSpec, Splits, Training, build
from pyrovae.compute.distributed import ALONE, Processes, let_others_end
from pyrovae.compute.randomness import seeded
from pyrovae.errors import DivergenceError, SpecError
from pyrovae.evaluation.bound import evaluate
from pyrovae.objectives import SampledELBO
from pyrovae.programs.autoencoder import Autoencoder, Formulas
from pyrovae.specs.computation import Computation
from pyrovae.specs.objectives import ObjectiveSpec
from pyrovae.specs.own import members
from pyrovae.training.loop import Callback
from pyrovae.training.step import Step

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
CLOSE: dict[str, Any] = {"rtol": 1e-12, "atol": 1e-12}
COMPARE = {"free_bits", "capacity", "tc", "mmd"}
EAGER = Computation(compile="off")


def kinds(union: Any) -> list[str]:
    return [each.model_fields["kind"].default for each in members(union)]


@pytest.fixture
def rows(few_digits: Splits) -> Splits:
    """A few observations of five bits."""
    x = torch.rand(len(few_digits.train.x), 5).round()
    plain: dict[str, Any] = {"x": x, "labels": None, "maximum": 1.0, "variables": {}}
    return Splits(*(replace(split, **plain) for split in few_digits))


class Classes(Autoencoder):
    """Programs with a class to sum out."""

    vectorisable = True

    def formulas(self) -> Formulas:
        return Formulas("p(z)", "p(x | z)", "q(z | x)")

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.classifier = nn.Linear(5, 2), nn.Linear(5, 3)
        self.decoder, self.means = nn.Linear(2, 5), nn.Parameter(torch.randn(3, 2))

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(x.new_ones(3) / 3))
            z = pyro.sample("z", dist.Normal(self.means[k], 1.0).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=self.decoder(z)).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("k", dist.Categorical(logits=self.classifier(x)))
            pyro.sample("z", dist.Normal(self.encoder(x), 1.0).to_event(1))


@contextmanager
def noise_of(index: Tensor, count: int) -> Iterator[None]:
    """Normal noise that an observation has also where it is alone; at ``index`` of ``count``."""
    calls = 0

    def fixed(shape: torch.Size, dtype: torch.dtype, device: torch.device) -> Tensor:
        nonlocal calls
        calls += 1
        with seeded(calls):
            whole = torch.randn(*shape[:-2], count, shape[-1], dtype=dtype, device=device)
        return whole[..., index, :]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.distributions.normal._standard_normal", fixed)
        yield


def gradients(step: Step, count: int) -> list[Tensor]:
    """The reported sums of a batch and its gradients, over the processes, in float64."""
    step.autoencoder.double()
    index = torch.arange(count)
    own = step.processes.share(index)
    step.set((0.7, 1e-3, 0.3))
    with noise_of(own, count), pyro.validation_enabled(False):
        x = step.batch(own)[0].x.double()
        found = step.differentiate(x) if len(own) else step.zeros()
    total, summed = step.exchange(found[0], found[1:], len(own) / count)
    return [total.clone(), *(each.clone() for each in summed)]


def test_gradients_are_those_of_the_whole_batch(
    rows: Splits, make_vae: Any, in_processes: Any
) -> None:
    """But for objectives that say that they compare the observations of a batch."""
    torch.manual_seed(0)
    vae, classes = make_vae(), Classes()
    specs = [
        InferenceSpec.model_validate({"objective": objective, "batch_size": 7})
        for kind in kinds(ObjectiveSpec)
        for objective in (
            {"kind": kind},
            {"kind": kind, "particles": 3},
            *([{"kind": kind, "gradient": each} for each in ("stl", "dreg")] * (kind == "iwae")),
        )
    ]

    def begin(spec: InferenceSpec, processes: Processes = ALONE) -> Training:
        pair = classes if spec.objective.kind == "enumerated" else vae
        return Training(pair.float(), rows, spec, EAGER, processes=processes)

    def work(processes: Processes) -> list[list[Tensor]]:
        steps = (begin(spec, processes).take_step for spec in specs)
        return [gradients(step, count) for step in steps for count in (7, 2)]

    compare = [begin(spec).objective.compares for spec in specs for _ in range(2)]
    kind = [spec.objective.kind for spec in specs for _ in range(2)]
    assert {k for k, c in zip(kind, compare, strict=True) if c} == COMPARE
    alone = work(ALONE)
    for size in (2, 3):
        for found in in_processes(size, work):
            for own, whole, compares in zip(found, alone, compare, strict=True):
                # But for the loss, and for squares within a batch, which no report has.
                sums = [0, 2, *range(4, len(whole[0]))]
                torch.testing.assert_close(own[0][sums], whole[0][sums], **CLOSE)
                if not compares:
                    torch.testing.assert_close(own[1:], whole[1:], **CLOSE)
                    torch.testing.assert_close(own[0][1], whole[0][1], **CLOSE)


POINT = {"guide": {"kind": "delta"}}


def spec_of(**keys: Any) -> InferenceSpec:
    return InferenceSpec.model_validate({"epochs": 3, "batch_size": 16, **keys})


@pytest.fixture
def begin(few_digits: Splits) -> Callable[..., Training]:
    """A training of the digits; always the same one."""

    def make(spec: InferenceSpec, processes: Processes = ALONE, **options: Any) -> Training:
        torch.manual_seed(0)
        model = ModelSpec.model_validate({"decoder": {"kind": "mlp", "widths": [16]}})
        vae = build(model, spec, few_digits)
        computation = options.pop("computation", EAGER)
        return Training(vae, few_digits, spec, computation, processes=processes, **options)

    return make


def trained(training: Training, *callbacks: Callback) -> tuple[dict[str, Any], list[Any]]:
    """The state that a training comes to, and its records."""
    if training.step == 0:
        torch.manual_seed(1)
    records = [{**vars(record), "seconds": 0.0} for record in training.run(callbacks)]
    return {**training.state_dict(), "seconds": 0.0}, records


def assert_close(first: Any, second: Any) -> None:
    for part in ("step", "weights", "optimiser", "tally"):
        torch.testing.assert_close(first[part], second[part], rtol=2e-4, atol=2e-5)


class StopAt(Callback):
    """Interrupts training after a step, in one process."""

    def __init__(self, step: int, rank: int = 0) -> None:
        self.step, self.rank = step, rank

    def on_step(self, training: Training) -> None:
        if training.processes.rank == self.rank and training.step == self.step:
            training.interrupted = True


def test_without_noise_several_processes_train_as_one_does(begin: Any, in_processes: Any) -> None:
    """Also with a last batch in which there is nothing for some; and all have the same weights."""
    specs = [
        spec_of(**POINT, batch_size=16, clip_norm=0.5),
        spec_of(**POINT, batch_size=13, beta={"kind": "linear", "warmup_epochs": 2}),
        spec_of(**POINT, resampling={"kind": "kernel", "importance_weights": True}),
    ]
    alone = [trained(begin(spec)) for spec in specs]
    for size in (2, 3):
        found = in_processes(size, lambda p: [trained(begin(spec, p)) for spec in specs])
        for states in found:
            for (state, records), (expected, history) in zip(states, alone, strict=True):
                assert_close(state, expected)
                for mine, theirs in zip(records, history, strict=True):
                    assert mine["elbo"] == pytest.approx(theirs["elbo"], rel=1e-4)
                    assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
        for rank in range(1, size):
            for (mine, _), (theirs, _) in zip(found[rank], found[0], strict=True):
                assert all(map(torch.equal, mine["weights"].values(), theirs["weights"].values()))


def test_a_training_goes_on_in_two_processes_and_then_in_one(
    begin: Any, in_processes: Any
) -> None:
    """Where there is no noise, as if it had been in one; the second stops within an epoch."""
    spec = spec_of(**POINT)
    whole, history = trained(begin(spec))
    begun, first = trained(begin(spec), StopAt(3))

    def go_on(state: dict[str, Any], processes: Processes, *callbacks: Callback) -> Any:
        training = begin(spec, processes)
        training.load_state_dict(state)
        return trained(training, *callbacks)

    (middle, second), _ = in_processes(
        2, lambda p: go_on(begun, p, StopAt(4))
    )  # both know after the next step
    end, third = go_on(middle, ALONE)
    assert [begun["step"], middle["step"], end["step"]] == [
        3,
        5,
        9,
    ]  # both know after the next step
    assert_close(end, whole)
    elbos = [record["elbo"] for record in first + second + third]
    assert elbos == pytest.approx([record["elbo"] for record in history], rel=1e-4)


def test_noise_differs_by_process_and_a_training_goes_on_bit_for_bit(
    begin: Any, in_processes: Any
) -> None:
    class Noise(Callback):
        def __init__(self) -> None:
            self.drawn: list[float] = []

        def on_step(self, training: Training) -> None:
            state = torch.get_rng_state()
            self.drawn.append(torch.rand(()).item())
            torch.set_rng_state(state)

    spec = spec_of(early_stopping={"patience": 2})

    def work(processes: Processes) -> Any:
        noise, elsewhere = Noise(), begin(spec, processes)
        whole = trained(begin(spec, processes), noise)
        begun, first = trained(begin(spec, processes), StopAt(4, rank=1))
        state = processes.first(begun)  # all that is saved
        elsewhere.load_state_dict(state)
        end, second = trained(elsewhere)
        return noise.drawn, whole, begun["step"], (end, first + second)

    found = in_processes(2, work)
    drawn = [each[0] for each in found]
    assert len({*drawn[0], *drawn[1]}) == 18  # 9 steps, none like another
    for _, (state, records), stopped, (end, both) in found:
        assert stopped == 5  # both know after the next step
        for part in ("weights", "optimiser", "tally", "best"):
            torch.testing.assert_close(end[part], state[part], rtol=0, atol=0)
        assert both == records
    state = trained(begin(spec))[0]["random"]["cpu"]
    assert torch.equal(found[0][1][0]["random"]["cpu"], state) is False  # half as much is drawn


def test_what_one_decides_all_do(begin: Any, in_processes: Any) -> None:
    class Enough(Callback):
        def on_epoch_end(self, training: Training, records: Any) -> None:
            training.satisfied = training.processes.is_first

    def work(processes: Processes) -> list[int]:
        satisfied = begin(spec_of(), processes)
        satisfied.run([Enough()])
        # Larger than any improvement: the first epoch is the best.
        patient = begin(spec_of(early_stopping={"patience": 1, "min_delta": 1e4}), processes)
        patient.run()
        before = begin(spec_of(), processes)
        before.interrupted = processes.rank == 1
        before.run()
        return [satisfied.step, patient.step, before.step]

    assert in_processes(2, work) == [[3, 6, 0]] * 2


def test_a_step_is_captured_in_each_process(
    begin: Any, in_processes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyrovae.compute.capture.Captured.compiled", lambda captured, _: captured)
    on = Computation(compile="on")

    def work(processes: Processes) -> Any:
        captured = begin(spec_of(batch_size=15), processes, computation=on)
        state, _ = trained(captured)
        return (
            state,
            trained(begin(spec_of(batch_size=15), processes))[0],
            [*captured.take_step.captured],
        )

    found = in_processes(2, work)
    for captured, expected, _ in found:
        assert_close(captured, expected)
    assert [sizes for *_, sizes in found] == [[8, 5], [7, 5]]  # of 15, 15 and 10


def test_a_loss_that_is_not_finite_ends_all_and_the_first_says_where(
    begin: Any, in_processes: Any
) -> None:
    class Spoilt(SampledELBO):
        """Not finite where an image begins with a 16, which in the first batch one does."""

        def bound(self, found: Any, beta: Any) -> Tensor:
            x = found.traces[0].model.nodes["x"]["value"]
            bound = super().bound(found, beta)
            return bound + torch.where(x.flatten(1)[:, 0] == 16, torch.inf, 0.0)

    def work(processes: Processes) -> str:
        training = begin(spec_of(), processes, objective=Spoilt())
        data = training.splits.train
        data.x[data.rows[training._order()[5]]].view(-1)[0] = 16  # of process 1
        with pytest.raises(DivergenceError) as raised:
            training.run()
        if processes.is_first:
            let_others_end()
        return str(raised.value)

    first, second = in_processes(2, work)
    assert first.startswith("process 1: epoch 1, step 1: the loss is not finite")
    assert second == ""  # one sentence for all


def test_the_bound_is_shared(begin: Any, in_processes: Any) -> None:
    training = begin(spec_of(**POINT))
    vae, data = training.autoencoder, training.splits.test
    whole = evaluate(vae, data, training.objective)
    few = replace(data, rows=data.rows[:2])  # one of three has none
    pair = evaluate(vae, few, training.objective)
    for found in in_processes(
        3, lambda p: [evaluate(vae, each, training.objective, processes=p) for each in (data, few)]
    ):
        for mine, theirs in zip(found, (whole, pair), strict=True):
            assert mine.count == theirs.count
            for name in ("elbo", "loss", "standard_error"):
                assert getattr(mine, name) == pytest.approx(getattr(theirs, name), rel=1e-5)
    noisy = begin(spec_of())
    bound = [evaluate(noisy.autoencoder, data, processes=p) for p in (ALONE, ALONE)]
    assert bound[0] == bound[1]
    one, two = in_processes(2, lambda p: evaluate(noisy.autoencoder, data, processes=p))
    assert one == two != bound[0]
    # An observation for each, the same one: only the noise differs.
    twice = replace(data, rows=data.rows[:1].repeat(2))
    same, _ = in_processes(2, lambda p: evaluate(noisy.autoencoder, twice, processes=p))
    assert same.standard_error > 0


def test_a_share_of_one_observation_is_refused_where_it_cannot_be_trained_on(
    rows: Splits,
) -> None:
    class Normalised(Classes):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(5)

        def guide(self, x: Tensor) -> None:
            super().guide(self.norm(x))

    spec = spec_of(batch_size=3, objective={"kind": "enumerated"})
    with pytest.raises(SpecError, match=r"one observation for a process of 2.*batch_size = 4"):
        Training(Normalised(), rows, spec, EAGER, processes=Processes(0, 2))
