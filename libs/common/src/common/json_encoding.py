"""JSON as this project writes and reads it: numbers are exact."""

from decimal import Decimal

import msgspec

__all__ = ["dumps", "loads"]

# Decimals are written as JSON numbers, exactly: 99.99, never "99.99".
dumps = msgspec.json.Encoder(decimal_format="number").encode
# Numbers with a fraction or an exponent are read as Decimal.
loads = msgspec.json.Decoder(float_hook=Decimal).decode
