"""A Pyro program as one graph of tensor arithmetic.

Handlers, plates and distributions are Python that runs; what they leave behind is arithmetic on
tensors. Here it is written down once and from then on done without them.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from pyrovae.compute.randomness import seeded
from pyrovae.errors import reason

Function = Callable[..., Sequence[Tensor]]

# Four thousand take the compiler some 50 s (benchmarks/speed/programs.py), and a sequence of 160
# steps has fifty thousand.
MOST_COMPILED = 5000


class CaptureError(Exception):
    """A function cannot be captured; the message is the reason."""


class Captured(NamedTuple):
    """A captured function of tensors, without its Python.

    Tensors that the function found elsewhere (parameters, buffers, β) are read where they are,
    again in each call: what is written into them in place is seen. Random numbers are drawn from
    the global stream, as many and in the same order as before.

    Attributes:
        run: The arithmetic, of ``found`` and the inputs.
        found: The tensors that are no inputs.
        operations: How many operations it was written down with.
        obstacle: Why it is not compiled; None if it is.
    """

    run: Callable[..., Sequence[Tensor]]
    found: list[Tensor]
    operations: int
    obstacle: str | None = "not compiled"

    def __call__(self, *inputs: Tensor) -> Sequence[Tensor]:
        """The function's output, without a gradient."""
        with torch.no_grad():
            return self.run(*self.found, *inputs)

    def compiled(self, inputs: Sequence[Tensor]) -> Captured:
        """The same, compiled for inputs of these shapes; or uncompiled, with the obstacle."""
        if self.operations > MOST_COMPILED:
            return self._replace(obstacle="not compiled: so many take a compiler too long")
        import torch._inductor
        from torch._guards import TracingContext, tracing
        from torch._subclasses import FakeTensorMode
        from torch.fx.experimental.symbolic_shapes import ShapeEnv

        # torch built for CUDA says on a machine without that it found none.
        logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
        # These and no copies: code is made for their strides.
        tensors: list[Any] = [*self.found, *inputs]
        kept = [tensor.clone() for tensor in self.found]
        graph: Any = self.run
        # Random numbers as torch draws them: a seed gives the same run, compiled or not. At the
        # end of a parallel loop threads wait for each other, on a busy machine for longer than the
        # loop takes: so loops over fewer than 4096 elements a thread are not parallel.
        options = {"fallback_random": True, "cpp.min_chunk_size": 4096}
        # Torch keeps on disk what it has compiled, for the next process with the same graph, but
        # only where there is an environment of shapes; here all of them are constants. In one,
        # convolutions take 1.6 times as long.
        shapes = FakeTensorMode(
            shape_env=ShapeEnv(assume_static_by_default=True), allow_non_fake_inputs=True
        )
        convolves = any("convolution" in str(node.target) for node in graph.graph.nodes)
        try:
            with (
                torch.no_grad(),
                seeded(0, inputs[0].device),
                warnings.catch_warnings(),
                tracing(None if convolves else TracingContext(shapes)),
            ):
                warnings.simplefilter("ignore")  # of torch's compiler about torch
                run: Any = torch._inductor.compile(graph, tensors, options=options)
                run(*tensors)
        except Exception as error:  # no compiler, or one that fails: both have many names
            return self._replace(obstacle=f"not compiled: {reason(error)}")
        finally:
            for tensor, value in zip(self.found, kept, strict=True):
                if not torch.equal(tensor, value):
                    tensor.copy_(value)
        return self._replace(run=run, obstacle=None)


def capture(function: Function, state: nn.Module, *examples: Sequence[Tensor]) -> Captured:
    """Capture a function of tensors.

    Args:
        function: Returns tensors; what it draws comes from the global random stream. Gradients
            that it takes are part of it.
        state: Whose parameters and buffers it may read or write; they are as they were afterwards.
        examples: Two lists of inputs, different data of the same shapes.

    Raises:
        CaptureError: What the function does depends on the values of tensors, or changes from
            call to call.
    """
    graph, found = _trace(function, state, examples[0])
    # Whatever changes in training is another the second time, so that a number that was read out
    # of it is found.
    again, found_again = _trace(function, state, examples[1], seed=1, moved=True)
    if graph.code != again.code or not _same(found, found_again):
        raise CaptureError(
            "the programs do something else when they are run again: what changes from step to "
            "step must stay in tensors, and random numbers must be torch's"
        )
    operations = sum(node.op == "call_function" for node in graph.graph.nodes)
    captured = Captured(graph, found, operations)
    expected = _sample(function, state, examples[1])
    got = _sample(captured.__call__, state, examples[1])
    if not all(_close(mine, theirs) for mine, theirs in zip(got, expected, strict=True)):
        raise CaptureError(
            "captured, the programs give other numbers: they may seed the random stream themselves"
        )
    return captured


def tensors_of(state: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers, non-persistent ones included."""
    return {**dict(state.named_parameters()), **dict(state.named_buffers())}


def _trace(
    function: Function,
    state: nn.Module,
    inputs: Sequence[Tensor],
    seed: int = 0,
    *,
    moved: bool = False,
) -> tuple[GraphModule, list[Tensor]]:
    """The arithmetic as a graph, and the tensors that it takes before its inputs."""
    from torch._guards import TracingContext, tracing
    from torch._subclasses import FakeTensorMode
    from torch.fx.experimental.proxy_tensor import make_fx

    # The mode in which shapes are noted; without one here torch makes one for each operation,
    # and walks up the stack for it.
    shapes = TracingContext(FakeTensorMode())
    with undone(state), seeded(seed, inputs[0].device), tracing(shapes):
        if moved:
            _move(state)
        try:
            # A list, whatever tuple it was: that is what comes out of a compiled graph.
            graph = make_fx(lambda *tensors: [*function(*tensors)])(*inputs)
        except Exception as error:  # whatever a program does that is no arithmetic
            raise CaptureError(_explained(error)) from error
    return graph, _lift(graph)


def _sample(function: Function, state: nn.Module, inputs: Sequence[Tensor]) -> list[Tensor]:
    """The function's output, always with the same random numbers."""
    with undone(state), seeded(2, inputs[0].device):
        _move(state)
        return [tensor.detach().clone() for tensor in function(*inputs)]


def _close(first: Tensor, second: Tensor) -> bool:
    """True if outputs agree, up to sums in another order."""
    first, second = first.nan_to_num(), second.nan_to_num()
    return bool((first - second).norm() <= 1e-3 * second.norm())


@contextmanager
def undone(state: nn.Module) -> Iterator[None]:
    """Restore parameters and buffers afterwards, in the same tensors."""
    kept = {name: (tensor, tensor.clone()) for name, tensor in tensors_of(state).items()}
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value in kept.values():
                tensor.copy_(value)
            # A program may have put another tensor in a buffer's place.
            for name, tensor in state.named_buffers():
                if name in kept and tensor is not kept[name][0]:
                    tensor.copy_(kept[name][1])


@torch.no_grad()
def _move(state: nn.Module) -> None:
    for tensor in tensors_of(state).values():
        if tensor.is_floating_point():
            tensor.mul_(1.001).add_(1e-3)


def _explained(error: Exception) -> str:
    text = reason(error)
    if "tracing tensor" in text or "_local_scalar_dense" in text:
        return (
            "the programs take a number out of a tensor, as by .item(), float() or an if, and "
            "what is captured would have the same number in every step"
        )
    return text


def _lift(graph: GraphModule) -> list[Tensor]:
    """Turn the tensors that a graph holds into inputs before all others."""
    nodes = graph.graph.nodes
    first = next(iter(nodes))
    inputs: dict[str, Any] = {}
    for node in list(nodes):
        if node.op == "get_attr":
            if node.target not in inputs:
                with graph.graph.inserting_before(first):
                    inputs[node.target] = graph.graph.placeholder(f"found{len(inputs)}")
            node.replace_all_uses_with(inputs[node.target])
            graph.graph.erase_node(node)
    graph.recompile()
    return [_tensor(graph, name).detach() for name in inputs]


def _tensor(graph: GraphModule, name: str) -> Tensor:
    held = getattr(graph, name)
    if isinstance(held, Tensor):
        return held
    raise CaptureError(
        f"the programs hold a {type(held).__name__}, which is no tensor: random numbers must come "
        "from torch's own stream"
        if isinstance(held, torch.Generator)
        else f"the programs hold a {type(held).__name__}, which is no tensor"
    )


def _same(first: list[Tensor], second: list[Tensor]) -> bool:
    """True if two lists hold the same tensors, or others made on the way of equal values."""
    return len(first) == len(second) and all(
        a.data_ptr() == b.data_ptr() or torch.equal(a, b)
        for a, b in zip(first, second, strict=True)
    )
