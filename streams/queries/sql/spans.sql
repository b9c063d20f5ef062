-- Which numbers of which stream lie in which file of a table.
SELECT file, source, stream, lowest, highest FROM spans JOIN segments USING (file) WHERE table_name = $table AND role = $role
