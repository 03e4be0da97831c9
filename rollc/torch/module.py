"""A network as a module of PyTorch: parameters, and calls with tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rollc.errors import InputError
from rollc.frameworks.networks import Networks, named_inputs, networks_of
from rollc.ir.names import STATE
from rollc.network.arrays import rows_shape
from rollc.network.network import Network
from rollc.network.steps.streaming import axis_of
from rollc.support import checks
from rollc.support.checks import shown
from rollc.torch.calls import called, seed
from rollc.torch.tensors import halves, has_batch, joined, precision_of, state_rows

Tensor = Any
Tensors = Mapping[str, Tensor]
Results = Tensor | dict[str, Tensor]


class Module(nn.Module):  # type: ignore[misc]
    """The network of a spec as an ``nn.Module``, with its parameters.

    Parameters have the spec's names, and those of a cell are in a module of their own: ``low.W`` is
    ``module.low.W``, and the key in ``state_dict()``.  They start as the spec says, drawn from
    PyTorch's generator (``torch.manual_seed``).  Those that are ``frozen`` are buffers.

    The precision follows the parameters: after ``.double()`` the network of float64 computes, which
    is built then.  Half precisions are computed in float32, and so is all under ``torch.autocast``.
    Kernels run on the CPU, and tensors elsewhere are refused; so is all that is wrong with tensors,
    by an :class:`~rollc.InputError` that names what was expected and found.

    Parameters
    ----------
    source : str or path
        The path of a spec, the name of one that comes with rollc, such as ``"lstm"``, or the folder
        of an artefact (``rollc build -o``).
    sizes : mapping of str to int, optional
        Sizes by name, where one has the name of an option.
    batch_first : bool
        Tensors are ``[B, T, ...]`` in the place of ``[T, B, ...]``.
    truncate, combine, feed, steps, backend
        As in :func:`rollc.build`.
    device : torch.device, optional
        That of the parameters.
    dtype : torch.dtype, optional
        That of the parameters; else PyTorch's default.
    **more_sizes : int
        Sizes by name: ``H=64``.

    Examples
    --------
    Those of the methods go on from here.

    >>> import torch
    >>> import rollc.torch
    >>> lstm = rollc.torch.Module("lstm", D=2, H=3, K=2)
    >>> x, y = torch.randn(5, 4, 2), torch.randn(5, 4, 2)
    >>> [name for name, _ in lstm.named_parameters()]
    ['W', 'U', 'b', 'V', 'd']
    """

    def __init__(
        self,
        source: str | Path,
        *,
        sizes: Mapping[str, int] | None = None,
        batch_first: bool = False,
        truncate: int | None = None,
        combine: str | None = None,
        feed: str | None = None,
        steps: int | None = None,
        backend: str | None = None,
        device: Any = None,
        dtype: Any = None,
        **more_sizes: int,
    ) -> None:
        super().__init__()
        self.batch_first = checks.switch("`batch_first`", batch_first)
        options = {
            "truncate": truncate,
            "combine": combine,
            "feed": feed,
            "steps": steps,
            "backend": backend,
        }
        dtype = torch.get_default_dtype() if dtype is None else dtype
        precision = precision_of("option", {"dtype": dtype})
        given = {} if sizes is None else checks.mapping("sizes", sizes, "sizes by name")
        self._networks = networks_of(source, {**given, **more_sizes}, precision.network, options)
        for name, spec in self._first.params.items():
            *path, last = name.split(".")
            home = self
            for part in path:
                home = home._modules.setdefault(part, nn.Module())
            # Not by `register_parameter`, which refuses names such as `type` and `half`.
            empty = torch.empty(spec.shape, dtype=dtype, device=device)
            if spec.frozen:
                home._buffers[last] = empty
            else:
                home._parameters[last] = nn.Parameter(empty)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew, as the spec says, from PyTorch's generator."""
        drawn = self._first.init(seed())
        with torch.no_grad():
            for name, tensor in self._learnt(self._first).items():
                tensor.copy_(torch.from_numpy(drawn[name]))

    def forward(
        self,
        *inputs: Any,
        lengths: Any = None,
        state: Tensors | None = None,
        steps: int | Mapping[str, int] | None = None,
        loss: bool = False,
        **named: Tensor,
    ) -> Results | tuple[Results, dict[str, Tensor]]:
        """The outputs.

        Parameters
        ----------
        *inputs : tensor or dict
            Inputs in the order of the spec, or one dictionary by name: ``[T, B, ...]``, without a
            batch ``[T, ...]``, with ``batch_first`` ``[B, T, ...]``.  An index is of whole numbers.
        lengths : tensor [B], optional
            The steps of each sequence; what comes after them is padding.
        state : mapping of str to tensor, optional
            What the steps go on from (:meth:`zero_state`); gradients go on through it, too.
        steps : int or mapping of axis to int, optional
            Their number, where no input tells it.
        loss : bool
            The result is the loss (:meth:`loss`), for a module that is wrapped, as by
            ``DistributedDataParallel``, and so is called.
        **named : tensor
            Inputs by name, and the targets that the outputs read (they are taught by them).

        Returns
        -------
        outputs : tensor or dict of str to tensor
            A tensor where there is one output.
        state : dict of str to tensor
            With a ``state`` only: the one after the last step.

        Raises
        ------
        InputError
            For what is missing, unknown, misshapen, of another precision or on another device.

        Examples
        --------
        >>> lstm(x)["h"].shape
        torch.Size([5, 4, 3])
        """
        network = self._first
        if not network.outputs and not loss:
            raise InputError(f"`{network.name}` has no output: call `loss`")
        given = self._given(inputs, named)
        sort = "loss" if loss else "outputs"
        found = self._called(self._networks, sort, given, lengths, state, steps)
        after = {}
        if state is not None:
            names = [name for name in found if name.startswith(STATE)]
            after = {name.removeprefix(STATE): found.pop(name) for name in names}
            after = self._whole(after)
        found = self._whole(found)
        value = next(iter(found.values())) if len(found) == 1 else found
        return value if state is None else (value, after)

    def loss(self, *inputs: Any, **named: Any) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """The loss of the spec.  Gradients are computed along with it, as far as tensors require
        them.

        Parameters
        ----------
        *inputs, **named
            As in :meth:`forward`, and the targets by name.

        Returns
        -------
        loss : tensor
            A number, the mean over the batch.
        state : dict of str to tensor
            With a ``state`` only: the one after the last step, through which no gradient comes
            back, as gradients are cut at the borders of windows.

        Examples
        --------
        >>> lstm.loss(x, y=y).backward()
        >>> lstm.U.grad.shape
        torch.Size([12, 3])
        """
        return self(*inputs, **named, loss=True)

    def zero_state(self, batch_size: int | None = None) -> dict[str, Tensor]:
        """A state of zeros: where a spec starts that says nothing else (``init``).

        Parameters
        ----------
        batch_size : int, optional
            The number of sequences; without it there is one, and no batch.

        Returns
        -------
        dict of str to tensor
            ``[depth, B, ...]``: the last values of what is read with a delay.

        Raises
        ------
        InputError
            Where it takes no state, and for a network with two time axes, whose states hold more
            than that.

        Examples
        --------
        >>> outputs, state = lstm(x, state=lstm.zero_state(4))
        >>> state["h"].shape
        torch.Size([1, 4, 3])
        """
        return self._whole(self._zeros(batch_size))

    def _zeros(self, batch_size: int | None) -> dict[str, Tensor]:
        self._need_state()
        network = self._first
        if batch_size is not None:
            batch_size = checks.whole("`batch_size`", batch_size)
        like = [*self._learnt(network).values(), torch.empty(0)][0]
        return {
            name: torch.zeros(
                rows_shape(spec, batch_size),
                dtype=like.dtype if spec.kind == "float" else torch.int64,
                device=like.device,
            )
            for name, spec in network.states.items()
        }

    def initial_state(
        self,
        *inputs: Any,
        batch_size: int | None = None,
        lengths: Any = None,
        **named: Tensor,
    ) -> dict[str, Tensor]:
        """The state before the first step, with its gradient where the spec computes it (``init``).

        Parameters
        ----------
        *inputs, **named
            What initial values read, as in :meth:`forward`, or any inputs that tell the batch.
        batch_size : int, optional
            The number of sequences, where no input tells it.
        lengths : tensor [B], optional
            The steps of each sequence.

        Returns
        -------
        dict of str to tensor
            ``[depth, B, ...]``.

        Raises
        ------
        InputError
            Where it takes no state, and for a network with two time axes, whose states hold more
            than that.
        """
        self._need_state()
        given = self._given(inputs, named)
        states, slots = self._first.states, {**self._first.inputs, **self._first.targets}
        for name, tensor in given.items():
            if isinstance(tensor, torch.Tensor) and has_batch(tensor, slots[name]):
                count = tensor.shape[0 if self.batch_first else len(slots[name].time)]
                if batch_size not in (None, count):
                    raise InputError(
                        f"input `{name}` has {count} sequences, but expected {shown(batch_size)}"
                    )
                batch_size = count
        found: dict[str, Tensor] = {}
        starts = self._networks.starts
        if starts is not None:
            own = {**starts.first.inputs, **starts.first.targets}
            read = {name: given[name] for name in own if name in given}
            timed = any(own[name].time for name in read)
            found = self._called(
                starts, "outputs", read, lengths if timed else None, None, None if timed else 1
            )
        zeros = self._zeros(batch_size)
        rows = {
            name: state_rows(found[name], starts.first.outputs[name], states[name], batch_size)
            if starts is not None and name in found
            else zeros[name]
            for name in states
        }
        return self._whole(rows)

    def extra_repr(self) -> str:
        """Sizes, inputs and outputs, as ``print(module)`` shows them.

        Returns
        -------
        str
        """
        network, parts = self._first, self._networks.parts
        slots = ", ".join(
            f"{name} [{', '.join(map(str, spec.dimensions()))}]"
            for name, spec in parts.specs(network.inputs).items()
        )
        first = ", batch_first=True" if self.batch_first else ""
        return f"{network.name}: {slots} -> {', '.join(parts.specs(network.outputs))}{first}"

    # What a call is made of --------------------------------------------------------------

    @property
    def _first(self) -> Network:
        """The network in one of the precisions: what it takes and gives is the same in both."""
        return self._networks.first

    def _learnt(self, network: Network) -> dict[str, Tensor]:
        """Its parameters by the spec's names, or what has taken the place of one: a tensor that is
        computed of another one."""
        found = {}
        for name in network.params:
            *path, last = name.split(".") if "." in name else (name,)
            home = self
            for part in path:
                home = home._modules[part]
            own = home._parameters.get(last)
            own = home._buffers.get(last) if own is None else own
            found[name] = getattr(home, last) if own is None else own
        return found

    def _need_state(self) -> None:
        """Refuse what takes no state, or none that is nothing but the last values."""
        network = self._first
        axis_of(network.graph)
        if len(network.axes) > 1:
            raise InputError(
                f"`{network.name}` has two time axes, and its states are for the network alone,"
                " by `rollc.build`"
            )

    def _given(self, inputs: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
        """Inputs and targets by name, complex ones as their parts."""
        network = self._first
        if not named and len(inputs) == len(network.inputs) == 1 and torch.is_tensor(inputs[0]):
            return dict(zip(network.inputs, inputs, strict=True))
        given = named_inputs(self._networks, inputs, named)
        found: dict[str, Any] = self._networks.parts.split(given, halves)
        return found

    def _whole(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Tensors by name, complex ones in the place of their parts."""
        parts = self._networks.parts
        return parts.joined(tensors, joined) if parts.whole else tensors

    def _called(
        self,
        networks: Networks,
        sort: str,
        given: Mapping[str, Any],
        lengths: Any,
        state: Any,
        steps: Any,
    ) -> dict[str, Tensor]:
        """The results of a call by name, complex ones in parts."""
        parts, learnt = self._networks.parts, self._learnt(networks.first)
        options = {
            "batch_first": self.batch_first,
            "training": self.training,
            "lengths": lengths,
            "state": parts.split(state, halves),
            "steps": steps,
        }
        if not parts.whole or torch.compiler.is_compiling():
            return called(networks, sort, learnt, given, **options)
        with parts.in_messages():
            return called(networks, sort, learnt, given, **options)
