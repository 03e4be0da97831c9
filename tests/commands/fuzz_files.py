"""Mutations of all that rollc reads: each is refused in words, or means what it meant.

    python -m tests.commands.fuzz_files --count 100000 --seed 0 [--kinds artefact,npz,csv]

An artefact has bytes changed, files cut, removed, exchanged or taken from others, and entries of
its manifest edited, with or without hashes that are right again: what still opens holds the kernels
of one artefact and no mixture.  What fails is printed with the options that repeat it.
"""

from __future__ import annotations

import argparse
import atexit
import faulthandler
import hashlib
import io
import json
import random
import shutil
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import rollc
from rollc.driver import artefact_store
from rollc.driver.sources import read_spec
from rollc.errors import InputError, RollcError, StoreError
from rollc.ir.text import parse_graph, print_graph
from rollc.ir.verifier import verify
from rollc.lang.diagnostics.source import Source
from rollc.lang.diagnostics.spec_error import SpecError
from rollc.lang.load import load_graph
from rollc.network.arrays import Spec
from rollc.runtime.kernel import Kernel
from rollc.support import fingerprint
from rollc.tools.columns import Columns, arrange
from rollc.tools.datafiles import read_npz
from rollc.tools.tables import read_table
from tests.commands import fuzz_specs

LONGEST = 10.0  # seconds of the processor for one
Files = dict[str, bytes]

NUMBERS = (b"0", b"-1", b"1", b"9" * 20, b"1e999", b"2147483648", b"00", b"nan", b"0x10")
NOISE = (b"\0", b"\xff\xfe", b"\n", b'"', b",", b"{", b"[", b"\\", b"'", b"\r", b"PK\x03\x04", b"(")


def said(error: RollcError) -> None:
    assert str(error), "an empty message"


# Bytes


def change_bytes(random_: random.Random, content: bytes, other: bytes) -> bytes:
    for _ in range(random_.choice([1, 1, 1, 2, 3])):
        content = random_.choice(BYTES)(random_, content, other)
    return content


def _span(random_: random.Random, content: bytes) -> tuple[int, int]:
    start = random_.randint(0, len(content))
    return start, min(len(content), start + random_.choice([0, 1, 1, 2, 4, 8, 30, 1000]))


def set_bytes(random_: random.Random, content: bytes, other: bytes) -> bytes:
    start, stop = _span(random_, content)
    return content[:start] + random_.randbytes(stop - start) + content[stop:]


def set_number(random_: random.Random, content: bytes, other: bytes) -> bytes:
    start, _ = _span(random_, content)
    size = random_.choice([1, 2, 4, 8])
    value = random_.choice([0, 1, 2 ** (8 * size) - 1, 2 ** (8 * size - 1), random_.getrandbits(8)])
    return content[:start] + value.to_bytes(size, "little") + content[start + size :]


def cut(random_: random.Random, content: bytes, other: bytes) -> bytes:
    return content[: random_.randint(0, len(content))]


def remove(random_: random.Random, content: bytes, other: bytes) -> bytes:
    start, stop = _span(random_, content)
    return content[:start] + content[stop:]


def repeat(random_: random.Random, content: bytes, other: bytes) -> bytes:
    start, stop = _span(random_, content)
    return content[:stop] + content[start:stop] * random_.choice([1, 1, 2, 50]) + content[stop:]


def insert(random_: random.Random, content: bytes, other: bytes) -> bytes:
    start, _ = _span(random_, content)
    return content[:start] + random_.choice(NOISE + NUMBERS) + content[start:]


def splice(random_: random.Random, content: bytes, other: bytes) -> bytes:
    return content[: random_.randint(0, len(content))] + other[random_.randint(0, len(other)) :]


BYTES = (set_bytes, set_number, cut, remove, repeat, insert, splice)


# Artefacts

SPEC = """\
net {name}
dim H = 2
input x: [H]
target y: [H]
param W: [H, H], b: [H]
h = {function}(W @ h[t-1] + x + b)
output h
loss mean(mse(h, y), over t)
"""


@cache
def artefacts() -> list[Path]:
    """Built networks, none of them compiled."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    ways: list[dict[str, Any]] = [{}, {"dtype": "float64"}, {"steps": 3}, {"truncate": 2}]
    ways += [{"combine": "mean"}, {"sets": {"H": 3}}]
    compiling, Kernel.compile = Kernel.compile, lambda self: None  # type: ignore[method-assign]
    found = []
    for number, (function, way) in enumerate(
        [*(("tanh", way) for way in ways), ("sin", {}), ("sin", {"dtype": "float64"})]
    ):
        spec = folder / "small.roll"
        spec.write_text(SPEC.format(name="small", function=function))
        rollc.build(spec, directory=folder / str(number), cache=False, **way)
        found.append(folder / str(number))
    Kernel.compile = compiling  # type: ignore[method-assign]
    return found


def meaning(manifest: artefact_store.Manifest) -> tuple[object, ...]:
    """What an artefact computes: all that its kernels and its network are made from."""
    deciding = ("name", "dtype", "steps", "truncate", "combine", "feed", "sets")
    kernels = {
        entry: {part: manifest.files[name] for part, name in files.items()}
        for entry, files in manifest.entries["kernels"].items()
    }
    entries = [manifest.entries.get(name) for name in deciding]
    return entries, kernels, manifest.files[manifest.entries["stages"]["checked"]]


@cache
def originals() -> tuple[list[tuple[object, ...]], list[Files]]:
    found = [artefact_store.read(folder) for folder in artefacts()]
    files = [
        {
            **manifest.files,
            artefact_store.MANIFEST: (manifest.folder / artefact_store.MANIFEST).read_bytes(),
        }
        for manifest in found
    ]
    return [meaning(manifest) for manifest in found], files


def change_value(random_: random.Random, value: Any, root: Any) -> Any:
    """A value of JSON with one place in it changed."""
    if isinstance(value, dict) and value and random_.random() < 0.85:
        key = random_.choice(list(value))
        made = dict(value)
        match random_.randrange(8):
            case 0:
                del made[key]
            case 1:
                other = random_.choice(list(value))
                made[key], made[other] = made[other], made[key]
            case 2:
                made[random_.choice(["x", "", "..", key + "x", "checked", "gradient"])] = value[key]
            case _:
                made[key] = change_value(random_, value[key], root)
        return made
    if isinstance(value, list) and value and random_.random() < 0.5:
        place = random_.randrange(len(value))
        return [*value[:place], change_value(random_, value[place], root), *value[place + 1 :]]
    constants = (None, 0, -1, 3, 1e9, 10**40, True, "x", "", [], {}, [1], {"a": 1}, "float64")
    strings = [text for text in _strings(root) if text != value]
    return random_.choice([*constants, *(random_.choice(strings) for _ in range(6))])


def _strings(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [found for part in value.values() for found in _strings(part)]
    return [value]


def seal(files: Files, content: dict[str, Any]) -> None:
    """Give a manifest the hashes that are right, as far as it lists files that are there."""
    if isinstance(content.get("files"), dict):
        content["files"] = {
            name: hashlib.sha256(files[name]).hexdigest() if name in files else hash_
            for name, hash_ in content["files"].items()
        }
    content["hash"] = fingerprint.of_value({**content, "hash": None})
    files[artefact_store.MANIFEST] = json.dumps(content).encode()


def changed_artefact(random_: random.Random) -> tuple[int, Files]:
    """A changed artefact, and the number of the one that it was."""
    _, known = originals()
    base, other = random_.randrange(len(known)), random_.choice(known)
    files = dict(known[base])
    for _ in range(random_.choice([1, 1, 2])):
        name = random_.choice([*files, artefact_store.MANIFEST, artefact_store.MANIFEST])
        near = random_.choice([key for key in other if key[:8] == name[:8]] or list(other))
        match random_.randrange(7):
            case 0:
                files[name] = change_bytes(random_, files.get(name, b""), other[near])
            case 1:
                files.pop(name, None)
            case 2:
                files[name] = other[near]
            case 3:
                same = random_.choice(list(files))
                files[name], files[same] = files.get(same, b""), files.get(name, b"")
            case _:
                content = json.loads(
                    (other if random_.random() < 0.3 else known[base])[artefact_store.MANIFEST]
                )
                content = change_value(random_, content, content)
                if isinstance(content, dict):
                    seal(files, content)
    if random_.random() < 0.6:
        try:
            content = json.loads(files.get(artefact_store.MANIFEST, b""))
            seal(files, content)
        except (ValueError, AttributeError, TypeError):
            pass
    return base, files


def try_artefact(random_: random.Random) -> tuple[str, Files]:
    base, files = changed_artefact(random_)
    folder, there = artefacts()[base].with_name(f"case{base}"), _there(base)
    folder.mkdir(exist_ok=True)
    for name in there.keys() - files.keys():
        (folder / name).unlink()
    for name, content in files.items():
        if there.get(name) != content:
            (folder / name).write_bytes(content)
    there.clear()
    there.update(files)
    return "opened" if _opens(folder) else "refused", files


@cache
def _there(base: int) -> Files:
    """What the last case left in a folder."""
    return {}


def _opens(folder: Path) -> bool:
    try:
        net = rollc.load(folder)
        for entry in artefact_store.read(folder).entries["kernels"]:
            net._kernel(entry)
    except (StoreError, InputError) as error:
        said(error)
        return False
    known, _ = originals()
    assert meaning(artefact_store.read(folder)) in known, "a mixture was opened"
    return True


# Data


def arrays(random_: random.Random) -> bytes:
    """The bytes of an ``.npz`` file, damaged as a whole or in one of its members."""
    own = np.random.default_rng(random_.getrandbits(32))
    content = io.BytesIO()
    kinds = ("f4", "f8", ">f8", "i8", "?", "u1", "f2")
    shapes: tuple[tuple[int, ...], ...] = ((3,), (2, 3), (), (0, 2), (4, 2, 2))
    with zipfile.ZipFile(content, "w", random_.choice([0, 8, 8, 12, 14])) as archive:
        for name in "xyz"[: random_.randint(1, 3)]:
            member = io.BytesIO()
            array = own.normal(size=random_.choice(shapes)).astype(random_.choice(kinds))
            np.save(member, np.asfortranarray(array) if random_.random() < 0.3 else array)
            made = member.getvalue()
            if random_.random() < 0.5:
                made = change_bytes(random_, made, made)
            archive.writestr(f"{name}.npy" if random_.random() < 0.95 else name, made)
    whole = content.getvalue()
    return change_bytes(random_, whole, whole) if random_.random() < 0.6 else whole


def try_npz(random_: random.Random) -> tuple[str, Files]:
    content = arrays(random_)
    return _reads(lambda: read_npz(content, "f.npz"), {"f.npz": content})


def try_csv(random_: random.Random) -> tuple[str, Files]:
    rows = ["x.0,x.1,y"] if random_.random() < 0.7 else []
    rows += [f"{random_.random()},{random_.randint(-3, 3)},1e{random_.randint(-9, 9)}"] * 4
    content = change_bytes(random_, "\n".join(rows).encode(), b"y,x.0\n1,2\n")
    slots = {"x": Spec("x", "float", (2,), "float32", ("t",), True)}
    slots["y"] = Spec("y", "float", (), "float32", ("t",), True)

    def read() -> Mapping[str, Any]:
        return arrange(read_table(content, "f.csv"), slots, Columns()).arrays

    return _reads(read, {"f.csv": content})


def _reads(read: Callable[[], Mapping[str, Any]], files: Files) -> tuple[str, Files]:
    try:
        found = read()
    except InputError as error:
        said(error)
        return "refused", files
    assert all(array.dtype.kind in "biuf" for array in found.values())
    assert sum(array.nbytes for array in found.values()) <= 1000 * sum(map(len, files.values()))
    return "read", files


# Texts


def try_spec(random_: random.Random) -> tuple[str, Files]:
    (text,) = fuzz_specs.mutations(1, random_.getrandbits(40))
    return fuzz_specs.try_text(text), {"spec.roll": text.encode(errors="surrogatepass")}


@cache
def graphs() -> list[str]:
    found = []
    for text in fuzz_specs.seeds():
        graph = load_graph(Source("seed", text)).graph
        if graph is not None:
            found.append(print_graph(graph))
    return found


def try_graph(random_: random.Random) -> tuple[str, Files]:
    text = random_.choice(graphs())
    for _ in range(random_.choice([1, 1, 2, 3])):
        text = random_.choice(fuzz_specs.MUTATIONS)(random_, text, random_.choice(graphs()))
    if not text.startswith("rollc graph"):
        text = "rollc graph 1  stage checked\n" + text
    files = {"graph.txt": text.encode(errors="surrogatepass")}
    try:
        graph, _ = read_spec(text, "graph.txt")
    except SpecError as error:
        said(error)
        return "refused", files
    assert verify(graph) == []
    assert parse_graph(print_graph(graph)) == graph
    return "graph", files


KINDS: dict[str, Callable[[random.Random], tuple[str, Files]]] = {
    "artefact": try_artefact,
    "npz": try_npz,
    "csv": try_csv,
    "spec": try_spec,
    "graph": try_graph,
}


def fuzz(kind: str, count: int, seed: int, failed: Callable[[str, int], None]) -> Counter[str]:
    """Try so many mutations of a kind; ``failed`` is told of those that fail."""
    outcomes: Counter[str] = Counter()
    for number in range(count):
        random_ = random.Random(f"{kind} {seed} {number}")
        start = time.process_time()
        try:
            outcome, _ = KINDS[kind](random_)
            took = time.process_time() - start
            assert took < LONGEST, f"took {took:.1f} s"
        except Exception:
            outcome = "failed"
            failed(kind, number)
        outcomes[outcome] += 1
        if number % 1000 == 999:
            print(f"{kind}: {number + 1} of {count}: {dict(outcomes)}", file=sys.stderr, flush=True)
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="of all kinds together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--only", type=int, help="the number of one that failed")
    arguments = parser.parse_args()
    kinds = arguments.kinds.split(",")
    warnings.simplefilter("ignore")
    faulthandler.enable()
    if arguments.only is not None:
        print(KINDS[kinds[0]](random.Random(f"{kinds[0]} {arguments.seed} {arguments.only}"))[0])
        return 0
    failures = 0

    def failed(kind: str, number: int) -> None:
        nonlocal failures
        failures += 1
        again = f"--kinds {kind} --seed {arguments.seed} --only {number}"
        print(f"failed: {again}\n{traceback.format_exc()}", file=sys.stderr, flush=True)

    for kind in kinds:
        start = time.perf_counter()
        count = arguments.count // len(kinds)
        outcomes = fuzz(kind, count, arguments.seed, failed)
        took = time.perf_counter() - start
        print(f"{kind}: {count} in {took:.0f} s: {dict(outcomes)}", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
