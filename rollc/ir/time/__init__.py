"""What follows from delays: causality, retiming, the order of sweeps."""
