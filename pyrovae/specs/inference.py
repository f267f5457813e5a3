"""Keys of ``inference/*.toml``: the guide q(z | x), objective, optimiser and budget."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from pyrovae.specs.base import Count, Few, NonNegative, Positive, Size, Spec, by_key
from pyrovae.specs.guides import DiagonalGuideSpec, GuideSpec
from pyrovae.specs.objectives import (
    ELBOSpec,
    EnumeratedSpec,
    IWAESpec,
    MMDSpec,
    ObjectiveSpec,
    OwnObjectiveSpec,
    RenyiSpec,
    TotalCorrelationSpec,
)
from pyrovae.specs.own import BY_KIND, OwnSpec
from pyrovae.specs.resampling import ResamplingSpec
from pyrovae.specs.simulated import SimulatedSpec

Momentum = Annotated[float, Field(ge=0, lt=1)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


def _joined(tree: Any) -> Any:
    return by_key(tree) if isinstance(tree, dict) else tree


RatesOfParts = Annotated[
    dict[str, Positive], Field(min_length=1), BeforeValidator(_joined)  # a.b = 1, or "a.b" = 1
]
"""Learning rates of parts of the autoencoder, by what the names of their parameters begin with."""


class ConstantBetaSpec(Spec):
    """The same β at every step."""

    kind: Literal["constant"] = "constant"
    value: NonNegative = 1.0


class LinearBetaSpec(Spec):
    """From ``start`` to ``value`` over the first ``warmup_epochs``, then constant."""

    kind: Literal["linear"] = "linear"
    start: NonNegative = 0.0
    value: NonNegative = 1.0
    warmup_epochs: Positive = 10.0


class CyclicalBetaSpec(Spec):
    """``cycles`` times: from zero to ``value`` over ``rise`` of the cycle, then constant."""

    kind: Literal["cyclical"] = "cyclical"
    value: NonNegative = 1.0
    cycles: Few = 4
    rise: Fraction = 0.5


BetaSpec = Annotated[
    ConstantBetaSpec | LinearBetaSpec | CyclicalBetaSpec, Field(discriminator="kind")
]


class AdamFamilySpec(Spec):
    """Keys common to Adam and its relatives."""

    learning_rate: Positive = 1e-3
    learning_rates: RatesOfParts | None = None
    betas: Annotated[tuple[Momentum, Momentum], Field(strict=False)] = (0.9, 0.999)
    eps: Positive = 1e-8
    weight_decay: NonNegative = 0.0


class AdamSpec(AdamFamilySpec):
    """Adam (Kingma and Ba 2015)."""

    kind: Literal["adam"] = "adam"


class AdamWSpec(AdamFamilySpec):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    kind: Literal["adamw"] = "adamw"
    weight_decay: NonNegative = 0.01


class AdamaxSpec(AdamFamilySpec):
    """Adam under the infinity norm (Kingma and Ba 2015)."""

    kind: Literal["adamax"] = "adamax"
    learning_rate: Positive = 2e-3


class OwnOptimiserSpec(OwnSpec):
    """An optimiser of torch's or of a user's own, such as ``torch.optim:SGD``."""

    learning_rate: Positive = 1e-3
    learning_rates: RatesOfParts | None = None


OptimiserSpec = Annotated[AdamSpec | AdamWSpec | AdamaxSpec | OwnOptimiserSpec, BY_KIND]


class ConstantRateSpec(Spec):
    """The optimiser's learning rate throughout."""

    kind: Literal["constant"] = "constant"


class CosineRateSpec(Spec):
    """Half a cosine from the learning rate down to ``final`` times it."""

    kind: Literal["cosine"] = "cosine"
    final: Annotated[float, Field(ge=0, le=1)] = 0.0


class MultiStepRateSpec(Spec):
    """Multiplied by ``factor`` when each of the ``milestones`` (epochs) has passed."""

    kind: Literal["multi_step"] = "multi_step"
    milestones: Annotated[tuple[Count, ...], Field(min_length=1, strict=False)]
    factor: Positive = 0.1


class OwnRateSpec(OwnSpec):
    """A schedule of torch's, such as ``torch.optim.lr_scheduler:ExponentialLR``, or of one's own.

    It is that of a learning rate 1, which is stepped after every epoch or every step.
    """

    per: Literal["epoch", "step"] = "epoch"


RateSpec = Annotated[ConstantRateSpec | CosineRateSpec | MultiStepRateSpec | OwnRateSpec, BY_KIND]


class EarlyStoppingSpec(Spec):
    """Stop when the validation ELBO (β = 1) has not risen by ``min_delta`` nats in time."""

    patience: Count = 20
    min_delta: NonNegative = 0.0


class InferenceSpec(Spec):
    """Specification of the guide, objective, optimiser and budget."""

    section: ClassVar[str] = "inference"

    epochs: Size = 100
    batch_size: Count = 128
    accumulate: Count = 1
    seed: Seed = 0
    clip_norm: Positive | None = None
    guide: GuideSpec = DiagonalGuideSpec()
    objective: ObjectiveSpec = ELBOSpec()
    beta: BetaSpec = ConstantBetaSpec()
    optimiser: OptimiserSpec = AdamSpec()
    learning_rate_schedule: RateSpec = ConstantRateSpec()
    ema_decay: Momentum | None = None
    early_stopping: EarlyStoppingSpec | None = None
    resampling: ResamplingSpec | None = Field(default=None, discriminator="kind")
    simulated: SimulatedSpec | None = None
    frozen: Literal["none", "model"] = "none"

    @model_validator(mode="after")
    def _enough_data_to_compare(self) -> InferenceSpec:
        compares = isinstance(self.objective, TotalCorrelationSpec | MMDSpec)
        if compares and self.batch_size == 1:
            raise ValueError(
                f"inference.objective.kind = '{self.objective.kind}' compares the data of a batch "
                "with each other, and inference.batch_size = 1; choose 2 or more"
            )
        return self

    @model_validator(mode="after")
    def _enough_to_accumulate(self) -> InferenceSpec:
        if self.accumulate > self.batch_size:
            raise ValueError(
                f"inference.accumulate = {self.accumulate} parts of a batch, and "
                f"inference.batch_size = {self.batch_size}; choose at most {self.batch_size}"
            )
        return self

    @model_validator(mode="after")
    def _a_loss_to_weigh(self) -> InferenceSpec:
        weighed = self.resampling is not None and self.resampling.importance_weights
        if weighed and not isinstance(
            self.objective, ELBOSpec | EnumeratedSpec | IWAESpec | RenyiSpec | OwnObjectiveSpec
        ):
            raise ValueError(
                "inference.resampling.importance_weights = true weighs the loss of each "
                f"observation, and the loss of inference.objective.kind = '{self.objective.kind}' "
                "is no sum over data; choose 'elbo', 'enumerated', 'iwae' or 'renyi', or "
                "importance_weights = false"
            )
        return self
