"""`rollc.torch` in threads, in workers that load data, and shared out to processes."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install .[torch]")

import torch.distributed as distributed  # noqa: E402
import torch.multiprocessing as processes  # noqa: E402
from torch.nn.parallel import DistributedDataParallel  # noqa: E402
from torch.utils.data import DataLoader, Dataset  # noqa: E402

import rollc.torch  # noqa: E402

T, B, STEPS = 5, 4, 3


def module_of() -> Any:
    torch.manual_seed(0)
    return rollc.torch.Module("lstm", D=3, H=4, K=2, dtype=torch.float64, backend="reference")


def data() -> tuple[Any, Any]:
    random = torch.Generator().manual_seed(1)
    return tuple(torch.randn(T, B, size, dtype=torch.float64, generator=random) for size in (3, 2))


def test_threads() -> None:
    """They may share a module, and each has the gradients of its own call."""
    module, (x, _) = module_of(), data()
    found: dict[int, Any] = {}

    def slope(scale: int) -> Any:
        return torch.autograd.grad(module(scale * x)["h"].sum(), module.W)[0]

    def work(scale: int) -> None:
        found[scale] = [slope(scale) for _ in range(5)]

    threads = [threading.Thread(target=work, args=(scale,)) for scale in range(1, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for scale, slopes in found.items():
        assert all(torch.equal(each, slope(scale)) for each in slopes)
    assert len(found) == 3


class Encoded(Dataset):  # type: ignore[type-arg]
    """Data that a network makes, in a worker."""

    def __init__(self, module: Any, x: Any) -> None:
        self.module, self.x = module, x

    def __len__(self) -> int:
        return B

    def __getitem__(self, place: int) -> Any:
        with torch.no_grad():
            return self.module(self.x[:, place])["h"]


@pytest.mark.parametrize("way", ["fork", "spawn"])
@pytest.mark.long
@pytest.mark.sampled(1)
def test_workers(way: str) -> None:
    module, (x, _) = module_of(), data()
    module(x)
    loader = DataLoader(
        Encoded(module, x), batch_size=B, num_workers=1, multiprocessing_context=way
    )
    (found,) = loader
    torch.testing.assert_close(found.transpose(0, 1), module(x)["h"].detach())


def _trained(model: Any, x: Any, y: Any) -> list[Any]:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(STEPS):
        optimizer.zero_grad()
        model(x, y=y, loss=True).backward()
        optimizer.step()
    return [each.detach() for each in model.parameters()]


def _trained_beside(rank: int, folder: str) -> None:
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    share = slice(rank * B // 2, (rank + 1) * B // 2)
    found = _trained(
        DistributedDataParallel(module_of()), *(each[:, share].contiguous() for each in data())
    )
    torch.save(found, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.long
def test_two_processes_learn_as_one(tmp_path: Path) -> None:
    """DistributedDataParallel: the mean of the gradients is that of the whole batch."""
    processes.spawn(_trained_beside, args=(str(tmp_path),), nprocs=2)
    expected = _trained(module_of(), *data())
    for rank in range(2):
        torch.testing.assert_close(torch.load(tmp_path / f"{rank}.pt"), expected)
