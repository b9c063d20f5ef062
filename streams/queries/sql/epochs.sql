-- Epochs that are listed, oldest first.
SELECT epoch, published_ns FROM epochs ORDER BY epoch
