-- Texts of the policies that decided.
SELECT version, text FROM policies
