"""Drawings of the page: values in, SVG text out. Nothing here knows a store, a request or a clock."""
