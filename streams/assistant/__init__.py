"""STAGE 3: situation + query + model -> answer."""
