"""A module for each page: a function of what was asked, which returns what is shown."""
