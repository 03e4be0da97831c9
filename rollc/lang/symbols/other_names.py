"""What functions, options, numbers and types are called in other languages."""

from __future__ import annotations

from collections.abc import Mapping


def _table(**lines: str) -> dict[str, str]:
    return {other: ours for ours, others in lines.items() for other in others.split()}


# The name of a function for each of its names elsewhere, in lower case without underscores.
FUNCTIONS: Mapping[str, str] = {
    **_table(
        concat="cat concatenate hstack vstack append join",
        log="ln loge",
        sigmoid="sigm logistic expit σ",
        tanh="tangh th",
        sum="reducesum total σum Σ",
        mean="avg average reducemean",
        max="amax reducemax",
        min="amin reducemin",
        abs="fabs absolute",
        asin="arcsin",
        acos="arccos",
        atan="arctan",
        atan2="arctan2",
        sinh="sh",
        cosh="ch",
        mod="fmod remainder rem",
        clip="clamp clipbyvalue bound",
        where="select ifelse cond iif choose ternary ite",
        one_hot="onehot onehotencode",
        embed="embedding lookup",
        stop="stopgradient stopgrad detach nograd",
        layer_norm="layernorm layernormalization",
        inverse="inv matinv",
        log_det="logdet slogdet",
        cholesky="chol potrf",
        transpose="t permute",
        mse="mseloss meansquarederror l2loss msecost",
        cross_entropy="crossentropyloss nll nllloss softmaxcrossentropy categoricalcrossentropy "
        "sparsecategoricalcrossentropy crossentropy",
        binary_cross_entropy="bce bceloss bcewithlogits bcewithlogitsloss binarycrossentropy "
        "binarycrossentropywithlogits logloss",
        silu="swish",
        size="len length numel",
        round="rint",
        ceil="ceiling",
        lgamma="gammaln loggamma",
        digamma="psi",
        sample="multinomial categorical",
        range="arange",
        dot="inner vdot",
    ),
}

# What else is written for a function, of its operands.
FORMS: Mapping[str, str] = {
    "pow": "{0} ** {1}",
    "power": "{0} ** {1}",
    "square": "{0} ** 2",
    "sqr": "{0} ** 2",
    "matmul": "{0} @ {1}",
    "mm": "{0} @ {1}",
    "mv": "{0} @ {1}",
    "bmm": "{0} @ {1}",
    "matvec": "{0} @ {1}",
    "add": "{0} + {1}",
    "subtract": "{0} - {1}",
    "sub": "{0} - {1}",
    "multiply": "{0} * {1}",
    "mul": "{0} * {1}",
    "times": "{0} * {1}",
    "divide": "{0} / {1}",
    "div": "{0} / {1}",
    "negate": "-{0}",
    "neg": "-{0}",
    "negative": "-{0}",
    "less": "{0} < {1}",
    "greater": "{0} > {1}",
    "equal": "{0} == {1}",
    "eq": "{0} == {1}",
    "logical_and": "{0} and {1}",
    "logical_or": "{0} or {1}",
    "logical_not": "not {0}",
    "heaviside": "where({0} > 0, 1, 0)",
    "step": "where({0} > 0, 1, 0)",
    "indicator": "where({0}, 1, 0)",
    "argmin": "argmax(-{0})",
    "softmin": "softmax(-{0})",
    "logaddexp": "logsumexp([{0}, {1}])",
    "log2": "log({0}) / log(2)",
    "log10": "log({0}) / log(10)",
    "exp2": "2 ** {0}",
    "exp10": "10 ** {0}",
    "hypot": "sqrt({0} ** 2 + {1} ** 2)",
    "floordivide": "floor({0} / {1})",
    "solve": "inverse({0}) @ {1}",
    "gather": "{0}[{1}]",
    "take": "{0}[{1}]",
    "prev": "{0}[t-1]",
    "previous": "{0}[t-1]",
    "delay": "{0}[t-{1}]",
    "lag": "{0}[t-{1}]",
    "next": "{0}[t+1]",
}

# Names of functions that there are none for, and what is there.
WITHOUT: Mapping[str, str] = {
    **dict.fromkeys(
        ("rand", "randn", "random", "uniform", "normal", "gaussian", "noise"),
        "numbers drawn at random are given as an input; `dropout` and `sample` draw their own",
    ),
    **dict.fromkeys(
        ("view", "flatten", "squeeze", "unsqueeze", "expand_dims"),
        "`reshape(x, N, M)` says all sizes anew, and `expand(x, axis=0)` has one more dimension",
    ),
    **dict.fromkeys(("tensordot", "kron"), 'write `einsum("nk,mj->nmkj", a, b)`'),
    **dict.fromkeys(
        ("flip", "flipud", "fliplr", "reverse", "reversed"),
        "`x[N-1-range(N)]` has the elements of `x: [N]` from the last to the first",
    ),
    **dict.fromkeys(
        ("diag", "diagonal", "trace"),
        "of `A: [N, N]` the diagonal is `sum(A * eye(N), axis=1)`, and of `v: [N]` the matrix"
        " `v * eye(N)`",
    ),
    **dict.fromkeys(
        ("tril", "triu"),
        "`where(expand(range(N), axis=1) >= range(N), A, 0)` is the lower triangle of `A: [N, N]`",
    ),
    **dict.fromkeys(
        ("var", "std", "variance", "stddev"),
        "the variance is `mean((x - mean(x)) ** 2)`, and the deviation the square root of it",
    ),
    **dict.fromkeys(("isnan", "isna"), "what is not a number is not itself: `not x == x`"),
    "det": "`exp(log_det(A))` is the absolute value of the determinant",
    "diff": "write `x[1:] - x[:N-1]`, or over the steps `x - x[t-1]`",
    "linspace": "write `a + (b - a) * range(N) / (N - 1)`",
    "interp": "write `(1 - mod(d, 1)) * x[d] + mod(d, 1) * x[d+1]`",
    "int": "a number that is a place needs no other kind: `x[d]` is the element at d, rounded down",
    **dict.fromkeys(("zeros_like", "ones_like"), "sizes are said: `zeros(N)`, `ones(size(x))`"),
    **dict.fromkeys(
        ("conv", "conv1d", "convolution"),
        "write it out: `y = A @ x + B @ x[t-1] + C @ x[t-2]`",
    ),
    **dict.fromkeys(
        ("print", "println", "disp", "printf", "log_value"),
        "nothing is printed while a network runs: make it an `output`",
    ),
    **dict.fromkeys(
        ("linear", "dense", "fullyconnected", "Linear", "Dense"),
        "write `W @ x + b`, with `param W: [H, D], b: [H]`",
    ),
    **dict.fromkeys(
        ("batch_norm", "batchnorm", "BatchNorm1d"),
        "a sequence sees no other one of its batch: `layer_norm(x, gain, bias)` does without",
    ),
}

OPTIONS: Mapping[str, str] = _table(
    axis="dim dimension",
    rate="p prob probability",
    epsilon="eps",
    size="num_classes depth classes n k length",
    alpha="a",
)

INITIALISERS: Mapping[str, str] = _table(
    glorot="xavier glorot_uniform xavier_uniform glorot_normal xavier_normal he kaiming lecun",
    zeros="zero none",
    identity="eye I",
    orthogonal="orth ortho qr",
)

# Numbers with a name elsewhere.
NUMBERS: Mapping[str, str] = {
    "pi": "3.141592653589793",
    "π": "3.141592653589793",
    "True": "1",
    "true": "1",
    "False": "0",
    "false": "0",
    "inf": "1e30",
    "Inf": "1e30",
    "infinity": "1e30",
}

NUMBER_TYPES = frozenset(
    [
        "float",
        "double",
        "real",
        "scalar",
        "float32",
        "float64",
        "number",
        "bool",
        "Float",
        "Real",
        "num",
        "f32",
        "f64",
    ]
)
INDEX_TYPES = frozenset(
    [
        "int",
        "integer",
        "long",
        "categorical",
        "category",
        "class",
        "classes",
        "label",
        "onehot",
        "token",
        "symbol",
        "int32",
        "int64",
        "Index",
        "Int",
        "enum",
    ]
)
# The words of a use of a cell, as options of other libraries.
WORDS: Mapping[str, str] = _table(
    stack="layers numlayers nlayers depth",
    both="bidirectional bidir",
    reverse="backward backwards gobackwards reversed",
    residual="skip residuals",
)
BATCHES = frozenset(
    ["batch", "batches", "batch_size", "b", "B", "samples", "sequences", "examples"]
)
STEPS = frozenset(["T", "time", "steps", "seq", "seq_len", "length", "timesteps"])


def normal(name: str) -> str:
    """A name as the table has it."""
    return name.lower().replace("_", "")
