-- Texts of the policies that decided; what is not that of its version is nobody's.
SELECT DISTINCT version, text FROM files.policies WHERE left(sha256(text), 16) = version
