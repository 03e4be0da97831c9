"""Random programs of the whole language, held to an evaluator that shares no code with rollc.

    python -m tests.commands.random_programs --count 1000 --seed 0

``language`` is an abstract syntax with a printer, ``generate`` writes programs that are valid by
construction, ``evaluate`` says what they mean, in PyTorch and step by step, ``compare`` calls
rollc in every way that it can be called, and ``shrink`` makes what fails small.  The first three
import nothing of rollc: they are written from the reference, ``grammar/README.md``.
"""
