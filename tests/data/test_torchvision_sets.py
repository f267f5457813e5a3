from __future__ import annotations

import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pyrovae.data import load_data
from pyrovae.data.torchvision_sets import IMAGE_SETS
from pyrovae.errors import DataError

TRAIN, TEST = 12, 6
COLOUR = ("cifar10", "svhn")
SHUFFLED = tuple(name for name in IMAGE_SETS if name != "omniglot")


def files_below(folder: Path) -> dict[Path, int]:
    return {file: file.stat().st_mtime_ns for file in folder.rglob("*")}


def expected_images(name: str) -> torch.Tensor:
    """What the fixtures wrote, training set first."""
    shape = (3, 32, 32) if name in COLOUR else (28, 28)
    halves = [
        np.random.default_rng(n).integers(0, 256, (n, *shape), dtype=np.uint8)
        for n in (TRAIN, TEST)
    ]
    x = torch.from_numpy(np.concatenate(halves))
    return x if name in COLOUR else x[:, None]


@pytest.mark.parametrize("name", SHUFFLED)
@pytest.mark.usefixtures("no_network")
def test_images_are_those_of_the_files_and_upright(
    name: str, small: Callable[[str], Path]
) -> None:
    splits = load_data(name, root=small(name))
    assert torch.equal(splits.train.x, expected_images(name))
    assert splits.train.maximum == 255


@pytest.mark.parametrize("name", SHUFFLED)
def test_labels_are_those_of_the_files(name: str, small: Callable[[str], Path]) -> None:
    splits = load_data(name, root=small(name), download=False)
    expected = torch.cat([torch.arange(TRAIN), torch.arange(TEST)]) * 7 % 10
    assert splits.train.labels is not None
    assert torch.equal(splits.train.labels, expected)


@pytest.mark.parametrize("name", IMAGE_SETS)
def test_official_test_sets_are_kept(name: str, small: Callable[[str], Path]) -> None:
    splits = load_data(name, root=small(name), download=False)
    assert [len(split) for split in splits] == [10, 2, TEST]
    assert torch.equal(splits.test.rows, torch.arange(TRAIN, TRAIN + TEST))
    assert splits.train.x is splits.test.x


@pytest.mark.parametrize("name", IMAGE_SETS)
def test_nothing_is_written_beside_archives(name: str, small: Callable[[str], Path]) -> None:
    root = small(name)
    before = files_below(root)
    load_data(name, root=root)
    assert files_below(root) == before


@pytest.mark.parametrize("name", IMAGE_SETS)
def test_files_may_lie_in_a_folder_of_that_name(name: str, small: Callable[[str], Path]) -> None:
    root = small(name)
    fingerprint = load_data(name, root=root, download=False).fingerprint()
    inside = root / "elsewhere" / name
    inside.mkdir(parents=True)
    for entry in [path for path in root.iterdir() if path.name != "elsewhere"]:
        entry.rename(inside / entry.name)
    again = load_data(name, root=root / "elsewhere", download=False)
    assert again.fingerprint() == fingerprint


@pytest.mark.parametrize("name", IMAGE_SETS)
def test_a_download_is_silent_and_needed_only_once(
    name: str,
    small: Callable[[str], Path],
    serve: Callable[[Path], None],
    capfd: pytest.CaptureFixture[str],
) -> None:
    network = small(name)
    serve(network)
    root = network / "data"
    downloaded = load_data(name, root=root).fingerprint()
    assert capfd.readouterr() == ("", "")
    before = files_below(root)
    assert load_data(name, root=root, download=False).fingerprint() == downloaded
    assert files_below(root) == before


@pytest.mark.parametrize("name", IMAGE_SETS)
def test_everything_is_downloaded_by_https(
    name: str,
    small: Callable[[str], Path],
    serve: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = small(name)
    serve(network)
    answer, asked = urllib.request.urlopen, []

    def watched(request: str | urllib.request.Request, **options: object) -> object:
        asked.append(request if isinstance(request, str) else request.full_url)
        return answer(request, **options)

    monkeypatch.setattr(urllib.request, "urlopen", watched)
    load_data(name, root=network / "data")
    assert len(asked) == len(IMAGE_SETS[name]().archives)
    assert [address for address in asked if not address.startswith("https://")] == []


@pytest.mark.parametrize("name", IMAGE_SETS)
def test_corrupted_archives_are_named_and_left_alone(
    name: str, small: Callable[[str], Path], serve: Callable[[Path], None]
) -> None:
    root = small(name)
    serve(root)
    archive = next(root / file for file in IMAGE_SETS[name]().archives)
    archive.write_bytes(b"half a download")
    with pytest.raises(DataError, match=f"^{archive} is corrupted .*MD5.*: delete it to"):
        load_data(name, root=root)
    assert archive.read_bytes() == b"half a download"


def test_damaged_unpacked_files_are_refused(small: Callable[[str], Path]) -> None:
    root = small("mnist")
    for archive in IMAGE_SETS["mnist"]().archives:
        (root / archive.removesuffix(".gz")).write_bytes(b"")
    with pytest.raises(DataError, match=f"mnist in {root} cannot be read .*: delete it"):
        load_data("mnist", root=root)


def test_omniglot_is_white_ink_averaged_over_areas(small: Callable[[str], Path]) -> None:
    splits = load_data("omniglot", root=small("omniglot"), download=False)
    assert splits.train.shape == (1, 28, 28)
    width = torch.arange(TRAIN) // 3 + 1  # of the ink, in quarters of a pixel
    first_column = splits.train.x[:TRAIN, 0, :, 0].float()
    # PIL rounds areas to whole grey levels
    assert torch.allclose(first_column, (255 * width / 4)[:, None].expand(-1, 28), atol=1)
    assert (splits.train.x[:, 0, :, 1:] == 0).all()


def test_omniglot_characters_are_labels_in_sorted_order(small: Callable[[str], Path]) -> None:
    splits = load_data("omniglot", root=small("omniglot"), download=False)
    labels = splits.train.labels
    assert labels is not None
    assert torch.equal(labels[:TRAIN], torch.arange(TRAIN) // 3)
    assert not torch.equal(splits.train.rows, splits.train.rows.sort().values)
