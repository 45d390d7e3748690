"""JSON as this project writes it."""

import msgspec

__all__ = ["dumps"]

# Decimals are written as JSON numbers, exactly: 99.99, never "99.99".
dumps = msgspec.json.Encoder(decimal_format="number").encode
