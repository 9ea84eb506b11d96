"""The proofs: what must hold when the machine, the service or the input misbehaves."""
