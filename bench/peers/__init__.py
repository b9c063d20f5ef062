"""What a Python user would pick instead, at its own defaults with a longer linger.

Each is started as `python -m bench.peers.NAME HOST:PORT SOURCE TARGET GROUP` and runs until a signal. It
forwards each batch with two headers added: constant ones, or, where a further argument says `tag`, zone and
label of a batch that it has decoded and checked. All send uncompressed, as is their default: compressed as we
do, aiokafka, Bytewax and Quix were 5 to 11 % slower (`bench/results/2026-11-26T2235Z.json`).
"""

#: What the forwarding subjects add: as many and as long as those of the zones stage.
ADDED = (("sightline-zone", b"home-private"), ("sightline-label", b"0000000000000000:00"))
#: Producers gather this long; shorter makes each of them slower.
LINGER_MS = 20
