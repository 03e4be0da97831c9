"""The command as a person or a script meets it: what goes where, and the exit status."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from rollc.backends.registry import VARIABLE
from rollc.driver import artefact_store
from rollc.network.network import Network
from rollc.support.cache_folder import CACHE_VARIABLE
from rollc.tools import cli

TINY = """\
net tiny
dim H = 2
input x
target y
param a: [H], W: [H, H]
h = tanh(a * x + W @ h[t-1])
o = sum(h)
output o
loss mean((o - y) ** 2, over t)
"""
WRONG = "net wrong\ninput x\ny = x + z\noutput y\n"


@dataclass
class Result:
    status: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
    tmp_path: Path,
    cache: Path,
) -> Run:
    """Run the command in a folder of its own that holds two specs and some data."""
    monkeypatch.setenv(CACHE_VARIABLE, str(cache))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("warnings.showwarning", lambda *_: None)  # put back what main changes
    (tmp_path / "tiny.roll").write_text(TINY)
    (tmp_path / "wrong.roll").write_text(WRONG)
    x = np.linspace(0.0, 1.0, 12).reshape(6, 2)
    np.savez(tmp_path / "data.npz", x=x, y=x**2)

    def run(*arguments: str, stdin: bytes = b"") -> Result:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        status = cli.main(arguments)
        sys.stdout.flush()
        out, err = capfdbinary.readouterr()
        return Result(status, out.decode(errors="replace"), err.decode())

    return run


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks are interpreted, where it is files that matter and no kernel."""
    from rollc.driver.sources import read_spec
    from rollc.tools.verify.kernels import interpreted

    def opened(
        spec: str, sets: dict[str, int], dtype: str, feed: str, backend: str | None
    ) -> Network:
        graph, _ = read_spec(Path(spec).read_text(), spec, sets, feed)
        return interpreted(graph, feed)

    monkeypatch.setattr("rollc.tools.cli.data_commands.running.open_network", opened)


# The command itself


def test_help_and_version_need_nothing(run: Run) -> None:
    assert run("--help").status == 0
    assert run("--version").out.startswith("rollc ")
    for command in cli.rollc.commands:
        assert run(command, "--help").status == 0


def test_help_does_not_import_what_takes_long() -> None:
    program = "import sys; from rollc.tools import cli; cli.main(['--help']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0
    assert not {"numpy", "numba", "lark", "networkx", "rich"} & set(done.stdout.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("check",),
        ("build", "tiny.roll", "--set", "H"),
        ("build", "tiny.roll", "--set", "H=x"),
        ("build", "tiny.roll", "--set", "=3"),
        ("build", "tiny.roll", "--steps", "0"),
        ("build", "tiny.roll", "--dtype", "int8"),
        ("ir", "tiny.roll", "--stage", "nonsense"),
        ("ir", "tiny.roll", "--stage", "dag"),
        ("ir", "tiny.roll", "--stage", "kernel", "--format", "dot"),
        ("ir", "tiny.roll", "--stage", "adjoint", "--kernel", "nonsense"),
        ("check", "absent.roll"),
        ("check", "."),
        ("build", "tiny.roll", "-o", "."),
        ("build", "tiny.roll", "-o", "data.npz"),
        ("run", "."),
        ("run", "tiny.roll", "--inputs", "absent.npz"),
        ("explain", "R999"),
        ("explain", "absent.roll"),
        ("explain", "tiny.roll", "nothing"),
        ("explain", "tiny.roll", "--kernel", "tangent.4"),
    ],
)
def test_wrong_use_is_2_and_said_in_words(run: Run, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.status == 2
    assert result.out == ""
    assert "rror" in result.err
    assert "Traceback" not in result.err


def test_a_fault_of_rollc_is_3_and_leaves_what_reproduces_it(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr("rollc.lang.load.load_graph", broken)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result = run("check", "tiny.roll")
    assert result.status == 3
    assert "internal error: ZeroDivisionError: a fault" in result.err
    assert "please report it" in result.err
    (report,) = tmp_path.glob("rollc-report-*.txt")
    assert str(report) in result.err
    text = report.read_text()
    for part in ("rollc check tiny.roll", "ZeroDivisionError: a fault", TINY):
        assert part in text


def test_a_reader_that_leaves_is_no_error(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.roll").write_text(TINY)
    command = f"{sys.executable} -m rollc ir tiny.roll --stage dag --steps 5000"
    done = subprocess.run(
        ["bash", "-c", f"{command} | head -n 1; exit ${{PIPESTATUS[0]}}"],
        cwd=tmp_path,
        env={**os.environ, CACHE_VARIABLE: str(cache)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "rollc graph 1  stage dag\n"
    assert done.stderr == ""
    assert done.returncode == cli.BROKEN_PIPE


def test_an_interruption_is_quiet(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rollc.lang.load.load_graph", interrupted)
    result = run("check", "tiny.roll")
    assert (result.status, result.out, result.err) == (130, "", "")


@pytest.mark.parametrize("no_colour", [False, True])
def test_talk_on_a_terminal(cache: Path, tmp_path: Path, no_colour: bool) -> None:
    (tmp_path / "tiny.roll").write_text(TINY)
    (tmp_path / "data.csv").write_text("x,y\n1,2\n3,4\n")
    environment = {**os.environ, CACHE_VARIABLE: str(cache), "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    if no_colour:
        environment["NO_COLOR"] = "1"
    outside, terminal = pty.openpty()
    command = [sys.executable, "-m", "rollc", "train", "tiny.roll", "--data", "data.csv"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=terminal
    )
    os.close(terminal)
    shown = b""
    with contextlib.suppress(OSError), open(outside, "rb", buffering=0) as reader:
        while part := reader.read(4096):
            shown += part
    out, _ = process.communicate()
    assert process.returncode == 0, shown
    assert out.startswith(b"loss: ")
    assert b"100/100" in shown
    assert (b"\x1b[3" in shown) != no_colour


# check


def test_check_prints_diagnostics_to_standard_output(run: Run) -> None:
    result = run("check", "tiny.roll", "wrong.roll")
    assert result.status == 1
    assert result.out.startswith("error[R201]: unknown name `z`\n --> wrong.roll:3:9\n")
    assert result.err == "1 of 2 can be built\n"


def test_check_for_machines(run: Run) -> None:
    result = run("check", "wrong.roll", "--format", "json")
    assert result.status == 1
    (found,) = json.loads(result.out)
    assert (found["code"], found["severity"], found["file"]) == ("R201", "error", "wrong.roll")
    assert json.loads(run("check", "tiny.roll", "--format", "json").out) == []


def test_a_spec_from_standard_input(run: Run) -> None:
    assert run("check", "-", stdin=TINY.encode()).status == 0
    result = run("check", "-", stdin=WRONG.encode())
    assert result.status == 1
    assert "<stdin>:3:9" in result.out


def test_a_spec_that_comes_with_rollc_is_found_by_name(run: Run) -> None:
    from rollc.support import resources

    for name, path in resources.specs().items():
        for argument in (name, f"{name}.roll"):
            assert resources.find_spec(argument) == path
        assert resources.find_spec(path.stem).stem == path.stem
    assert run("ir", "spikes", "--stage", "syntax").status == 0
    result = run("check", "lstn")
    assert result.status == 2
    assert "did you mean `lstm`, which comes with rollc?" in result.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"net a\n\xff\n", "`<stdin>` is not text in UTF-8: see line 2"),
        (TINY.encode("utf-16"), "`<stdin>` looks like UTF-16: save it in UTF-8"),
        (TINY.encode("utf-16-le"), "`<stdin>` looks like UTF-16"),
        (TINY.encode("utf-16-be"), "`<stdin>` looks like UTF-16"),
    ],
)
def test_a_spec_that_is_not_text(run: Run, text: bytes, message: str) -> None:
    result = run("check", "-", stdin=text)
    assert result.status == 2
    assert message in result.err


def test_a_text_of_blank_lines_ends_soon(run: Run) -> None:
    result = run("check", "-", stdin=b"\n" * 1_000_000)
    assert result.status == 1
    assert "the text has 1000000 characters" in result.out


def test_a_size_that_does_not_exist(run: Run) -> None:
    result = run("check", "tiny.roll", "--set", "Q=3")
    assert result.status == 1
    assert "`Q`" in result.out


def test_no_escape_sequence_from_a_file_reaches_the_terminal(run: Run) -> None:
    for spec in (b"net a\x1b[31m\n", b"rollc graph 1  stage \x1b[31m\n"):
        assert "\x1b" not in run("check", "-", stdin=spec).out


# build


def test_build_prints_the_folder_and_the_second_one_is_a_hit(run: Run) -> None:
    first, second = run("build", "tiny.roll"), run("build", "tiny.roll")
    assert first.status == second.status == 0
    assert first.out == second.out
    assert artefact_store.read(Path(first.out.strip())).entries["name"] == "tiny"
    assert "from the cache" in second.err


def test_build_into_a_folder(run: Run, tmp_path: Path) -> None:
    assert run("build", "tiny.roll", "-o", "made", "--set", "H=3").out == "made\n"
    assert artefact_store.read(tmp_path / "made").entries["sets"] == {"H": 3}


def test_build_never_prints_a_folder_that_is_gone(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "tiny.roll"))
    for options in ((), ("--no-cache",)):
        result = run("build", "tiny.roll", *options)
        assert (result.status, result.out) == (2, "")
        assert "give -o DIR" in result.err
    assert run("build", "tiny.roll", "--no-cache", "-o", "made").status == 0
    result = run("run", "tiny.roll", "--inputs", "data.npz")
    assert result.status == 0
    assert "warning: building without the cache" in result.err


def test_a_wrong_spec_is_1_and_builds_nothing(run: Run, tmp_path: Path) -> None:
    result = run("build", "wrong.roll", "-o", "made")
    assert (result.status, result.out) == (1, "")
    assert result.err.startswith("error[R201]")
    assert not (tmp_path / "made").exists()


# ir


@pytest.mark.parametrize("stage", ["graph", "checked", "simplified", "adjoint", "dag"])
def test_a_graph_stage_can_be_read_and_drawn(run: Run, stage: str) -> None:
    from rollc.ir.text import parse_graph, print_graph

    steps = ("--steps", "3") if stage in ("adjoint", "dag") else ()
    text = run("ir", "tiny.roll", "--stage", stage, *steps).out
    assert print_graph(parse_graph(text)) == text
    drawn = run("ir", "tiny.roll", "--stage", stage, *steps, "--format", "dot").out
    assert drawn.startswith("digraph")


def test_a_picture_needs_no_graphviz_as_text(run: Run, tmp_path: Path) -> None:
    drawn = run("draw", "tiny.roll", "--stage", "adjoint", "--steps", "3").out
    assert drawn.startswith("digraph")
    assert run("draw", "tiny.roll", "--stage", "adjoint", "--steps", "3", "-o", "a.dot").status == 0
    assert (tmp_path / "a.dot").read_text(encoding="utf-8") == drawn


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--stage", "graph"), "t-1"),
        (("--stage", "dag", "--steps", "2"), "t = 1"),
        (("--steps", "t=2"), "t = 1"),
        (("--stage", "tangent"), "digraph"),
        (("--stage", "schedule"), "loop over t, from the first step"),
        (("--stage", "schedule", "--kernel", "forward"), "loop over t, from the first step"),
        (("--theme", "dark"), "#0f1419"),
    ],
)
def test_a_picture_of_any_stage(run: Run, options: tuple[str, ...], said: str) -> None:
    result = run("draw", "tiny.roll", *options)
    assert result.status == 0, result.err
    assert said in result.out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--stage", "dag"), "(`--steps N`)"),
        (("--stage", "graph", "--kernel", "vjp"), "`--kernel` has no effect on `graph`"),
        (("--open", "low"), "no cell `low`; it has none"),
        (("--steps", "s=2"), "there is no time axis `s`, but `t`"),
        (("--steps", "2", "--stage", "schedule"), "leave out `steps`"),
        (("-o", "p.tex", "--theme", "dark"), "`--theme` has no effect on TikZ"),
        (("--every-node", "--open", "all"), "cells cannot be opened where every node is drawn"),
    ],
)
def test_what_cannot_be_drawn(
    run: Run, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    result = run("draw", "tiny.roll", *options)
    assert result.status == 2
    assert said in result.err
    assert not (tmp_path / "p.tex").exists()


@pytest.mark.parametrize("name", ["p.svg", "p.png", "p.pdf", "p.tex", "p.jpg", "p"])
def test_no_picture_is_left_where_none_could_be_made(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("rollc.drawing.graphviz.find_spec", lambda name: None)
    result = run("draw", "tiny.roll", "-o", name)
    assert result.status == 2
    assert (".svg" if name in ("p.jpg", "p") else "pip install 'rollc[draw]'") in result.err
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("stage", ["syntax", "schedule", "program", "why", "kernel"])
def test_the_other_stages(run: Run, stage: str) -> None:
    result = run("ir", "tiny.roll", "--stage", stage)
    assert result.status == 0
    assert result.out


def test_the_first_stages_of_a_wrong_spec(run: Run) -> None:
    assert run("ir", "wrong.roll", "--stage", "syntax").out.startswith("net wrong\n")
    assert run("ir", "wrong.roll", "--stage", "checked").status == 1


def test_an_artefact_shows_the_stages_that_it_was_built_by(run: Run) -> None:
    run("build", "tiny.roll", "-o", "made")
    for stage in ("syntax", "checked", "adjoint", "schedule", "program", "why", "kernel"):
        of_spec = run("ir", "tiny.roll", "--stage", stage)
        assert run("ir", "made", "--stage", stage) == of_spec
        assert of_spec.status == 0
    assert run("ir", "made", "--stage", "dag", "--steps", "2").status == 0


def test_an_edited_graph_is_a_spec(run: Run, tmp_path: Path) -> None:
    text = run("ir", "tiny.roll", "--stage", "graph").out
    assert "tanh(" in text
    (tmp_path / "edited.txt").write_text(text.replace("tanh(", "sin("))
    assert run("check", "edited.txt").status == 0
    assert "sin(" in run("ir", "edited.txt", "--stage", "checked").out
    (tmp_path / "edited.txt").write_text(text.replace("tanh(", "nonsense("))
    result = run("check", "edited.txt")
    assert result.status == 1
    assert "unknown operation `nonsense`" in result.out


def test_a_stage_into_a_file(run: Run, tmp_path: Path) -> None:
    text = run("ir", "tiny.roll", "--stage", "graph").out
    assert run("ir", "tiny.roll", "--stage", "graph", "-o", "graph.txt").out == ""
    assert (tmp_path / "graph.txt").read_text() == text


# run and train


def test_run_says_the_loss_and_writes_what_was_computed(run: Run, tmp_path: Path) -> None:
    result = run("run", "tiny.roll", "--inputs", "data.npz", "--grad", "--outputs", "o.npz")
    assert result.status == 0, result.err
    assert "output o: float32[6, 2]\n" in result.out
    assert "loss: " in result.out
    with np.load(tmp_path / "o.npz") as found:
        assert set(found) == {"o", "loss", "grad.a", "grad.W", "grad.x"}
        assert found["grad.W"].shape == (2, 2)


def test_a_file_of_cells_is_no_spec_and_no_error(run: Run, tmp_path: Path) -> None:
    cells = "cell twice(x) -> y {\n    y = 2 * x\n}\n"
    (tmp_path / "cells.roll").write_text(cells)
    checked = run("check", "cells.roll", "tiny.roll")
    assert (checked.status, checked.out) == (0, "")
    assert "1 of 1 can be built" in checked.err
    assert "files of cells for other specs to use: 1" in checked.err
    assert run("verify", "cells.roll").status == 0
    (tmp_path / "cells.roll").write_text(cells.replace("x\n", "z\n"))
    assert run("check", "cells.roll").status == 1


def test_gradients_in_windows_are_the_gradients(run: Run, tmp_path: Path) -> None:
    run("run", "tiny.roll", "--inputs", "data.npz", "--grad", "--outputs", "whole.npz")
    for option in (["--checkpoint", "2"], ["--memory", "1MB"]):
        result = run(
            *("run", "tiny.roll", "--inputs", "data.npz", "--grad", "--outputs", "o.npz"), *option
        )
        assert result.status == 0, result.err
        assert "more work" in result.err
        with np.load(tmp_path / "o.npz") as found, np.load(tmp_path / "whole.npz") as whole:
            for name in whole:
                np.testing.assert_allclose(found[name], whole[name], rtol=1e-4, atol=1e-6)
    tight = run("run", "tiny.roll", "--inputs", "data.npz", "--grad", "--memory", "10")
    assert tight.status == 2
    assert "10 bytes are too few" in tight.err
    assert run("run", "tiny.roll", "--inputs", "data.npz", "--memory", "much").status == 2


def test_gradients_forward_in_time_are_the_gradients(run: Run, tmp_path: Path) -> None:
    run("run", "--grad", "tiny.roll", "--inputs", "data.npz", "--outputs", "whole.npz")
    given = ("run", "--inputs", "data.npz", "--outputs", "o.npz", "--grad", "forward", "tiny.roll")
    result = run(*given)
    assert result.status == 0, result.err
    assert "6 derivatives beside each value" in result.err
    with np.load(tmp_path / "o.npz") as found, np.load(tmp_path / "whole.npz") as whole:
        assert sorted(found) == ["grad.W", "grad.a", "loss", "o"]
        assert {"grad.W", "grad.a", "loss", "o"} < set(whole)
        for name in found:
            np.testing.assert_allclose(found[name], whole[name], rtol=1e-4, atol=1e-6)
    tight = run(*given, "--memory", "10")
    assert tight.status == 2
    assert "bytes for the sensitivities of 6 parameters are more than 10" in tight.err
    assert "take neither" in run(*given, "--checkpoint", "2").err
    shown = run("ir", "tiny.roll", "--stage", "tangent")
    assert "h^dot" in shown.out
    assert run("ir", "tiny.roll", "--stage", "kernel", "--kernel", "tangent").status == 0


def test_run_of_an_artefact_is_run_of_its_spec(run: Run) -> None:
    run("build", "tiny.roll", "-o", "made")
    of_spec = run("run", "tiny.roll", "--inputs", "data.npz", "--outputs", "-")
    of_artefact = run("run", "made", "--inputs", "data.npz", "--outputs", "-")
    assert of_spec == of_artefact
    assert of_spec.out.startswith("PK")
    assert "loss: " in of_spec.err


def test_arrays_from_standard_input(run: Run, tmp_path: Path) -> None:
    from_file = run("run", "tiny.roll", "--inputs", "data.npz")
    content = (tmp_path / "data.npz").read_bytes()
    assert run("run", "tiny.roll", "--inputs", "-", stdin=content) == from_file


def test_targets_are_only_needed_for_the_loss(run: Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.ones(4))
    result = run("run", "tiny.roll", "--inputs", "x.npz")
    assert result.status == 0, result.err
    assert result.out == "output o: float32[4]\n"
    result = run("run", "tiny.roll")
    assert "missing input `x`: expected float [T, B]; give `--inputs F`" in result.err
    result = run("run", "tiny.roll", "--inputs", "x.npz", "--grad")
    assert result.status == 2
    assert "missing target `y`" in result.err


def test_a_misshapen_array_is_named_with_both_shapes(run: Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "bad.npz", x=np.ones((4, 2, 3)), y=np.ones((4, 2)))
    result = run("run", "tiny.roll", "--inputs", "bad.npz")
    assert result.status == 2
    for part in ("`x`", "[T, B]", "[4, 2, 3]"):
        assert part in result.err


def test_other_arrays_are_mentioned(run: Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "more.npz", x=np.ones(4), z=np.ones(3))
    result = run("run", "tiny.roll", "--inputs", "more.npz")
    assert result.status == 0
    assert "`z`" in result.err


def test_train_fits_and_run_takes_what_it_wrote(run: Run) -> None:
    fit = ("train", "tiny.roll", "--data", "data.npz", "-o", "p.npz", "--rate", "0.05")
    before = loss_in(run("run", "tiny.roll", "--inputs", "data.npz").out)
    result = run(*fit, "--epochs", "60")
    assert result.status == 0, result.err
    assert "epoch 60/60: loss " in result.err
    after = loss_in(run("run", "tiny.roll", "--inputs", "data.npz", "--params", "p.npz").out)
    assert after < before / 2
    assert loss_in(result.out) == pytest.approx(after, rel=0.1)
    again = run(*fit, "--params", "p.npz", "--epochs", "1")
    assert loss_in(again.out) == pytest.approx(after, rel=1e-3)


def test_train_in_batches_goes_through_all_the_data(run: Run) -> None:
    arguments = ("train", "tiny.roll", "--data", "data.npz", "--epochs", "3", "--seed", "4")
    assert run("build", "tiny.roll").status == 0  # the first of the two would say that it is
    first, second = (run(*arguments, "--batch", "1") for _ in range(2))
    assert first.status == 0, first.err
    assert first == second
    assert loss_in(first.out) != loss_in(run(*arguments).out)


def test_train_has_optimisers(run: Run) -> None:
    fit = ("train", "tiny.roll", "--data", "data.npz", "--epochs", "20", "--rate", "0.05")
    ways = [
        ["--optimiser", "adam"],
        ["--optimiser", "adagrad"],
        ["--optimiser", "sgd"],
        ["--optimiser", "sgd", "--momentum", "0.9"],
        ["--optimiser", "sgd", "--clip", "0.01"],
        ["--optimiser", "sgd", "--window", "2", "--stateful"],
    ]
    before = loss_in(run("run", "tiny.roll", "--inputs", "data.npz").out)
    losses = [loss_in(run(*fit, *way).out) for way in ways]
    assert max(losses) < before
    assert len(set(losses)) == len(ways)
    wrong = run(*fit, "--momentum", "0.9")
    assert wrong.status == 2
    assert "--momentum is for sgd" in wrong.err


def test_train_from_a_table(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("year,x,y\n1,0.1,0.2\n2,0.3,0.1\n3,0.2,0.4\n")
    result = run("train", "tiny.roll", "--data", "data.csv", "--epochs", "2")
    assert result.status == 0, result.err


def test_a_fit_that_runs_away_says_so(run: Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "nan.npz", x=np.full(4, np.nan), y=np.ones(4))
    result = run("train", "tiny.roll", "--data", "nan.npz", "-o", "p.npz")
    assert result.status == 2
    assert "the loss became nan at update 1, in epoch 1" in result.err
    assert not (tmp_path / "p.npz").exists()


def test_lengths_come_with_the_inputs(run: Run, tmp_path: Path) -> None:
    """Padding that is NaN has no part in the loss, of `run` and of `train`."""
    x = np.linspace(0.0, 1.0, 12).reshape(6, 2)
    padded = {"x": x.copy(), "y": x**2}
    padded["x"][4:, 1] = np.nan
    np.savez(tmp_path / "padded.npz", **padded, lengths=np.array([6, 4]))
    result = run("run", "tiny.roll", "--inputs", "padded.npz", "--grad", "--outputs", "o.npz")
    assert result.status == 0, result.err
    with np.load(tmp_path / "o.npz") as found:
        assert all(np.isfinite(found[name]).all() for name in found.files)
        assert not found["o"][4:, 1].any()
    result = run("train", "tiny.roll", "--data", "padded.npz", "--batch", "1", "--epochs", "3")
    assert result.status == 0, result.err
    assert np.isfinite(loss_in(result.out))
    np.savez(tmp_path / "padded.npz", **padded, lengths=np.array([6, 7]))
    result = run("run", "tiny.roll", "--inputs", "padded.npz")
    assert result.status == 2
    assert "`lengths`: expected 0 to 6, found 7" in result.err


def test_of_nothing_there_is_nothing_to_learn(run: Run, tmp_path: Path) -> None:
    """A sequence without a step is no hindrance; no steps or sequences at all are."""
    x = np.linspace(0.0, 1.0, 12).reshape(6, 2)
    np.savez(tmp_path / "one.npz", x=x, y=x**2, lengths=np.array([6, 0]))
    for command in (("run", "--inputs"), ("train", "--epochs", "2", "--data")):
        result = run(*command, "one.npz", "tiny.roll")
        assert result.status == 0, result.err
        assert np.isfinite(loss_in(result.out))
    for name, none in (("steps", x[:0]), ("sequences", x[:, :0])):
        np.savez(tmp_path / "none.npz", x=none, y=none)
        np.savez(tmp_path / "inputs.npz", x=none)
        result = run("train", "tiny.roll", "--data", "none.npz")
        assert result.status == 2
        assert f"a mean over nothing: there are no {name} (line 9)" in result.err
        result = run("run", "tiny.roll", "--inputs", "inputs.npz", "--save-state", "s.npz")
        assert result.status == 0, result.err
        assert "output o: float32[" in result.out


def test_outputs_of_nothing_have_no_loss_beside_them(run: Run, tmp_path: Path) -> None:
    x = np.zeros((6, 2))
    assert run("build", "tiny.roll", "-o", "built").status == 0
    (tmp_path / "adjoint").write_text(run("ir", "tiny.roll", "--stage", "adjoint").out)
    for name, none in (("steps", x[:0]), ("sequences", x[:, :0])):
        np.savez(tmp_path / "none.npz", x=none, y=none)
        for spec in ("tiny.roll", "built", "adjoint"):
            result = run("run", spec, "--inputs", "none.npz", "--outputs", "o.npz")
            assert result.status == 0, result.err
            assert "note: no loss: `tiny`" in result.err and "loss" not in result.out
            with np.load(tmp_path / "o.npz") as found:
                assert found.keys() == {"o"} and found["o"].shape == none.shape
            for how in ("adjoint", "forward")[: 1 if spec == "adjoint" else 2]:
                result = run("run", spec, "--inputs", "none.npz", "--grad", how)
                assert (result.status, result.out) == (2, ""), result.err
        np.savez(tmp_path / "lengths.npz", x=x, y=x, lengths=np.zeros(2, int))
        result = run("run", "tiny.roll", "--inputs", "lengths.npz")
        assert result.status == 0 and loss_in(result.out) == 0, result.err
        result = run("verify", "tiny.roll", "--data", "none.npz")
        assert result.status == 2
        assert f"these data have no {name}: there is nothing to compare" in result.err


@pytest.mark.usefixtures("uncompiled")
def test_no_steps_by_an_option(run: Run, tmp_path: Path) -> None:
    """A loss that is defined of nothing is given."""
    text = "net n\nparam k = 0.5\nh = k * h[t-1]\ninit h = 1\ne = last(h)\noutput h, e\n"
    for loss in ("mean(h, over t)", "e + sum(h, over t)"):
        (tmp_path / "n.roll").write_text(f"{text}loss {loss}\n")
        result = run("run", "n.roll", "--steps", "0")
        assert result.status == 0, result.err
        assert "output h: float64[0]" in result.out and "output e: 1" in result.out
        assert ("loss: 1" in result.out) == ("e" in loss[:1])
    (tmp_path / "n.roll").write_text(text.replace("last(h)", "mean(h, over t)"))
    result = run("run", "n.roll", "--steps", "0")
    assert result.status == 2 and "a mean over nothing" in result.err


def test_truncation_is_another_build(run: Run) -> None:
    whole, cut = run("build", "tiny.roll"), run("build", "tiny.roll", "--truncate", "2")
    assert (whole.status, cut.status) == (0, 0)
    assert whole.out != cut.out
    assert "period=2" in run("ir", cut.out.strip(), "--stage", "adjoint").out


def test_the_halves_of_a_sequence_with_the_state_handed_on(run: Run, tmp_path: Path) -> None:
    def ran(inputs: str, *options: str) -> dict[str, np.ndarray]:
        result = run("run", "tiny.roll", "--inputs", inputs, "--outputs", "o.npz", *options)
        assert result.status == 0, result.err
        with np.load(tmp_path / "o.npz") as found:
            return {name: found[name] for name in found.files}

    whole = ran("data.npz")
    with np.load(tmp_path / "data.npz") as data:
        np.savez(tmp_path / "a.npz", **{name: data[name][:4] for name in data.files})
        np.savez(tmp_path / "b.npz", **{name: data[name][4:] for name in data.files})
    first = ran("a.npz", "--save-state", "s.npz")
    second = ran("b.npz", "--state", "s.npz", "--save-state", "s.npz", "--grad")
    np.testing.assert_allclose(np.concatenate([first["o"], second["o"]]), whole["o"], rtol=1e-6)
    assert (4 * first["loss"] + 2 * second["loss"]) / 6 == pytest.approx(whole["loss"], rel=1e-5)
    assert second["grad.state.h"].shape == (1, 2, 2)
    with np.load(tmp_path / "s.npz") as state:
        assert state.files == ["h"]
        assert state["h"].shape == (1, 2, 2)
    np.savez(tmp_path / "s.npz", g=np.zeros(2))
    result = run("run", "tiny.roll", "--inputs", "b.npz", "--state", "s.npz")
    assert result.status == 2
    assert "missing state `h`" in result.err


@pytest.mark.usefixtures("uncompiled")
def test_what_is_computed_from_all_steps_is_said_to_be_of_the_part(
    run: Run, tmp_path: Path
) -> None:
    text = "net n\ninput x\nh = 0.5 * h[t-1] + x\nm = mean(h, over t)\noutput h{}\n"
    np.savez(tmp_path / "x.npz", x=np.ones(4))
    for outputs, said in (("", False), (", m", True)):
        (tmp_path / "mean.roll").write_text(text.format(outputs))
        result = run("run", "mean.roll", "--inputs", "x.npz", "--save-state", "s.npz")
        assert result.status == 0, result.err
        note = "`m` is computed from all steps of t: here of those of this run"
        assert (note in result.err) == said
        assert note not in run("run", "mean.roll", "--inputs", "x.npz").err
        result = run("run", "mean.roll", "--inputs", "x.npz", "--state", "s.npz")
        assert (note in result.err) == said


def test_feed_free_and_taught(run: Run, tmp_path: Path) -> None:
    """Free, the outputs need no target; an artefact is what it was built to be."""
    (tmp_path / "fed.roll").write_text(
        "net fed\ninput x\ntarget y\nparam a = 0.5\n"
        "o = x + a * feed(o[t-1], y[t-1])\noutput o\nloss mean((o - y) ** 2, over t)\n"
    )
    np.savez(tmp_path / "x.npz", x=np.ones(3))
    result = run("run", "fed.roll", "--inputs", "x.npz")
    assert result.status == 2
    assert "missing target `y`" in result.err
    result = run("run", "fed.roll", "--inputs", "x.npz", "--feed", "free", "--outputs", "o.npz")
    assert result.status == 0, result.err
    with np.load(tmp_path / "o.npz") as found:
        np.testing.assert_allclose(found["o"], [1.0, 1.5, 1.75])
    losses = {
        feed: loss_in(run("train", "fed.roll", "--data", "data.npz", "--feed", feed).out)
        for feed in ("taught", "free")
    }
    assert losses["taught"] != losses["free"]
    built = run("build", "fed.roll").out.strip()
    result = run("run", built, "--inputs", "x.npz", "--feed", "free")
    assert result.status == 2
    assert "is built, and taught" in result.err
    free = run("build", "fed.roll", "--feed", "free").out.strip()
    assert run("run", free, "--inputs", "x.npz", "--feed", "free").status == 0


PAIR = """\
net pair
time s, t
input x[s]
target y[t]
param a = 0.5, b = 0.3
e = tanh(a * x + 0.5 * e[s-1])
d = tanh(sum(softmax(e * d[t-1], over s) * e, over s) + b * feed(d[t-1], y[t-1]))
init d = last(e)
output d
loss mean((d - y) ** 2, over t)
"""


def test_two_time_axes(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lengths and steps are given by axis, for `run` and for `train`."""
    monkeypatch.setenv(VARIABLE, "reference")  # it is the words of the command that matter
    (tmp_path / "pair.roll").write_text(PAIR)
    random = np.random.default_rng(0)
    x, y = random.normal(size=(5, 2)), random.normal(size=(4, 2))
    np.savez(tmp_path / "whole.npz", x=x[:3, 1:], y=y[:2, 1:])
    x[3:, 1], y[2:, 1] = np.nan, np.nan
    lengths = {"lengths.s": np.array([5, 3]), "lengths.t": np.array([4, 2])}
    np.savez(tmp_path / "pairs.npz", x=x, y=y, **lengths)
    found = {}
    for file in ("whole", "pairs"):
        arguments = ("--inputs", f"{file}.npz", "--grad", "--outputs", "o.npz")
        result = run("run", "pair.roll", *arguments)
        assert result.status == 0, result.err
        with np.load(tmp_path / "o.npz") as arrays:
            found[file] = {name: arrays[name] for name in arrays.files}
    np.testing.assert_allclose(found["pairs"]["d"][:2, 1], found["whole"]["d"][:, 0], rtol=1e-5)
    assert not found["pairs"]["d"][2:, 1].any()
    assert np.isfinite(found["pairs"]["grad.x"]).all()
    result = run("train", "pair.roll", "--data", "pairs.npz", "--batch", "1", "--epochs", "2")
    assert result.status == 0, result.err
    assert np.isfinite(loss_in(result.out))

    np.savez(tmp_path / "x.npz", x=random.normal(size=(5, 2)))
    free = ("run", "pair.roll", "--inputs", "x.npz", "--feed", "free")
    result = run(*free, "--steps", "t=7")
    assert result.status == 0, result.err
    assert "output d: float32[7, 2]" in result.out
    result = run(*free)
    assert result.status == 2
    assert "no input tells the number of steps of t" in result.err
    (tmp_path / "x.csv").write_text("x\n1\n")
    for arguments, message in (
        ((*free, "--steps", "7"), '`steps`: there are several time axes, so expected {"s": …'),
        ((*free, "--steps", "u=7"), "unknown axis of `steps` `u`"),
        ((*free, "--steps", "t=7", "--steps", "7"), "not of the form 20, or t=20"),
        (("run", "pair.roll", "--inputs", "x.csv"), "is a table of steps"),
        (("build", "pair.roll", "--steps", "3"), "built for any number of steps"),
    ):
        result = run(*arguments)
        assert result.status == 2
        assert message in result.err
    np.savez(tmp_path / "x.npz", x=np.ones((5, 2)), lengths=np.array([5, 3]))
    result = run(*free, "--steps", "t=7")
    assert result.status == 2
    assert "expected `lengths.s` and `lengths.t`" in result.err


ATTENTION = """\
net attend
time s, t
input x[t]
target y[t]
param a = 0.5, b = 0.3
d = tanh(b * sum(softmax(a * x * along(x, s), over s) * along(x, s), over s))
output d
loss mean((d - y) ** 2, over t)
"""


def test_two_axes_with_the_same_steps(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table is of both, and lengths are those of both."""
    monkeypatch.setenv(VARIABLE, "reference")
    (tmp_path / "attend.roll").write_text(ATTENTION)
    (tmp_path / "rows.csv").write_text("x,y\n1,2\n0.5,1\n-1,3\n")
    random = np.random.default_rng(0)
    arrays = {"x": random.normal(size=(3, 2)), "y": random.normal(size=(3, 2))}
    arrays["x"][:, 0], arrays["x"][2, 1] = [1, 0.5, -1], np.nan
    np.savez(tmp_path / "i.npz", lengths=np.array([3, 2]), **arrays)
    found = []
    for inputs in ("rows.csv", "i.npz"):
        result = run("run", "attend.roll", "--inputs", inputs, "--outputs", "o.npz")
        assert result.status == 0, result.err
        with np.load(tmp_path / "o.npz") as kept:
            found.append(np.reshape(kept["d"], (3, -1)))
    np.testing.assert_allclose(found[1][:, :1], found[0], rtol=1e-6)
    assert found[1][1, 1] and not found[1][2, 1]
    result = run("run", "attend.roll", "--inputs", "i.npz", "--steps", "4")
    assert result.status == 2
    assert "input `x` has 3 steps of t, but `steps` has 4" in result.err


@pytest.mark.usefixtures("uncompiled")
def test_the_state_of_a_decoder_in_a_file(run: Run, tmp_path: Path) -> None:
    """The encoder runs when the state is made, and the decoder goes on from file to file."""
    (tmp_path / "pair.roll").write_text(PAIR)

    def ran(arrays: dict[str, np.ndarray], *options: str) -> np.ndarray:
        np.savez(tmp_path / "i.npz", **arrays)
        result = run("run", "pair.roll", "--inputs", "i.npz", "--outputs", "o.npz", *options)
        assert result.status == 0, result.err
        with np.load(tmp_path / "o.npz") as found:
            return np.asarray(found["d"])

    random = np.random.default_rng(0)
    x, y = random.normal(size=(5, 2)), random.normal(size=(4, 2))
    source = {"x": x, "lengths.s": np.array([5, 3])}
    whole = ran({**source, "y": y})
    first = ran({**source, "y": y[:1]}, "--save-state", "s.npz")
    with np.load(tmp_path / "s.npz") as state:
        assert {"d", "e", "y"} < set(state.files)
        assert state["e"].shape == (5, 2)
    second = ran({"y": y[1:]}, "--state", "s.npz", "--save-state", "s.npz")
    np.testing.assert_allclose(np.concatenate([first, second]), whole, rtol=1e-6)
    np.savez(tmp_path / "x.npz", x=x)
    free = ("run", "pair.roll", "--inputs", "x.npz", "--feed", "free", "--save-state", "s.npz")
    result = run(*free, "--steps", "t=3")
    assert result.status == 0, result.err
    assert "output d: float64[3, 2]" in result.out
    result = run(*free[:2], "--feed", "free", "--state", "s.npz", "--steps", "t=2")
    assert result.status == 0, result.err
    assert "output d: float64[2, 2]" in result.out
    result = run(*free[:2], "--inputs", "i.npz", "--state", "s.npz", "--grad")
    assert result.status == 2
    np.savez(tmp_path / "x.npz", x=x, **{"lengths.t": np.array([2, 2])})
    for arguments, message in (
        ((*free, "--steps", "3"), "there are several time axes: give `--steps` by axis"),
        (free, "with a state all sequences have all steps: leave out `lengths.t`"),
    ):
        result = run(*arguments)
        assert result.status == 2
        assert message in result.err


def loss_in(text: str) -> float:
    return float(text.split("loss: ")[1].split()[0])


# verify and explain


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verify without compiled kernels, for they take long."""
    from rollc.tools import verify

    few = functools.partial(verify.verify, dtypes=())
    monkeypatch.setattr(verify, "verify", few)


@pytest.mark.usefixtures("quick")
def test_verify_prints_a_row_for_each_comparison(run: Run) -> None:
    result = run("verify", "tiny.roll")
    assert result.status == 0, result.err
    first, heads, *rows = result.out.splitlines()
    assert first == "tiny.roll"
    assert heads.split() == ["what", "largest", "error", "allowed"]
    assert rows
    assert all(row.endswith("passed") for row in rows)


def test_verify_for_machines_and_a_failure_is_3(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from rollc.tools import verify

    rows = [verify.Row("good", 1e-9, 1e-4), verify.Row("bad", float("nan"), 1e-4, "`h`")]
    monkeypatch.setattr(verify, "verify", lambda *_, **__: rows)
    result = run("verify", "tiny.roll", "--format", "json")
    assert result.status == 3
    assert "1 of 2 comparisons failed" in result.err
    good, bad = json.loads(result.out)
    assert (good["passed"], good["error"]) == (True, 1e-9)
    assert (bad["passed"], bad["error"], bad["where"]) == (False, None, "`h`")


@pytest.mark.usefixtures("quick")
def test_verify_goes_on_past_what_is_wrong(run: Run, tmp_path: Path) -> None:
    (tmp_path / "cells.roll").write_text("cell twice(x) -> y {\n    y = 2 * x\n}\n")
    specs = ("wrong.roll", "missing.roll", "cells.roll", "tiny.roll")
    result = run("verify", *specs, "--format", "json")
    assert result.status == 1
    assert "`z`" in result.err
    assert "no file `missing.roll`" in result.err
    wrong, missing, *rest = json.loads(result.out)
    assert (wrong["spec"], wrong["passed"], wrong["error"]) == ("wrong.roll", False, None)
    assert "no file" in missing["where"]
    assert {row["spec"] for row in rest} == {"tiny.roll"}
    assert all(row["passed"] for row in rest)
    assert run("verify", "missing.roll").status == 2


def test_explain_one_and_all(run: Run) -> None:
    assert "cycle without a delay" in run("explain", "r301").out
    assert "R301" in run("explain").out


def test_a_code_is_never_a_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "R301").write_text(TINY)
    assert "cycle without a delay" in run("explain", "R301").out
    assert "loop 1" in run("explain", "./R301").out


def test_explain_a_kernel(run: Run) -> None:
    whole = run("explain", "tiny.roll")
    assert whole == run("ir", "tiny.roll", "--stage", "why")
    assert "h'2  matrix product" in whole.out
    assert "through h[t-1]" in whole.out
    forward = run("explain", "tiny.roll", "--kernel", "forward", "--steps", "4").out
    assert "tape: 0 buffers" in forward
    some = run("explain", "tiny.roll", "o").out
    assert {line.split()[0] for line in some.splitlines() if line[:1] == " "} == {"o", "~o"}
    near = run("explain", "tiny.roll", "h'9").err
    assert "no value of the kernel has the name `h'9`; did you mean `h'" in near
