-- Streams that came after one epoch and up to another.
SELECT source, stream, kind, epoch FROM streams WHERE epoch > $after AND epoch <= $upto ORDER BY source, stream
