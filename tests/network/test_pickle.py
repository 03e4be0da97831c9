"""Copies and pickles of a network, here and in another process."""

from __future__ import annotations

import copy
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import rollc
from rollc.driver.build import build_source
from rollc.errors import StoreError
from rollc.network.network import Network

TEXT = """
net small
dim H = 3
input x: [H]
param W: [H, H]
h = tanh(W @ h[t-1] + x)
output h
loss mean(sum(h), over t)
"""
ELSEWHERE = """
import pickle, sys
import numpy as np
net = pickle.loads(sys.stdin.buffer.read())
x = np.ones((4, 2, 3))
print(net.truncate, net.steps, net.dtype, repr(net.value_and_grad(net.init(), {"x": x})[0]))
"""


def loss_of(network: Network) -> float:
    return network.value_and_grad(network.init(), {"x": np.ones((4, 2, 3))})[0]


@pytest.mark.parametrize(
    "way", [copy.copy, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))]
)
def test_a_copy_is_a_network(way: object) -> None:
    network, _ = build_source(TEXT, dtype="float64", truncate=2)
    loss = loss_of(network)
    found = way(network)
    assert found is not network
    assert found.truncate == 2
    assert found.dtype == "float64"
    assert loss_of(found) == loss
    both = copy.deepcopy({"net": network, "more": [network]})
    assert loss_of(both["net"]) == loss


def test_a_pickle_is_read_where_nothing_is(tmp_path: Path) -> None:
    """Not the folder of the artefact, nor the cache; and what is made there stays there."""
    network, _ = build_source(TEXT, dtype="float64", directory=tmp_path / "net.built", cache=False)
    loss, content = loss_of(network), pickle.dumps(rollc.load(tmp_path / "net.built"))
    assert content == pickle.dumps(pickle.loads(content))
    shutil.rmtree(tmp_path / "net.built")
    run = subprocess.run(
        [sys.executable, "-c", ELSEWHERE],
        input=content,
        env={**os.environ, "ROLLC_CACHE": str(tmp_path / "cache"), "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        check=True,
    )
    truncate, steps, dtype, number = run.stdout.decode().split()
    assert (truncate, steps, dtype) == ("None", "None", "float64")
    assert float(number) == pytest.approx(loss, rel=1e-12)
    assert not (tmp_path / "net.built").exists()


def test_a_pickle_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    network, _ = build_source(TEXT, dtype="float64")
    content = pickle.dumps(network)
    monkeypatch.setattr("rollc.support.fingerprint.of_runtime", lambda: "another")
    with pytest.raises(StoreError, match="`small` was built by another version of rollc"):
        pickle.loads(content)
