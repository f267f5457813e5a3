"""Files of weights, together with the declaration of their model."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from pyrovae.errors import CheckpointError, SpecError, reason, shown
from pyrovae.parts.guides import Guide
from pyrovae.parts.standardisation import Standardisation
from pyrovae.programs.arguments import require_autoencoder
from pyrovae.programs.autoencoder import Autoencoder, Declaration
from pyrovae.programs.building import declared
from pyrovae.programs.vae import VAE
from pyrovae.runs.atomic_files import write_atomically
from pyrovae.runs.facts import WEIGHTS
from pyrovae.runs.manifest import verify
from pyrovae.specs import InferenceSpec, ModelSpec
from pyrovae.specs.files import validate
from pyrovae.specs.own import announce, own_kinds

CHECK_SUM = "sha256"  # in the metadata of the file; older files have none


def save(autoencoder: Autoencoder, path: str | Path) -> None:
    """Write the weights and their declaration as one safetensors file.

    Args:
        autoencoder: One from :func:`pyrovae.build` can be restored by :func:`load`; for others
            (from parts, or handwritten) the file holds the weights alone.
        path: The file, usually ``*.safetensors``; replaced if it exists.

    Raises:
        SpecError: The first argument is no autoencoder.
        CheckpointError: The path is a folder, or its folder is not there.
    """
    require_autoencoder("save(vae, path)", autoencoder)
    path = Path(path)
    if path.is_dir() or not path.parent.is_dir():
        raise CheckpointError(
            f"save(vae, path): {path} {'is a folder' if path.is_dir() else 'is in no folder'}: "
            "give the path of a file in a folder that is there, such as vae.safetensors"
        )
    write_atomically(path, file_content(autoencoder))


def file_content(autoencoder: Autoencoder) -> bytes:
    """The weights and their declaration, as a safetensors file."""
    # Copies, because safetensors refuses a parameter that has two names.
    weights = {n: value.contiguous().clone() for n, value in autoencoder.state_dict().items()}
    declaration = autoencoder.declaration
    metadata = {} if declaration is None else {"declaration": _to_json(declaration)}
    return _in_order(to_bytes(weights, metadata | {CHECK_SUM: _check_sum(weights, metadata)}))


def _in_order(content: bytes) -> bytes:
    """A safetensors file with its metadata in one order: the library's differs each time."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the values are aligned
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def _check_sum(weights: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """SHA-256 of the declaration and of names, types, shapes and values of the weights."""
    found = hashlib.sha256(metadata.get("declaration", "").encode())
    for name, value in sorted(weights.items()):
        found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        found.update(value.cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()


def load_declared(path: str | Path, device: str | torch.device = "cpu") -> VAE:
    """Load an autoencoder made of parts, from a file of :func:`save` or from a run's folder.

    Args:
        path: A ``.safetensors`` file, or a run's folder, whose kept weights are loaded
            (``weights.safetensors``).
        device: Device of the parameters, wherever they were fitted.

    Raises:
        CheckpointError: The file is missing, damaged, or holds weights without a declaration.
    """
    path = _in_folder(path)
    declaration = _declaration(path)
    for kind in own_kinds(declaration.model) + own_kinds(declaration.inference.guide):
        announce(kind, path)
    try:
        vae = declared(declaration)
    except (RuntimeError, TypeError, ValueError) as error:  # as of a shape beyond all measure
        raise CheckpointError(f"{path}: cannot be built: {reason(error)}") from None
    load_weights(vae, path)
    return vae.to(device).eval()


def load_weights(autoencoder: Autoencoder, path: str | Path) -> None:
    """Load the weights of a file or of a run's folder into an autoencoder of the same parts.

    Raises:
        CheckpointError: The file is missing or damaged, or holds other parameters.
    """
    require_autoencoder("load_weights(vae, path)", autoencoder)
    path = _in_folder(path)
    with _opened(path) as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata() or {}
    if metadata.get(CHECK_SUM, known := _check_sum(weights, metadata)) != known:
        raise CheckpointError(
            f"{path} is damaged: its content has another SHA-256 than when it was saved; restore "
            "it from a copy"
        )
    for name, part in autoencoder.named_modules():
        if isinstance(part, Guide):
            part.rename(weights, f"{name}.")
    if not any("standardisation" in name for name in weights):
        weights |= _as_they_are(autoencoder)
    state = autoencoder.state_dict()
    own = {name: value.shape for name, value in state.items()}
    for name in own.keys() & weights.keys():
        if weights[name].is_floating_point() != state[name].is_floating_point():
            raise CheckpointError(
                f"{path}: parameter '{name}' is of type {weights[name].dtype}: the file is damaged"
            )
    for name in own.keys() | weights.keys():
        theirs = weights[name].shape if name in weights else None
        if own.get(name) != theirs:
            raise CheckpointError(
                f"{path}: parameter '{name}' has shape {_shape(theirs)} there and "
                f"{_shape(own.get(name))} here: these are weights of another autoencoder"
            )
    autoencoder.load_state_dict(weights)


def _as_they_are(autoencoder: Autoencoder) -> dict[str, Tensor]:
    """Location 0 and scale 1, for weights of a version that did not standardise data."""
    return {
        f"{name}.{key}": value
        for name, module in autoencoder.named_modules(remove_duplicate=False)
        if isinstance(module, Standardisation)
        for key, value in Standardisation(module.loc.shape, module.unit).state_dict().items()
    }


def _in_folder(path: str | Path) -> Path:
    """The file, of a run's folder that of its kept weights."""
    return Path(path) / WEIGHTS if Path(path).is_dir() else Path(path)


def _declaration(path: Path) -> Declaration:
    with _opened(path) as file:
        text = (file.metadata() or {}).get("declaration")
    if text is None:
        raise CheckpointError(
            f"{path} holds weights without the specifications they belong to: build the same "
            "autoencoder again and put them in with pyrovae.load_weights"
        )
    try:
        tree = json.loads(text)
        _require_shape(tree["shape"], tree["levels"])
        return Declaration(
            validate(tree["model"], ModelSpec, str(path)),
            validate(tree["inference"], InferenceSpec, str(path)),
            tuple(tree["shape"]),
            tree["levels"],
            tuple(tree.get("columns", ())),
            dict(tree.get("transforms", {})),
        )
    except (SpecError, KeyError, ValueError, TypeError, RecursionError) as error:
        why = reason(error)
        raise CheckpointError(f"{path}: cannot be read by this version: {why}") from None


def _require_shape(shape: Any, levels: Any) -> None:
    """Refuse what is no shape or no largest value of data.

    Raises:
        ValueError: It is not.
    """
    if not isinstance(shape, list) or not all(type(n) is int and n > 0 for n in shape):
        raise ValueError(f"shape {shown(shape)}")
    if levels is not None and not (type(levels) in (int, float) and 0 < levels < math.inf):
        raise ValueError(f"levels {shown(levels)}")


def _opened(path: Path) -> safe_open:
    if not path.is_file():
        raise CheckpointError(f"there are no weights at {path}")
    try:
        path.open("rb").close()  # safetensors takes a file that may not be read for a missing one
        opened = safe_open(path, framework="pt")
    except PermissionError:
        raise CheckpointError(f"{path} may not be read: ask its owner for permission") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged or not a safetensors file: {error}") from None
    verify(path.parent, path.name)
    return opened


def _to_json(declaration: Declaration) -> str:
    return json.dumps(
        {
            "model": declaration.model.model_dump(mode="json"),
            "inference": declaration.inference.model_dump(mode="json"),
            "shape": declaration.shape,
            "levels": declaration.levels,
            "columns": declaration.columns,
            "transforms": {**declaration.transforms},
        }
    )


def _shape(shape: torch.Size | None) -> str:
    return "no place" if shape is None else str(tuple(shape))
