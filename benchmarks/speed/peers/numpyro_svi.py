"""NumPyro: a block of steps inside one ``jit``, the gather of the batch included."""

from __future__ import annotations

from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from clock import Clock
from jax import lax
from noise import fixed_in_jax
from numpyro.infer import SVI, RenyiELBO, Trace_ELBO, TraceMeanField_ELBO
from problems import LEARNING_RATE, SCALE_FLOOR, Problem
from weights import Weights, smallest

ACTIVATIONS = {
    "softplus": jax.nn.softplus,
    "tanh": jnp.tanh,
    "identity": lambda x: x,
    "relu": jax.nn.relu,
}
Params = dict[str, jax.Array]


class NumPyro:
    """``SVI.update`` in a ``lax.fori_loop``, or step by step where that is faster."""

    def __init__(self, problem: Problem, data: Any, weights: Weights, device: str) -> None:
        del device  # JAX has been told of the CPU alone
        self.problem = problem
        self.activation = ACTIVATIONS[problem.activation]
        self.data = jnp.asarray(data)
        self.weights = {name: jnp.asarray(laid_out(name, weights[name])) for name in weights}
        optimiser = numpyro.optim.Adam(LEARNING_RATE)
        self.svi = SVI(self.model, self.guide, optimiser, self.elbo())
        self.state = self.svi.init(jax.random.key(0), self.data[: problem.batch] * 1.0)

    def model(self, x: jax.Array) -> None:
        params = self.params("decoder")
        with numpyro.plate("data", len(x)):
            z = numpyro.sample("z", self.prior())
            logits = self.decode(params, z)
            numpyro.sample("x", dist.Bernoulli(logits=logits).to_event(x.ndim - 1), obs=x)

    def guide(self, x: jax.Array) -> None:
        loc, scale = self.encode(self.params("encoder"), x)
        with numpyro.plate("data", len(x)):
            numpyro.sample("z", dist.Normal(loc, scale).to_event(1))

    def prior(self) -> Any:
        if not self.problem.pseudo_inputs:
            return dist.Normal(jnp.zeros(self.problem.latent_dim), 1.0).to_event(1)
        pseudo_inputs = self.params("pseudo_inputs")["pseudo_inputs"]
        loc, scale = self.encode(self.params("encoder"), jnp.clip(pseudo_inputs, 0, 1))
        weights = dist.Categorical(logits=jnp.zeros(len(loc)))
        return dist.MixtureSameFamily(weights, dist.Normal(loc, scale).to_event(1))

    def params(self, role: str) -> Params:
        return {
            name: numpyro.param(name, value)
            for name, value in self.weights.items()
            if name.startswith(role)
        }

    def encode(self, params: Params, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        for index in range(len(self.problem.widths)):
            x = self.activation(self.hidden(params, f"encoder.hidden.{index}", x))
        features = x.reshape(len(x), -1)
        loc = linear(params, "encoder.loc", features)
        return loc, jax.nn.softplus(linear(params, "encoder.scale", features)) + SCALE_FLOOR

    def decode(self, params: Params, z: jax.Array) -> jax.Array:
        if self.problem.network != "conv":
            for index in range(len(self.problem.widths)):
                z = self.activation(self.hidden(params, f"decoder.hidden.{index}", z))
            return linear(params, "decoder.last", z)
        side = smallest(self.problem)
        images = linear(params, "decoder.hidden.0", z).reshape(len(z), -1, side, side)
        names = [f"decoder.hidden.{index}" for index in range(1, len(self.problem.widths))]
        for name in (*names, "decoder.last"):
            enlarged = self.activation(images).repeat(2, axis=2).repeat(2, axis=3)
            images = convolution(params, name, enlarged, stride=1)
        return images

    def hidden(self, params: Params, name: str, x: jax.Array) -> jax.Array:
        match self.problem.network:
            case "conv":
                return convolution(params, name, x, stride=2)
            case "gated":
                gate = jax.nn.sigmoid(linear(params, f"{name}.gate", x))
                return linear(params, f"{name}.value", x) * gate
            case _:
                return linear(params, name, x)

    def elbo(self) -> Any:
        if self.problem.bound == "exact":
            return TraceMeanField_ELBO()
        if self.problem.bound == "sampled":
            return Trace_ELBO()
        return RenyiELBO(alpha=0, num_particles=self.problem.particles)

    def loss(self, x: Any) -> float:
        elbo = self.elbo()
        # As its own way to run particles side by side, but with a name to tell them apart.
        elbo.vectorize_particles_fn = lambda function, keys: jax.vmap(
            function, axis_name="particles"
        )(keys)
        params = self.svi.get_params(self.state)
        with fixed_in_jax(self.problem):
            batch = jnp.asarray(x, dtype=jnp.float32)
            value = elbo.loss(jax.random.key(0), params, self.model, self.guide, batch)
        return float(value) / len(x)

    def train(self, clock: Clock) -> NoReturn:
        # XLA's convolutions on the CPU are ten times as slow inside a loop of its own.
        at_once = 1 if self.problem.network == "conv" else clock.steps
        compiled = jax.jit(self.block, donate_argnums=0)
        order = Order(self.problem)
        while True:
            for index in np.split(order.next(clock.steps), clock.steps // at_once):
                self.state = compiled(self.state, self.data, index)
            jax.block_until_ready(self.state)
            clock.reached(order.steps)

    def block(self, state: Any, data: jax.Array, index: jax.Array) -> Any:
        """As many steps as there are rows in the indices ``(steps, batch)``."""

        def step(number: int, state: Any) -> Any:
            x = data[index[number]].astype(jnp.float32)
            return self.svi.update(state, x)[0]

        if len(index) == 1:
            return step(0, state)
        return lax.fori_loop(0, len(index), step, state)


class Order:
    """Which data are in the steps: epoch after epoch in random order."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.rng = np.random.default_rng(0)
        self.steps = 0
        self.left = np.empty((0, problem.batch), dtype=np.int32)

    def next(self, steps: int) -> Any:
        """Indices ``(steps, batch)``."""
        while len(self.left) < steps:
            epoch = self.rng.permutation(self.problem.rows).astype(np.int32)
            self.left = np.concatenate([self.left, epoch.reshape(-1, self.problem.batch)])
        chosen, self.left = self.left[:steps], self.left[steps:]
        self.steps += steps
        return chosen


def laid_out(name: str, value: Any) -> Any:
    """A matrix as ``(inputs, outputs)``, which is what JAX's own libraries keep."""
    return value.T if name.endswith(".weight") and value.ndim == 2 else value


def linear(params: Params, name: str, x: jax.Array) -> jax.Array:
    return x @ params[f"{name}.weight"] + params[f"{name}.bias"]


def convolution(params: Params, name: str, x: jax.Array, stride: int) -> jax.Array:
    """3 x 3 on ``(batch, channels, height, width)``, each side padded by one."""
    kernel, bias = params[f"{name}.weight"], params[f"{name}.bias"]
    padding, strides = [(1, 1), (1, 1)], (stride, stride)
    return lax.conv_general_dilated(x, kernel, strides, padding) + bias[:, None, None]
