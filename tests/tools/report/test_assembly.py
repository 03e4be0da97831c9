"""Assembly with its lines: loops are found, and instructions told apart."""

from __future__ import annotations

import pytest

from rollc.driver.pipeline import compiled
from rollc.driver.sources import read_spec
from rollc.entries.graphs import kernel_graphs
from rollc.errors import InputError
from rollc.tools.report.assembly import Instruction, parsed
from rollc.tools.report.collect import assembly

TEXT = """\
\t.file\t1 "/tmp" "k.py"
_ZN4rollc:
\t.loc\t1 7 0
\tpushq\t%rbp
.LBB0_1:
\t.loc\t1 8 1
\txorl\t%eax, %eax
.LBB0_2:
\t.loc\t1 9 5 is_stmt 1
\tvmovups\t(%rdi,%rax), %zmm0
.Ltmp3:
\tvfmadd213ps\t%zmm1, %zmm2, %zmm0
\tcmpq\t%rax, %rcx
\tjne\t.LBB0_2
.LBB0_4:
\t.loc\t1 10 5
\tcallq\t*%rax
\tvaddss\t%xmm0, %xmm1, %xmm1
\tjne\t.LBB0_4
\tjmp\t.LBB0_1
\tretq
"""


def test_inner_loops_with_their_lines() -> None:
    code = parsed("primal", TEXT)
    first, second = code.loops
    assert code.lines(*first) == (9,) and code.lines(*second) == (10,)
    assert code.summary(*first) == (
        "4 instructions, 2 on vectors of 512 bits, 1 fused multiply-add"
    )
    assert code.summary(*second) == "3 instructions, no vectors, 1 call"
    rows = code.rows().splitlines()
    assert rows[0] == "7     pushq %rbp" and "9  ▪  vmovups (%rdi,%rax), %zmm0" in rows
    assert not any("Ltmp" in row or "_ZN" in row for row in rows)
    assert parsed("empty", "\tretq\n").loops == ()


@pytest.mark.parametrize(
    ("text", "bits", "fused"),
    [
        *(("vaddps %xmm0, %xmm1, %xmm2", 128, False), ("vaddsd %xmm0, %xmm1, %xmm2", 0, False)),
        *(("vmovss (%rax), %xmm0", 0, False), ("vcvtsi2ss %rax, %xmm1, %xmm0", 0, False)),
        *(("vfnmadd231pd %ymm0, %ymm1, %ymm2", 256, True), ("vmovq %xmm0, %rax", 0, False)),
        *(("fmla v0.4s, v1.4s, v2.4s", 128, True), ("fmadd s0, s1, s2, s3", 0, True)),
        *(("vcvttss2si %xmm0, %rax", 0, False), ("vpaddd %xmm0, %xmm1, %xmm1", 128, False)),
    ],
)
def test_what_an_instruction_works_on(text: str, bits: int, fused: bool) -> None:
    one = Instruction(f"    {text}")
    assert (one.bits, one.is_fused) == (bits, fused)


SPEC = """\
net n
dim H = 64
input x: [H]
param w: [H]
h = w * h[t-1] + x
output h
"""


@pytest.mark.long
@pytest.mark.compiled
def test_a_kernel_has_assembly_of_its_lines() -> None:
    graph, _ = read_spec(SPEC, "n.roll", {}, "taught")
    made = compiled(kernel_graphs(graph)["forward"](), "float32", backend="numba")
    codes = {code.name: code for code in assembly(made, "float32", "numba")}
    source = made.source.splitlines()
    of_loops = {
        source[line - 1].strip()
        for span in codes["primal"].loops
        for line in codes["primal"].lines(*span)
    }
    assert any(line.startswith("v_h = ") for line in of_loops)
    assert any(one.bits for one in codes["primal"].instructions)


def test_without_a_compiler_there_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, _ = read_spec(SPEC, "n.roll", {}, "taught")
    made = compiled(kernel_graphs(graph)["forward"](), "float32", backend="reference")
    with pytest.raises(InputError, match="the backend `reference` has no assembly"):
        assembly(made, "float32", "reference")
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    with pytest.raises(InputError, match=r"plain Python here: \$NUMBA_DISABLE_JIT is set"):
        assembly(made, "float32", "numba")
