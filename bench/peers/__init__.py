"""What a Python user would pick instead, at its own defaults with a longer linger.

Each batch is forwarded with two headers added.

Each is started as `python -m bench.peers.NAME HOST:PORT SOURCE TARGET GROUP` and runs until a signal. Nobody
of them decodes. Their default is to send uncompressed; compressed as we do, some of them are faster, so those
are raced as well.
"""

#: What the forwarding subjects add: as many and as long as those of the zones stage.
ADDED = (("sightline-zone", b"home-private"), ("sightline-label", b"0000000000000000:00"))
#: Producers gather this long; shorter makes each of them slower.
LINGER_MS = 20
NO_COMPRESSION = "none"
