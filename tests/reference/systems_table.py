"""The systems that are held to independent code: their specs, to what, and by which test."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class System:
    """A row of the table in ``docs/systems.md``.

    ``tests`` are those in this folder that hold it, of one file; a case in brackets is one alone.
    """

    name: str
    spec: str
    held_to: str
    tests: tuple[str, ...]


def _system(name: str, spec: str, held_to: str, *tests: str) -> System:
    return System(name, spec, held_to, tests)


_STEPS = "NumPy, complex steps"
_LOOP = "a loop over PyTorch's tensors"
_SUMS = "sums over all earlier steps"
_LIBRARY = "test_library_cells.py::test_a_cell"
_TORCH = "test_torch_cells.py::test_a_cell"
_COMPLEX = "test_complex_cells.py::test_values_and_gradients"
_HEADS = "cells/test_attention_cells.py::test_sums_over_all_earlier_steps"
_NAIVE = "cells/test_attention_cells.py::test_the_authors_naive_implementation"
_GATED = "cells/test_gated_recurrences.py::test_values_and_gradients"
_DYNAMICS, _DELAYS = "systems/test_dynamics.py::", "systems/test_delays.py::"
_SEQUENCES, _SPACE = "systems/test_sequences.py::", "systems/test_state_space.py::"
_PAIRS = "test_two_axis_recurrences.py::"

GROUPS: dict[str, tuple[System, ...]] = {
    "Gated cells": (
        _system(
            "LSTM",
            "lstm",
            "PyTorch's `nn.LSTM`",
            "test_torch_specs.py::test_values_and_gradients[lstm]",
        ),
        _system(
            "GRU",
            "gru",
            "PyTorch's `nn.GRU`",
            "test_torch_specs.py::test_values_and_gradients[gru]",
        ),
        _system(
            "LSTM, GRU, minimal gated unit, in five networks",
            "gated/*",
            "gate by gate, " + _STEPS,
            "systems/test_gated.py::test_a_gated_cell",
        ),
        _system("LSTM with peepholes", "cells/lstm_peephole", _LOOP, f"{_TORCH}[lstm_peephole]"),
        _system(
            "LSTM with layer normalisation",
            "cells/lstm_layer_norm",
            _LOOP,
            f"{_TORCH}[lstm_layer_norm]",
        ),
        _system("GRU, reset before the product", "cells/gru", _LOOP, f"{_TORCH}[gru_before]"),
        _system("minimal gated unit", "cells/mgu", _LOOP, f"{_TORCH}[mgu]"),
        _system("minGRU", "cells/min_gru", _LOOP, f"{_TORCH}[min_gru]"),
        _system("GRU-D", "cells/gru_d", _LOOP, f"{_LIBRARY}[gru_d]"),
        _system("IndRNN", "cells/indrnn", _LOOP, f"{_TORCH}[indrnn]"),
        _system(
            "convolutional LSTM", "cells/conv_lstm", "PyTorch's `conv2d`", f"{_LIBRARY}[conv_lstm]"
        ),
    ),
    "Heads and memories": (
        _system(
            "mLSTM",
            "cells/mlstm",
            _SUMS + "; xlstm's recurrent and parallel form",
            f"{_HEADS}[mlstm]",
            f"{_NAIVE}[authors_mlstm]",
            f"{_NAIVE}[authors_parallel_mlstm]",
        ),
        _system(
            "sLSTM",
            "cells/slstm",
            "the paper's equations in PyTorch; xlstm's `slstm_forward`",
            f"{_HEADS}[slstm]",
            f"{_NAIVE}[authors_slstm]",
        ),
        _system(
            "RetNet",
            "cells/retnet",
            _SUMS + "; fla's `naive_retention`",
            f"{_HEADS}[retnet]",
            f"{_NAIVE}[authors_retention]",
        ),
        _system(
            "linear attention",
            "cells/linear_attention",
            "weights of all pairs of steps; fla's `naive_recurrent_linear_attn`",
            f"{_HEADS}[linear_attention]",
            f"{_NAIVE}[authors_linear_attention]",
        ),
        _system(
            "gated linear attention",
            "cells/gla",
            _SUMS + "; fla's `naive_recurrent_gla`",
            f"{_HEADS}[gla]",
            f"{_NAIVE}[authors_gla]",
        ),
        _system(
            "DeltaNet",
            "cells/delta_net",
            "products of matrices; fla's `delta_rule_recurrence`",
            f"{_HEADS}[delta_net]",
            f"{_NAIVE}[authors_delta_rule]",
        ),
        _system(
            "gated DeltaNet",
            "cells/gated_delta_net",
            "products of matrices; fla's `naive_recurrent_gated_delta_rule`",
            f"{_HEADS}[gated_delta_net]",
            f"{_NAIVE}[authors_gated_delta_rule]",
        ),
        _system("Mamba", "cells/mamba", _SUMS, f"{_HEADS}[mamba]"),
        _system(
            "Mamba-2",
            "cells/mamba2",
            _SUMS + "; fla's `naive_recurrent_simple_gla`",
            f"{_HEADS}[mamba2]",
            f"{_NAIVE}[authors_simple_gla]",
        ),
        _system(
            "RWKV-4",
            "cells/rwkv4",
            "the paper's equation 16 as a sum; the authors' `att_one`",
            f"{_HEADS}[rwkv4]",
            f"{_NAIVE}[authors_rwkv4]",
        ),
        _system(
            "RWKV-6",
            "cells/rwkv6",
            _SUMS + "; the authors' `att_one_v6_0`; fla's `naive_recurrent_rwkv6`",
            f"{_HEADS}[rwkv6]",
            f"{_NAIVE}[authors_rwkv6]",
            f"{_NAIVE}[authors_rwkv6_memory]",
        ),
        _system(
            "RWKV-7, two layers",
            "cells/rwkv7",
            "products of matrices; the authors' `RWKV_x070_TMix_one`; fla's `dplr_recurrence`",
            f"{_GATED}[rwkv7]",
            f"{_GATED}[rwkv7_authors]",
            f"{_GATED}[rwkv7_fla]",
        ),
        _system(
            "HGRN2",
            "cells/hgrn2",
            _SUMS + "; fla's `naive_recurrent_gla`",
            f"{_GATED}[hgrn2]",
            f"{_GATED}[hgrn2_fla]",
        ),
        _system("Griffin, with its RG-LRU", "cells/griffin", _SUMS, f"{_GATED}[griffin]"),
        _system(
            "self-attention, a block of a transformer",
            "sequences/attention",
            "PyTorch's `TransformerEncoderLayer`",
            "test_self_attention.py::test_the_block_that_comes_with_rollc_is_a_layer_of_pytorch",
        ),
        _system(
            "attention to the last steps, two heads",
            "",
            _STEPS,
            "systems/test_heads.py::test_attention_with_heads_to_the_last_steps",
        ),
        _system("neural Turing machine", "cells/ntm", _LOOP, f"{_LIBRARY}[ntm]"),
        _system("differentiable neural computer", "cells/dnc", _LOOP, f"{_LIBRARY}[dnc]"),
    ),
    "Continuous time, state spaces and filters": (
        _system(
            "linear system",
            "state_space/linear",
            "SciPy's `dlsim`; " + _STEPS,
            _SPACE + "test_a_linear_system",
        ),
        _system(
            "Kalman filter",
            "state_space/kalman",
            "Joseph's form, " + _STEPS,
            _SPACE + "test_a_kalman_filter",
        ),
        _system(
            "Rauch, Tung and Striebel's smoother",
            "state_space/smoother",
            "all states given all observations at once, complex steps",
            _SPACE + "test_a_smoother_is_what_all_observations_say_at_once",
        ),
        _system(
            "extended Kalman filter",
            "state_space/extended_kalman",
            "the Jacobians by hand, " + _STEPS,
            "test_derivatives.py::test_an_extended_kalman_filter",
        ),
        _system("diagonal state space", "cells/diagonal", _LOOP, f"{_TORCH}[diagonal]"),
        _system("LRU", "cells/lru", "PyTorch's complex numbers", f"{_COMPLEX}[lru]"),
        _system("S4D", "cells/s4d", "its convolution, in PyTorch", f"{_COMPLEX}[s4d]"),
        _system("S5", "cells/s5", "PyTorch's `matrix_exp`", f"{_COMPLEX}[s5]"),
        _system("unitary RNN", "cells/unitary", "PyTorch's `fft`", f"{_COMPLEX}[unitary]"),
        _system(
            "Legendre memory unit",
            "cells/lmu",
            "SciPy's `cont2discrete`, PyTorch",
            f"{_LIBRARY}[lmu]",
        ),
        _system("coRNN", "cells/cornn", _LOOP, f"{_LIBRARY}[cornn]"),
        _system("CfC", "cells/cfc", "ncps's `CfCCell`", f"{_LIBRARY}[cfc]"),
        _system("LTC", "cells/ltc", "ncps's `LTCCell`", f"{_LIBRARY}[ltc]"),
        _system(
            "filter of second order",
            "delays/biquad",
            "SciPy's `lfilter`, complex steps",
            _DELAYS + "test_a_biquad",
        ),
        _system(
            "all-pole filter that changes with time",
            "delays/all_pole",
            "one triangular system; SciPy's `lfilter`",
            _DELAYS + "test_an_all_pole_filter",
        ),
        _system(
            "the same, also complex and from initial values",
            "delays/all_pole",
            "torchlpc's `sample_wise_lpc`",
            "test_all_pole_filters.py::test_from_initial_values",
            "test_all_pole_filters.py::test_the_spec_that_comes_with_rollc",
        ),
        _system(
            "plucked string",
            "delays/string",
            "SciPy's `lfilter`, complex steps",
            _DELAYS + "test_a_string",
        ),
        _system(
            "state-variable filter",
            "filters/state_variable",
            "a linear system a step, complex steps; SciPy's `bilinear`",
            "systems/test_filters.py::test_a_state_variable_filter",
        ),
        _system(
            "compressor",
            "filters/compressor",
            _STEPS,
            "systems/test_filters.py::test_a_compressor",
        ),
        _system(
            "recursive least squares",
            "filters/least_squares",
            "least squares of each step anew, complex steps",
            "systems/test_filters.py::test_recursive_least_squares",
        ),
        _system(
            "feedback delay network",
            "delays/feedback_delay_network",
            _STEPS,
            _DELAYS + "test_a_feedback_delay_network",
        ),
    ),
    "Long delays": (
        _system(
            "clockwork RNN",
            "delays/clockwork",
            "one block matrix, " + _STEPS,
            _DELAYS + "test_a_clockwork",
        ),
        _system("dilated RNN", "delays/dilated", _STEPS, _DELAYS + "test_dilated_layers"),
        _system("higher order", "delays/higher_order", _STEPS, _DELAYS + "test_higher_order"),
        _system(
            "clockwork, a module",
            "cells/clockwork",
            _LOOP,
            f"{_TORCH}[clockwork]",
            f"{_TORCH}[clockwork_beside]",
        ),
        _system("dilated, a layer", "cells/dilated", _LOOP, f"{_TORCH}[dilated]"),
        _system("NARX", "delays/narx", _STEPS, _DELAYS + "test_narx"),
    ),
    "Dynamics": (
        _system(
            "three layers closed by a concatenation",
            "dynamics/three_layers",
            _STEPS,
            _DYNAMICS + "test_three_layers",
        ),
        _system(
            "a system without input",
            "dynamics/autonomous",
            _STEPS,
            _DYNAMICS + "test_a_system_that_runs_by_itself",
        ),
        _system(
            "a driven system", "dynamics/driven", _STEPS, _DYNAMICS + "test_a_system_that_is_driven"
        ),
        _system(
            "oscillator, Runge-Kutta",
            "dynamics/oscillator",
            _STEPS + "; SciPy's `odeint`",
            _DYNAMICS + "test_the_oscillator_is_the_method",
        ),
        _system(
            "hares and foxes, Runge-Kutta",
            "dynamics/predator_prey",
            _STEPS + "; SciPy's `odeint`",
            _DYNAMICS + "test_hares_and_foxes_are_the_method",
        ),
        _system(
            "echo-state network",
            "dynamics/reservoir",
            _STEPS + "; least squares",
            _DYNAMICS + "test_of_a_reservoir_only_the_readout_is_trained",
        ),
        _system("echo-state network, a cell", "cells/echo_state", _LOOP, f"{_TORCH}[echo_state]"),
        _system(
            "Hamiltonian network",
            "dynamics/hamiltonian",
            "the slopes by hand, " + _STEPS,
            "test_derivatives.py::test_a_hamiltonian_network",
        ),
        _system(
            "Lagrangian network",
            "dynamics/lagrangian",
            "the slopes by hand, " + _STEPS,
            "test_derivatives.py::test_a_lagrangian_network",
        ),
        _system(
            "Kuramoto's oscillators",
            "dynamics/kuramoto",
            _STEPS,
            _DYNAMICS + "test_oscillators_that_pull_at_each_other",
        ),
        _system(
            "reaction and diffusion, Gray and Scott",
            "dynamics/gray_scott",
            _STEPS,
            _DYNAMICS + "test_two_chemicals_on_a_ring",
        ),
        _system(
            "physics-informed network",
            "",
            "the slopes by hand, " + _STEPS,
            "test_derivatives.py::test_a_network_that_is_to_solve_an_equation",
        ),
    ),
    "Neurons": (
        _system(
            "leaky integrate and fire",
            "spiking/spikes",
            "backpropagation by hand",
            "systems/test_spiking.py::test_spikes_by_hand",
        ),
        _system(
            "with synapses that leak",
            "cells/synaptic",
            "snnTorch's `Synaptic`",
            f"{_LIBRARY}[synaptic]",
        ),
        _system("with thresholds that adapt", "cells/alif", _LOOP, f"{_LIBRARY}[alif]"),
        _system("Izhikevich", "cells/izhikevich", _LOOP, f"{_LIBRARY}[izhikevich]"),
        _system("Hodgkin and Huxley", "cells/hodgkin_huxley", _LOOP, f"{_LIBRARY}[hodgkin_huxley]"),
    ),
    "Sequences": (
        _system(
            "a label at every step",
            "sequences/labels",
            "backpropagation by hand",
            _SEQUENCES + "test_labels_by_hand",
        ),
        _system("one answer", "sequences/answer", _STEPS, _SEQUENCES + "test_one_answer"),
        _system(
            "both directions",
            "sequences/bidirectional",
            "two chains, " + _STEPS,
            _SEQUENCES + "test_both_directions",
        ),
        _system(
            "taught by the target, and free",
            "sequences/teacher",
            _STEPS,
            _SEQUENCES + "test_recurrence_through_the_output",
        ),
        _system(
            "a caption, taught and free", "sequences/caption", _STEPS, _SEQUENCES + "test_a_caption"
        ),
        _system(
            "an input that every step sees",
            "sequences/conditioned",
            _STEPS,
            _SEQUENCES + "test_an_input_that_every_step_sees",
        ),
        _system(
            "stacked layers", "sequences/stacked", _STEPS, _SEQUENCES + "test_layers_on_layers"
        ),
        _system(
            "associative recall",
            "sequences/recall",
            "gated DeltaNet in PyTorch",
            "cells/test_attention_cells.py::test_associative_recall",
        ),
    ),
    "Two axes at once": (
        _system(
            "multi-dimensional LSTM",
            "images/rows_and_columns",
            _LOOP,
            _PAIRS + "test_a_multi_dimensional_lstm",
        ),
        _system(
            "soft dynamic time warping",
            "sequences/warping",
            _LOOP,
            _PAIRS + "test_soft_dynamic_time_warping",
        ),
        _system(
            "local alignment with affine gaps, soft",
            "sequences/alignment",
            "all alignments, one by one",
            _PAIRS + "test_soft_local_alignment",
        ),
        _system(
            "connectionist temporal classification",
            "sequences/ctc",
            "PyTorch's `ctc_loss`",
            _PAIRS + "test_the_loss_of_connectionist_temporal_classification",
        ),
        _system(
            "RNN transducer",
            "sequences/transducer",
            "all paths, one by one, in PyTorch",
            _PAIRS + "test_the_loss_of_a_transducer",
        ),
    ),
    "Probability, forecasts and decisions": (
        _system(
            "hidden Markov model",
            "state_space/hidden_markov",
            "all paths, one by one; complex steps",
            _SPACE + "test_a_hidden_markov_model",
        ),
        _system(
            "Viterbi's algorithm",
            "state_space/viterbi",
            "all paths, one by one; hmmlearn's `decode`",
            _SPACE + "test_the_best_path_of_a_hidden_markov_model",
        ),
        _system(
            "GARCH(1, 1)",
            "forecasting/garch",
            _STEPS + "; arch's `GARCH`",
            "systems/test_forecasting.py::test_garch",
        ),
        _system(
            "Markov switching",
            "forecasting/switching",
            "all paths, one by one; complex steps",
            "systems/test_forecasting.py::test_markov_switching",
        ),
        _system(
            "Holt and Winters",
            "forecasting/holt_winters",
            _STEPS + "; statsmodels' `ExponentialSmoothing`",
            "systems/test_forecasting.py::test_holt_and_winters",
        ),
        _system(
            "ARMA(2, 1)",
            "forecasting/arma",
            "SciPy's `lfilter`, complex steps; statsmodels' `SARIMAX`",
            "systems/test_forecasting.py::test_arma",
        ),
        _system(
            "generalised advantages",
            "reinforcement/gae",
            "sums over all later steps, complex steps",
            "systems/test_reinforcement.py::test_generalised_advantages",
        ),
        _system(
            "TD(λ)",
            "reinforcement/td_lambda",
            "the mean of all returns, complex steps",
            "systems/test_reinforcement.py::test_lambda_returns",
        ),
    ),
    "Learning and search inside a step": (
        _system(
            "learned optimiser",
            "learning/learned_optimiser",
            "the gradient by hand, " + _STEPS,
            "test_derivatives.py::test_a_learned_optimiser",
        ),
        _system(
            "deep equilibrium network",
            "learning/equilibrium",
            _STEPS,
            "test_repetition.py::test_a_fixed_point_of_the_step",
        ),
        _system(
            "clockwork of modules, an array of cells",
            "",
            _STEPS,
            "test_repetition.py::test_a_clockwork_of_modules",
        ),
    ),
}
