"""Analyses of delays: causality, retiming, and the order of sweeps over the steps."""
