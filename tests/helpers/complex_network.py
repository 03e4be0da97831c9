"""A network with complex inputs, parameters, outputs and states."""

SPEC = """net resonators
dim D = 2, N = 3
input x: [D], z: complex[N]
param pace: [N] = uniform(-1, 1)
param B: complex[N, D], C: complex[D, N]
pole = exp(complex(-0.3, pace))
h = pole * h[t-1] + B @ x + z
o = real(C @ h)
output o, h
loss mean(sum(o * o), over t)
"""
