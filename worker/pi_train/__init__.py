"""The training core: model, data, inner loop, codecs, outer step, traces and replay. Knows no chain and no
network.

Imports nothing, so that `pi_train.codecs` and `pi_train.outer` need numpy alone.
"""
