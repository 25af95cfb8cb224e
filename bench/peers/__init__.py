"""The peers: real programs, started and ended by the benchmark that needs them."""
