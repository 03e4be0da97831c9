"""What the help of each command ends with: two examples of it."""

from __future__ import annotations

EXAMPLES = {
    "bench": ("rollc bench --list", "rollc bench lstm-100x32x128 --quick --mode forward"),
    "build": ("rollc build lstm --set H=64 -o lstm.built", "rollc build my.roll --truncate 20"),
    "check": ("rollc check my.roll", "rollc check my.roll lstm --format json"),
    "completion": ('eval "$(rollc completion bash)"', "rollc completion fish > rollc.fish"),
    "demo": ("rollc demo", "rollc demo reverse --quick --save reverse"),
    "draw": ("rollc draw lstm -o lstm.dot", "rollc draw my.roll --stage adjoint --steps 3"),
    "evaluate": ("rollc evaluate my.run", "rollc evaluate my.run --data more.csv"),
    "explain": ("rollc explain R301", "rollc explain lstm h"),
    "fmt": ("rollc fmt my.roll", "rollc fmt --diff ."),
    "ir": (
        "rollc ir lstm --stage adjoint",
        "rollc ir my.roll --stage dag --steps 3 -o my.dag",
    ),
    "list": ("rollc list", "rollc list gated unit"),
    "lsp": ("rollc lsp", "rollc lsp < messages > answers"),
    "man": ("rollc man | man -l -", "rollc man > rollc.1"),
    "new": ("rollc new my_net", "rollc new my_lstm --template lstm"),
    "passes": ("rollc passes", "rollc passes lstm my.roll"),
    "run": (
        "rollc run my.roll --inputs data.npz -o out.npz",
        "rollc run my.run --inputs more.csv -o predictions.csv",
    ),
    "sample": (
        "rollc sample text.run --length 200",
        "rollc sample text.run --prompt 'In the beginning' --temperature 0.5",
    ),
    "report": (
        "rollc report my.roll -o my.html",
        "rollc report my.roll --inputs data.npz -o my.html",
    ),
    "trace": (
        "rollc trace my.roll --inputs data.npz",
        "rollc trace my.roll h --inputs data.npz -o norms.svg",
    ),
    "train": (
        "rollc train my.roll --data data.npz --epochs 20 -o params.npz",
        "rollc train my.roll --data table.csv --map x=a,b --split 0.7,0.2,0.1 -o my.run --epochs 9",
    ),
    "verify": ("rollc verify lstm", "rollc verify my.roll --data data.npz --seed 1"),
}


def epilog(command: str) -> str:
    """The examples of a command as lines that click leaves as they are."""
    lines = "\n".join(f"  {example}" for example in EXAMPLES.get(command, ()))
    return f"\b\nExamples:\n{lines}" if lines else ""
