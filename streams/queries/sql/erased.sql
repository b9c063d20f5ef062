-- What an erasure took out of the store, once no file on disk has it any more.
SELECT rows FROM erasures WHERE number = $number AND absent_ns > 0
