"""Makes the small recordings from the downloaded data, one module per source.

NOTICE says what each changes on the way.
"""
