"""Encoder and decoder as programs that run without pyrovae, for serving."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import pyro
import torch
from torch import Tensor, nn

from pyrovae.errors import PyrovaeError, SpecError, nearest, reason
from pyrovae.programs.autoencoder import Autoencoder
from pyrovae.programs.vae import VAE
from pyrovae.runs.atomic_files import write_atomically

Part = Literal["encoder", "decoder"]
Format = Literal["pt2", "onnx"]

TOLERANCE = 1e-5
PACKAGES = {"pt2": (), "onnx": ("onnx", "onnxscript")}

Program = Callable[[Tensor], Sequence[Tensor]]
"""An exported program."""


class EncoderProgram(nn.Module):
    """From data ``(batch, *shape)`` to mean and, if known, standard deviation of q(z | x)."""

    def __init__(self, vae: VAE, x: Tensor) -> None:
        super().__init__()
        self.vae = vae
        self.outputs = [name for name in ("mean", "stddev") if _is_known(vae.encode(x), name)]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        found = self.vae.posterior(self.vae.encoder_input(x))
        return tuple(getattr(found, name) for name in self.outputs)


class DecoderProgram(nn.Module):
    """From latents ``(batch, latent_dim)`` to the mean of p(x | z)."""

    def __init__(self, vae: VAE) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, z: Tensor) -> tuple[Tensor, ...]:
        return (self.vae.likelihood(self.vae.decoder(z)).mean,)


def export_networks(
    vae: Autoencoder,
    folder: str | Path,
    format: Format = "pt2",
    parts: Sequence[Part] = get_args(Part),
) -> list[Path]:
    """Write encoder and decoder as programs that run without pyrovae, on any number of data.

    The encoder takes float32 data as the model sees them, ``(batch, *shape)``, and gives the mean
    of q(z | x), ``(batch, latent_dim)``, and its standard deviation where there is one in closed
    form. The decoder takes latents, ``(batch, latent_dim)``, and gives the mean of p(x | z). Each
    file is read again and compared with the model, to 1e-5, before it is kept.

    Args:
        vae: Its weights; on any device. The programs run on the CPU.
        folder: Where ``encoder`` and ``decoder`` with the format as ending are put; made if it is
            not there.
        format: "pt2", which ``torch.export.load`` reads, or "onnx", for which onnx and onnxscript
            have to be installed.
        parts: Which of the two.

    Returns:
        The files.

    Raises:
        SpecError: A program by hand; a guide whose mean is not known; a network that cannot be
            exported to that format; an unknown part or format; or a package that is missing.
    """
    if not isinstance(vae, VAE):
        raise SpecError(
            f"export_networks(vae, folder): {type(vae).__name__} is no VAE of encoder and "
            "decoder; of a program by hand give its networks to torch.export.export"
        )
    _require("format", format, get_args(Format))
    for part in parts:
        _require("parts", part, get_args(Part))
    missing = [name for name in PACKAGES[format] if importlib.util.find_spec(name) is None]
    if missing:
        raise SpecError(
            f"export_networks(format='{format}'): {' and '.join(missing)} not installed: pip "
            f"install {' '.join(missing)}"
        )
    vae = copy.deepcopy(vae).cpu().eval().requires_grad_(False)
    Path(folder).mkdir(parents=True, exist_ok=True)
    with torch.no_grad(), pyro.validation_enabled(False):
        return [_export(vae, part, Path(folder) / f"{part}.{format}", format) for part in parts]


def _export(vae: VAE, part: Part, path: Path, format: Format) -> Path:
    network, example = _network(vae, part)
    try:
        batch = torch.export.Dim("batch")
        program = torch.export.export(network, (example,), dynamic_shapes=({0: batch},))
        content, run = (_pt2 if format == "pt2" else _onnx)(program)
    except Exception as error:  # exporters raise anything
        raise SpecError(
            f"export_networks(format='{format}'): the {part} cannot be exported: {_cause(error)}"
            + ("; format='pt2' may do" if format == "onnx" else "")
        ) from None
    more = torch.cat([example, example + 0.5, example[:1]])
    for found, known in zip(run(more), network(more), strict=True):
        if not torch.allclose(found, known, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True):
            raise PyrovaeError(
                f"{path}: the exported {part} differs from the model by "
                f"{(found - known).abs().max():.2g}, and is not written"
            )
    write_atomically(path, content)
    return path


def _network(vae: VAE, part: Part) -> tuple[nn.Module, Tensor]:
    """A part, and two inputs of it."""
    if part == "decoder":
        return DecoderProgram(vae), torch.linspace(-1, 1, 2 * vae.prior.latent_dim).reshape(2, -1)
    x = torch.zeros(2, *(vae.shape or ()))
    encoder = EncoderProgram(vae, x)
    if "mean" not in encoder.outputs:
        raise SpecError(
            "export_networks(vae, folder): the mean of q(z | x) is not known, only draws from it; "
            "parts=['decoder'] exports the rest"
        )
    return encoder, x


def _pt2(program: torch.export.ExportedProgram) -> tuple[bytes, Program]:
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    content = buffer.getvalue()
    return content, torch.export.load(io.BytesIO(content)).module()


def _onnx(program: torch.export.ExportedProgram) -> tuple[bytes, Program]:
    found: Any = torch.onnx.export(program, dynamo=True, verbose=False)
    content = found.model_proto.SerializeToString()
    reference = importlib.import_module("onnx.reference")
    evaluator = reference.ReferenceEvaluator(found.model_proto)

    def run(x: Tensor) -> list[Tensor]:
        arrays = evaluator.run(None, {evaluator.input_names[0]: x.numpy()})
        return [torch.as_tensor(array) for array in arrays]

    return content, run


def _is_known(distribution: Any, name: str) -> bool:
    try:
        getattr(distribution, name)
    except NotImplementedError:
        return False
    return True


def _cause(error: BaseException) -> str:
    """The reason at the beginning of a chain of errors."""
    while error.__cause__ is not None:
        error = error.__cause__
    return reason(error)


def _require(name: str, value: Any, known: Sequence[str]) -> None:
    if value not in known:
        raise SpecError(f"export_networks({name}='{value}'): {nearest(str(value), known)}")
