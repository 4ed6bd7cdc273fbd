"""Programs that measure: `run.py` every figure beside its peer, `soak.py` the pool under random kills."""
