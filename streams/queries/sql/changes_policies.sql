-- Policies that decided for the first time after one epoch and up to another.
SELECT version, name, epoch FROM policies WHERE epoch > $after AND epoch <= $upto ORDER BY epoch, version
