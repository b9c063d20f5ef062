"""The alternatives of a Python user, with their default settings but a longer linger.

Each is started as `python -m bench.peers.NAME HOST:PORT SOURCE TARGET GROUP` and runs until a signal. It
forwards each batch with two more headers: constant ones, or, with the further argument `tag`, zone and label
of the batch, which it decodes and checks. All send uncompressed, which is their default; with our
compression, aiokafka, Bytewax and Quix were 5 to 11 % slower (`bench/results/2026-11-26T2235Z.json`).
"""

#: Headers of the forwarding subjects: the same number and length as those of the zones stage.
ADDED = (("sightline-zone", b"home-private"), ("sightline-label", b"0000000000000000:00"))
#: Time for which producers collect records; a shorter time makes each of them slower.
LINGER_MS = 20
