"""What the services of Products API must do identically. It knows no noun and no table."""

__version__ = "0.5.0"
