"""A rebuild: another generation beside the live one, verified and swapped in."""
