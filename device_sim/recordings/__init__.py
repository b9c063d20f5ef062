"""Real, licensed, small recordings; NOTICE names sources, licences and changes; `make` wrote them."""
