-- Epochs from one on, the newest first.
SELECT epoch, published_ns FROM epochs WHERE epoch >= $after ORDER BY epoch DESC LIMIT $most
